//! Demand from measured use: what a node's workloads will need at their worst, learned from what they used.
//!
//! A workload's [`Summary`] takes samples in constant time and becomes a [`Load`], a small vector that adds up over the
//! workloads of a node. A [`UsageRule`] turns the sum into the predicted peak, which grows with every component, and into
//! the request that is written into a pod, which adds up to no more than the peak. [`calibrate()`] tries rules on a
//! fleet's own past. Until enough is measured, and when the measuring stops, a workload counts at its request (CPU) and
//! at its limit (memory).
//!
//! It does not measure: samples, the time and the histories come from the caller.

mod calibrate;
mod folds;
mod histogram;
mod hot;
mod load;
mod rule;
mod summary;
mod windows;

pub use calibrate::{BackTest, Calibration, calibrate};
pub use folds::History;
pub use hot::is_hot;
pub use load::{Load, WINDOWS};
pub use rule::{CpuRule, Predicted, UsageRule, UsageSpec};
pub use summary::{Promise, Summary};
