//! What a running process uses of its machine: a function of time since it started, within its limits.
//!
//! A trace is a list of steps, repeated for ever. Without one a process uses a small share of what it requests. Nothing is
//! sampled: use and the CPU time spent so far are computed when somebody asks. CPU is throttled at its limit; what
//! exceeds a memory limit is for the kubelet to end.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{controllers::Requests, dig::Dig};

/// For so many seconds: CPU in milli, memory in MiB.
pub type Step = (u64, u64, u64);
pub(crate) type Trace = Arc<[Step]>;

/// What a container uses at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    pub cpu_milli: u64,
    pub memory_bytes: u64,
    /// CPU time since the container started, in microseconds.
    pub cpu_micros: u64,
}

pub(super) struct Load {
    trace: Trace,
    /// How many microseconds a second of the trace lasts.
    second: u64,
    since: Timestamp,
    /// CPU time that was spent until a moment; later than that only the present trace and limits count.
    settled: (Timestamp, u64),
    cpu_limit: u64,
    pub memory_limit: u64,
    pub memory_request: u64,
}

const MIB: u64 = 1 << 20;

impl Load {
    pub fn new(resources: &Value, trace: Option<Trace>, now: Timestamp, second: Duration) -> Self {
        let second = u64::try_from(second.as_micros()).unwrap_or(u64::MAX).max(1);
        let (trace_of_none, unlimited) = (Trace::from([]), u64::MAX);
        let (settled, since) = ((now, 0), now);
        let mut load = Self {
            trace: trace_of_none,
            second,
            since,
            settled,
            cpu_limit: unlimited,
            memory_limit: unlimited,
            memory_request: 0,
        };
        load.change(resources, trace, now);
        load
    }

    /// From now on the process follows this trace within these resources; what it has spent, it has spent.
    pub fn change(&mut self, resources: &Value, trace: Option<Trace>, now: Timestamp) {
        self.settled = (now, self.spent(now));
        let amount = |side: &str| Requests::of_list(resources.at(side));
        let positive = |amount: i128| u64::try_from(amount).ok().filter(|amount| *amount > 0);
        let (requests, limits) = (amount("requests"), amount("limits"));
        self.cpu_limit = positive(limits.cpu).unwrap_or(u64::MAX);
        self.memory_limit = positive(limits.memory).unwrap_or(u64::MAX);
        self.memory_request = positive(requests.memory).unwrap_or(0);
        let idle = (1, positive(requests.cpu).unwrap_or(20) / 20, self.memory_request / 4 / MIB);
        self.trace = trace.filter(|trace| !trace.is_empty()).unwrap_or_else(|| Trace::from([idle]));
    }

    /// Whether use changes with time.
    pub fn varies(&self) -> bool {
        self.trace.len() > 1
    }

    pub fn usage(&self, now: Timestamp) -> Usage {
        let (step, _) = self.step(now);
        let (cpu_milli, memory) = (self.trace[step].1.min(self.cpu_limit), self.trace[step].2.saturating_mul(MIB));
        Usage { cpu_milli, memory_bytes: memory, cpu_micros: self.spent(now) }
    }

    /// When the next step of the trace begins.
    pub fn next_step(&self, now: Timestamp) -> Option<Timestamp> {
        self.varies().then(|| now + Duration::from_micros(self.step(now).1))
    }

    fn lasts(&self, step: usize) -> u64 {
        self.trace[step].0.max(1).saturating_mul(self.second)
    }

    fn period(&self) -> u64 {
        (0..self.trace.len()).map(|step| self.lasts(step)).fold(0, u64::saturating_add)
    }

    fn elapsed(&self, now: Timestamp) -> u64 {
        now.duration_since(self.since).as_micros().try_into().unwrap_or(0)
    }

    /// The step at a moment, and the microseconds that it still lasts.
    fn step(&self, now: Timestamp) -> (usize, u64) {
        let mut rest = self.elapsed(now) % self.period();
        for step in 0..self.trace.len() {
            match self.lasts(step).checked_sub(rest) {
                Some(left) if left > 0 => return (step, left),
                _ => rest -= self.lasts(step),
            }
        }
        (0, self.second)
    }

    fn spent(&self, now: Timestamp) -> u64 {
        let (from, before) = self.settled;
        before + self.burnt(self.elapsed(now)).saturating_sub(self.burnt(self.elapsed(from)))
    }

    /// The CPU time of a process that has followed the present trace for so many microseconds.
    fn burnt(&self, elapsed: u64) -> u64 {
        if self.trace.is_empty() {
            return 0;
        }
        let steps = || (0..self.trace.len()).map(|step| (self.lasts(step), self.trace[step].1.min(self.cpu_limit)));
        let (rounds, mut rest) = (elapsed / self.period(), elapsed % self.period());
        let mut burnt: u64 = steps().map(|(lasts, cpu)| (lasts * cpu).saturating_mul(rounds)).sum();
        for (lasts, cpu) in steps() {
            burnt += lasts.min(rest) * cpu;
            rest = rest.saturating_sub(lasts);
        }
        burnt / 1000
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_trace_repeats_within_the_limits() {
        let at = |second: i64| Timestamp::from_second(second).expect("a valid second");
        let resources = json!({"requests": {"cpu": "200m", "memory": "64Mi"}, "limits": {"cpu": "500m"}});
        let trace = Trace::from([(10, 100, 10), (10, 900, 30)]);
        let mut load = Load::new(&resources, Some(trace), at(100), Duration::from_secs(1));
        for (second, cpu_milli, mib, cpu_micros, next) in
            [(100, 100, 10, 0, 110), (110, 500, 30, 1_000_000, 120), (125, 100, 10, 6_500_000, 130)]
        {
            let memory_bytes = mib * MIB;
            assert_eq!(load.usage(at(second)), Usage { cpu_milli, memory_bytes, cpu_micros });
            assert_eq!(load.next_step(at(second)), Some(at(next)));
        }
        load.change(&json!({}), None, at(125));
        assert_eq!(load.usage(at(1125)), Usage { cpu_milli: 1, memory_bytes: 0, cpu_micros: 7_500_000 });
        assert_eq!(load.next_step(at(1125)), None);
    }
}
