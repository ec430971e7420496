//! Tests of the placement engine through its public face.

mod checker;
mod constraints;
mod definitions;
mod evacuation;
mod histories;
mod packing;
mod policies;
mod properties;
mod refusals;
mod scale;
mod seed_hardware;
mod support;
