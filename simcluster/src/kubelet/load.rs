//! What a running process uses of its machine: a function of time since it started, within its limits.
//!
//! A trace is a list of steps, repeated for ever. Without one a process uses a small share of what it requests. Nothing
//! is sampled: use, and the CPU time spent so far, are computed when somebody asks. CPU is throttled at its limit.

use super::prelude::*;

/// For so many seconds: CPU in milli, memory in MiB.
pub type Step = (u64, u64, u64);

pub(super) struct Load {
    /// Never empty, no step without length.
    trace: Vec<Step>,
    second: Duration,
    /// Since when this trace is followed within these limits, and the CPU time that was spent before.
    since: Timestamp,
    spent: u64,
    cpu_limit: u64,
    pub memory_limit: u64,
}

impl Load {
    pub fn new(resources: &Value, trace: Option<Vec<Step>>, now: Timestamp, second: Duration) -> Self {
        let amount = |side: &str| Requests::of_list(resources.at(side)).0.map(i64::unsigned_abs);
        let ([_, cpu_request, memory_request, _], [_, cpu, memory, _]) = (amount("requests"), amount("limits"));
        let limit = |amount: u64| if amount == 0 { u64::MAX } else { amount };
        let idle = || vec![(1, cpu_request / 20, (memory_request / 4) >> 20)];
        let sound = |trace: &Vec<Step>| !trace.is_empty() && trace.iter().all(|step| step.0 > 0);
        Self {
            trace: trace.filter(sound).unwrap_or_else(idle),
            second: second.max(Duration::from_micros(1)),
            since: now,
            spent: 0,
            cpu_limit: limit(cpu),
            memory_limit: limit(memory),
        }
    }

    /// From now on the process follows this trace within these resources; what it has spent, it has spent.
    pub fn follow(&mut self, resources: &Value, trace: Option<Vec<Step>>, now: Timestamp) {
        let next = Self::new(resources, trace, now, self.second);
        let limits = |load: &Self| (load.cpu_limit, load.memory_limit);
        if next.trace != self.trace || limits(&next) != limits(self) {
            *self = Self { spent: self.cpu_micros(now), ..next };
        }
    }

    /// In bytes.
    pub fn memory(&self, now: Timestamp) -> u64 {
        self.step(now).0.2 << 20
    }

    /// When the next step of the trace begins.
    pub fn next_step(&self, now: Timestamp) -> Option<Timestamp> {
        (self.trace.len() > 1).then(|| now + Duration::from_micros(self.step(now).1))
    }

    /// How long each step lasts (in microseconds), how often the trace has been gone through, and what is left of `at`.
    fn place(&self, at: Timestamp) -> (impl Iterator<Item = (u64, Step)>, u64, u64) {
        let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let second = micros(self.second);
        let steps = self.trace.iter().map(move |step| (step.0.saturating_mul(second), *step));
        let (period, elapsed) = (steps.clone().map(|step| step.0).sum::<u64>(), at.duration_since(self.since));
        let elapsed = micros(elapsed.try_into().unwrap_or_default());
        (steps, elapsed / period, elapsed % period)
    }

    /// The step at a moment, and for how many microseconds it goes on.
    fn step(&self, at: Timestamp) -> (Step, u64) {
        let (steps, _, mut rest) = self.place(at);
        for (lasts, step) in steps {
            if rest < lasts {
                return (step, lasts - rest);
            }
            rest -= lasts;
        }
        (self.trace[0], 1)
    }

    /// CPU time since the container started.
    pub fn cpu_micros(&self, now: Timestamp) -> u64 {
        let (steps, rounds, mut rest) = self.place(now);
        let mut spent = self.spent;
        for (lasts, (_, cpu, _)) in steps {
            spent += (lasts * rounds + lasts.min(rest)).saturating_mul(cpu.min(self.cpu_limit)) / 1000;
            rest = rest.saturating_sub(lasts);
        }
        spent
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
        let trace = vec![(10, 100, 10), (10, 900, 30)];
        let mut load = Load::new(&resources, Some(trace), at(100), Duration::from_secs(1));
        let shown = |load: &Load, second: i64| {
            let now = at(second);
            (load.memory(now) >> 20, load.cpu_micros(now), load.next_step(now).map(Timestamp::as_second))
        };
        assert_eq!(shown(&load, 100), (10, 0, Some(110)));
        assert_eq!(shown(&load, 110), (30, 1_000_000, Some(120)));
        assert_eq!(shown(&load, 125), (10, 6_500_000, Some(130)));
        load.follow(&resources, None, at(125));
        assert_eq!(shown(&load, 225), (16, 7_500_000, None));
    }
}
