//! More places for pods of a given kind, by the fewest moves.
//!
//! A place is room for one such pod on one node; what is left beside whole places is a remainder. The plan moves pods out of
//! nodes that lack little for more places, into remainders elsewhere, where that loses no place, or fewer than it gains:
//! greedily, single pods before pairs before threes, until nothing more is gained. Every series of moves gains a place, so the
//! plan may end after any of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    Budget, Cause, Plan,
    draft::Draft,
    sets::{self, Item},
};
use crate::{
    NodeKey, Resources, WorkloadKey,
    cluster::Cluster,
    model::Workload,
    place::{Purpose, Question, room},
    policy::Policy,
    resources::Dimension,
};

/// Pods that leave one node in one series.
const SERIES: usize = 8;
/// In longer series than this, only pods leave that cost no place elsewhere.
const FREE_CHOICE: usize = 3;
/// Places that one series gains on the node it leaves.
const GAIN: i64 = 3;
/// Sets of pods that are tried per node and size.
const SETS: usize = 6;
/// Targets that are asked for one pod.
const TARGETS: usize = 6;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defragmentation {
    pub plan: Plan,
    /// Places for pods of the kind, summed over the nodes; certificates for them are not counted in.
    pub before: i64,
    pub after: i64,
}

/// `kind` says what head-room is wanted for; whether it is itself placed does not matter.
pub fn defragment(cluster: &Cluster, policy: &Policy, kind: &Workload, budget: Budget) -> Defragmentation {
    let mut work = Work::new(cluster, policy, kind, budget);
    let before = work.all_places();
    let mut size = 1;
    while size <= SERIES {
        // Whoever gains may have made room for something smaller.
        size = if work.pass(size) { 1 } else { size + 1 };
    }
    let after = work.all_places();
    Defragmentation {
        plan: work.draft.plan,
        before,
        after,
    }
}

struct Work<'a> {
    draft: Draft<'a>,
    kind: &'a Workload,
    demand: Resources,
    /// Whether a node takes the kind at all, room aside.
    able: Vec<bool>,
    free: Vec<Resources>,
    places: Vec<i64>,
}

impl<'a> Work<'a> {
    fn new(cluster: &Cluster, policy: &'a Policy, kind: &'a Workload, budget: Budget) -> Self {
        let draft = Draft::new(cluster, policy, budget);
        let question = Question::one_more(&draft.cluster, policy, kind);
        let rows = question.cluster.rows();
        let able: Vec<bool> = rows
            .iter()
            .enumerate()
            .map(|(at, row)| question.takes(at, row).is_ok())
            .collect();
        let free: Vec<Resources> = (0..rows.len()).map(|at| question.free(at)).collect();
        let demand = question.demand;
        let places = able.iter().zip(&free).map(|(&able, &free)| places(able, free, demand));
        Self {
            places: places.collect(),
            draft,
            kind,
            demand,
            able,
            free,
        }
    }

    fn all_places(&self) -> i64 {
        self.places.iter().sum()
    }

    /// Tries to gain places on every node by moving `size` pods; whether any did.
    fn pass(&mut self, size: usize) -> bool {
        let mut candidates: Vec<(i64, i64, usize, Vec<WorkloadKey>)> = Vec::new();
        let mut least = BTreeMap::new();
        for at in 0..self.able.len() {
            for gain in 1..=GAIN {
                self.series(at, size, gain, &mut least, &mut candidates);
            }
        }
        candidates.sort_unstable();
        let mut changed = vec![false; self.able.len()];
        for (_, _, at, pods) in candidates {
            // What was found for a node holds until something changes there.
            if changed[at] {
                continue;
            }
            let mark = self.draft.mark();
            if self.try_series(at, &pods) {
                for touched in self.touched(mark) {
                    changed[touched] = true;
                }
            }
        }
        changed.contains(&true)
    }

    /// Sets of pods whose leaving gives the node so many more places, if what they cost elsewhere can be less: the most
    /// gained first, then the lightest.
    fn series(
        &self,
        at: usize,
        size: usize,
        gain: i64,
        least: &mut BTreeMap<Resources, i64>,
        found: &mut Vec<(i64, i64, usize, Vec<WorkloadKey>)>,
    ) {
        if !self.able[at] {
            return;
        }
        let cluster = &self.draft.cluster;
        let missing = self.free[at].shortage(self.demand.times(self.places[at] + gain));
        let mut pods: Vec<&Workload> = cluster
            .pods_on(at)
            .map(|pod| &*pod.workload)
            .filter(|pod| pod.can_move() && !pod.request.is_zero())
            .filter(|pod| {
                let loss = *least.entry(pod.request).or_insert_with(|| self.least_loss(pod.request));
                loss == 0 || (size <= FREE_CHOICE && loss < gain)
            })
            .collect();
        pods.sort_unstable_by_key(|pod| pod.id);
        let items: Vec<Item> = pods
            .iter()
            .map(|pod| Item {
                request: pod.request,
                weight: cluster.weights().key(room(pod.request)),
            })
            .collect();
        for set in sets::covers(&items, missing, size, SETS) {
            let losses = set.iter().filter_map(|&item| least.get(&items[item].request).copied());
            let net = losses.fold(gain, i64::saturating_sub);
            if net > 0 {
                let weight = set.iter().map(|&item| items[item].weight).sum();
                found.push((-net, weight, at, set.into_iter().map(|item| pods[item].id).collect()));
            }
        }
    }

    /// The fewest places that taking such a pod costs any node.
    fn least_loss(&self, request: Resources) -> i64 {
        let losses = (0..self.able.len()).filter_map(|at| self.loss(at, request));
        losses.min().unwrap_or(i64::MAX)
    }

    /// The places that taking such a pod costs a node; none if it has no room for it.
    fn loss(&self, at: usize, request: Resources) -> Option<i64> {
        let fits = self.free[at].shortage(request).is_zero();
        fits.then(|| self.places[at] - places(self.able[at], self.free[at].minus(request), self.demand))
    }

    /// Takes the moves if they gain a place in all.
    fn try_series(&mut self, at: usize, pods: &[WorkloadKey]) -> bool {
        let moves = u32::try_from(pods.len()).unwrap_or(u32::MAX);
        if !self.draft.budget.worth(moves, 1) {
            return false;
        }
        let (mark, was) = (self.draft.mark(), self.all_places());
        let gone = pods.iter().rev().all(|&pod| self.tuck_away(at, pod));
        if gone && self.all_places() > was {
            return true;
        }
        let touched = self.touched(mark);
        self.draft.rewind(mark);
        self.measure(&touched);
        false
    }

    /// Moves a pod to where it costs the fewest places, and there into the tightest remainder.
    fn tuck_away(&mut self, from: usize, pod: WorkloadKey) -> bool {
        let Some((workload, _)) = self.draft.cluster.workload(pod) else {
            return false;
        };
        let request = workload.request;
        let weigh = |amount: Resources| self.draft.cluster.weights().key(room(amount));
        let mut targets: Vec<(i64, i64, usize)> = Vec::new();
        for at in 0..self.able.len() {
            if let Some(loss) = self.loss(at, request).filter(|_| at != from) {
                targets.push((loss, weigh(self.free[at].minus(request)), at));
            }
        }
        targets.sort_unstable();
        for (_, _, to) in targets.into_iter().take(TARGETS) {
            let cluster = &self.draft.cluster;
            let Some((workload, _)) = cluster.workload(pod) else {
                return false;
            };
            let question = Question::elsewhere(cluster, self.draft.policy, workload, Purpose::Admission);
            let Some(decision) = question.decide_at(to) else {
                continue;
            };
            let mark = self.draft.mark();
            if !self.draft.step(pod, decision.node, decision.backup, Cause::Defragment) {
                return false;
            }
            let touched = self.touched(mark);
            self.measure(&touched);
            return true;
        }
        false
    }

    /// The nodes whose free room the steps since the mark may have changed.
    fn touched(&self, mark: usize) -> Vec<usize> {
        let keys = self.draft.nodes_since(mark);
        keys.into_iter()
            .filter_map(|key: NodeKey| self.draft.cluster.at(key).ok())
            .collect()
    }

    fn measure(&mut self, touched: &[usize]) {
        let question = Question::one_more(&self.draft.cluster, self.draft.policy, self.kind);
        for &at in touched {
            self.free[at] = question.free(at);
            self.places[at] = places(self.able[at], self.free[at], self.demand);
        }
    }
}

fn places(able: bool, free: Resources, demand: Resources) -> i64 {
    let demanded = Dimension::ALL
        .into_iter()
        .filter(|&dimension| demand.get(dimension) > 0);
    let times = demanded.map(|dimension| free.get(dimension).max(0) / demand.get(dimension));
    if able { times.min().unwrap_or(0) } else { 0 }
}
