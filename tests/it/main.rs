//! One binary for all integration tests: linked once, one module per domain.

mod catalog;
mod crash;
mod http;
mod identity;
mod instances;
mod live;
mod nodes;
mod order;
mod pool;
mod scheduling;
mod simulation;
mod subscriptions;
