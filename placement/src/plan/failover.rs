//! A node is lost: who goes where. A table look-up of certificates, in time proportional to what ran there.
//!
//! Protected workloads first. Where best-effort ones live in the reserve that is needed now, they are stopped before, and
//! are the last to get a new place. Whoever has no certificate, or one that does not hold, is searched a place for, on a copy
//! of the cluster that is made only then. Pinned workloads have lost their data and are named.
//!
//! The books of the moved ones have no certificates afterwards: [`recertify`](super::recertify) finds them new ones.

use super::{
    Budget, Cause, Cost, Eviction, HeadroomAfter, Plan, Step,
    draft::Draft,
    leftovers::{self, Leaving},
};
use crate::{
    NodeKey, Resources, WorkloadKey,
    cluster::{Cluster, ClusterError},
    model::{Admission, Availability, Priority, Workload},
    place::{Purpose, Question, small},
    pods::Pod,
    policy::Policy,
};

/// What to do when `node` dies, whatever the cluster says of it by now.
pub fn failover(cluster: &Cluster, policy: &Policy, node: NodeKey) -> Result<Plan, ClusterError> {
    let (plan, leftovers) = look_up(cluster, policy, node)?;
    if leftovers.is_empty() && plan.evictions.is_empty() {
        return Ok(plan);
    }
    let mut draft = Draft::new(cluster, policy, Budget::default());
    draft.cluster.alter(node, |lost| {
        lost.availability = Availability::Offline;
        if lost.admission == Admission::Open {
            lost.admission = Admission::Cordoned;
        }
    });
    draft.plan.restore = plan.restore;
    for eviction in plan.evictions {
        draft.evict(eviction.workload);
    }
    for step in plan.steps {
        draft.step(step.workload, step.to, None, step.reason);
    }
    let leaving = Leaving {
        workloads: leftovers,
        purposes: &[Purpose::Failover],
        cause: Cause::Search,
        evicts: true,
    };
    leftovers::solve(&mut draft, leaving);
    Ok(draft.plan)
}

/// The part that needs no search, and who is left: a copy of nothing but what is answered.
pub(super) fn look_up(
    cluster: &Cluster,
    policy: &Policy,
    node: NodeKey,
) -> Result<(Plan, Vec<WorkloadKey>), ClusterError> {
    let at = cluster.at(node)?;
    let mut plan = Plan::default();
    let mut leftovers = Vec::new();
    let mut certified: Vec<(u32, WorkloadKey, &Pod)> = Vec::new();
    for pod in cluster.pods_on(at) {
        let key = pod.workload.id;
        match pod.backup {
            _ if !pod.workload.can_move() => plan.restore.push(key),
            Some(backup) if pod.workload.priority == Priority::Protected => certified.push((backup, key, pod)),
            _ => leftovers.push(key),
        }
    }
    plan.restore.sort_unstable();
    certified.sort_unstable_by_key(|&(backup, key, _)| (backup, key));
    plan.steps.reserve(certified.len());
    let mut source = cluster.room_spending(at);
    for group in certified.chunk_by(|one, other| one.0 == other.0) {
        let to = group[0].0 as usize;
        let mut target = Target::new(cluster, to);
        target.clear_for(
            group.iter().map(|(_, _, pod)| pod.workload.request),
            &mut plan.evictions,
        );
        for &(_, key, pod) in group {
            let request = pod.workload.request;
            if !holds(cluster, policy, pod, to) || !target.take(request) {
                leftovers.push(key);
                continue;
            }
            source = source.plus(request);
            let cost = Cost::of(&pod.workload, true);
            plan.cost = plan.cost.plus(cost);
            plan.steps.push(Step {
                workload: key,
                from: node,
                to: cluster.key(to),
                backup: None,
                reason: Cause::Certificate,
                precondition: request,
                headroom_after: HeadroomAfter {
                    to: target.free,
                    from: source,
                },
                restart_seconds: cost.restart_seconds,
                volume_mib: cost.volume_mib,
            });
        }
    }
    Ok((plan, leftovers))
}

/// Whether the target of a certificate can still take the workload, its room left aside.
pub(super) fn holds(cluster: &Cluster, policy: &Policy, pod: &Pod, to: usize) -> bool {
    if pod.workload.wishes_nothing() && cluster.rows()[to].plain_backup {
        return pod.node != small(to);
    }
    Question::new(cluster, policy, &pod.workload, Purpose::Failover).can_back(pod.node as usize, to)
}

/// A backup node while it fills.
struct Target<'a> {
    cluster: &'a Cluster,
    at: usize,
    free: Resources,
}

impl<'a> Target<'a> {
    fn new(cluster: &'a Cluster, at: usize) -> Self {
        Self {
            cluster,
            at,
            free: cluster.room_spending(at),
        }
    }

    /// Best-effort workloads leave until what comes fits beside those that stay: the smallest one that suffices, else the
    /// largest.
    fn clear_for(&mut self, coming: impl Iterator<Item = Resources>, evictions: &mut Vec<Eviction>) {
        let demand = coming.fold(Resources::ZERO, Resources::plus);
        let row = &self.cluster.rows()[self.at];
        if self.free.shortage(demand).is_zero() || row.best_effort.is_zero() {
            return;
        }
        let mut inside: Vec<&Workload> = self
            .cluster
            .pods_on(self.at)
            .map(|pod| &*pod.workload)
            .filter(|workload| workload.priority == Priority::BestEffort)
            .collect();
        for workload in to_evict(&mut inside, self.free, demand) {
            self.free = self.free.plus(workload.request);
            evictions.push(Eviction {
                workload: workload.id,
                node: self.cluster.key(self.at),
            });
        }
    }

    fn take(&mut self, request: Resources) -> bool {
        let fits = self.free.shortage(request).is_zero();
        if fits {
            self.free = self.free.minus(request);
        }
        fits
    }
}

/// Who of `inside` has to leave so that `demand` fits; all who help, if it is not enough.
pub(super) fn to_evict<'w>(inside: &mut Vec<&'w Workload>, free: Resources, demand: Resources) -> Vec<&'w Workload> {
    let size = |workload: &Workload| crate::score::scaled_sum_ppm(workload.request, demand);
    inside.sort_unstable_by_key(|workload| (size(workload), workload.id));
    let mut leaving = Vec::new();
    let mut free = free;
    loop {
        let missing = free.shortage(demand);
        if missing.is_zero() {
            return leaving;
        }
        let suffices = |workload: &&Workload| workload.request.shortage(missing).is_zero();
        let helps = |workload: &&Workload| !missing.min(workload.request).is_zero();
        let found = inside
            .iter()
            .position(suffices)
            .or_else(|| inside.iter().rposition(helps));
        let Some(at) = found else { return leaving };
        let workload = inside.remove(at);
        free = free.plus(workload.request);
        leaving.push(workload);
    }
}
