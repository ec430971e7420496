//! What the placement benchmarks share: data, fleets, bounds, baselines, and the report that holds every figure.
//!
//! The engine is measured beside the rules that others use, in one run, on the same arrivals. Floats are at home here
//! (bounds, statistics), never in the engine.

// Counts and amounts of traces are far below 2^52.
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]

pub mod baselines;
pub mod bounds;
pub mod data;
pub mod engine;
pub mod filling;
pub mod fleet;
pub mod online;
pub mod ours;
pub mod random;
pub mod report;
pub mod tasks;
pub mod traces;
pub mod watch;
