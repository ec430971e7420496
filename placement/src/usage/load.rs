//! What workloads are expected to use, as a vector that adds up over the workloads of a node.

use serde::{Deserialize, Serialize};

/// The windows of a day: six of four hours, in UTC. Demand is compared within a window, so that one workload's busy
/// morning and another's busy night are not added up.
pub const WINDOWS: usize = 6;

/// Expected use of one workload, or the sum over several. Every component adds up, and what a rule predicts grows with
/// each of them: component-wise maxima of sums are a safe bound for any of the sums.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Load {
    /// Of workloads without usable measurements: counted in full, whatever the rule.
    pub fixed_cpu_milli: i64,
    pub fixed_mem_mib: i64,
    /// Mean use per window, in millionths of a CPU: idle workloads use less than a thousandth, and there are many.
    pub cpu_mean_micro: [i64; WINDOWS],
    /// The 95th percentile per window.
    pub cpu_high_micro: [i64; WINDOWS],
    /// Variance around the window means, in milli-CPU squared.
    pub cpu_variance: i64,
    /// Standard deviation around the window means. Not the root of the variance once summed: workloads that move
    /// together add up their deviations, independent ones their variances.
    pub cpu_deviation_micro: i64,
    /// Mean and peak use per window.
    pub mem_mean_mib: [i64; WINDOWS],
    pub mem_peak_mib: [i64; WINDOWS],
}

impl Load {
    pub const ZERO: Self = Self {
        fixed_cpu_milli: 0,
        fixed_mem_mib: 0,
        cpu_mean_micro: [0; WINDOWS],
        cpu_high_micro: [0; WINDOWS],
        cpu_variance: 0,
        cpu_deviation_micro: 0,
        mem_mean_mib: [0; WINDOWS],
        mem_peak_mib: [0; WINDOWS],
    };

    /// Nothing measured yet: constant CPU and memory.
    pub fn cold(cpu_milli: i64, mem_mib: i64) -> Self {
        Self {
            fixed_cpu_milli: cpu_milli,
            fixed_mem_mib: mem_mib,
            ..Self::default()
        }
    }

    /// Component by component.
    pub fn zip(self, other: Self, f: impl Fn(i64, i64) -> i64) -> Self {
        let windows = |a: [i64; WINDOWS], b: [i64; WINDOWS]| std::array::from_fn(|at| f(a[at], b[at]));
        Self {
            fixed_cpu_milli: f(self.fixed_cpu_milli, other.fixed_cpu_milli),
            fixed_mem_mib: f(self.fixed_mem_mib, other.fixed_mem_mib),
            cpu_mean_micro: windows(self.cpu_mean_micro, other.cpu_mean_micro),
            cpu_high_micro: windows(self.cpu_high_micro, other.cpu_high_micro),
            cpu_variance: f(self.cpu_variance, other.cpu_variance),
            cpu_deviation_micro: f(self.cpu_deviation_micro, other.cpu_deviation_micro),
            mem_mean_mib: windows(self.mem_mean_mib, other.mem_mean_mib),
            mem_peak_mib: windows(self.mem_peak_mib, other.mem_peak_mib),
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
