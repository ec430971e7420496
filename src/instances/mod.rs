//! What the customer bought: desired and observed.

pub mod phase;
pub mod status;
