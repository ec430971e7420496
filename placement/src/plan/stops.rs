//! Best-effort workloads that are stopped in a plan, before its first step, and what becomes of them.

use super::{
    Cause, Cost, Eviction, HeadroomAfter, Plan, Step,
    draft::{Draft, free},
};
use crate::{
    NodeKey, Placement, Resources, WorkloadKey,
    model::Workload,
    place::{Purpose, Question},
};

/// A plan as it was before some workloads were stopped on trial.
pub(super) struct Saved {
    plan: Plan,
    before: Vec<Placement>,
    evicted: usize,
}

impl Draft<'_> {
    /// Stops a best-effort workload. Before all steps, so that they only find more room; if it has moved in one of them, it
    /// does not.
    pub fn evict(&mut self, workload: WorkloadKey) {
        let Some((found, node)) = self
            .cluster
            .workload(workload)
            .map(|(found, node)| (found.clone(), node))
        else {
            return;
        };
        if self.cluster.remove(workload).is_none() {
            return;
        }
        let first = self.plan.steps.iter().find(|step| step.workload == workload);
        let home = first.map_or(node, |step| step.from);
        self.without(workload, home, found.request);
        self.evicted.push((found, node));
        self.plan.evictions.push(Eviction { workload, node: home });
    }

    /// Takes a workload out of the steps, wherever it was at each of them.
    fn without(&mut self, workload: WorkloadKey, home: NodeKey, request: Resources) {
        let mut at = home;
        let steps = std::mem::take(&mut self.plan.steps);
        let before = std::mem::take(&mut self.before);
        for (mut step, before) in steps.into_iter().zip(before) {
            if step.workload == workload {
                at = step.to;
                self.plan.cost = self.plan.cost.minus(&step);
                continue;
            }
            add_room(&mut step, at, request);
            self.plan.steps.push(step);
            self.before.push(before);
        }
    }

    pub fn save(&self) -> Saved {
        Saved {
            plan: self.plan.clone(),
            before: self.before.clone(),
            evicted: self.evicted.len(),
        }
    }

    /// As it was, if nothing has happened since but that workloads were stopped.
    pub fn spare(&mut self, saved: Saved) {
        while self.evicted.len() > saved.evicted {
            let Some((workload, node)) = self.evicted.pop() else {
                break;
            };
            // Its node was there when it was stopped.
            let _ = self.cluster.assign(workload, node);
        }
        (self.plan, self.before) = (saved.plan, saved.before);
    }

    /// Does not stop a workload after all, if there is room beside all that came. Where others leave its node on the way, the
    /// room may be theirs until then, so that it stays stopped.
    pub fn unstop(&mut self, workload: &Workload) -> bool {
        let stopped = |eviction: &Eviction| eviction.workload == workload.id;
        let Some(at) = self.plan.evictions.iter().position(stopped) else {
            return false;
        };
        let node = self.plan.evictions[at].node;
        let question = Question::new(&self.cluster, self.policy, workload, Purpose::Failover);
        let fits = self.cluster.at(node).is_ok_and(|at| question.decide_at(at).is_some());
        if !fits || self.plan.moves().any(|step| step.from == node) {
            return false;
        }
        self.plan.evictions.remove(at);
        for step in &mut self.plan.steps {
            add_room(step, node, Resources::ZERO.minus(workload.request));
        }
        self.cluster.assign(workload.clone(), node).is_ok()
    }

    /// Starts a stopped workload again, on a node that has room now.
    pub fn start(&mut self, workload: &Workload) -> bool {
        let was = self
            .plan
            .evictions
            .iter()
            .find(|eviction| eviction.workload == workload.id);
        let Some(from) = was.map(|eviction| eviction.node) else {
            return false;
        };
        let question = Question::new(&self.cluster, self.policy, workload, Purpose::Failover);
        let elsewhere = question.decide().filter(|decision| decision.node != from);
        let Some(decision) = elsewhere else {
            return false;
        };
        if self.cluster.assign(workload.clone(), decision.node).is_err() {
            return false;
        }
        let cost = Cost::of(workload, true);
        self.plan.cost = self.plan.cost.plus(cost);
        self.before.push(Placement {
            workload: workload.id,
            node: decision.node,
            backup: None,
        });
        self.plan.steps.push(Step {
            workload: workload.id,
            from,
            to: decision.node,
            backup: None,
            reason: Cause::Search,
            precondition: workload.request,
            headroom_after: HeadroomAfter {
                to: free(&self.cluster, decision.node),
                from: free(&self.cluster, from),
            },
            restart_seconds: cost.restart_seconds,
            volume_mib: cost.volume_mib,
        });
        true
    }
}

fn add_room(step: &mut Step, node: NodeKey, amount: Resources) {
    let after = &mut step.headroom_after;
    for (touched, free) in [(step.to, &mut after.to), (step.from, &mut after.from)] {
        if touched == node {
            *free = free.plus(amount);
        }
    }
}
