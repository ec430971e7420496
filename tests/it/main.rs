//! One binary for all integration tests: linked once, one module per domain.

mod catalog;
mod catalogue;
mod http;
mod subscriptions;
