//! Time, memory, and timings as they are printed.

use std::fmt;
use std::time::{Duration, Instant};

/// Real time that passes.
pub struct Watch(Instant);

#[allow(clippy::disallowed_methods, reason = "a bench measures real time")]
impl Watch {
    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Durations of one kind of call, sorted.
pub struct Timings(Vec<Duration>);

impl Timings {
    pub fn of(mut samples: Vec<Duration>) -> Self {
        samples.sort_unstable();
        Self(samples)
    }

    /// What `percent` of the samples do not exceed (nearest rank).
    fn quantile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len().max(1));
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    pub fn over(&self, other: &Self) -> f64 {
        self.quantile(50).as_secs_f64() / other.quantile(50).as_secs_f64()
    }
}

impl fmt::Display for Timings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "median {:?}, 99 % within {:?}", self.quantile(50), self.quantile(99))
    }
}

/// The resident memory of this process.
pub fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}
