//! How many pods a fleet takes when any single machine may die.
//!
//! Pods come until the first refusal. The bound is fluid: as many pieces of the same pods as fit when the worst machine is
//! gone. Beside it, flat reserves: so much of the whole fleet's CPU and memory is kept free, wherever, by best fit; then each
//! machine is killed, and what ran there has to find a place.

use std::collections::BTreeMap;

use anyhow::Result;
use placement::{Node, Reserve, Resources, check};

use crate::bounds::fluid_n_plus_one;
use crate::fleet::{DEFAULT_POD, draw, seed_like};
use crate::online::{Amounts, BEST_FIT, Fleet, amounts};
use crate::ours::{Ours, policy};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

/// Nodes, whether the pods are of the plan mix, the goal.
const FLEETS: [(usize, bool, f64); 7] = [
    (3, false, 1.0),
    (9, false, 1.0),
    (99, false, 1.0),
    (999, false, 1.0),
    (9, true, 0.888),
    (99, true, 0.965),
    (999, true, 0.965),
];
const RESERVES_PERCENT: [i64; 3] = [30, 35, 40];

fn bound(nodes: &[Node], running: impl Iterator<Item = Amounts>) -> f64 {
    let mut mix: BTreeMap<Amounts, (Resources, f64)> = BTreeMap::new();
    for pod in running {
        let [cpu_milli, mem_mib, disk_mib, pods] = pod;
        mix.entry(pod)
            .or_insert((
                Resources {
                    cpu_milli,
                    mem_mib,
                    disk_mib,
                    pods,
                },
                0.0,
            ))
            .1 += 1.0;
    }
    let mut classes: BTreeMap<Amounts, (Resources, usize)> = BTreeMap::new();
    for node in nodes {
        classes
            .entry(amounts(node.allocatable))
            .or_insert((node.allocatable, 0))
            .1 += 1;
    }
    let classes: Vec<(Resources, usize)> = classes.into_values().collect();
    fluid_n_plus_one(&classes, &mix.into_values().collect::<Vec<_>>())
}

struct Arrivals {
    random: Random,
    mixed: bool,
}

impl Arrivals {
    fn next(&mut self) -> Resources {
        if self.mixed {
            draw(&mut self.random)
        } else {
            DEFAULT_POD
        }
    }
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for (count, mixed, goal) in FLEETS {
        let nodes = seed_like(count);
        let data = format!(
            "{} on {count} seed-like nodes",
            if mixed { "plan mix" } else { "default pods" }
        );
        let seeds = if mixed && !context.quick { 3 } else { 1 };
        for percent in RESERVES_PERCENT {
            report.add(flat(context, &data, &nodes, mixed, percent));
        }
        let began = watch::start();
        let (mut ratio, mut pods, mut most, mut safe) = (0.0, 0.0, 0.0, true);
        for seed in 0..seeds {
            let mut arrivals = Arrivals {
                random: Random::new(context.seed * 1000 + seed),
                mixed,
            };
            let mut ours = Ours::new(nodes.clone(), policy(Reserve::NPlusOne))?;
            while ours.arrive(arrivals.next(), 0.0)? {}
            let workloads: Vec<_> = ours.cluster.workloads().map(|(workload, _)| workload.clone()).collect();
            let placements: Vec<_> = ours.cluster.placements().collect();
            // The independent checker takes every certificate and every single loss.
            safe &= check(&nodes, &workloads, &placements).is_empty()
                && placements.iter().all(|placement| placement.backup.is_some());
            let fluid = bound(&nodes, workloads.iter().map(|workload| amounts(workload.request)));
            ratio += workloads.len() as f64 / fluid / seeds as f64;
            pods += workloads.len() as f64 / seeds as f64;
            most += fluid / seeds as f64;
        }
        let mut figure = Figure::new("n_plus_one", &data, "lumbung", "pods at the first refusal", pods);
        (figure.bound, figure.ratio, figure.goal) = (Some(most), Some(ratio), Some(goal));
        (figure.valid, figure.seed, figure.seconds) = (safe, context.seed, began.elapsed().as_secs_f64());
        report.add(figure);
    }
    Ok(())
}

fn flat(context: &Context, data: &str, nodes: &[Node], mixed: bool, percent: i64) -> Figure {
    let began = watch::start();
    let mut fleet = Fleet::new(nodes.iter().map(|node| node.allocatable));
    let mut arrivals = Arrivals {
        random: Random::new(context.seed * 1000),
        mixed,
    };
    let total = |of: &[Amounts], at: usize| of.iter().map(|amounts| amounts[at]).sum::<i64>();
    let keep = [0, 1].map(|at| total(&fleet.capacity, at) * percent / 100);
    let mut free = [0, 1].map(|at| total(&fleet.free, at));
    loop {
        let demand = amounts(arrivals.next());
        if (0..2).any(|at| free[at] - demand[at] < keep[at]) {
            break;
        }
        let Some(node) = fleet.choose(BEST_FIT, demand, None) else {
            break;
        };
        fleet.put(node, demand);
        free = [free[0] - demand[0], free[1] - demand[1]];
    }
    // Of many machines, some of each kind: the first ones are the fullest under best fit.
    let killed = nodes.len().min(99);
    let absorbed = (0..killed).filter(|&lost| fleet.absorbs(lost)).count();
    let pods = fleet.running.len() as f64;
    let fluid = bound(nodes, fleet.running.iter().map(|(_, demand)| *demand));
    let mut figure = Figure::new(
        "n_plus_one",
        data,
        &format!("flat {percent} %, best fit"),
        "pods at the first refusal",
        pods,
    );
    (figure.bound, figure.ratio, figure.valid) = (Some(fluid), Some(pods / fluid), absorbed == killed);
    (figure.seed, figure.seconds) = (context.seed, began.elapsed().as_secs_f64());
    figure.with("losses absorbed", absorbed as f64 / killed as f64)
}
