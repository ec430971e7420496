//! Static packing: how many nodes of one class hold all pods of a set, against a lower bound that no packing beats.
//!
//! Every set is packed into up to three classes of its nodes file, each alone, any number of which may be opened. Pods
//! that the class cannot hold are left out, and counted. Every packing, ours too, is checked by adding up the pods of
//! each node again.

mod rules;
mod sets;

use anyhow::{Result, ensure};
use placement::Resources;
use placement::pack::{Class, Effort, Shape, pack};

use crate::bounds;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use sets::Set;

const GOAL: f64 = 1.010;

/// Knapsack problems of the bound, and steps in each.
const ROUNDS: usize = 3000;
const STEPS: u64 = 1_000_000;

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for set in sets::all(context)? {
        for class in set.classes() {
            measure(&set, class, context, report)?;
        }
    }
    Ok(())
}

/// For each pod the node that it is on.
type Assignment = Vec<usize>;

fn measure(set: &Set, class: Resources, context: &Context, report: &mut Report) -> Result<()> {
    let pods: Vec<Resources> = set
        .pods
        .iter()
        .copied()
        .filter(|pod| class.shortage(*pod).is_zero())
        .collect();
    if pods.is_empty() {
        report.skip(format!("pack, {}: no pod fits {class}", set.name));
        return Ok(());
    }
    let data = format!("{} on {}", set.name, sets::label(class));
    let shapes = counted(&pods);
    let (assignment, seconds) = timed(|| ours(class, &pods));
    let bins = verified(class, &pods, &assignment?)?;
    let steps = if context.quick { STEPS / 50 } else { STEPS };
    // Once it is proved that one node less is not enough, the rest of the bound would change no figure.
    let enough = bins as f64 - 1.0;
    let (bound, bound_seconds) = timed(|| bounds::bins_until(&[(class, 1.0)], &shapes, ROUNDS, steps, enough));
    let by_volume = (bounds::bins_by_volume(class, &shapes) - 1e-9).ceil();
    let least = bound.nodes().max(by_volume);
    let figure = |policy: &str, bins: usize, seconds: f64| Figure {
        bound: Some(least),
        ratio: Some(bins as f64 / least),
        seconds,
        seed: context.seed,
        ..Figure::new("pack", &data, policy, "bins", bins as f64)
    };
    let mut best = figure("lumbung", bins, seconds)
        .with("pods", pods.len() as f64)
        .with("left out", (set.pods.len() - pods.len()) as f64)
        .with("shapes", shapes.len() as f64)
        .with("bound not rounded", bound.cost)
        .with("bound seconds", bound_seconds);
    best.goal = Some(GOAL);
    report.add(best);
    for (name, rule) in rules::ALL {
        let (assignment, seconds) = timed(|| rule(class, &pods));
        report.add(figure(name, verified(class, &pods, &assignment)?, seconds));
    }
    Ok(())
}

fn ours(class: Resources, pods: &[Resources]) -> Result<Assignment> {
    let counted = counted(pods);
    let shapes: Vec<Shape> = counted
        .iter()
        .map(|&(request, count)| Shape {
            request,
            count: u32::try_from(count).unwrap_or(u32::MAX),
        })
        .collect();
    let packing = pack(&[Class::new(class)], &shapes, Effort::THOROUGH)?;
    ensure!(packing.left_out.is_empty(), "{:?} were left out", packing.left_out);
    let mut waiting: std::collections::BTreeMap<Resources, Vec<usize>> = std::collections::BTreeMap::new();
    for (at, pod) in pods.iter().enumerate() {
        waiting.entry(*pod).or_default().push(at);
    }
    let mut assignment = vec![usize::MAX; pods.len()];
    for (bin, contents) in packing.bins.iter().enumerate() {
        for &(shape, count) in &contents.contents {
            for _ in 0..count {
                let pod = waiting.get_mut(&shapes[shape].request).and_then(Vec::pop);
                let pod = pod.ok_or_else(|| anyhow::anyhow!("more {} than there are", shapes[shape].request))?;
                assignment[pod] = bin;
            }
        }
    }
    Ok(assignment)
}

fn counted(pods: &[Resources]) -> Vec<(Resources, usize)> {
    let mut counts = std::collections::BTreeMap::new();
    for pod in pods {
        *counts.entry(*pod).or_insert(0) += 1;
    }
    counts.into_iter().collect()
}

/// The number of nodes in use, if every pod is on one and no node is over.
fn verified(class: Resources, pods: &[Resources], assignment: &[usize]) -> Result<usize> {
    ensure!(pods.len() == assignment.len(), "not every pod is placed");
    let mut used = std::collections::BTreeMap::new();
    for (pod, bin) in pods.iter().zip(assignment) {
        ensure!(*bin != usize::MAX, "a pod is not placed");
        let sum = used.entry(*bin).or_insert(Resources::ZERO);
        *sum = pod.plus(*sum);
    }
    for (bin, sum) in &used {
        ensure!(
            class.minus(*sum).out_of_range().is_none(),
            "node {bin} holds {sum} of {class}"
        );
    }
    Ok(used.len())
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the real clock")]
fn timed<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let started = std::time::Instant::now();
    let result = run();
    (result, started.elapsed().as_secs_f64())
}
