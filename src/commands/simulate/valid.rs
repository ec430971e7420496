//! What a scenario may say. The bounds keep a run finite and its sums far from overflow; each error names its field.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use placement::{Admission, PPM, Resources};

use super::scenario::{Amount, Arrivals, Event, Scenario};

const MOST_MACHINES: i64 = 20_000;
const MOST_PODS_PER_MACHINE: i64 = 10_000;
const MOST_ORDERS: i64 = 2_000_000;

pub fn check(scenario: &Scenario) -> anyhow::Result<()> {
    ensure!(scenario.length.0 > 0, "length: has to be longer than nothing");
    ensure!(scenario.review.0 >= 60, "review: has to be a minute or longer");
    machines(scenario)?;
    plans(scenario)?;
    let plans: BTreeSet<&str> = scenario.plans.iter().map(|plan| plan.name.as_str()).collect();
    for (at, arrivals) in scenario.arrivals.iter().enumerate() {
        streams(scenario, arrivals, &plans, &format!("arrivals[{at}]"))?;
    }
    if let Some(failures) = &scenario.failures {
        ensure!(failures.every.0 > 0, "failures.every: has to be longer than nothing");
        ensure!(failures.last.0 > 0, "failures.last: has to be longer than nothing");
        let expected = scenario.length.0 / failures.every.0;
        ensure!(
            expected <= MOST_ORDERS,
            "failures.every: would be {expected} failures, {MOST_ORDERS} at most"
        );
    }
    let names: BTreeSet<String> = scenario.machine_names().into_iter().collect();
    for (at, event) in scenario.events.iter().enumerate() {
        one_of(scenario, event, &plans, &names, &format!("events[{at}]"))?;
    }
    for (at, name) in scenario.control_plane.iter().enumerate() {
        ensure!(names.contains(name), "control_plane[{at}]: there is no node \"{name}\"");
    }
    if let Some(traces) = &scenario.traces {
        ensure!(
            traces.cpu.is_some() || traces.memory.is_some(),
            "traces: names neither cpu nor memory"
        );
        ensure!(traces.step.0 >= 60, "traces.step: has to be a minute or longer");
        within("traces.whole", traces.whole, 1, PPM)?;
    }
    Ok(())
}

fn within(field: &str, value: i64, least: i64, most: i64) -> anyhow::Result<()> {
    ensure!(
        (least..=most).contains(&value),
        "{field}: is {value}, but has to be between {least} and {most}"
    );
    Ok(())
}

fn machines(scenario: &Scenario) -> anyhow::Result<()> {
    ensure!(!scenario.nodes.is_empty(), "nodes: there are none");
    let count: i64 = scenario.nodes.iter().map(|group| i64::from(group.count)).sum();
    within("nodes (all counts)", count, 1, MOST_MACHINES)?;
    for (at, group) in scenario.nodes.iter().enumerate() {
        let field = |name: &str| format!("nodes[{at}].{name}");
        ensure!(!group.class.is_empty(), "{}: is empty", field("class"));
        within(&field("count"), i64::from(group.count), 1, MOST_MACHINES)?;
        within(&field("cpu_milli"), group.cpu_milli, 1, Resources::MAX_AMOUNT)?;
        within(&field("mem_mib"), group.mem_mib, 1, Resources::MAX_AMOUNT)?;
        within(&field("disk_mib"), group.disk_mib, 0, Resources::MAX_AMOUNT)?;
        within(&field("pods"), group.pods, 1, MOST_PODS_PER_MACHINE)?;
        within(&field("cpu_speed_ppm"), group.cpu_speed_ppm, PPM / 100, 100 * PPM)?;
        if let Some(dimension) = group.foreign.out_of_range() {
            bail!("{}: {dimension} is out of range", field("foreign"));
        }
        ensure!(
            matches!(group.admission, Admission::Open | Admission::Standby),
            "{}: a machine begins as open or standby",
            field("admission")
        );
    }
    let mut seen = BTreeSet::new();
    for name in scenario.machine_names() {
        ensure!(!seen.contains(&name), "nodes: two are called \"{name}\"");
        seen.insert(name);
    }
    Ok(())
}

fn plans(scenario: &Scenario) -> anyhow::Result<()> {
    ensure!(!scenario.plans.is_empty(), "plans: there are none");
    let mut seen = BTreeSet::new();
    for (at, plan) in scenario.plans.iter().enumerate() {
        let field = |name: &str| format!("plans[{at}].{name}");
        ensure!(!plan.name.is_empty(), "{}: is empty", field("name"));
        ensure!(seen.insert(&plan.name), "{}: \"{}\" is taken", field("name"), plan.name);
        within(&field("weight"), i64::from(plan.weight), 0, 1_000_000)?;
        within(&field("disk_mib"), plan.disk_mib, 0, Resources::MAX_AMOUNT)?;
        amount(&field("request"), plan.request)?;
        amount(&field("limit"), plan.limit)?;
        for (name, request, limit) in [
            ("cpu_milli", plan.request.cpu_milli, plan.limit.cpu_milli),
            ("mem_mib", plan.request.mem_mib, plan.limit.mem_mib),
        ] {
            ensure!(
                limit == 0 || request <= limit,
                "{}: requests {request} {name}, which is above its limit of {limit}",
                field("request")
            );
        }
    }
    Ok(())
}

fn amount(field: &str, amount: Amount) -> anyhow::Result<()> {
    within(
        &format!("{field}.cpu_milli"),
        amount.cpu_milli,
        0,
        Resources::MAX_AMOUNT,
    )?;
    within(&format!("{field}.mem_mib"), amount.mem_mib, 0, Resources::MAX_AMOUNT)
}

fn streams(scenario: &Scenario, arrivals: &Arrivals, plans: &BTreeSet<&str>, field: &str) -> anyhow::Result<()> {
    ensure!(arrivals.every.0 > 0, "{field}.every: has to be longer than nothing");
    ensure!(
        arrivals.stay.is_none_or(|stay| stay.0 > 0),
        "{field}.stay: has to be longer than nothing"
    );
    let until = arrivals
        .until
        .map_or(scenario.length, |until| until.min(scenario.length));
    ensure!(arrivals.from < until, "{field}.from: begins when it has ended");
    let expected = (until.0 - arrivals.from.0) / arrivals.every.0;
    ensure!(
        expected <= MOST_ORDERS,
        "{field}.every: would be {expected} orders, {MOST_ORDERS} at most"
    );
    for (at, name) in arrivals.plans.iter().enumerate() {
        ensure!(
            plans.contains(name.as_str()),
            "{field}.plans[{at}]: there is no plan \"{name}\""
        );
    }
    let weight: u64 = chosen(scenario, &arrivals.plans).map(|(_, weight)| weight).sum();
    ensure!(weight > 0, "{field}.plans: all of them have the weight 0");
    Ok(())
}

/// The plans of a stream of orders by their position, with their weights.
pub fn chosen<'a>(scenario: &'a Scenario, names: &'a [String]) -> impl Iterator<Item = (usize, u64)> + 'a {
    let plans = scenario.plans.iter().enumerate();
    plans
        .filter(|(_, plan)| names.is_empty() || names.contains(&plan.name))
        .map(|(at, plan)| (at, u64::from(plan.weight)))
}

fn one_of(
    scenario: &Scenario,
    event: &Event,
    plans: &BTreeSet<&str>,
    names: &BTreeSet<String>,
    field: &str,
) -> anyhow::Result<()> {
    ensure!(event.at <= scenario.length, "{field}.at: is after the end");
    ensure!(
        event.lasts.is_none_or(|lasts| lasts.0 > 0),
        "{field}.for: has to be longer than nothing"
    );
    match (&event.fill, &event.fail, &event.drain) {
        (Some(plan), None, None) => {
            ensure!(
                plans.contains(plan.as_str()),
                "{field}.fill: there is no plan \"{plan}\""
            );
            ensure!(event.lasts.is_none(), "{field}.for: a fill does not end");
        }
        (None, Some(node), None) => ensure!(names.contains(node), "{field}.fail: there is no node \"{node}\""),
        (None, None, Some(node)) => ensure!(names.contains(node), "{field}.drain: there is no node \"{node}\""),
        _ => bail!("{field}: says not exactly one of fill, fail and drain"),
    }
    ensure!(
        event.most.is_none() || event.fill.is_some(),
        "{field}.most: is for a fill"
    );
    Ok(())
}
