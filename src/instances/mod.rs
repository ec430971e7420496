//! What the customer bought: desired and observed.

pub mod manifests;
pub mod phase;
pub mod status;
