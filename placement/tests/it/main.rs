//! Tests of the placement engine through its public face.

mod calibration;
mod checker;
mod constraints;
mod definitions;
mod evacuation;
mod failover;
mod histories;
mod n_plus_one;
mod packing;
mod planning;
mod policies;
mod properties;
mod refusals;
mod replay;
mod scale;
mod seed_hardware;
mod support;
mod usage;
mod what_if;
