//! Room for one workload by moving a few others: the fewest moves first, then the least data, then the least size.
//!
//! A node is chosen where the workload fits once so many pods have left it, each of which is placed anew under the policy,
//! N+1 included. Among a few hundred nodes all are looked at; beyond that, those that lack the least.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Budget, Cause, Cost, Plan,
    draft::Draft,
    sets::{self, Item},
};
use crate::{
    Resources, WorkloadKey,
    cluster::Cluster,
    model::{Priority, Workload},
    place::{Decision, Purpose, Question, room},
    policy::Policy,
    refusal::Refusal,
};

/// Up to so many moves, sets of pods are searched; with more, nodes are cleared pod by pod.
const EXACT: u32 = 4;
/// Nodes that are cleared on trial: those where the fewest pods should do.
const CLEARED: usize = 16;
/// Nodes whose pods are looked at: those that lack the least.
const NODES: usize = 256;
/// Sets of pods of one node that are tried.
const SETS: usize = 4;
/// Sets of all nodes that are tried, for each number of moves.
const TRIES: usize = 64;

/// What to move, and where the workload goes then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomMade {
    pub plan: Plan,
    /// Holds once the plan has been carried out.
    pub decision: Decision,
}

/// Lets a workload in by at most so many moves of others; none if it fits as it is. An error is the refusal that stays.
pub fn make_room(cluster: &Cluster, policy: &Policy, workload: &Workload, max_moves: u32) -> Result<RoomMade, Refusal> {
    let question = Question::new(cluster, policy, workload, Purpose::Admission);
    if let Some(decision) = question.decide() {
        let plan = Plan::default();
        return Ok(RoomMade { plan, decision });
    }
    let made = (1..=max_moves.min(EXACT)).find_map(|moves| {
        let candidates = candidates(&question, moves);
        let hopeful = candidates.iter().any(|candidate| {
            candidate.pods.iter().all(|&key| {
                let pod = cluster.workload(key).map(|(pod, _)| pod);
                pod.is_some_and(|pod| {
                    Question::elsewhere(cluster, policy, pod, Purpose::Admission)
                        .decide()
                        .is_some()
                })
            })
        });
        if !hopeful {
            return None;
        }
        let mut draft = Draft::new(cluster, policy, Budget::default());
        let decision = try_each(&mut draft, workload, Purpose::Admission, candidates)?;
        Some(RoomMade {
            plan: draft.plan,
            decision,
        })
    });
    let made = made.or_else(|| (max_moves > EXACT).then(|| clear(&question, max_moves)).flatten());
    made.ok_or_else(|| Refusal::explain(&question, question.scan().rejected))
}

/// Clears a node of as many pods as it takes, the largest that find another place first. Of some nodes where few should
/// do, the one that really needs the fewest.
fn clear(question: &Question<'_>, max_moves: u32) -> Option<RoomMade> {
    let (cluster, policy) = (question.cluster, question.policy);
    if !question.reserve_shortage.is_zero() {
        return None;
    }
    // Pods of one size find a place together or not at all, nearly.
    let mut placeable: BTreeMap<Resources, bool> = BTreeMap::new();
    let mut nodes: Vec<(usize, usize, Vec<WorkloadKey>)> = Vec::new();
    for (at, row) in cluster.rows().iter().enumerate() {
        let missing = question.free(at).shortage(question.demand);
        if missing.is_zero() || row.pods.is_empty() || question.takes(at, row).is_err() {
            continue;
        }
        let mut pods: Vec<&Workload> = cluster.pods_on(at).map(|pod| &*pod.workload).collect();
        pods.retain(|pod| {
            let find = || {
                Question::elsewhere(cluster, policy, pod, Purpose::Admission)
                    .decide()
                    .is_some()
            };
            pod.id != question.workload.id
                && pod.can_move()
                && frees(question, pod)
                && *placeable.entry(pod.request).or_insert_with(find)
        });
        pods.sort_unstable_by_key(|pod| (std::cmp::Reverse(cluster.weights().key(room(pod.request))), pod.id));
        let mut sum = Resources::ZERO;
        let enough = pods.iter().position(|pod| {
            sum = sum.plus(pod.request);
            sum.shortage(missing).is_zero()
        });
        if let Some(last) = enough {
            nodes.push((last + 1, at, pods.iter().map(|pod| pod.id).collect()));
        }
    }
    nodes.sort_unstable();
    let mut best: Option<RoomMade> = None;
    for (least, at, pods) in nodes.into_iter().take(CLEARED) {
        let most = best
            .as_ref()
            .map_or(max_moves as usize, |made| made.plan.steps.len() - 1);
        if least > most {
            break;
        }
        let mut draft = Draft::new(cluster, policy, Budget::default());
        for pod in pods {
            if draft.plan.steps.len() >= most {
                break;
            }
            if !draft.leave(pod, Purpose::Admission, Cause::MakeRoom) {
                continue;
            }
            let decided = Question::new(&draft.cluster, policy, question.workload, question.purpose).decide_at(at);
            if let Some(decision) = decided {
                best = Some(RoomMade {
                    plan: draft.plan,
                    decision,
                });
                break;
            }
        }
    }
    best
}

/// The same within a plan: the moves are taken, and where the workload goes is told.
pub(super) fn open(draft: &mut Draft<'_>, workload: &Workload, purpose: Purpose, max_moves: u32) -> Option<Decision> {
    (1..=max_moves).find_map(|moves| {
        let question = Question::new(&draft.cluster, draft.policy, workload, purpose);
        let candidates = candidates(&question, moves);
        try_each(draft, workload, purpose, candidates)
    })
}

/// In the order in which they are tried: volume, size, node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    volume_mib: i64,
    weight: i64,
    at: usize,
    pods: Vec<WorkloadKey>,
}

fn candidates(question: &Question<'_>, moves: u32) -> Vec<Candidate> {
    if !question.reserve_shortage.is_zero() {
        // Moving others frees nothing in the whole cluster.
        return Vec::new();
    }
    let cluster = question.cluster;
    let weigh = |amount: Resources| cluster.weights().key(room(amount));
    let mut short: Vec<(i64, usize, Resources)> = Vec::new();
    for (at, row) in cluster.rows().iter().enumerate() {
        let missing = question.free(at).shortage(question.demand);
        if !missing.is_zero() && !row.pods.is_empty() && question.takes(at, row).is_ok() {
            short.push((weigh(missing), at, missing));
        }
    }
    short.sort_unstable_by_key(|&(weight, at, _)| (weight, at));
    short.truncate(NODES);

    let mut found = Vec::new();
    for (_, at, missing) in short {
        let mut pods: Vec<&Workload> = cluster
            .pods_on(at)
            .map(|pod| &*pod.workload)
            .filter(|pod| pod.id != question.workload.id && pod.can_move() && frees(question, pod))
            .collect();
        pods.sort_unstable_by_key(|pod| pod.id);
        let items: Vec<Item> = pods
            .iter()
            .map(|pod| Item {
                request: pod.request,
                weight: weigh(pod.request),
            })
            .collect();
        let moves = usize::try_from(moves).unwrap_or(usize::MAX);
        for set in sets::covers(&items, missing, moves, SETS) {
            let volume = set.iter().map(|&item| Cost::of(pods[item], true).volume_mib);
            found.push(Candidate {
                volume_mib: volume.sum(),
                weight: set.iter().map(|&item| items[item].weight).sum(),
                at,
                pods: set.into_iter().map(|item| pods[item].id).collect(),
            });
        }
    }
    found.sort_unstable();
    found.truncate(TRIES);
    found
}

/// Whether its leaving gives room of the kind that is asked for: what lives inside the reserve gives none to a protected one.
fn frees(question: &Question<'_>, pod: &Workload) -> bool {
    let admission = question.purpose == Purpose::Admission;
    !(admission && question.workload.priority == Priority::Protected && pod.priority == Priority::BestEffort)
}

fn try_each(
    draft: &mut Draft<'_>,
    workload: &Workload,
    purpose: Purpose,
    candidates: Vec<Candidate>,
) -> Option<Decision> {
    let mark = draft.mark();
    for candidate in candidates {
        // The largest first: it has the fewest places to go to.
        let gone = candidate.pods.iter().rev().all(|&pod| {
            draft.leave(pod, Purpose::Admission, Cause::MakeRoom)
                || (purpose == Purpose::Failover && draft.leave(pod, Purpose::Failover, Cause::MakeRoom))
        });
        if gone {
            let question = Question::new(&draft.cluster, draft.policy, workload, purpose);
            if let Some(decision) = question.decide_at(candidate.at) {
                return Some(decision);
            }
        }
        draft.rewind(mark);
    }
    None
}
