//! A plan in the making: a copy of the cluster on which each step is taken at once, and taken back when it leads nowhere.

use super::{Budget, Cause, Cost, HeadroomAfter, Plan, Step};
use crate::{
    NodeKey, Placement, Resources, WorkloadKey,
    cluster::Cluster,
    model::Workload,
    place::{Decision, Purpose, Question},
    policy::Policy,
    refusal::Refusal,
};

#[derive(Clone, Debug)]
pub(super) struct Draft<'a> {
    pub cluster: Cluster,
    pub policy: &'a Policy,
    pub budget: Budget,
    pub plan: Plan,
    /// Where the workload of each step was before it.
    pub before: Vec<Placement>,
    /// Best-effort workloads that were stopped, and where they were then.
    pub evicted: Vec<(Workload, NodeKey)>,
}

impl<'a> Draft<'a> {
    pub fn new(cluster: &Cluster, policy: &'a Policy, budget: Budget) -> Self {
        Self {
            cluster: cluster.clone(),
            policy,
            budget,
            plan: Plan::default(),
            before: Vec::new(),
            evicted: Vec::new(),
        }
    }

    pub fn mark(&self) -> usize {
        self.plan.steps.len()
    }

    /// Takes a step. `false`: the budget does not allow it, or there is no such workload or node.
    pub fn step(&mut self, workload: WorkloadKey, to: NodeKey, backup: Option<NodeKey>, reason: Cause) -> bool {
        let Some((found, from)) = self.cluster.workload(workload) else {
            return false;
        };
        let (request, cost) = (found.request, Cost::of(found, from != to));
        let total = self.plan.cost.plus(cost);
        if cost.moves > 0 && !self.budget.allows(total) {
            self.plan.cut = true;
            return false;
        }
        let Ok(Some(before)) = self.cluster.relocate(workload, to, backup) else {
            return false;
        };
        self.before.push(before);
        self.plan.cost = total;
        self.plan.steps.push(Step {
            workload,
            from,
            to,
            backup,
            reason,
            precondition: if from == to { Resources::ZERO } else { request },
            headroom_after: HeadroomAfter {
                to: free(&self.cluster, to),
                from: free(&self.cluster, from),
            },
            restart_seconds: cost.restart_seconds,
            volume_mib: cost.volume_mib,
        });
        true
    }

    /// Takes back every step since the mark.
    pub fn rewind(&mut self, mark: usize) {
        while self.plan.steps.len() > mark {
            let (Some(step), Some(before)) = (self.plan.steps.pop(), self.before.pop()) else {
                break;
            };
            self.plan.cost = self.plan.cost.minus(&step);
            // What was there is there: neither the workload nor its nodes have gone since.
            let _ = self.cluster.relocate(before.workload, before.node, before.backup);
        }
    }

    /// The nodes that the steps since the mark may have changed: sources, targets, and those of old and new certificates.
    pub fn nodes_since(&self, mark: usize) -> Vec<NodeKey> {
        let steps = self.plan.steps[mark..].iter().zip(&self.before[mark..]);
        let mut nodes: Vec<NodeKey> = steps
            .flat_map(|(step, before)| [Some(step.from), Some(step.to), step.backup, before.backup])
            .flatten()
            .collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes
    }

    /// Where a workload would go that has to leave its node.
    pub fn elsewhere(&self, workload: WorkloadKey, purpose: Purpose) -> Option<Decision> {
        let (workload, _) = self.cluster.workload(workload)?;
        Question::elsewhere(&self.cluster, self.policy, workload, purpose).decide()
    }

    /// Moves it there.
    pub fn leave(&mut self, workload: WorkloadKey, purpose: Purpose, reason: Cause) -> bool {
        self.elsewhere(workload, purpose)
            .is_some_and(|decision| self.step(workload, decision.node, decision.backup, reason))
    }

    /// Why each of these finds no place, in the state that the plan leads to.
    pub fn strand<'w>(&mut self, workloads: impl Iterator<Item = &'w Workload>, purpose: Purpose) {
        let mut last: Option<(&Workload, Refusal)> = None;
        for workload in workloads {
            let refusal = match &last {
                // Equal pods on one node are refused alike, and a reason costs a look at every node.
                Some((other, refusal)) if alike(other, workload) => Refusal {
                    workload: workload.id,
                    ..refusal.clone()
                },
                _ => {
                    let question = Question::elsewhere(&self.cluster, self.policy, workload, purpose);
                    let rejected = question.scan().rejected;
                    Refusal::explain(&question, rejected)
                }
            };
            self.plan.stranded.push(refusal.clone());
            last = Some((workload, refusal));
        }
    }
}

pub(super) fn free(cluster: &Cluster, node: NodeKey) -> Resources {
    cluster.at(node).map_or(Resources::ZERO, |at| cluster.room_spending(at))
}

/// Differ in nothing but their names.
pub(super) fn alike(one: &Workload, other: &Workload) -> bool {
    one.request == other.request
        && one.priority == other.priority
        && one.selector == other.selector
        && one.tolerations == other.tolerations
        && one.storage_class == other.storage_class
        && one.volume == other.volume
        && one.spread == other.spread
        && one.measured == other.measured
}
