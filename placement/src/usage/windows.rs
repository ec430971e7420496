//! What is kept per window of the day: decayed sums of CPU samples, and the peak of memory.

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;

/// A sample counts so much when it is new, so that fading by sixteenths leaves whole numbers behind.
pub(super) const WEIGHT: i64 = 256;

/// CPU samples of one window. At each new day what was there loses a sixteenth: half is gone after eleven days, which
/// keeps a week's pattern and forgets last month's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CpuWindow {
    day: i64,
    /// Sums over the samples, weighted: of ones, of milli-CPU, of their squares.
    pub count: i64,
    pub sum: i64,
    pub squares: i64,
    pub histogram: Histogram,
}

impl CpuWindow {
    pub fn observe(&mut self, day: i64, milli: i64) {
        // After a hundred days even the largest count is below one percent.
        for _ in 0..(day - self.day).clamp(0, 100) {
            if self.count == 0 {
                break;
            }
            for sum in [&mut self.count, &mut self.sum, &mut self.squares] {
                *sum -= *sum / 16;
            }
            self.histogram.fade();
        }
        self.day = day;
        self.count = self.count.saturating_add(WEIGHT);
        self.sum = self.sum.saturating_add(WEIGHT * milli);
        self.squares = self.squares.saturating_add(WEIGHT * milli * milli);
        self.histogram.add(milli, WEIGHT.unsigned_abs());
    }

    /// Squared deviations from the window's mean, summed over the weighted samples.
    pub fn scatter(&self) -> i128 {
        if self.count == 0 {
            return 0;
        }
        let [count, sum, squares] = [self.count, self.sum, self.squares].map(i128::from);
        (squares - sum * sum / count).max(0)
    }
}

/// Memory samples of one window: a mean that fades as the CPU's does, and the peak. What earlier days reached beyond the latest one loses half of that excess every day:
/// a nightly backup keeps its height, last week's accident fades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MemWindow {
    day: i64,
    seen: bool,
    latest: i64,
    earlier: i64,
    /// Weighted sums over the samples: of ones, of MiB.
    pub count: i64,
    pub sum: i64,
}

impl MemWindow {
    pub fn observe(&mut self, day: i64, mib: i64) {
        if self.seen && day > self.day {
            let excess = (self.earlier - self.latest).max(0);
            let days = u32::try_from(day - self.day).unwrap_or(u32::MAX).min(62);
            self.earlier = self.latest + (excess >> days);
            self.latest = 0;
            for _ in 0..days {
                self.count -= self.count / 16;
                self.sum -= self.sum / 16;
            }
        }
        self.day = day;
        self.seen = true;
        self.latest = self.latest.max(mib);
        self.count = self.count.saturating_add(WEIGHT);
        self.sum = self.sum.saturating_add(WEIGHT * mib);
    }

    /// It would have used more than was seen.
    pub fn raise(&mut self, mib: i64) {
        self.seen = true;
        self.latest = self.latest.max(mib);
    }

    pub fn peak(&self) -> Option<i64> {
        self.seen.then(|| self.latest.max(self.earlier))
    }
}
