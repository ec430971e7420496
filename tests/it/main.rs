//! One binary for all integration tests: linked once, one module per domain.

mod authz;
mod catalog;
mod docs;
mod http;
mod identity;
mod instances;
mod layers;
mod live;
mod nodes;
mod openapi;
mod order;
mod rbac;
mod scheduling;
mod subscriptions;
mod unhappy;
