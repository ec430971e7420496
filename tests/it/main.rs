//! One binary for all integration tests: linked once, one module per domain.

mod catalogue;
mod http;
