//! What no rule can beat: upper bounds on how many pods nodes can hold, lower bounds on how many nodes pods need.
//!
//! A fluid bound lets pods be cut into pieces, per node class; the configuration bound does not cut pods but lets whole
//! ways of filling a node be used a fractional number of times. Both are valid for every rule, online or not. Nothing
//! here is shared with the engine: the figures are held against these numbers.

mod configuration;
mod fluid;
mod knapsack;

pub use configuration::{Bound, bins, bins_by_volume, bins_until};
pub use fluid::{fluid, fluid_n_plus_one};
