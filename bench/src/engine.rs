//! The engine's side of the usage tasks: summaries fed sample by sample, loads, and a rule calibrated on the past.

use anyhow::{Result, anyhow};
use placement::Load;
use placement::usage::{History, Promise, Summary, UsageRule, UsageSpec, calibrate};

use crate::traces::Trace;

/// The default pod of the first user.
pub const PROMISE: Promise = Promise {
    cpu_request_milli: 250,
    cpu_limit_milli: 1_000,
    mem_mib: 1_024,
};

/// The default rule with both lines at the whole node, as the rules that it is compared with have them. Samples of a
/// trace come at its own pace, so nothing of it is stale.
pub fn base(trace: &Trace) -> Result<UsageRule> {
    UsageRule::new(UsageSpec {
        cpu_line_ppm: 1_000_000,
        mem_line_ppm: 1_000_000,
        stale_after_seconds: 2 * trace.step_seconds,
        ..UsageSpec::default()
    })
    .map_err(|error| anyhow!("{error}"))
}

/// Calibrated on the CPU's past for nodes of this size.
pub fn calibrated(trace: &Trace, capacity_milli: i64) -> Result<UsageRule> {
    let history = History {
        start_seconds: trace.start_seconds,
        step_seconds: trace.step_seconds,
        cpu_milli: &trace.past,
    };
    Ok(calibrate(&base(trace)?, &history, capacity_milli).rule)
}

/// Each workload's load from its past CPU.
pub fn cpu_loads(trace: &Trace, rule: &UsageRule) -> Vec<Load> {
    loads(trace, rule, |summary, at, value| summary.observe(at, value, 0))
}

/// Each workload's load from its past memory.
pub fn memory_loads(trace: &Trace, rule: &UsageRule) -> Vec<Load> {
    loads(trace, rule, |summary, at, value| summary.observe(at, 0, value))
}

fn loads(trace: &Trace, rule: &UsageRule, observe: impl Fn(&mut Summary, i64, i64)) -> Vec<Load> {
    let load = |row: &Vec<i64>| {
        let (mut summary, mut at) = (Summary::default(), trace.start_seconds);
        for value in row {
            observe(&mut summary, at, *value);
            at += trace.step_seconds;
        }
        summary.load(rule, trace.end_seconds(), PROMISE)
    };
    trace.past.iter().map(load).collect()
}
