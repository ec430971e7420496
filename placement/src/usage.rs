//! What a workload is expected to use, as a vector that adds up over the workloads of a node.

use serde::{Deserialize, Serialize};

/// The windows of a day: six of four hours.
pub const WINDOWS: usize = 6;

/// Expected use of one workload, or the sum over several. Every component adds up; the predicted peak of a node grows with
/// each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Load {
    pub cpu_milli: [i64; WINDOWS],
    pub mem_mib: [i64; WINDOWS],
}

impl Load {
    pub const ZERO: Self = Self {
        cpu_milli: [0; WINDOWS],
        mem_mib: [0; WINDOWS],
    };

    /// Nothing measured yet: constant CPU and memory.
    pub fn cold(cpu_milli: i64, mem_mib: i64) -> Self {
        Self {
            cpu_milli: [cpu_milli; WINDOWS],
            mem_mib: [mem_mib; WINDOWS],
        }
    }

    pub fn zip(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        Self {
            cpu_milli: std::array::from_fn(|at| f(self.cpu_milli[at], other.cpu_milli[at])),
            mem_mib: std::array::from_fn(|at| f(self.mem_mib[at], other.mem_mib[at])),
        }
    }

    pub fn plus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_add)
    }

    pub fn minus(self, other: Self) -> Self {
        self.zip(other, i64::saturating_sub)
    }

    pub fn max(self, other: Self) -> Self {
        self.zip(other, Ord::max)
    }
}
