//! One workload against one cluster, with everything that does not differ from node to node computed once.

use crate::{
    NodeKey, Resources,
    cluster::Cluster,
    index::{Room, Weights, fits},
    model::{Priority, VolumeLocality, Workload},
    place::Purpose,
    policy::{Policy, Reserve},
    prices::Regrets,
    refusal::Reason,
    resources::{Dimension, PPM},
    usage::Load,
};

/// Room in the form that is compared. Amounts are at most [`Resources::MAX_AMOUNT`], so nothing that matters is cut off.
#[inline]
pub(crate) fn room(free: Resources) -> Room {
    let small = |amount: i64| i32::try_from(amount.clamp(i64::from(i32::MIN), i64::from(i32::MAX))).unwrap_or(0);
    [
        small(free.cpu_milli),
        small(free.mem_mib),
        small(free.disk_mib),
        small(free.pods),
    ]
}

/// Where the workload is now, and what its place and its certificate would be without it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Present {
    pub node: usize,
    pub backup: Option<usize>,
    pub request: Resources,
    pub protected: bool,
    pub counted: bool,
    /// It has to go elsewhere: its own node is no candidate.
    pub leaves: bool,
}

// Each of the flags is a fact of its own.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub cluster: &'a Cluster,
    pub policy: &'a Policy,
    pub workload: &'a Workload,
    pub purpose: Purpose,
    pub demand: Resources,
    /// What is missing in the whole cluster to keep a fractional reserve after placing.
    pub reserve_shortage: Resources,
    /// Demand and the room for setup pods, in the resources that are asked for.
    pub(super) need: Room,
    /// Where the policy goes by use. In a box: most questions have none, and a load is large.
    pub(crate) load: Option<Box<Load>>,
    /// Without a backup it is not placed.
    pub(super) certify: bool,
    pub(super) protected: bool,
    pub(super) present: Option<Present>,
    /// Has no wishes that a plain node could fail.
    pub(super) plain: bool,
    pub(super) regrets: Regrets,
    pub(super) weights: Weights,
}

impl<'a> Question<'a> {
    pub fn new(cluster: &'a Cluster, policy: &'a Policy, workload: &'a Workload, purpose: Purpose) -> Self {
        let demand = workload.request.in_range();
        Self::build(cluster, policy, workload, purpose, demand, true)
    }

    /// The same for a workload that is to leave its node.
    pub fn elsewhere(cluster: &'a Cluster, policy: &'a Policy, workload: &'a Workload, purpose: Purpose) -> Self {
        let mut question = Self::new(cluster, policy, workload, purpose);
        if let Some(present) = &mut question.present {
            present.leaves = true;
        }
        question
    }

    /// The same for one more pod like this: the workload stands for a kind, not for itself.
    pub fn one_more(cluster: &'a Cluster, policy: &'a Policy, kind: &'a Workload) -> Self {
        // Without any demand there would be room for infinitely many.
        let demand = kind.request.in_range().max(Resources {
            pods: 1,
            ..Resources::ZERO
        });
        Self::build(cluster, policy, kind, Purpose::Admission, demand, false)
    }

    fn build(
        cluster: &'a Cluster,
        policy: &'a Policy,
        workload: &'a Workload,
        purpose: Purpose,
        demand: Resources,
        itself: bool,
    ) -> Self {
        let protected = workload.priority == Priority::Protected;
        let with_setup = demand.plus(policy.setup_reserve());
        let asked = demand.zip(
            with_setup,
            |demand, needed| if demand > 0 { needed } else { i64::from(i32::MIN) },
        );
        let present = itself.then(|| present(cluster, workload)).flatten();
        let mut question = Self {
            cluster,
            policy,
            workload,
            purpose,
            demand,
            reserve_shortage: Resources::ZERO,
            need: room(asked),
            load: policy.goes_by_usage().then(|| Box::new(workload.load())),
            certify: policy.reserve() == Reserve::NPlusOne
                && protected
                && purpose == Purpose::Admission
                && workload.can_move(),
            protected,
            present,
            plain: workload.selector.is_empty()
                && workload.storage_class.is_none()
                && workload.volume == VolumeLocality::Anywhere
                && workload.spread.is_none(),
            regrets: Regrets::new(cluster, demand),
            weights: cluster.weights_for(demand),
        };
        question.reserve_shortage = question.shortage_of_reserve();
        question
    }

    /// The same question about a changed cluster.
    pub fn again<'b>(&self, cluster: &'b Cluster) -> Question<'b>
    where
        'a: 'b,
    {
        let itself = self.present.is_some();
        let mut again = Question::build(cluster, self.policy, self.workload, self.purpose, self.demand, itself);
        if let (Some(present), true) = (&mut again.present, self.leaves_somewhere()) {
            present.leaves = true;
        }
        again
    }

    fn leaves_somewhere(&self) -> bool {
        self.present.is_some_and(|present| present.leaves)
    }

    /// Whether the workload is to leave this node, so that nothing there helps it.
    pub(crate) fn leaves(&self, at: usize) -> bool {
        self.present.is_some_and(|present| present.leaves && present.node == at)
    }

    /// What others leave free on a node for this workload, setup pods included.
    #[inline]
    pub(super) fn room(&self, at: usize) -> Room {
        let touched = self
            .present
            .is_some_and(|present| present.node == at || present.backup == Some(at));
        if !touched && self.protected && self.purpose == Purpose::Admission {
            return self.cluster.rooms()[at];
        }
        room(self.exact_room(at))
    }

    fn exact_room(&self, at: usize) -> Resources {
        let own = self.present.filter(|present| present.node == at);
        let given = own.map_or(Resources::ZERO, |present| present.request);
        if !self.protected || self.purpose == Purpose::Failover {
            return self.cluster.room_spending(at).plus(given);
        }
        match own {
            // What lives inside the reserve gives back only what sticks out of it.
            Some(present) if !present.protected => {
                let inside = self.cluster.rows()[at].best_effort;
                let others = self.cluster.room_spending(at).plus(inside);
                others.minus(self.reserve(at).max(inside.minus(present.request)))
            }
            _ => self.cluster.room_with(at, self.reserve(at)).plus(given),
        }
    }

    /// R of a node without this workload's own certificate.
    pub(crate) fn reserve(&self, at: usize) -> Resources {
        match self.present.filter(|present| present.backup == Some(at)) {
            Some(present) => {
                let (from, to) = (small(present.node), small(at));
                let rest = self.cluster.certificates().inflow(from, to).minus(present.request);
                self.cluster.certificates().reserve_with(from, to, rest)
            }
            None => self.cluster.reserve(at),
        }
    }

    /// What is free on a node, the room for setup pods left aside.
    pub fn free(&self, at: usize) -> Resources {
        self.exact_room(at).minus(self.policy.setup_reserve())
    }

    /// What others take on a node, the reserve aside.
    pub fn occupied(&self, at: usize) -> Resources {
        let own = self.present.filter(|present| present.node == at);
        self.cluster
            .taken(at)
            .minus(own.map_or(Resources::ZERO, |present| present.request))
    }

    /// The resource that rules a node out for want of room, or none.
    pub(super) fn short_of(&self, at: usize) -> Option<Dimension> {
        if fits(self.room(at), self.need) {
            return None;
        }
        self.worst(self.free(at).shortage(self.demand))
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
            |worst, next| if scaled(next) > scaled(worst) { next } else { worst },
        ))
    }

    /// The predicted peak with this workload on the node, against the policy's lines.
    #[inline]
    pub(super) fn over_line(&self, at: usize) -> Option<Dimension> {
        self.load.as_deref().and_then(|load| self.over_line_with(at, *load))
    }

    fn over_line_with(&self, at: usize, load: Load) -> Option<Dimension> {
        let [protected, mut inside] = self.load_without(at);
        if self.protected && self.purpose == Purpose::Admission {
            inside = inside.max(self.load_reserve(at));
        }
        let node = &self.cluster.rows()[at].node;
        self.policy.over_line(&protected.plus(inside).plus(load), node)
    }

    /// The expected use that the certificates of a node keep room for, without this workload's own.
    pub(crate) fn load_reserve(&self, at: usize) -> Load {
        let certificates = self.cluster.certificates();
        match self.present.filter(|present| present.backup == Some(at)) {
            Some(present) => {
                let (from, to) = (small(present.node), small(at));
                certificates.load_with(from, to, certificates.load_inflow(from, to).minus(self.present_load()))
            }
            None => certificates
                .carrier(small(at))
                .map_or(Load::ZERO, crate::certificates::Carrier::load),
        }
    }

    /// What is free for failover beyond a fractional reserve, before this workload is placed; may be negative.
    pub fn reserve_slack(&self) -> Resources {
        let totals = self.cluster.totals();
        let setup = self.policy.setup_reserve().times(totals.counted);
        let free = totals.free.minus(setup).plus(self.given_back());
        free.minus(self.policy.reserved(totals.allocatable))
    }

    /// What placing this workload anew would free where the reserve counts.
    fn given_back(&self) -> Resources {
        let counted = self.present.filter(|present| present.counted);
        counted.map_or(Resources::ZERO, |present| present.request)
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

    /// What is left on a node for protected workloads if its reserve were this.
    pub(crate) fn room_for_reserve(&self, at: usize, reserve: Resources) -> Resources {
        let own = self.present.filter(|present| present.node == at && present.protected);
        self.cluster
            .room_with(at, reserve)
            .plus(own.map_or(Resources::ZERO, |present| present.request))
    }

    /// Expected use on a node without this workload's own: protected, best-effort.
    pub(crate) fn load_without(&self, at: usize) -> [Load; 2] {
        let mut loads = self.cluster.load_on(at);
        if let Some(present) = self.present.filter(|present| present.node == at) {
            let sum = &mut loads[usize::from(!present.protected)];
            *sum = sum.minus(self.present_load());
        }
        loads
    }

    /// Where it is and what its certificate names: its part of S(a, b) lies there.
    pub(crate) fn present_pair(&self) -> Option<(usize, usize)> {
        let present = self.present?;
        Some((present.node, present.backup?))
    }

    pub(crate) fn present_request(&self) -> Resources {
        self.present.map_or(Resources::ZERO, |present| present.request)
    }

    pub(crate) fn present_load(&self) -> Load {
        let pod = self.present.and_then(|_| self.cluster.pod(self.workload.id));
        pod.map_or(Load::ZERO, |pod| pod.workload.load())
    }

    pub(super) fn key(&self, at: usize) -> NodeKey {
        self.cluster.key(at)
    }

    /// The reason that the scan gives for a node, if it has one.
    pub fn reason(&self, at: usize) -> Option<Reason> {
        self.judge(at).err()
    }
}

fn present(cluster: &Cluster, workload: &Workload) -> Option<Present> {
    let pod = cluster.pod(workload.id)?;
    let node = pod.node as usize;
    Some(Present {
        node,
        backup: pod.backup.map(|backup| backup as usize),
        request: pod.workload.request,
        protected: pod.workload.priority == Priority::Protected,
        counted: cluster.rows()[node].counted(),
        leaves: false,
    })
}

#[inline]
pub(crate) fn small(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
