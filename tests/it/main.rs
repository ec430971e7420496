//! One binary for all integration tests: linked once, one module per domain.

mod catalog;
mod docs;
mod http;
mod identity;
mod instances;
mod live;
mod nodes;
mod order;
mod scheduling;
mod subscriptions;
