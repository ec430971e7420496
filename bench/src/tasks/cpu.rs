//! CPU pods per thread: nodes filled by what their workloads used before, judged on what they used afterwards.
//!
//! PlanetLab: twelve hours to the next twelve, every day of the file, and one day to the next where the same machines
//! were seen again within three days. Bitbrains: a week to the next. Every pod has a limit of one CPU.

#![allow(clippy::cast_precision_loss)] // Threads and counts are far below 2^52.

use anyhow::Result;

use crate::baselines::{self, Baseline};
use crate::filling::{Outcome, Outcomes, Policy, Resource, orders, over};
use crate::report::Report;
use crate::tasks::Context;
use crate::traces::{DAY_STEPS, Day, FIVE_MINUTES, Row, Trace, generated, permille, planetlab};
use crate::{data, engine, watch};

const LIMIT: f64 = 1000.0;
const METRIC: &str = "pods per thread";
const WEEK: usize = 7 * DAY_STEPS;

/// Traces that are reported together: fillings of all of them are one population of nodes.
struct Set {
    name: String,
    traces: Vec<Trace>,
    threads: Vec<i64>,
    goal: Option<f64>,
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for set in sets(context, report)? {
        for (at, threads) in set.threads.iter().enumerate() {
            let goal = set.goal.filter(|_| at == 0);
            measure(context, report, &set, *threads, goal)?;
        }
    }
    Ok(())
}

fn sets(context: &Context, report: &mut Report) -> Result<Vec<Set>> {
    let Some(dir) = &context.data else {
        let rows = generated(context.seed, 400, 4 * DAY_STEPS, FIVE_MINUTES, false);
        let trace = Trace::cut("generated", &rows, FIVE_MINUTES, [0, 2 * DAY_STEPS, 4 * DAY_STEPS]);
        return Ok(vec![Set {
            name: "generated, two days to two days".into(),
            traces: vec![trace],
            threads: vec![16, 8],
            goal: None,
        }]);
    };
    let mut sets = Vec::new();
    for path in data::find(dir, "planetlab_cpu", ".csv.gz")? {
        planetlab_sets(&planetlab(&path)?, &mut sets);
    }
    for path in data::find(dir, "bitbrains_", "_cpu_permille.csv.gz")? {
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let file = file.trim_end_matches("_cpu_permille.csv.gz").replace('_', " ");
        bitbrains_sets(&file, &permille(&path)?, &mut sets);
    }
    sets.retain(|set| !set.traces.is_empty());
    if sets.is_empty() {
        report.skip("cpu: no planetlab_cpu.csv.gz, no bitbrains_*_cpu_permille.csv.gz");
    }
    Ok(sets)
}

fn planetlab_sets(days: &[Day], sets: &mut Vec<Set>) {
    let halves = |day: &Day| {
        let rows: Vec<Row> = day.rows.values().cloned().collect();
        Trace::cut(&day.date, &rows, FIVE_MINUTES, [0, DAY_STEPS / 2, DAY_STEPS])
    };
    sets.push(Set {
        name: "PlanetLab, 12 h to 12 h".into(),
        traces: enough(days.iter().map(halves)),
        threads: vec![16, 8, 24],
        goal: Some(6.8),
    });
    let close = |pair: &&[Day]| days_between(&pair[0].date, &pair[1].date).is_some_and(|days| (1..=3).contains(&days));
    sets.push(Set {
        name: "PlanetLab, day to a day within three".into(),
        traces: enough(
            days.windows(2)
                .filter(close)
                .map(|pair| Trace::next_day(&pair[0], &pair[1])),
        ),
        threads: vec![16],
        goal: Some(6.8),
    });
}

fn bitbrains_sets(file: &str, rows: &[Row], sets: &mut Vec<Set>) {
    let steps = rows.iter().map(Vec::len).min().unwrap_or(0);
    for week in 1..steps / WEEK {
        let cut = [week - 1, week, week + 1].map(|weeks| weeks * WEEK);
        sets.push(Set {
            name: format!("{file}, week {week} to week {}", week + 1),
            traces: enough([Trace::cut(file, rows, FIVE_MINUTES, cut)].into_iter()),
            threads: if week == 1 { vec![16, 8] } else { vec![16] },
            goal: Some(7.5),
        });
    }
}

/// Fewer workloads do not fill the larger nodes.
fn enough(traces: impl Iterator<Item = Trace>) -> Vec<Trace> {
    traces.filter(|trace| trace.past.len() >= 300).collect()
}

/// Between two dates written as 20110303, within one month or into the next.
fn days_between(first: &str, second: &str) -> Option<i64> {
    let number = |date: &str| {
        let part = |range: std::ops::Range<usize>| date.get(range)?.parse::<i64>().ok();
        let (year, month, day) = (part(0..4)?, part(4..6)?, part(6..8)?);
        // Days since a March, by the months' lengths that repeat from there.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        Some(year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day)
    };
    Some(number(second)? - number(first)?)
}

fn measure(context: &Context, report: &mut Report, set: &Set, threads: i64, goal: Option<f64>) -> Result<()> {
    let per_trace = if context.quick { 20 } else { 100 };
    let (capacity, unit) = (threads * 1000, threads as f64);
    let data = format!("{}, {threads} threads", set.name);
    let orders: Vec<Vec<Vec<usize>>> = (context.seed..)
        .zip(&set.traces)
        .map(|(seed, trace)| orders(trace, per_trace, seed))
        .collect();

    let (began, mut ours) = (watch::start(), Outcomes::default());
    for (trace, orders) in set.traces.iter().zip(&orders) {
        let rule = engine::calibrated(trace, capacity)?;
        let policy = Policy::Engine {
            loads: engine::cpu_loads(trace, &rule),
            rule,
            resource: Resource::Cpu,
        };
        ours.run(&policy, trace, capacity, orders);
    }
    let mut figure = ours.figure("cpu", &data, "lumbung", METRIC, unit, Resource::Cpu);
    (figure.goal, figure.seed, figure.seconds) = (goal, context.seed, began.elapsed().as_secs_f64());
    report.add(figure);

    let policies: Vec<Vec<Policy>> = set.traces.iter().map(|trace| compared(trace, threads)).collect();
    for at in 0..policies.first().map_or(0, Vec::len) {
        let (began, mut outcomes) = (watch::start(), Outcomes::default());
        for ((trace, orders), policies) in set.traces.iter().zip(&orders).zip(&policies) {
            outcomes.run(&policies[at], trace, capacity, orders);
        }
        let name = policies[0][at].name();
        let mut figure = outcomes.figure("cpu", &data, name, METRIC, unit, Resource::Cpu);
        (figure.seed, figure.seconds) = (context.seed, began.elapsed().as_secs_f64());
        report.add(figure);
    }
    let outcome = best_static(&set.traces, &orders, capacity);
    let both = Outcomes {
        full: outcome,
        first: outcome,
    };
    let mut figure = both.figure("cpu", &data, "best static, in hindsight", METRIC, unit, Resource::Cpu);
    figure.seed = context.seed;
    report.add(figure);
    Ok(())
}

fn compared(trace: &Trace, threads: i64) -> Vec<Policy> {
    let ratio = |name: &str, ratio: i64| {
        // Whole pods per node, so that 7:1 is not refused for a fraction of a milli-CPU.
        let each = (threads * 1000) as f64 / (threads * ratio) as f64;
        baselines::fixed(name, trace, each * (1.0 - 1e-9))
    };
    let rules: Vec<Baseline> = vec![
        baselines::fixed("limits", trace, LIMIT),
        ratio("static 4:1", 4),
        ratio("static 6:1", 6),
        ratio("static 7:1", 7),
        baselines::rc_like("RC-like p90", trace, 0.90),
        baselines::rc_like("RC-like p99", trace, 0.99),
        baselines::n_sigma("N-sigma 3", trace, 3.0, LIMIT),
        baselines::n_sigma("N-sigma 5", trace, 5.0, LIMIT),
        baselines::rc_or_sigma("max(RC p80, N-sigma 3)", trace, LIMIT),
        baselines::gauss_corr("gauss-corr z3", trace, 3.0),
        baselines::gauss_corr("gauss-corr z4", trace, 4.0),
        baselines::window_p95("window p95", trace),
        baselines::machine_maximum("machine maximum", trace),
        baselines::sum_of_peaks("sum of peaks", trace, 1.0),
    ];
    rules.into_iter().map(Policy::Baseline).collect()
}

/// The largest number of pods that every node can have and the conditions are kept: no rule, since it looks ahead.
fn best_static(traces: &[Trace], orders: &[Vec<Vec<usize>>], capacity: i64) -> Outcome {
    let outcome = |pods: usize| {
        let mut outcome = Outcome::default();
        for (trace, orders) in traces.iter().zip(orders) {
            for order in orders {
                let taken = &order[..pods.min(order.len())];
                outcome.add(taken.len(), over(trace, taken, capacity));
            }
        }
        outcome
    };
    let (mut kept, mut broken) = (0, usize::try_from(capacity / 1000 * 20).unwrap_or(20));
    while broken - kept > 1 {
        let middle = usize::midpoint(kept, broken);
        if outcome(middle).kept(Resource::Cpu) {
            kept = middle;
        } else {
            broken = middle;
        }
    }
    outcome(kept)
}
