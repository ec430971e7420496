//! Those for whom no certificate speaks: best fit decreasing, and where that fails, one-hop relocation.
//!
//! The largest choose first, since the small ones still fit afterwards. A protected one that finds no place moves one other
//! away to make room; on a failure, it has best-effort ones stopped before that. Repeated until a whole round finds nothing
//! more, so that planning again finds nothing either.

use std::cmp::Reverse;

use super::{Cause, draft::Draft, draft::alike, failover::to_evict, room};
use crate::{
    Resources, WorkloadKey,
    cluster::Cluster,
    model::{Priority, Workload},
    place::{Purpose, Question},
    resources::{Dimension, PPM},
};

/// Nodes on which best-effort workloads are stopped on trial: those where the fewest have to go.
const CLEARED: usize = 16;

pub(super) struct Leaving<'a> {
    pub workloads: Vec<WorkloadKey>,
    /// What is tried, in this order: with a certificate, spending the reserve.
    pub purposes: &'a [Purpose],
    pub cause: Cause,
    /// Whether best-effort workloads may be stopped for protected ones.
    pub evicts: bool,
}

/// Places all that can be; the others are stranded in the plan.
pub(super) fn solve(draft: &mut Draft<'_>, leaving: Leaving<'_>) {
    let (protected, best_effort): (Vec<WorkloadKey>, Vec<WorkloadKey>) = leaving
        .workloads
        .iter()
        .partition(|&&key| is_protected(&draft.cluster, key));
    let mut left = rounds(draft, &leaving, protected);
    let mut soft = best_effort;
    soft.sort_unstable();
    left.extend(rounds(draft, &leaving, soft));
    bring_back(draft);
    let purpose = leaving.purposes.last().copied().unwrap_or(Purpose::Failover);
    let left: Vec<Workload> = left
        .iter()
        .filter_map(|&key| draft.cluster.workload(key).map(|(workload, _)| workload.clone()))
        .collect();
    draft.strand(left.iter(), purpose);
    let evicted = std::mem::take(&mut draft.evicted);
    draft.strand(evicted.iter().map(|(workload, _)| workload), purpose);
}

fn is_protected(cluster: &Cluster, key: WorkloadKey) -> bool {
    let found = cluster.workload(key);
    found.is_some_and(|(workload, _)| workload.priority == Priority::Protected)
}

/// Who is left in the end.
fn rounds(draft: &mut Draft<'_>, leaving: &Leaving<'_>, workloads: Vec<WorkloadKey>) -> Vec<WorkloadKey> {
    let size = |key: WorkloadKey| {
        let found = draft.cluster.workload(key);
        found.map_or(0, |(workload, _)| size_ppm(workload.request, draft.cluster.largest()))
    };
    let mut order: Vec<(Reverse<i64>, WorkloadKey)> =
        workloads.into_iter().map(|key| (Reverse(size(key)), key)).collect();
    order.sort_unstable();
    let mut left: Vec<WorkloadKey> = order.into_iter().map(|(_, key)| key).collect();
    loop {
        let before = left.len();
        let mut failed: Option<Workload> = None;
        left.retain(|&key| {
            let Some((workload, _)) = draft.cluster.workload(key) else {
                return false;
            };
            if failed.as_ref().is_some_and(|failed| alike(failed, workload)) {
                return true;
            }
            let workload = workload.clone();
            let placed = one(draft, leaving, &workload);
            failed = if placed { None } else { Some(workload) };
            !placed
        });
        if left.is_empty() || left.len() == before {
            return left;
        }
    }
}

fn one(draft: &mut Draft<'_>, leaving: &Leaving<'_>, workload: &Workload) -> bool {
    for &purpose in leaving.purposes {
        if draft.leave(workload.id, purpose, leaving.cause) {
            return true;
        }
    }
    let protected = workload.priority == Priority::Protected;
    if leaving.evicts && protected && evict_for(draft, leaving.cause, workload) {
        return true;
    }
    if !protected {
        // Nobody moves for best effort; and what is free or best-effort on a node stays the same in sum.
        return false;
    }
    leaving.purposes.iter().any(|&purpose| {
        let mark = draft.mark();
        room::open(draft, workload, purpose, 1)
            .is_some_and(|decision| draft.step(workload.id, decision.node, decision.backup, leaving.cause))
            || {
                draft.rewind(mark);
                false
            }
    })
}

/// Stops the fewest best-effort workloads on one node that let a protected one in, and moves it there.
fn evict_for(draft: &mut Draft<'_>, cause: Cause, workload: &Workload) -> bool {
    let mut candidates = clearable(draft, workload);
    candidates.sort_unstable();
    for (_, _, out) in candidates.into_iter().take(CLEARED) {
        let saved = draft.save();
        for key in out {
            draft.evict(key);
        }
        // Room is not all: what is expected to be used may still be too much.
        if draft.leave(workload.id, Purpose::Failover, cause) {
            return true;
        }
        draft.spare(saved);
    }
    false
}

/// Nodes where there would be room without some best-effort workloads: how many, which node, who.
fn clearable(draft: &Draft<'_>, workload: &Workload) -> Vec<(usize, usize, Vec<WorkloadKey>)> {
    let question = Question::elsewhere(&draft.cluster, draft.policy, workload, Purpose::Failover);
    let mut found = Vec::new();
    for (at, row) in draft.cluster.rows().iter().enumerate() {
        let free = question.free(at);
        let enough = free.plus(row.best_effort).shortage(question.demand).is_zero();
        if row.best_effort.is_zero() || !enough || question.takes(at, row).is_err() {
            continue;
        }
        let mut inside: Vec<&Workload> = draft
            .cluster
            .pods_on(at)
            .map(|pod| &*pod.workload)
            .filter(|other| other.priority == Priority::BestEffort && other.id != workload.id)
            .collect();
        let out = to_evict(&mut inside, free, question.demand);
        let freed = out.iter().fold(free, |free, out| free.plus(out.request));
        if freed.shortage(question.demand).is_zero() {
            found.push((out.len(), at, out.iter().map(|out| out.id).collect()));
        }
    }
    found
}

/// Who need not have been stopped runs on; of the others, those for whom there is room elsewhere start again.
fn bring_back(draft: &mut Draft<'_>) {
    let mut evicted = std::mem::take(&mut draft.evicted);
    evicted.sort_unstable_by_key(|(workload, _)| workload.id);
    evicted.retain(|(workload, _)| !draft.unstop(workload));
    evicted.retain(|(workload, _)| !draft.start(workload));
    draft.evicted = evicted;
}

/// The largest of its demands, each against the largest node.
pub(super) fn size_ppm(request: Resources, largest: Resources) -> i64 {
    let scaled = |dimension| request.get(dimension).saturating_mul(PPM) / largest.get(dimension).max(1);
    Dimension::ALL.into_iter().map(scaled).max().unwrap_or(0)
}
