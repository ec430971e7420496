//! One binary for all integration tests: linked once, one module per domain.

mod authz;
mod catalog;
mod crash;
mod docs;
mod embedded;
mod http;
mod identity;
mod instances;
mod layers;
mod live;
mod nodes;
mod openapi;
mod order;
mod pool;
mod rbac;
mod scheduling;
mod simulate;
mod simulation;
mod subscriptions;
mod unhappy;
