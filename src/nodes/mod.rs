//! Worker nodes: what the cluster offers, as observed, and what the operator wants of each machine.

pub mod quantity;
pub mod requests;
pub mod store;
pub mod sync;
