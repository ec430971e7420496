//! From a summed [`Load`] to the predicted peak of a node, and from one workload's to the request written into its pod.
//!
//! Promised: [`UsageRule::predict`] grows with every component; whatever is written for the workloads of a node adds up
//! to no more than what is predicted for them together.

use serde::{Deserialize, Serialize};

use super::load::{Load, WINDOWS};
use crate::{PPM, PolicyError};

/// How the CPU peak of a sum is predicted. Which one admits more depends on the fleet; [`super::calibrate()`] finds out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuRule {
    /// Correlated Gaussian: `max_w Σmean_w + z · √((1 − rho) · Σvariance + rho · (Σdeviation)²)`. `rho` is the mean
    /// correlation between two workloads. Best where many workloads are busy and none dominates.
    Gaussian { z_milli: i64, rho_ppm: i64 },
    /// `scale · max_w Σp95_w`. Best where most workloads idle and a few burst: their deviations say little about sums.
    Quantile { scale_ppm: i64 },
}

/// The fields of a [`UsageRule`], before validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsageSpec {
    pub cpu: CpuRule,
    /// The node's memory peak lies this far on the way from the sum of means to the sum of peaks of the fullest window:
    /// peaks within four hours rarely fall into the same minute. Where the whole fleet grows, it lies up to a tenth
    /// higher than that; `mem_line_ppm` leaves the room.
    pub mem_toward_peak_ppm: i64,
    /// And never below this share of the sum of peaks: where peaks are high above the means, they come in bursts that
    /// can meet.
    pub mem_of_peaks_ppm: i64,
    /// Predicted CPU stays at or below this share of what a node has.
    pub cpu_line_ppm: i64,
    /// The same for memory, where being wrong kills.
    pub mem_line_ppm: i64,
    /// A workload is measured from here on.
    pub min_samples: i64,
    pub min_history_seconds: i64,
    /// Without a sample for so long, what was measured is not relied upon.
    pub stale_after_seconds: i64,
    /// Above these shares of use a node takes no new orders ...
    pub cpu_trigger_ppm: i64,
    pub mem_trigger_ppm: i64,
    /// ... until it is this far below.
    pub reopen_below_ppm: i64,
}

impl Default for UsageSpec {
    fn default() -> Self {
        Self {
            // Between the correlations of the two fleets that the rule was studied on (0.01 and 0.15), towards caution.
            cpu: CpuRule::Gaussian {
                z_milli: 3_500,
                rho_ppm: 100_000,
            },
            mem_toward_peak_ppm: 400_000,
            mem_of_peaks_ppm: 950_000,
            cpu_line_ppm: 900_000,
            mem_line_ppm: 900_000,
            min_samples: 24,
            min_history_seconds: 4 * 3_600,
            stale_after_seconds: 180,
            cpu_trigger_ppm: 800_000,
            mem_trigger_ppm: 850_000,
            reopen_below_ppm: 50_000,
        }
    }
}

/// A valid rule, also when it was read from JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "UsageSpec", into = "UsageSpec")]
pub struct UsageRule {
    spec: UsageSpec,
}

/// Amounts of CPU and memory: a predicted peak, a measured use, a capacity or a written request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Predicted {
    pub cpu_milli: i64,
    pub mem_mib: i64,
}

impl Predicted {
    pub fn within(self, room: Self) -> bool {
        self.cpu_milli <= room.cpu_milli && self.mem_mib <= room.mem_mib
    }
}

/// Beyond four years nothing measured is worth keeping; it also keeps sums of seconds far from overflow.
const SECONDS: (i64, i64) = (0, 4 * 365 * 86_400);
/// At a line or trigger below a tenth a node would take nothing, and no node could be added that changes it.
const SHARE: (i64, i64) = (PPM / 10, PPM);

impl UsageRule {
    pub fn new(spec: UsageSpec) -> Result<Self, PolicyError> {
        let within = |field, value, (min, max): (i64, i64)| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(PolicyError { field, value, min, max })
            }
        };
        match spec.cpu {
            CpuRule::Gaussian { z_milli, rho_ppm } => {
                within("cpu.gaussian.z_milli", z_milli, (0, 20_000))?;
                within("cpu.gaussian.rho_ppm", rho_ppm, (0, PPM))?;
            }
            CpuRule::Quantile { scale_ppm } => within("cpu.quantile.scale_ppm", scale_ppm, (PPM / 2, 4 * PPM))?,
        }
        within("mem_toward_peak_ppm", spec.mem_toward_peak_ppm, (0, PPM))?;
        within("mem_of_peaks_ppm", spec.mem_of_peaks_ppm, (0, PPM))?;
        within("cpu_line_ppm", spec.cpu_line_ppm, SHARE)?;
        within("mem_line_ppm", spec.mem_line_ppm, SHARE)?;
        within("min_samples", spec.min_samples, (1, 1_000_000))?;
        within("min_history_seconds", spec.min_history_seconds, SECONDS)?;
        within("stale_after_seconds", spec.stale_after_seconds, SECONDS)?;
        within("cpu_trigger_ppm", spec.cpu_trigger_ppm, SHARE)?;
        within("mem_trigger_ppm", spec.mem_trigger_ppm, SHARE)?;
        let lowest = spec.cpu_trigger_ppm.min(spec.mem_trigger_ppm);
        within("reopen_below_ppm", spec.reopen_below_ppm, (0, lowest))?;
        Ok(Self { spec })
    }

    pub fn spec(&self) -> &UsageSpec {
        &self.spec
    }

    /// The same rule with another CPU predictor.
    pub fn with_cpu(&self, cpu: CpuRule) -> Result<Self, PolicyError> {
        Self::new(UsageSpec { cpu, ..self.spec })
    }

    /// The peak that the workloads behind `load` are expected to reach together, rounded up.
    pub fn predict(&self, load: &Load) -> Predicted {
        let cpu_micro = match self.spec.cpu {
            CpuRule::Gaussian { z_milli, rho_ppm } => {
                let spread = joint_deviation(load, rho_ppm) * u128::from(z_milli.unsigned_abs());
                i128::from(largest(load.cpu_mean_micro)) + clamped(spread.div_ceil(1_000))
            }
            CpuRule::Quantile { scale_ppm } => share_up(largest(load.cpu_high_micro), scale_ppm),
        };
        let mem = self.between(load).into_iter().fold(i128::MIN, i128::max);
        let mem = -(-mem).div_euclid(i128::from(PPM));
        let mem = mem.max(share_up(largest(load.mem_peak_mib), self.spec.mem_of_peaks_ppm));
        Predicted {
            cpu_milli: total(load.fixed_cpu_milli, (cpu_micro + 999).div_euclid(1_000)),
            mem_mib: total(load.fixed_mem_mib, mem),
        }
    }

    /// What may be predicted on a node with this capacity.
    pub fn room(&self, capacity: Predicted) -> Predicted {
        Predicted {
            cpu_milli: total(0, share_down(capacity.cpu_milli.max(0), self.spec.cpu_line_ppm)),
            mem_mib: total(0, share_down(capacity.mem_mib.max(0), self.spec.mem_line_ppm)),
        }
    }

    /// The request to write into one workload's pod: its long-run share of what is predicted, rounded down. The mean
    /// over the windows never exceeds the largest window, so the requests on a node add up to at most its predicted
    /// peak, and kube-scheduler, which adds up requests, finds room wherever the engine does. An idle workload's may
    /// be zero.
    pub fn written(&self, load: &Load) -> Predicted {
        let cpu_micro = match self.spec.cpu {
            CpuRule::Gaussian { .. } => i128::from(mean(load.cpu_mean_micro)),
            CpuRule::Quantile { scale_ppm } => share_down(mean(load.cpu_high_micro), scale_ppm),
        };
        let mem: i128 = self.between(load).into_iter().sum();
        Predicted {
            cpu_milli: total(load.fixed_cpu_milli, cpu_micro.div_euclid(1_000)),
            mem_mib: total(
                load.fixed_mem_mib,
                mem.div_euclid(WINDOWS as i128).div_euclid(i128::from(PPM)),
            ),
        }
    }

    /// Memory between the mean and the peak of each window, in millionths of a MiB.
    fn between(&self, load: &Load) -> [i128; WINDOWS] {
        let share = i128::from(self.spec.mem_toward_peak_ppm);
        let rest = i128::from(PPM) - share;
        std::array::from_fn(|at| i128::from(load.mem_peak_mib[at]) * share + i128::from(load.mem_mean_mib[at]) * rest)
    }
}

/// `√((1 − rho) · Σvariance + rho · (Σdeviation)²)` in millionths of a CPU, rounded up.
fn joint_deviation(load: &Load, rho_ppm: i64) -> u128 {
    let [variance, deviation, rho, one] = [load.cpu_variance.max(0), load.cpu_deviation_micro.max(0), rho_ppm, PPM]
        .map(|part| u128::from(part.unsigned_abs()));
    // Variance is in milli², so a factor of a million makes it micro²; it cancels with the million of rho.
    let independent = variance.saturating_mul(one - rho);
    let common = (deviation.saturating_mul(deviation) / one).saturating_mul(rho);
    let square = independent.saturating_add(common);
    let root = square.isqrt();
    if root * root < square { root + 1 } else { root }
}

fn largest(windows: [i64; WINDOWS]) -> i64 {
    windows.into_iter().fold(i64::MIN, i64::max)
}

fn mean(windows: [i64; WINDOWS]) -> i64 {
    let sum: i128 = windows.into_iter().map(i128::from).sum();
    i64::try_from(sum.div_euclid(WINDOWS as i128)).unwrap_or(i64::MAX)
}

fn share_up(amount: i64, ppm: i64) -> i128 {
    -(-i128::from(amount) * i128::from(ppm)).div_euclid(i128::from(PPM))
}

fn share_down(amount: i64, ppm: i64) -> i128 {
    (i128::from(amount) * i128::from(ppm)).div_euclid(i128::from(PPM))
}

fn total(fixed: i64, measured: i128) -> i64 {
    i64::try_from(i128::from(fixed) + measured).unwrap_or(i64::MAX)
}

fn clamped(value: u128) -> i128 {
    i128::try_from(value).unwrap_or(i128::MAX).min(i128::from(i64::MAX))
}

impl TryFrom<UsageSpec> for UsageRule {
    type Error = PolicyError;

    fn try_from(spec: UsageSpec) -> Result<Self, PolicyError> {
        Self::new(spec)
    }
}

impl From<UsageRule> for UsageSpec {
    fn from(rule: UsageRule) -> Self {
        rule.spec
    }
}
