//! One file per task of the table in README.md; each adds its figures, ours and the baselines', to the report.

pub mod churn;
pub mod cpu;
pub mod decisions;
pub mod defragment;
pub mod failover;
pub mod machines;
pub mod memory;
pub mod n_plus_one;
pub mod pack;
pub mod replay;

use std::path::PathBuf;

/// What a run was asked for.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the traces are; without it each task takes a small generated set.
    pub data: Option<PathBuf>,
    pub seed: u64,
    /// Fewer repetitions, for a first look.
    pub quick: bool,
}
