//! What a run takes of the machine: wall-clock time, and memory. Benchmarks are where the ambient clock is wanted.

use std::time::{Duration, Instant};

#[allow(clippy::disallowed_methods)] // Nothing here decides by the time.
pub fn start() -> Instant {
    Instant::now()
}

/// What a process (`self`, or its number) keeps in memory now, in KiB; nothing where the kernel does not say.
pub fn resident_kib(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// How long one kind of call took, in microseconds, sorted.
#[derive(Clone, Debug, Default)]
pub struct Timing(Vec<u64>);

impl Timing {
    pub fn of(samples: impl IntoIterator<Item = Duration>) -> Self {
        let micros = |sample: Duration| u64::try_from(sample.as_micros()).unwrap_or(u64::MAX);
        let mut samples: Vec<u64> = samples.into_iter().map(micros).collect();
        samples.sort_unstable();
        Self(samples)
    }

    /// The value that `percent` of the samples do not exceed (nearest rank).
    pub fn quantile(&self, percent: usize) -> u64 {
        let rank = (self.0.len() * percent).div_ceil(100).clamp(1, self.0.len().max(1));
        self.0.get(rank - 1).copied().unwrap_or(0)
    }
}
