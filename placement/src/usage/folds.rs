//! A fleet's past, cut into what a rule may learn from and what it is then judged on.

use super::load::{Load, WINDOWS};
use super::rule::{CpuRule, Predicted, UsageRule};
use super::summary::{Promise, Summary, place};
use crate::PPM;

/// CPU use of a fleet: one row per workload, all of one length, one sample per step. Gaps are filled by the caller
/// (with the sample before), and workloads that were there for only a part are left out by it.
#[derive(Clone, Copy, Debug)]
pub struct History<'a> {
    /// Unix time of the first sample: the windows of the day depend on it.
    pub start_seconds: i64,
    pub step_seconds: i64,
    pub cpu_milli: &'a [Vec<i64>],
}

impl History<'_> {
    /// Samples per workload: of the shortest row, should they differ.
    pub fn len(&self) -> usize {
        self.cpu_milli.iter().map(Vec::len).min().unwrap_or(0)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn at(&self, slot: usize) -> i64 {
        let slot = i64::try_from(slot).unwrap_or(i64::MAX);
        self.start_seconds
            .saturating_add(slot.saturating_mul(self.step_seconds))
    }

    /// What each workload's samples before `until` make of it.
    pub(super) fn loads(&self, rule: &UsageRule, until: usize) -> Vec<Load> {
        let promise = Promise {
            cpu_request_milli: 0,
            cpu_limit_milli: 0,
            mem_mib: 0,
        };
        let load = |row: &Vec<i64>| {
            let mut summary = Summary::default();
            for (slot, milli) in row.iter().take(until).enumerate() {
                summary.observe(self.at(slot), *milli, 0);
            }
            summary.load(rule, self.at(until.saturating_sub(1)), promise)
        };
        self.cpu_milli.iter().map(load).collect()
    }

    /// The mean correlation between two workloads up to `until`, around their window means: what the variance of the
    /// fleet's sum has beyond the sum of variances, as a share of the most that it could have.
    pub(super) fn correlation_ppm(&self, loads: &[Load], until: usize) -> i64 {
        let sum = loads.iter().fold(Load::default(), |sum, load| sum.plus(*load));
        // Micro-CPU squared.
        let independent = i128::from(sum.cpu_variance) * 1_000_000;
        let most = i128::from(sum.cpu_deviation_micro).pow(2) - independent;
        let common = self.variance_of_sum(until).saturating_mul(1_000_000) - independent;
        let share = common.max(0).saturating_mul(i128::from(PPM)) / most.max(1);
        i64::try_from(share.clamp(0, i128::from(PPM))).unwrap_or(PPM)
    }

    /// Variance of the fleet's total around its window means, in milli-CPU squared.
    fn variance_of_sum(&self, until: usize) -> i128 {
        let mut windows = [(0_i128, 0_i128, 0_i128); WINDOWS];
        for slot in 0..until.min(self.len()) {
            let total: i128 = self.cpu_milli.iter().map(|row| i128::from(row[slot])).sum();
            let (_, window) = place(self.at(slot));
            let (count, sum, squares) = &mut windows[window];
            *count += 1;
            *sum += total;
            *squares += total * total;
        }
        let counted: i128 = windows.iter().map(|window| window.0).sum();
        let scatter: i128 = windows
            .iter()
            .filter(|window| window.0 > 0)
            .map(|(count, sum, squares)| squares - sum * sum / count)
            .sum();
        scatter / counted.max(1)
    }
}

/// A node stops being filled after so many refusals: one large workload does not end it, the next may be small.
pub(super) const REFUSALS: usize = 10;
/// Fillings per fold.
const FILLINGS: u64 = 40;

/// Learned from the beginning, judged on what follows.
pub(super) struct Fold<'a> {
    loads: Vec<Load>,
    correlation_ppm: i64,
    judged: Vec<&'a [i64]>,
    orders: Vec<Vec<usize>>,
}

/// How one rule did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Score {
    pub fillings: i64,
    pub pods: i64,
    /// Share of steps over capacity, in ppm, summed over the fillings.
    pub over_ppm: i64,
    /// Fillings with more than one percent of their steps over capacity.
    pub bad: i64,
    /// Fillings that ran out of workloads before the rule refused.
    pub unfilled: i64,
}

impl<'a> Fold<'a> {
    pub fn new(history: &History<'a>, rule: &UsageRule, learned: usize, until: usize) -> Self {
        let loads = history.loads(rule, learned);
        Self {
            correlation_ppm: history.correlation_ppm(&loads, learned),
            loads,
            judged: history.cpu_milli.iter().map(|row| &row[learned..until]).collect(),
            orders: (0..FILLINGS)
                .map(|filling| order(filling, history.cpu_milli.len()))
                .collect(),
        }
    }

    /// Fills node after node by the rule and looks at what would have happened.
    pub fn judge(&self, rule: &UsageRule, capacity_milli: i64) -> Score {
        let rule = match rule.spec().cpu {
            CpuRule::Gaussian { z_milli, .. } => rule.with_cpu(CpuRule::Gaussian {
                z_milli,
                rho_ppm: self.correlation_ppm,
            }),
            CpuRule::Quantile { .. } => Ok(*rule),
        };
        let mut score = Score::default();
        let Ok(rule) = rule else { return score };
        for order in &self.orders {
            let (taken, refused) = self.fill(&rule, capacity_milli, order);
            let over = self.over_ppm(&taken, capacity_milli);
            score.fillings += 1;
            score.pods += i64::try_from(taken.len()).unwrap_or(i64::MAX);
            score.over_ppm += over;
            score.bad += i64::from(over > PPM / 100);
            score.unfilled += i64::from(refused < REFUSALS);
        }
        score
    }

    fn fill(&self, rule: &UsageRule, capacity_milli: i64, order: &[usize]) -> (Vec<usize>, usize) {
        let room = Predicted {
            cpu_milli: capacity_milli,
            mem_mib: 0,
        };
        let (mut sum, mut taken, mut refused) = (Load::default(), Vec::new(), 0);
        for workload in order {
            let next = sum.plus(self.loads[*workload]);
            if rule.predict(&next).within(room) {
                sum = next;
                taken.push(*workload);
            } else {
                refused += 1;
                if refused == REFUSALS {
                    break;
                }
            }
        }
        (taken, refused)
    }

    fn over_ppm(&self, taken: &[usize], capacity_milli: i64) -> i64 {
        let steps = self.judged.first().map_or(0, |row| row.len());
        let mut sums = vec![0_i64; steps];
        for workload in taken {
            for (sum, milli) in sums.iter_mut().zip(self.judged[*workload]) {
                *sum += milli;
            }
        }
        let over = sums.iter().filter(|sum| **sum > capacity_milli).count();
        let [over, steps] = [over, steps.max(1)].map(|count| i64::try_from(count).unwrap_or(i64::MAX));
        over.saturating_mul(PPM) / steps
    }
}

/// The workloads in an order that differs from filling to filling, and is the same every time: sorted by a mixed number
/// (the finaliser of SplitMix64).
fn order(filling: u64, count: usize) -> Vec<usize> {
    let mixed = |workload: usize| {
        let mut z = (filling << 32 | workload as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31), workload)
    };
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by_cached_key(|workload| mixed(*workload));
    order
}
