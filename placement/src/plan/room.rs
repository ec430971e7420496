//! Room for one workload by moving a few others: the fewest moves first, then the least data, then the least size.
//!
//! A node is chosen where the workload fits once so many pods have left it, each of which is placed anew under the policy,
//! N+1 included. Among a few hundred nodes all are looked at; beyond that, those that lack the least.

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
    let made = (1..=max_moves).find_map(|moves| {
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
    made.ok_or_else(|| Refusal::explain(&question, question.scan().rejected))
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
            .map(|pod| &pod.workload)
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
