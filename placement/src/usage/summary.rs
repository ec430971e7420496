//! What is remembered of one workload's use: constant space, constant time per sample, serialisable.
//!
//! A sample that is older than the latest one is left out, so replaying a stretch of metrics changes nothing.

use serde::{Deserialize, Serialize};

use super::histogram::{LARGEST_MILLI, percentile_micro};
use super::load::{Load, WINDOWS};
use super::rule::UsageRule;
use super::windows::{CpuWindow, MemWindow, WEIGHT};
use crate::Resources;

const DAY: i64 = 86_400;
const WINDOW: i64 = DAY / 6;
const _: () = assert!(WINDOWS == 6, "the windows fill the day");
/// With fewer samples a window says less about itself than the rest of the day does.
const FEW: i64 = 12 * WEIGHT;
const HIGH_PPM: i64 = 950_000;

/// What the plan promises, for the time in which nothing better is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promise {
    pub cpu_request_milli: i64,
    /// Zero is no limit.
    pub cpu_limit_milli: i64,
    /// The limit, or a percentile over the plan's other workloads if the caller keeps one.
    pub mem_mib: i64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    samples: i64,
    first_at: i64,
    last_at: i64,
    cpu: [CpuWindow; WINDOWS],
    mem: [MemWindow; WINDOWS],
}

impl Summary {
    /// A sample: the mean CPU and the memory of the moment, at a Unix time.
    pub fn observe(&mut self, at_seconds: i64, cpu_milli: i64, mem_mib: i64) {
        if self.samples > 0 && at_seconds <= self.last_at {
            return;
        }
        if self.samples == 0 {
            self.first_at = at_seconds;
        }
        self.samples = self.samples.saturating_add(1);
        self.last_at = at_seconds;
        let (day, window) = place(at_seconds);
        self.cpu[window].observe(day, cpu_milli.clamp(0, LARGEST_MILLI));
        self.mem[window].observe(day, mem_mib.clamp(0, Resources::MAX_AMOUNT));
    }

    /// The workload was killed for its memory: it would have used more than was seen, at whatever hour it tries again.
    /// VPA's recommender bumps by the same amounts.
    pub fn out_of_memory(&mut self, limit_mib: i64) {
        let wanted = (limit_mib.saturating_mul(6) / 5).max(limit_mib.saturating_add(100));
        for window in &mut self.mem {
            window.raise(wanted);
        }
    }

    /// Seconds since the last sample; none without one.
    pub fn age(&self, now_seconds: i64) -> Option<i64> {
        (self.samples > 0).then(|| now_seconds.saturating_sub(self.last_at))
    }

    /// Whether the rule relies on what was measured.
    pub fn usable(&self, rule: &UsageRule, now_seconds: i64) -> bool {
        let spec = rule.spec();
        self.samples >= spec.min_samples
            && self.last_at.saturating_sub(self.first_at) >= spec.min_history_seconds
            && self.age(now_seconds).is_some_and(|age| age <= spec.stale_after_seconds)
    }

    /// What to expect of the workload: as measured, or as promised if too little or nothing recent was. CPU beyond the
    /// limit was an artefact of measuring.
    pub fn load(&self, rule: &UsageRule, now_seconds: i64, promise: Promise) -> Load {
        if !self.usable(rule, now_seconds) {
            return Load::cold(promise.cpu_request_milli, promise.mem_mib);
        }
        let most = match promise.cpu_limit_milli {
            ..=0 => i64::MAX,
            limit => limit.saturating_mul(1_000),
        };
        let variance = self.variance();
        let (mean, high) = self.cpu_windows();
        Load {
            fixed_cpu_milli: 0,
            fixed_mem_mib: 0,
            cpu_mean_micro: mean.map(|micro| micro.min(most)),
            cpu_high_micro: high.map(|micro| micro.min(most)),
            cpu_variance: whole(variance.div_ceil(1_000_000)),
            cpu_deviation_micro: whole(variance.isqrt()),
            mem_mean_mib: self.mem_means(),
            mem_peak_mib: self.mem_peaks(),
        }
    }

    /// Around the window means, over all windows, in micro-CPU squared.
    fn variance(&self) -> u128 {
        let count: i128 = self.cpu.iter().map(|window| i128::from(window.count)).sum();
        let scatter: i128 = self.cpu.iter().map(CpuWindow::scatter).sum();
        (scatter * 1_000_000 / count.max(1)).unsigned_abs()
    }

    /// Mean and high percentile per window. A window with hardly a sample is taken as the whole day is.
    fn cpu_windows(&self) -> ([i64; WINDOWS], [i64; WINDOWS]) {
        let [count, sum] = [
            self.cpu.iter().map(|window| i128::from(window.count)).sum::<i128>(),
            self.cpu.iter().map(|window| i128::from(window.sum)).sum::<i128>(),
        ];
        let micro = |sum: i128, count: i128| whole((sum * 1_000 / count.max(1)).unsigned_abs());
        let day = (
            micro(sum, count),
            percentile_micro(self.cpu.iter().map(|window| &window.histogram), HIGH_PPM),
        );
        let each = self.cpu.each_ref().map(|window| {
            if window.count < FEW {
                return day;
            }
            let mean = micro(i128::from(window.sum), i128::from(window.count));
            (mean, percentile_micro([&window.histogram].into_iter(), HIGH_PPM))
        });
        (each.map(|window| window.0), each.map(|window| window.1))
    }

    fn mem_means(&self) -> [i64; WINDOWS] {
        let mean = |sum: i64, count: i64| sum.saturating_add(count / 2) / count.max(1);
        let total = |of: fn(&MemWindow) -> i64| self.mem.iter().map(of).fold(0_i64, i64::saturating_add);
        let day = mean(total(|window| window.sum), total(|window| window.count));
        self.mem.each_ref().map(|window| {
            if window.count < FEW {
                day
            } else {
                mean(window.sum, window.count)
            }
        })
    }

    /// Peak per window; one that was never seen is taken as the mean of those that were.
    fn mem_peaks(&self) -> [i64; WINDOWS] {
        let seen = || self.mem.iter().filter_map(MemWindow::peak);
        let count = i64::try_from(seen().count()).unwrap_or(1).max(1);
        let usual = seen().fold(0_i64, i64::saturating_add) / count;
        self.mem.each_ref().map(|window| window.peak().unwrap_or(usual))
    }
}

/// Day and window of a Unix time.
pub(super) fn place(at_seconds: i64) -> (i64, usize) {
    let window = at_seconds.rem_euclid(DAY) / WINDOW;
    (at_seconds.div_euclid(DAY), usize::try_from(window).unwrap_or(0))
}

fn whole(value: u128) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
