//! Which node takes a workload if its own dies: the one whose reserve grows the least.
//!
//! A reserve is shared: only one node dies at a time, so what node `b` keeps free for the loss of `a` also serves the loss of
//! any other. Where `S(a, b) + request <= R(b)`, one more certificate costs nothing. Where the reserve has to grow, it grows
//! where there is one already, and otherwise on the node with the most room: few large reserves waste less than many
//! small ones, since the parts of what is reserved must fit whole pods. What a carrier has free is best kept for its
//! reserve, so its growth does not count against a place; to begin another reserve does.

use crate::{
    Load, Resources,
    place::{Question, room, small},
    refusal::Reason,
    remedy::NodeChange,
    score,
};

/// How much the reserve grows, as a weighted sum, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Backup {
    /// It carries no reserve yet.
    pub new: bool,
    pub growth: i64,
    pub node: u32,
}

impl Backup {
    /// What counts against the place that needs it.
    pub fn cost(&self) -> i64 {
        if self.new { self.growth } else { 0 }
    }
}

/// Nodes without a backup that a refusal looks for one for: each costs a look at all others.
const SOURCES: usize = 8;

/// The nodes that could begin a reserve, found once for all candidates: the two with the most room.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Beginners([Option<u32>; 2]);

impl Question<'_> {
    /// The carrier whose reserve grows the least, if the workload ran at `from`.
    pub(crate) fn carrying_backup(&self, from: usize) -> Option<Backup> {
        let mut best: Option<Backup> = None;
        for &node in self.cluster.certificates().carriers() {
            if !self.can_back(from, node as usize) {
                continue;
            }
            let Some(growth) = self.growth(from, node) else {
                continue;
            };
            let backup = Backup {
                growth,
                new: false,
                node,
            };
            if best.is_none_or(|best| backup < best) {
                best = Some(backup);
            }
            if growth == 0 {
                break;
            }
        }
        best
    }

    /// The same; if no carrier can, the node that begins to be one.
    pub(crate) fn best_backup(&self, from: usize, beginners: &Beginners) -> Option<Backup> {
        let begin = |&node: &u32| {
            let able = self.can_back(from, node as usize);
            let growth = able.then(|| self.growth(from, node)).flatten()?;
            Some(Backup {
                growth,
                new: true,
                node,
            })
        };
        self.carrying_backup(from)
            .or_else(|| beginners.0.iter().flatten().find_map(begin))
    }

    /// By how much the reserve at `to` grows for a certificate of a workload at `from`; `None` if it has no room for that.
    fn growth(&self, from: usize, to: u32) -> Option<i64> {
        let at = to as usize;
        let own = self.own_inflow(from, at);
        let inflow = self
            .cluster
            .certificates()
            .inflow(small(from), to)
            .minus(own)
            .plus(self.demand);
        let reserve = self.reserve(at);
        if let Some(load) = self.load.as_deref() {
            self.load_fits(from, to, *load)?;
        }
        let grown = inflow.max(reserve);
        let room = self.room_for_reserve(at, grown);
        // A node that shrank, or that others filled, may not have room for the reserve that it carries already.
        let broken = self.demand.zip(room, |demand, left| i64::from(demand > 0 && left < 0));
        let asked = grown.minus(reserve);
        let setup = self.policy.setup_reserve();
        let short = asked.zip(room.minus(setup), |asked, left| i64::from(asked > 0 && left < 0));
        if !broken.is_zero() || !short.is_zero() {
            return None;
        }
        if asked.is_zero() {
            return Some(0);
        }
        Some(self.weighted(asked))
    }

    /// What of S(from, at) is this workload's own, because it is there already.
    fn own_inflow(&self, from: usize, at: usize) -> Resources {
        let own = self.present_pair() == Some((from, at));
        if own { self.present_request() } else { Resources::ZERO }
    }

    fn load_fits(&self, from: usize, to: u32, load: Load) -> Option<()> {
        let at = to as usize;
        let certificates = self.cluster.certificates();
        let mut inflow = certificates.load_inflow(small(from), to);
        if self.present_pair() == Some((from, at)) {
            inflow = inflow.minus(self.present_load());
        }
        let grown = self.load_reserve(at).max(inflow.plus(load));
        let [protected, inside] = self.load_without(at);
        let node = &self.cluster.rows()[at].node;
        self.policy
            .over_line(&protected.plus(inside.max(grown)), node)
            .is_none()
            .then_some(())
    }

    fn weighted(&self, amount: Resources) -> i64 {
        // Pods weigh nothing in the score, but a reserve that grows by a pod alone has grown.
        self.cluster.weights().key(room(amount)).max(1)
    }

    pub(crate) fn beginners(&self) -> Beginners {
        let mut best: [Option<(i64, std::cmp::Reverse<u32>)>; 2] = [None; 2];
        for at in 0..self.cluster.rows().len() {
            let node = small(at);
            if self.cluster.certificates().carrier(node).is_some() || !self.can_back(usize::MAX, at) {
                continue;
            }
            let candidate = Some((self.cluster.ranks()[at], std::cmp::Reverse(node)));
            if self.growth(usize::MAX, node).is_none() {
                continue;
            }
            if candidate > best[0] {
                best = [candidate, best[0]];
            } else if candidate > best[1] {
                best[1] = candidate;
            }
        }
        Beginners(best.map(|found| found.map(|(_, node)| node.0)))
    }

    /// Of the first nodes that have room and all that could back them, the pair that needs the least to leave the backup.
    pub(crate) fn nearest_backup(&self) -> Option<NodeChange> {
        let mut nearest: Option<(i64, NodeChange)> = None;
        let beginners = self.beginners();
        let uninsured = |&at: &usize| self.judge_with(at, &beginners).err() == Some(Reason::NPlusOne);
        for from in (0..self.cluster.rows().len()).filter(uninsured).take(SOURCES) {
            for at in (0..self.cluster.rows().len()).filter(|&at| self.can_back(from, at)) {
                let inflow = self.cluster.certificates().inflow(small(from), small(at));
                let inflow = inflow.minus(self.own_inflow(from, at)).plus(self.demand);
                let grown = inflow.max(self.reserve(at));
                let left = self.room_for_reserve(at, grown).minus(self.policy.setup_reserve());
                let missing = left.zip(grown.minus(self.reserve(at)), |left, asked| {
                    if asked > 0 { (-left).max(0) } else { 0 }
                });
                let leaving = self.cluster.taken(at).minus(self.cluster.rows()[at].node.foreign);
                if missing.is_zero() || missing != missing.min(leaving) {
                    continue;
                }
                let cost = score::scaled_sum_ppm(missing, self.cluster.largest());
                if nearest.as_ref().is_none_or(|(least, _)| cost < *least) {
                    let node = &self.cluster.rows()[at].node;
                    let change = NodeChange {
                        node: node.id,
                        name: node.name.clone(),
                        become_ready: false,
                        open: false,
                        free: missing,
                    };
                    nearest = Some((cost, change));
                }
            }
        }
        nearest.map(|(_, change)| change)
    }
}
