//! One machine dies: how many of its pods come up again for certain, and how long the plan takes.
//!
//! Fleets are filled with the plan mix until N+1 refuses, then every node is killed once; a sum that shares nothing with the
//! engine's says whether what was re-placed fits. Beside ours: pod by pod to the emptiest node, as kube-scheduler does (all
//! nodes looked at, no framework, no API), once with the same fill and once for time.

use std::collections::BTreeMap;

use anyhow::Result;
use placement::{Admission, Cause, Cluster, Node, NodeKey, Plan, Policy, Reserve, Resources, failover, place};

use crate::fleet::{DEFAULT_POD, draw, seed_like, workload};
use crate::ours::policy;
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

/// Draws refused in a row after which a fleet counts as full.
const REFUSALS: usize = 40;
/// Nodes with room for 250 default pods; one of them may end as a reserve.
const BIG: usize = 20;

/// Places the plan mix until it is refused again and again, or until there are so many pods.
fn fill(cluster: &mut Cluster, policy: &Policy, random: &mut Random, first: u128, most: u128) -> Result<u128> {
    let (mut next, mut refused) = (first, 0);
    while refused < REFUSALS && next < most {
        let arriving = workload(next, draw(random));
        match place(cluster, policy, &arriving) {
            Ok(decision) => {
                cluster.assign_with(arriving, decision.node, decision.backup)?;
                next += 1;
                refused = 0;
            }
            Err(_) => refused += 1,
        }
    }
    Ok(next)
}

/// What is free on each node, from the lists alone.
fn free(cluster: &Cluster) -> BTreeMap<NodeKey, Resources> {
    let mut free: BTreeMap<NodeKey, Resources> = cluster
        .nodes()
        .map(|node| (node.id, node.allocatable.minus(node.foreign)))
        .collect();
    for (workload, node) in cluster.workloads() {
        if let Some(left) = free.get_mut(&node) {
            *left = left.minus(workload.request);
        }
    }
    free
}

/// Whether every target has room for all that the plan brings.
fn fits(cluster: &Cluster, free: &BTreeMap<NodeKey, Resources>, plan: &Plan) -> bool {
    let mut coming: BTreeMap<NodeKey, Resources> = BTreeMap::new();
    for step in &plan.steps {
        let request = cluster
            .workload(step.workload)
            .map_or(Resources::ZERO, |(found, _)| found.request);
        let sum = coming.entry(step.to).or_default();
        *sum = sum.plus(request);
    }
    let room = |node| free.get(node).copied().unwrap_or_default();
    coming
        .iter()
        .all(|(node, &coming)| room(node).shortage(coming).is_zero())
}

/// Pods of a dead node, each to the emptiest node that holds it; how many found one.
fn pod_by_pod(cluster: &Cluster, free: &[(NodeKey, Resources, Resources)], node: NodeKey) -> usize {
    let mut free = free.to_vec();
    let mut placed = 0;
    for pod in cluster.workloads_on(node) {
        let mut best: Option<(i64, usize)> = None;
        for (at, (key, all, left)) in free.iter().enumerate() {
            if *key == node || !left.shortage(pod.request).is_zero() {
                continue;
            }
            let after = left.minus(pod.request);
            let share = |left: i64, all: i64| left.saturating_mul(1_000_000) / all.max(1);
            let score = share(after.cpu_milli, all.cpu_milli) + share(after.mem_mib, all.mem_mib);
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, at));
            }
        }
        if let Some((_, at)) = best {
            free[at].2 = free[at].2.minus(pod.request);
            placed += 1;
        }
    }
    placed
}

fn flat(cluster: &Cluster, free: &BTreeMap<NodeKey, Resources>) -> Vec<(NodeKey, Resources, Resources)> {
    let left = |node: &Node| free.get(&node.id).copied().unwrap_or_default();
    cluster
        .nodes()
        .map(|node| (node.id, node.allocatable, left(node)))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn kill_each(context: &Context, report: &mut Report, nodes: usize) -> Result<()> {
    let policy = policy(Reserve::NPlusOne);
    let mut random = Random::new(context.seed);
    let mut cluster = Cluster::from_parts(seed_like(nodes), [])?;
    cluster.reindex();
    fill(&mut cluster, &policy, &mut random, 1, u128::MAX)?;
    let free = free(&cluster);
    let keys: Vec<NodeKey> = cluster.nodes().map(|node| node.id).collect();
    let (mut all, mut certain, mut valid, mut times) = (0_usize, 0_usize, true, Vec::new());
    let began = watch::start();
    for &node in &keys {
        let one = watch::start();
        let plan = failover(&cluster, &policy, node)?;
        times.push(one.elapsed().as_secs_f64());
        all += cluster.workloads_on(node).count();
        certain += plan
            .steps
            .iter()
            .filter(|step| step.reason == Cause::Certificate)
            .count();
        valid &= fits(&cluster, &free, &plan);
    }
    let seconds = began.elapsed().as_secs_f64();
    let data = format!("plan mix, {nodes} nodes N+1-full, each killed once");
    let mut figure = Figure::new(
        "failover",
        &data,
        "lumbung",
        "share re-placed",
        certain as f64 / all as f64,
    )
    .with("pods", all as f64)
    .with("microseconds to a plan", median(times) * 1e6);
    figure.ratio = Some(certain as f64 / all as f64);
    figure.goal = Some(1.0);
    figure.valid = valid;
    figure.seconds = seconds;
    figure.seed = context.seed;
    report.add(figure);

    let left = flat(&cluster, &free);
    let began = watch::start();
    let placed: usize = keys.iter().map(|&node| pod_by_pod(&cluster, &left, node)).sum();
    let mut figure = Figure::new(
        "failover",
        &data,
        "pod by pod, emptiest node",
        "share re-placed",
        placed as f64 / all as f64,
    );
    figure.ratio = Some(placed as f64 / all as f64);
    figure.seconds = began.elapsed().as_secs_f64();
    figure.seed = context.seed;
    report.add(figure);
    Ok(())
}

/// 5,000 nodes, of which some twenty hold 250 pods each.
fn with_big_nodes(policy: &Policy, seed: u64) -> Result<(Cluster, Vec<NodeKey>)> {
    let mut fleet = seed_like(5_000);
    for node in &mut fleet {
        node.allocatable.pods = 250;
    }
    let (big, rest) = fleet.split_at_mut(BIG);
    for node in big.iter_mut() {
        node.allocatable = DEFAULT_POD.times(250);
    }
    for node in rest.iter_mut() {
        node.admission = Admission::Standby;
    }
    let keys: Vec<NodeKey> = big.iter().map(|node| node.id).collect();
    let opened: Vec<Node> = rest
        .iter()
        .map(|node| Node {
            admission: Admission::Open,
            ..node.clone()
        })
        .collect();
    let mut cluster = Cluster::from_parts(fleet, [])?;
    for id in 1..=(BIG as u128 * 250) {
        let pod = workload(id, DEFAULT_POD);
        if let Ok(decision) = place(&cluster, policy, &pod) {
            cluster.assign_with(pod, decision.node, decision.backup)?;
        }
    }
    for node in opened {
        cluster.upsert_node(node)?;
    }
    cluster.reindex();
    fill(&mut cluster, policy, &mut Random::new(seed), 10_000, 110_000)?;
    let full = |node: &NodeKey| cluster.workloads_on(*node).count() == 250;
    let full = keys.into_iter().filter(full).collect();
    Ok((cluster, full))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn plan_time(context: &Context, report: &mut Report) -> Result<()> {
    let policy = policy(Reserve::NPlusOne);
    let (cluster, big) = with_big_nodes(&policy, context.seed)?;
    let free = free(&cluster);
    let rounds = if context.quick { 5 } else { 50 };
    let (mut times, mut valid, mut pods) = (Vec::new(), true, usize::MAX);
    let began = watch::start();
    for _ in 0..rounds {
        for &node in &big {
            let one = watch::start();
            let plan = failover(&cluster, &policy, node)?;
            times.push(one.elapsed().as_secs_f64());
            valid &= fits(&cluster, &free, &plan) && plan.steps.len() == cluster.workloads_on(node).count();
            pods = pods.min(plan.steps.len());
        }
    }
    let data = "a node of 250 pods, 5,000 nodes";
    let mut figure = Figure::new(
        "failover",
        data,
        "lumbung",
        "microseconds to the plan",
        median(times) * 1e6,
    )
    .with("pods", pods as f64)
    .with("pods in all", cluster.workload_count() as f64);
    figure.goal = Some(1_000.0);
    figure.valid = valid && pods == 250;
    figure.seconds = began.elapsed().as_secs_f64();
    figure.seed = context.seed;
    report.add(figure);

    let left = flat(&cluster, &free);
    let mut times = Vec::new();
    let mut placed = usize::MAX;
    let began = watch::start();
    for &node in big.iter().take(5) {
        let one = watch::start();
        placed = placed.min(pod_by_pod(&cluster, &left, node));
        times.push(one.elapsed().as_secs_f64());
    }
    let rule = "pod by pod, emptiest node";
    let mut figure = Figure::new("failover", data, rule, "microseconds to the plan", median(times) * 1e6)
        .with("pods", placed as f64);
    figure.seconds = began.elapsed().as_secs_f64();
    figure.seed = context.seed;
    report.add(figure);
    Ok(())
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    kill_each(context, report, 99)?;
    if context.quick {
        report.skip("failover on 999 nodes: a quick run");
    } else {
        kill_each(context, report, 999)?;
    }
    plan_time(context, report)
}
