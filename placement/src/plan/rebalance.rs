//! Hot nodes lose pods until they are expected to be back below the lower line. Nothing else moves.
//!
//! Whether a node is hot is told by [`Node::hot`](crate::Node::hot), with its hysteresis; what it will use once a pod has
//! left is predicted by the policy's usage rule, or, without one, taken from the requests. No target is
//! taken above the line that its source has to reach, so that heat is not handed on.

use super::{Budget, Cause, Plan, draft::Draft};
use crate::{
    NodeKey, WorkloadKey,
    cluster::Cluster,
    place::{Purpose, room},
    policy::Policy,
};

/// Without a usage rule: requests at or below these shares of what is allocatable. The lower lines, five points under the
/// triggers of 80 % CPU and 85 % memory.
const LOWER_CPU_PERCENT: i64 = 75;
const LOWER_MEM_PERCENT: i64 = 80;

pub fn rebalance(cluster: &Cluster, policy: &Policy, budget: Budget) -> Plan {
    let mut draft = Draft::new(cluster, policy, budget);
    let hot: Vec<usize> = (0..cluster.rows().len())
        .filter(|&at| cluster.rows()[at].node.hot)
        .collect();
    for at in hot {
        while !is_cool(&draft, at) && relieve(&mut draft, at) {}
    }
    draft.plan
}

fn is_cool(draft: &Draft<'_>, at: usize) -> bool {
    let row = &draft.cluster.rows()[at];
    let [protected, best_effort] = draft.cluster.load_on(at);
    let requests = draft.cluster.taken(at);
    if let Some(cool) = draft.policy.cools(&protected.plus(best_effort), &row.node) {
        return cool;
    }
    let all = row.node.allocatable;
    let below = |used: i64, all: i64, percent: i64| used.saturating_mul(100) <= all.saturating_mul(percent);
    below(requests.cpu_milli, all.cpu_milli, LOWER_CPU_PERCENT)
        && below(requests.mem_mib, all.mem_mib, LOWER_MEM_PERCENT)
}

/// One pod leaves: the smallest whose leaving is enough, else the largest that finds a place.
fn relieve(draft: &mut Draft<'_>, at: usize) -> bool {
    let mut pods: Vec<(i64, WorkloadKey)> = draft
        .cluster
        .pods_on(at)
        .filter(|pod| pod.workload.can_move() && !pod.workload.request.is_zero())
        .map(|pod| (draft.cluster.weights().key(room(pod.workload.request)), pod.workload.id))
        .collect();
    pods.sort_unstable();
    let mark = draft.mark();
    let mut largest = None;
    for (_, key) in pods {
        let Some(decision) = draft.elsewhere(key, Purpose::Admission) else {
            continue;
        };
        if !draft.step(key, decision.node, decision.backup, Cause::Hot) {
            break;
        }
        let enough = is_cool(draft, at);
        let handed_on = !target_is_cool(draft, decision.node);
        if enough && !handed_on {
            return true;
        }
        draft.rewind(mark);
        if !handed_on {
            largest = Some((key, decision));
        }
    }
    largest.is_some_and(|(key, decision)| draft.step(key, decision.node, decision.backup, Cause::Hot))
}

fn target_is_cool(draft: &Draft<'_>, node: NodeKey) -> bool {
    draft.cluster.at(node).is_ok_and(|at| is_cool(draft, at))
}
