//! Fewer nodes: those that are used the least are emptied wholly, so that they can be switched off or sold.
//!
//! Each node all or nothing, the least used first. What it holds goes to nodes that are in use, never to an empty one;
//! certificates that name it go elsewhere too. Nodes with pinned workloads, or without any, are left alone.

use serde::{Deserialize, Serialize};

use super::{Budget, Cause, Plan, certify::best_certificate, draft::Draft, gather};
use crate::{
    NodeKey, WorkloadKey,
    cluster::Cluster,
    model::{Admission, Availability},
    place::{Purpose, room, small},
    policy::Policy,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Consolidation {
    pub plan: Plan,
    /// The nodes that run nothing of ours and insure nobody afterwards, in the order in which they are emptied.
    pub emptied: Vec<NodeKey>,
}

pub fn consolidate(cluster: &Cluster, policy: &Policy, budget: Budget) -> Consolidation {
    let mut draft = Draft::new(cluster, policy, budget);
    let mut emptied = Vec::new();
    for node in cluster.nodes() {
        let Ok(at) = cluster.at(node.id) else { continue };
        if cluster.rows()[at].pods.is_empty() {
            let backs = cluster.certificates().carrier(small(at)).is_some();
            close(&mut draft, node.id, backs);
        }
    }
    loop {
        let candidates = least_used(&draft.cluster);
        let done = candidates.into_iter().find(|&node| empty(&mut draft, node));
        let Some(node) = done else { break };
        emptied.push(node);
    }
    Consolidation {
        plan: draft.plan,
        emptied,
    }
}

/// An empty node takes nothing more; one that carries a reserve goes on doing so.
fn close(draft: &mut Draft<'_>, node: NodeKey, backs: bool) {
    draft.cluster.alter(node, |node| {
        if node.admission == Admission::Open || (node.admission == Admission::Standby && !backs) {
            node.admission = if backs { Admission::Standby } else { Admission::Cordoned };
        }
    });
}

/// Nodes that could be emptied, by what is taken on them in the measure of the score.
fn least_used(cluster: &Cluster) -> Vec<NodeKey> {
    let mut found: Vec<(i64, usize)> = Vec::new();
    for (at, row) in cluster.rows().iter().enumerate() {
        let living = row.node.availability == Availability::Ready && row.node.admission == Admission::Open;
        if living && !row.pods.is_empty() && cluster.pods_on(at).all(|pod| pod.workload.can_move()) {
            let taken = row.protected.plus(row.best_effort);
            found.push((cluster.weights().key(room(taken)), at));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(_, at)| cluster.key(at)).collect()
}

fn empty(draft: &mut Draft<'_>, node: NodeKey) -> bool {
    let Ok(at) = draft.cluster.at(node) else { return false };
    let leaving: Vec<WorkloadKey> = draft.cluster.workloads_on(node).map(|workload| workload.id).collect();
    if !draft.budget.worth(u32::try_from(leaving.len()).unwrap_or(u32::MAX), 1) {
        return false;
    }
    let mark = draft.mark();
    let was = draft.cluster.node(node).map(|node| node.admission);
    close(draft, node, false);
    let backed = gather::largest_first(&draft.cluster, gather::backed_by(&draft.cluster, at));
    let insured = backed.into_iter().all(|key| {
        let Some((_, home)) = draft.cluster.workload(key) else {
            return false;
        };
        best_certificate(&draft.cluster, draft.policy, key)
            .is_some_and(|backup| draft.step(key, home, Some(backup), Cause::Recertify))
    });
    let leaving = gather::largest_first(&draft.cluster, leaving);
    let gone = insured
        && leaving
            .into_iter()
            .all(|key| draft.leave(key, Purpose::Admission, Cause::Consolidate));
    if !gone {
        draft.rewind(mark);
        draft.cluster.alter(node, |node| {
            if let Some(was) = was {
                node.admission = was;
            }
        });
    }
    gone
}
