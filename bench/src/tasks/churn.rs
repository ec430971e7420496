//! Orders come, services end, and the fleet slowly fills: how full is it when the first order is refused?
//!
//! Nine departures to ten arrivals, each of anything that runs. What is reached is held against the fluid bound of the same
//! pods: cut into pieces, as many of them in the same proportions as the nodes could hold at all.

use std::collections::BTreeMap;

use anyhow::Result;
use placement::{Node, NodeKey, Reserve, Resources};

use crate::bounds::fluid;
use crate::data;
use crate::fleet::{PLAN_MIX, seed_like};
use crate::online::{Amounts, Fleet, RULES, amounts};
use crate::ours::{Ours, policy};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

struct Set {
    name: String,
    nodes: Vec<Resources>,
    /// Drawn with equal chances.
    pods: Vec<Resources>,
    seeds: u64,
    goal: Option<f64>,
}

const DEPARTURES_PERCENT: usize = 90;

fn sets(context: &Context, report: &mut Report) -> Result<Vec<Set>> {
    let mix: Vec<Resources> = PLAN_MIX
        .iter()
        .flat_map(|plan| std::iter::repeat_n(plan.request, plan.share))
        .collect();
    let mut sets = vec![Set {
        name: "plan mix on 99 seed-like nodes".into(),
        nodes: seed_like(99).iter().map(|node| node.allocatable).collect(),
        pods: mix,
        seeds: if context.quick { 1 } else { 5 },
        goal: Some(0.988),
    }];
    let Some(dir) = &context.data else {
        report.skip("churn on traces: no --data");
        return Ok(sets);
    };
    for (name, pods, nodes) in data::pod_sets(dir)? {
        let nodes = data::nodes(&nodes)?;
        if nodes.len() < 10 {
            report.skip(format!("churn on {name}: a list of node classes is not a fleet"));
            continue;
        }
        let fits = |pod: &Resources| nodes.iter().any(|node| node.shortage(*pod).is_zero());
        let pods: Vec<Resources> = data::pods(&pods)?
            .into_iter()
            .map(|pod| pod.request)
            .filter(fits)
            .collect();
        sets.push(Set {
            name: format!("{name} on its {} nodes", nodes.len()),
            nodes,
            pods,
            seeds: if context.quick { 1 } else { 3 },
            goal: Some(0.98),
        });
    }
    Ok(sets)
}

/// What ran at the first refusal, against the most that could.
fn against_bound(set: &Set, running: &[Amounts]) -> f64 {
    let mut classes: BTreeMap<Amounts, (Resources, usize)> = BTreeMap::new();
    for node in &set.nodes {
        classes.entry(amounts(*node)).or_insert((*node, 0)).1 += 1;
    }
    let mut mix: BTreeMap<Amounts, f64> = BTreeMap::new();
    for pod in running {
        *mix.entry(*pod).or_default() += 1.0;
    }
    let resources = |[cpu_milli, mem_mib, disk_mib, pods]: Amounts| Resources {
        cpu_milli,
        mem_mib,
        disk_mib,
        pods,
    };
    let classes: Vec<(Resources, usize)> = classes.into_values().collect();
    let mix: Vec<(Resources, f64)> = mix.into_iter().map(|(pod, count)| (resources(pod), count)).collect();
    running.len() as f64 / fluid(&classes, &mix)
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for set in sets(context, report)? {
        let mut best: f64 = 0.0;
        for (name, score) in RULES {
            let began = watch::start();
            let reached = mean(context, &set, |seed| {
                let mut random = Random::new(seed);
                let mut fleet = Fleet::new(set.nodes.iter().copied());
                loop {
                    let demand = amounts(set.pods[random.below(set.pods.len())]);
                    let Some(at) = fleet.choose(score, demand, None) else {
                        break;
                    };
                    fleet.put(at, demand);
                    if random.below(100) < DEPARTURES_PERCENT {
                        fleet.leave(&mut random);
                    }
                }
                let running: Vec<Amounts> = fleet.running.iter().map(|(_, demand)| *demand).collect();
                Ok((against_bound(&set, &running), 0.0))
            })?;
            best = best.max(reached.0);
            report.add(figure(context, &set, name, reached.0, began.elapsed().as_secs_f64()));
        }
        for (name, moves) in [("lumbung, no move", 0.0), ("lumbung", 0.01)] {
            let began = watch::start();
            let reached = mean(context, &set, |seed| ours(&set, seed, moves))?;
            let mut figure = figure(context, &set, name, reached.0, began.elapsed().as_secs_f64());
            figure.goal = set.goal;
            figure.valid = reached.1 <= moves;
            report.add(
                figure
                    .with("moves per arrival", reached.1)
                    .with("best simple rule", best),
            );
        }
    }
    Ok(())
}

fn figure(context: &Context, set: &Set, policy: &str, reached: f64, seconds: f64) -> Figure {
    let metric = "share of the fluid bound at the first refusal";
    let mut figure = Figure::new("churn", &set.name, policy, metric, reached);
    (figure.bound, figure.seconds, figure.seed) = (Some(1.0), seconds, context.seed);
    figure
}

fn mean(context: &Context, set: &Set, run: impl Fn(u64) -> Result<(f64, f64)>) -> Result<(f64, f64)> {
    let mut sum = (0.0, 0.0);
    for seed in 0..set.seeds {
        let (reached, moves) = run(context.seed.wrapping_mul(1000) + seed)?;
        sum = (sum.0 + reached, sum.1 + moves);
    }
    Ok((sum.0 / set.seeds as f64, sum.1 / set.seeds as f64))
}

/// With at most so many moves of running pods per arrival.
fn ours(set: &Set, seed: u64, budget: f64) -> Result<(f64, f64)> {
    let mut random = Random::new(seed);
    let nodes = set
        .nodes
        .iter()
        .zip(1_u128..)
        .map(|(node, id)| Node::new(NodeKey(id), *node));
    let mut ours = Ours::new(nodes, policy(Reserve::None))?;
    loop {
        let request = set.pods[random.below(set.pods.len())];
        if !ours.arrive(request, budget)? {
            break;
        }
        if random.below(100) < DEPARTURES_PERCENT {
            ours.leave(&mut random);
        }
    }
    let running: Vec<Amounts> = ours
        .cluster
        .workloads()
        .map(|(workload, _)| amounts(workload.request))
        .collect();
    Ok((against_bound(set, &running), ours.moved as f64 / ours.arrived as f64))
}
