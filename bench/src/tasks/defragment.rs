//! What a fleet that spread everything evenly can still sell, and what moving a few pods makes of it.
//!
//! 10,000 arrivals and departures under kube-scheduler's LeastAllocated leave remainders everywhere. The measure is how many
//! more pods of one kind fit, summed over the nodes. Beside ours: a full re-pack by best fit decreasing (the best of
//! without prices, with prices, and with as many pods of the kind as fit among the rest), which moves nearly everything. Ours gets a tenth and a fifth of its moves.

use anyhow::{Context as _, Result};
use placement::{
    Budget, Cluster, Node, Placement, Policy, Reserve, Resources, Workload, WorkloadKey, apply, check, defragment,
    place, prices,
};

use crate::fleet::{DEFAULT_POD, PLAN_MIX, draw, seed_like, workload};
use crate::ours::policy;
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

const NODES: usize = 99;
const EVENTS: usize = 10_000;

/// The node that LeastAllocated takes: the highest mean of the free shares of CPU and memory after placing.
fn least_allocated(cluster: &Cluster, request: Resources) -> Option<&Node> {
    let score = |node: &&Node| {
        let free = node.allocatable.minus(cluster.occupied(node.id)?);
        if !free.shortage(request).is_zero() {
            return None;
        }
        let left = free.minus(request);
        let share = |free: i64, all: i64| i128::from(free) * 1_000_000_000 / i128::from(all.max(1));
        Some(share(left.cpu_milli, node.allocatable.cpu_milli) + share(left.mem_mib, node.allocatable.mem_mib))
    };
    let fitting = cluster.nodes().filter_map(|node| Some((score(&node)?, node)));
    // Of equal ones, the first.
    let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, node)| node)
}

/// A fleet filled to a share of its CPU, then churned.
pub fn fragmented(nodes: usize, load: f64, events: usize, seed: u64) -> Result<Cluster> {
    let mut random = Random::new(seed);
    let mut cluster = Cluster::from_parts(seed_like(nodes), [])?;
    let all: i64 = cluster.nodes().map(|node| node.allocatable.cpu_milli).sum();
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "far below 2^52"
    )]
    let target = (all as f64 * load) as i64;
    let (mut running, mut used, mut next) = (Vec::<(WorkloadKey, i64)>::new(), 0, 0_u128);
    let mut churned = 0;
    while churned < events {
        let full = used >= target;
        if full && !running.is_empty() {
            let (leaving, cpu) = running.swap_remove(random.below(running.len()));
            cluster.remove(leaving);
            used -= cpu;
            churned += 1;
            continue;
        }
        let request = draw(&mut random);
        next += 1;
        let Some(node) = least_allocated(&cluster, request).map(|node| node.id) else {
            used = target;
            continue;
        };
        cluster.assign(workload(next, request), node)?;
        running.push((WorkloadKey(next), request.cpu_milli));
        used += request.cpu_milli;
        churned += usize::from(next > 4 * nodes as u128);
    }
    Ok(cluster)
}

/// How many more pods of a kind fit, node by node.
fn places(cluster: &Cluster, kind: Resources) -> i64 {
    let fit = |node: &Node| {
        let free = node.allocatable.minus(cluster.occupied(node.id).unwrap_or_default());
        let times = [
            (free.cpu_milli, kind.cpu_milli),
            (free.mem_mib, kind.mem_mib),
            (free.pods, kind.pods),
        ];
        times
            .into_iter()
            .map(|(free, asked)| free.max(0) / asked.max(1))
            .min()
            .unwrap_or(0)
    };
    cluster.nodes().map(fit).sum()
}

/// Everything placed anew, the largest first; how many pods are elsewhere then.
fn repack(cluster: &Cluster, policy: &Policy, priced: bool) -> Result<(Cluster, usize)> {
    let nodes: Vec<Node> = cluster.nodes().cloned().collect();
    let mut anew = Cluster::from_parts(nodes, [])?;
    if priced {
        anew.set_prices(prices(cluster));
    }
    let mut pods: Vec<&Workload> = cluster.workloads().map(|(workload, _)| workload).collect();
    pods.sort_by_key(|pod| (std::cmp::Reverse((pod.request.cpu_milli, pod.request.mem_mib)), pod.id));
    let mut moved = 0;
    for pod in pods {
        let decision = place(&anew, policy, pod).map_err(|refusal| anyhow::anyhow!("{refusal}"))?;
        let was = cluster.workload(pod.id).context("every pod was somewhere")?.1;
        moved += usize::from(decision.node != was);
        anew.assign(pod.clone(), decision.node)?;
    }
    Ok((anew, moved))
}

/// The re-pack that knows what it is for: the most pods of the kind with which everything, placed anew, still fits.
fn repack_with(cluster: &Cluster, policy: &Policy, kind: Resources) -> Result<(Cluster, usize)> {
    let (mut fits, mut too_many) = (0_u128, 1 << 14);
    let mut best = None;
    while fits + 1 < too_many {
        let middle = u128::midpoint(fits, too_many);
        let mut wanted = cluster.clone();
        let (_, node) = cluster.workloads().next().context("a fleet runs something")?;
        for id in 0..middle {
            wanted.assign(workload(GHOSTS + id, kind), node)?;
        }
        match repack(&wanted, policy, true) {
            Ok((mut packed, _)) => {
                for id in 0..middle {
                    packed.remove(WorkloadKey(GHOSTS + id));
                }
                let elsewhere = cluster
                    .workloads()
                    .filter(|(pod, was)| packed.workload(pod.id).is_none_or(|(_, node)| node != *was));
                best = Some((packed.clone(), elsewhere.count()));
                fits = middle;
            }
            Err(_) => too_many = middle,
        }
    }
    best.context("at least one pod of the kind fits")
}

/// Keys of pods that only hold a place.
const GHOSTS: u128 = 1 << 100;

fn is_valid(cluster: &Cluster) -> bool {
    let nodes: Vec<Node> = cluster.nodes().cloned().collect();
    let workloads: Vec<Workload> = cluster.workloads().map(|(workload, _)| workload.clone()).collect();
    let placements: Vec<Placement> = cluster.placements().collect();
    check(&nodes, &workloads, &placements).is_empty()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn kind(
    context: &Context,
    report: &mut Report,
    before: &Cluster,
    load: f64,
    name: &str,
    kind: Resources,
) -> Result<()> {
    let policy = policy(Reserve::None);
    let began = watch::start();
    let packed = [
        repack(before, &policy, false)?,
        repack(before, &policy, true)?,
        repack_with(before, &policy, kind)?,
    ];
    let best = packed
        .iter()
        .max_by_key(|(packed, _)| places(packed, kind))
        .context("three were tried")?;
    let (start, full, all_moves) = (places(before, kind), places(&best.0, kind), best.1);
    let data = format!(
        "plan mix, {NODES} nodes at {:.0} % after {EVENTS} events, {name}",
        load * 100.0
    );
    let metric = "places regained";
    // All that is free in one piece: no packing has more.
    let free = before.nodes().fold(Resources::ZERO, |sum, node| {
        sum.plus(node.allocatable.minus(before.occupied(node.id).unwrap_or_default()))
    });
    let bound = (free.cpu_milli / kind.cpu_milli).min(free.mem_mib / kind.mem_mib) - start;
    // A re-pack that loses places is no measure.
    let gainful = if full > start { full - start } else { bound };
    let full_gain = gainful.max(1) as f64;
    let mut figure = Figure::new("defragment", &data, "full re-pack", metric, (full - start) as f64)
        .with("moves", all_moves as f64)
        .with("places", full as f64)
        .with("places before", start as f64);
    figure.bound = Some(bound as f64);
    figure.ratio = Some((full - start) as f64 / full_gain);
    figure.seconds = began.elapsed().as_secs_f64();
    figure.seed = context.seed;
    report.add(figure);
    for (share, goal) in [(0.01, None), (0.1, Some(0.98)), (0.2, Some(0.90))] {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
        let budget = Budget::moves((all_moves as f64 * share) as u32);
        let wanted = workload(u128::MAX, kind);
        let began = watch::start();
        let done = defragment(before, &policy, &wanted, budget);
        let seconds = began.elapsed().as_secs_f64();
        let mut after = before.clone();
        apply(&mut after, &done.plan)?;
        let gain = places(&after, kind) - start;
        let rule = format!("lumbung, {:.0} % of its moves", share * 100.0);
        let mut figure = Figure::new("defragment", &data, &rule, metric, gain as f64)
            .with("moves", f64::from(done.plan.cost.moves))
            .with("places", (start + gain) as f64)
            .with("per move", gain as f64 / f64::from(done.plan.cost.moves.max(1)))
            .with("share of all places", (start + gain) as f64 / full.max(1) as f64);
        figure.bound = Some(bound as f64);
        figure.ratio = Some(gain as f64 / full_gain);
        figure.goal = goal;
        figure.valid = is_valid(&after) && done.after == start + gain;
        figure.seconds = seconds;
        figure.seed = context.seed;
        report.add(figure);
    }
    Ok(())
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    let largest = PLAN_MIX
        .iter()
        .map(|plan| plan.request)
        .max_by_key(|request| request.cpu_milli);
    let loads: &[f64] = if context.quick { &[0.85] } else { &[0.75, 0.85, 0.90] };
    for &load in loads {
        let before = fragmented(NODES, load, EVENTS, context.seed)?;
        kind(
            context,
            report,
            &before,
            load,
            "largest plan",
            largest.unwrap_or(DEFAULT_POD),
        )?;
        kind(context, report, &before, load, "default pod", DEFAULT_POD)?;
    }
    Ok(())
}
