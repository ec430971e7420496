//! Memory pods on a node: 1 GiB at most each, admitted by what they used, and never more than there is.
//!
//! GenTD26: the first half of the trace to the second, and the quarters one by one, where the fleet as a whole grows at
//! first. Bitbrains: a week to the next, of active memory, on 8 GiB.

#![allow(clippy::cast_precision_loss)] // Counts are far below 2^52.

use anyhow::Result;

use crate::baselines::{self, Baseline};
use crate::filling::{Outcomes, Policy, Resource, orders};
use crate::report::Report;
use crate::tasks::Context;
use crate::traces::{DAY_STEPS, FIVE_MINUTES, Row, Trace, generated, permille};
use crate::{data, engine, watch};

const LIMIT_MIB: i64 = 1024;
const METRIC: &str = "pods";
const MINUTE: i64 = 60;

struct Set {
    name: String,
    trace: Trace,
    /// GiB of the node, and what the issue asks for there.
    nodes: Vec<(i64, Option<f64>)>,
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for set in sets(context, report)? {
        for (gib, goal) in &set.nodes {
            measure(context, report, &set, *gib, *goal)?;
        }
    }
    Ok(())
}

/// GenTD26's first half to its second, in MiB of a limit of 1 GiB.
pub fn halves(path: &std::path::Path) -> Result<Trace> {
    let rows = permille(path)?;
    let steps = rows.iter().map(Vec::len).min().unwrap_or(0);
    Ok(mib(Trace::cut("GenTD26", &rows, MINUTE, [0, steps / 2, steps])))
}

fn sets(context: &Context, report: &mut Report) -> Result<Vec<Set>> {
    let Some(dir) = &context.data else {
        let rows = generated(context.seed, 200, 1440, MINUTE, true);
        return Ok(vec![Set {
            name: "generated, 12 h to 12 h".into(),
            trace: mib(Trace::cut("generated", &rows, MINUTE, [0, 720, 1440])),
            nodes: vec![(30, None)],
        }]);
    };
    let mut sets = Vec::new();
    for path in data::find(dir, "gentd26_", ".csv.gz")? {
        sets.push(Set {
            name: "GenTD26, first half to second".into(),
            trace: halves(&path)?,
            nodes: vec![(30, Some(59.0)), (60, None)],
        });
        let rows = permille(&path)?;
        let quarter = rows.iter().map(Vec::len).min().unwrap_or(0) / 4;
        for at in 1..4 {
            sets.push(Set {
                name: format!("GenTD26, quarter {at} to {}", at + 1),
                trace: mib(Trace::cut(
                    "GenTD26",
                    &rows,
                    MINUTE,
                    [at - 1, at, at + 1].map(|part| part * quarter),
                )),
                nodes: vec![(30, None)],
            });
        }
    }
    for path in data::find(dir, "bitbrains_", "_mem_permille.csv.gz")? {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let file = file.trim_end_matches("_mem_permille.csv.gz").replace('_', " ");
        let rows: Vec<Row> = permille(&path)?;
        let week = 7 * DAY_STEPS;
        sets.push(Set {
            name: format!("{file}, week 1 to week 2"),
            trace: mib(Trace::cut(&file, &rows, FIVE_MINUTES, [0, week, 2 * week])),
            nodes: vec![(8, None)],
        });
    }
    sets.retain(|set| set.trace.past.len() >= 80);
    if sets.is_empty() {
        report.skip("memory: no gentd26_*.csv.gz, no bitbrains_*_mem_permille.csv.gz");
    }
    Ok(sets)
}

/// From thousandths of the limit.
fn mib(trace: Trace) -> Trace {
    let scaled = |rows: Vec<Vec<i64>>| -> Vec<Vec<i64>> {
        let scale = |value: i64| (value * LIMIT_MIB + 500) / 1000;
        rows.into_iter()
            .map(|row| row.into_iter().map(scale).collect())
            .collect()
    };
    Trace {
        past: scaled(trace.past),
        future: scaled(trace.future),
        ..trace
    }
}

fn measure(context: &Context, report: &mut Report, set: &Set, gib: i64, goal: Option<f64>) -> Result<()> {
    let (trace, capacity) = (&set.trace, gib * 1024);
    let data = format!("{}, {gib} GiB", set.name);
    let orders = orders(trace, if context.quick { 50 } else { 400 }, context.seed);
    let rule = engine::base(trace)?;
    let mut policies = vec![Policy::Engine {
        loads: engine::memory_loads(trace, &rule),
        rule,
        resource: Resource::Memory,
    }];
    policies.extend(compared(trace).into_iter().map(Policy::Baseline));
    for policy in &policies {
        let (began, mut outcomes) = (watch::start(), Outcomes::default());
        outcomes.run(policy, trace, capacity, &orders);
        let mut figure = outcomes.figure("memory", &data, policy.name(), METRIC, 1.0, Resource::Memory);
        figure.goal = goal.filter(|_| policy.name() == "lumbung");
        (figure.seed, figure.seconds) = (context.seed, began.elapsed().as_secs_f64());
        report.add(figure);
    }
    Ok(())
}

fn compared(trace: &Trace) -> Vec<Baseline> {
    let limit = LIMIT_MIB as f64;
    vec![
        baselines::fixed("limits", trace, limit),
        baselines::fixed("requests (static 2:1)", trace, limit / 2.0),
        baselines::rc_like("RC-like p99", trace, 0.99),
        baselines::n_sigma("N-sigma 3", trace, 3.0, limit),
        baselines::n_sigma("N-sigma 5", trace, 5.0, limit),
        baselines::gauss_corr("gauss-corr z4", trace, 4.0),
        baselines::machine_maximum("machine maximum", trace),
        baselines::sum_of_peaks("sum of peaks", trace, 1.0),
        baselines::sum_of_peaks("sum of peaks + 2 %", trace, 1.02),
    ]
}
