//! Emptying a living node, for an upgrade or for good: the same as a failover, without haste.
//!
//! Each workload goes where an order would go, with a new certificate where the policy has them; only if that finds nothing
//! the reserve is spent (standby nodes too), and the workload is without one. Certificates of others that name the node are
//! renewed where that is possible, as steps in which nothing moves. Best-effort workloads are not stopped for it.

use super::{
    Budget, Cause, Plan,
    certify::Hopeless,
    draft::Draft,
    gather,
    leftovers::{self, Leaving},
};
use crate::{
    NodeKey, WorkloadKey,
    cluster::{Cluster, ClusterError},
    model::Admission,
    place::Purpose,
    policy::{Policy, Reserve},
};

pub fn drain(cluster: &Cluster, policy: &Policy, node: NodeKey) -> Result<Plan, ClusterError> {
    let at = cluster.at(node)?;
    let mut draft = Draft::new(cluster, policy, Budget::default());
    draft.cluster.alter(node, |leaving| {
        if leaving.admission != Admission::Removed {
            leaving.admission = Admission::Draining;
        }
    });
    let (movable, mut pinned): (Vec<_>, Vec<_>) = cluster.workloads_on(node).partition(|workload| workload.can_move());
    draft.plan.restore = pinned.drain(..).map(|workload| workload.id).collect();
    let leaving = Leaving {
        workloads: movable.into_iter().map(|workload| workload.id).collect(),
        purposes: &[Purpose::Admission, Purpose::Failover],
        cause: Cause::Drain,
        evicts: false,
    };
    leftovers::solve(&mut draft, leaving);
    if policy.reserve() == Reserve::NPlusOne {
        renew(&mut draft, at);
    }
    Ok(draft.plan)
}

/// New certificates for those whose certificate names the node, and for those that moved without one.
fn renew(draft: &mut Draft<'_>, at: usize) {
    let mut waiting: Vec<WorkloadKey> = gather::backed_by(&draft.cluster, at);
    let bare = |key: &WorkloadKey| draft.cluster.backup(*key).is_none();
    waiting.extend(draft.plan.moves().map(|step| step.workload).filter(bare));
    let mut order = gather::largest_first(&draft.cluster, waiting);
    loop {
        let before = order.len();
        let mut hopeless = Hopeless::default();
        order.retain(|&key| {
            let Some((_, node)) = draft.cluster.workload(key) else {
                return false;
            };
            match hopeless.ask(&draft.cluster, draft.policy, key) {
                Some(backup) => !draft.step(key, node, Some(backup), Cause::Recertify),
                None => true,
            }
        });
        if order.is_empty() || order.len() == before {
            return;
        }
    }
}
