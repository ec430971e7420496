//! What the placement benchmarks share: data, fleets, bounds, baselines, and the report that holds every figure.
//!
//! The engine is measured beside the rules that others use, in one run, on the same arrivals. Floats are at home here
//! (bounds, statistics), never in the engine.

pub mod baselines;
pub mod data;
pub mod engine;
pub mod filling;
pub mod fleet;
pub mod random;
pub mod report;
pub mod tasks;
pub mod traces;
pub mod watch;
