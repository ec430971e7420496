//! Where a workload goes: hard constraints first, then the best score. The one function that says yes.
//!
//! An exact scan over all nodes, without sampling: the same cluster, policy and workload give the same answer, byte for
//! byte, in whatever order the cluster was built. A workload that is already placed is judged as if its own request
//! were not there, so a change of plan or a return from suspension asks the same question as an order.
//!
//! It changes nothing: the caller assigns what was decided.

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Resources, WorkloadKey,
    cluster::{Cluster, Slot},
    model::{Admission, Availability, TaintEffect, VolumeLocality, Workload},
    policy::Policy,
    refusal::{Counts, Reason, Refusal},
    resources::{Dimension, PPM},
    score::{self, Score},
};

/// Why a place is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// An order, a renewal, a larger plan: open nodes, and the reserve stays untouched.
    Admission,
    /// It has lost or leaves its node: standby nodes too, and the reserve is there to be spent.
    Failover,
}

/// A node that takes the workload, and why this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub workload: WorkloadKey,
    pub node: NodeKey,
    pub score: Score,
    /// The next best node, if another one would have done.
    pub runner_up: Option<Score>,
    /// How many nodes could not take it, by reason.
    pub rejected: Counts,
}

/// Finds the node for a new order.
pub fn place(cluster: &Cluster, policy: &Policy, workload: &Workload) -> Result<Decision, Refusal> {
    place_for(cluster, policy, workload, Purpose::Admission)
}

pub fn place_for(
    cluster: &Cluster,
    policy: &Policy,
    workload: &Workload,
    purpose: Purpose,
) -> Result<Decision, Refusal> {
    let question = Question::new(cluster, policy, workload, purpose);
    question.decide().map_err(|counts| Refusal::explain(&question, counts))
}

/// Where the workload is now, and what it takes there.
#[derive(Clone, Copy)]
struct Present {
    node: NodeKey,
    request: Resources,
    counts_for_reserve: bool,
}

/// One workload against one cluster, with everything that does not differ from node to node computed once.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub cluster: &'a Cluster,
    pub policy: &'a Policy,
    pub workload: &'a Workload,
    pub purpose: Purpose,
    pub demand: Resources,
    /// What is missing in the whole cluster to keep the reserve after placing.
    pub reserve_shortage: Resources,
    present: Option<Present>,
    /// Has no wishes that a [`plain`](Slot::plain) node could fail.
    plain: bool,
}

impl<'a> Question<'a> {
    pub fn new(cluster: &'a Cluster, policy: &'a Policy, workload: &'a Workload, purpose: Purpose) -> Self {
        let present = cluster.workload(workload.id).map(|(placed, node)| Present {
            node,
            request: placed.request,
            counts_for_reserve: cluster.slot(node).is_some_and(Slot::counts_for_reserve),
        });
        let demand = workload.request.in_range();
        Self::build(cluster, policy, workload, purpose, demand, present)
    }

    /// The same for one more pod like this: the workload stands for a kind, not for itself.
    pub fn one_more(cluster: &'a Cluster, policy: &'a Policy, kind: &'a Workload) -> Self {
        // Without any demand there would be room for infinitely many.
        let demand = kind.request.in_range().max(Resources {
            pods: 1,
            ..Resources::ZERO
        });
        Self::build(cluster, policy, kind, Purpose::Admission, demand, None)
    }

    fn build(
        cluster: &'a Cluster,
        policy: &'a Policy,
        workload: &'a Workload,
        purpose: Purpose,
        demand: Resources,
        present: Option<Present>,
    ) -> Self {
        let mut question = Self {
            cluster,
            policy,
            workload,
            purpose,
            demand,
            reserve_shortage: Resources::ZERO,
            present,
            plain: workload.selector.is_empty()
                && workload.storage_class.is_none()
                && workload.volume == VolumeLocality::Anywhere,
        };
        question.reserve_shortage = question.shortage_of_reserve();
        question
    }

    /// The same question about a changed cluster.
    pub fn again<'b>(&self, cluster: &'b Cluster) -> Question<'b>
    where
        'a: 'b,
    {
        Question::build(
            cluster,
            self.policy,
            self.workload,
            self.purpose,
            self.demand,
            self.present_in(cluster),
        )
    }

    fn present_in(&self, cluster: &Cluster) -> Option<Present> {
        self.present.map(|present| Present {
            counts_for_reserve: cluster.slot(present.node).is_some_and(Slot::counts_for_reserve),
            ..present
        })
    }

    /// The best node, or how many nodes said no for which reason.
    pub fn decide(&self) -> Result<Decision, Counts> {
        let mut tally = [0_u32; Reason::ALL.len()];
        let mut best: Option<Score> = None;
        let mut runner_up: Option<Score> = None;
        for slot in self.cluster.slots() {
            match self.judge(slot) {
                Err(reason) => tally[reason as usize] += 1,
                Ok(score) if best.is_none_or(|best| score < best) => {
                    runner_up = best.replace(score);
                }
                Ok(score) if runner_up.is_none_or(|second| score < second) => {
                    runner_up = Some(score);
                }
                Ok(_) => {}
            }
        }
        let rejected: Counts = Reason::ALL
            .into_iter()
            .zip(tally)
            .filter(|&(_, count)| count > 0)
            .collect();
        match best {
            Some(score) => Ok(Decision {
                workload: self.workload.id,
                node: score.node,
                score,
                runner_up,
                rejected,
            }),
            None => Err(rejected),
        }
    }

    /// The score of a node, or the first thing that rules it out.
    pub fn judge(&self, slot: &Slot) -> Result<Score, Reason> {
        if !(self.plain && slot.plain) {
            self.suits(slot)?;
            if slot.node.availability != Availability::Ready {
                return Err(Reason::NotReady);
            }
            self.admits(slot.node.admission)?;
        }
        let free = self.free(slot);
        if let Some(dimension) = self.worst(free.shortage(self.demand)) {
            return Err(Reason::from(dimension));
        }
        if !self.reserve_shortage.is_zero() {
            return Err(Reason::Reserve);
        }
        Ok(Score {
            moves: self.present.is_some_and(|present| present.node != slot.key),
            softness: if slot.plain {
                0
            } else {
                score::softness(&slot.node, self.workload)
            },
            residual_ppm: score::scaled_sum_ppm(free.minus(self.demand), self.cluster.largest()),
            node: slot.key,
        })
    }

    /// What lies in the nature of the node: no room and no patience would change it.
    pub fn suits(&self, slot: &Slot) -> Result<(), Reason> {
        let node = &*slot.node;
        let wall = |effect| effect != TaintEffect::PreferNoSchedule;
        if node.admission == Admission::Removed {
            return Err(Reason::Removed);
        }
        if !self.workload.volume.allows(node.id) {
            return Err(Reason::VolumeElsewhere);
        }
        if self
            .workload
            .storage_class
            .as_ref()
            .is_some_and(|class| !node.storage_classes.contains(class))
        {
            return Err(Reason::StorageClass);
        }
        if !self.workload.selects(&node.labels) {
            return Err(Reason::Selector);
        }
        if node
            .taints
            .iter()
            .any(|taint| wall(taint.effect) && !self.workload.tolerates(taint))
        {
            return Err(Reason::Taint);
        }
        Ok(())
    }

    pub fn admits(&self, admission: Admission) -> Result<(), Reason> {
        match (admission, self.purpose) {
            (Admission::Open, _) | (Admission::Standby, Purpose::Failover) => Ok(()),
            (Admission::Standby, Purpose::Admission) => Err(Reason::Standby),
            (Admission::Cordoned, _) => Err(Reason::Cordoned),
            (Admission::Draining, _) => Err(Reason::Draining),
            (Admission::Removed, _) => Err(Reason::Removed),
        }
    }

    /// What others take on a node.
    pub fn occupied(&self, slot: &Slot) -> Resources {
        match self.present {
            Some(present) if present.node == slot.key => slot.occupied.minus(present.request),
            _ => slot.occupied,
        }
    }

    pub fn free(&self, slot: &Slot) -> Resources {
        slot.capacity(self.policy.setup_reserve()).minus(self.occupied(slot))
    }

    /// The resource that is the shortest, measured against the largest node.
    fn worst(&self, shortage: Resources) -> Option<Dimension> {
        let mut short = Dimension::ALL
            .into_iter()
            .filter(|&dimension| shortage.get(dimension) > 0);
        let first = short.next()?;
        let largest = self.cluster.largest();
        let scaled = |dimension| shortage.get(dimension).saturating_mul(PPM) / largest.get(dimension).max(1);
        Some(short.fold(
            first,
            |worst, next| {
                if scaled(next) > scaled(worst) { next } else { worst }
            },
        ))
    }

    /// What is free for failover beyond the reserve, before this workload is placed; may be negative.
    pub fn reserve_slack(&self) -> Resources {
        let setup = self.policy.setup_reserve();
        let (mut total, mut free) = (Resources::ZERO, Resources::ZERO);
        for slot in self
            .cluster
            .slots()
            .iter()
            .filter(|slot| slot.node.admission != Admission::Removed)
        {
            total = total.plus(slot.node.allocatable);
            if slot.counts_for_reserve() {
                free = free.plus(slot.capacity(setup)).minus(slot.occupied);
            }
        }
        free.plus(self.given_back()).minus(self.policy.reserved(total))
    }

    /// What placing this workload anew would free where the reserve counts.
    fn given_back(&self) -> Resources {
        self.present
            .filter(|present| present.counts_for_reserve)
            .map_or(Resources::ZERO, |present| present.request)
    }

    fn shortage_of_reserve(&self) -> Resources {
        if self.purpose == Purpose::Failover || !Dimension::ALL.into_iter().any(|d| self.policy.reserves(d)) {
            return Resources::ZERO;
        }
        // Who takes no more than before is not refused for a reserve that others have spent.
        let grows = self
            .demand
            .minus(self.given_back())
            .zip(self.demand, |more, demand| if more > 0 { demand } else { 0 });
        let counted = Resources { disk_mib: 0, ..grows };
        self.reserve_slack().shortage(counted)
    }
}
