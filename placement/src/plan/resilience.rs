//! Which nodes may fail now, which may not and what is missing, and what a second failure would cost.
//!
//! A node *may fail* if every protected workload that can follow is taken over by the node its certificate names, and the
//! control plane survives. What a search would find beyond that is luck and does not count. Pinned workloads are counted
//! apart: their data is on the node, and comes back from a backup.
//!
//! A second failure is looked at only after the first losses that weigh the most ([`FIRST_LOSSES`]): the certificates are
//! mended on a copy, and whoever stays exposed then on one node is what that node's loss would cost. So it is an upper
//! bound: no search has been made for them.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    ControlPlane, apply, certify,
    failover::{self, look_up},
};
use crate::{NodeKey, Resources, cluster::Cluster, model::Availability, place::room, policy::Policy};

/// First losses after which a second one is looked at.
pub const FIRST_LOSSES: usize = 8;

/// The loss of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    pub node: NodeKey,
    pub name: String,
    pub may_fail: bool,
    /// Nothing can be placed anew until it returns.
    pub stops_placement: bool,
    /// Protected workloads that their certificates bring elsewhere, and what they ask for.
    pub replaced: u32,
    pub inflow: Resources,
    /// How many go where.
    pub targets: BTreeMap<NodeKey, u32>,
    /// Protected workloads that could follow and have no certificate that holds; what they ask for is what is missing.
    pub exposed: u32,
    pub missing: Resources,
    /// Best-effort workloads that are lost with it, or stopped on other nodes.
    pub best_effort: u32,
    /// To be restored from a backup.
    pub pinned: u32,
}

/// What the worst second loss would cost, once everything has been done about the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondLoss {
    pub first: NodeKey,
    pub second: NodeKey,
    /// Protected workloads without a certificate then.
    pub exposed: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resilience {
    /// In the order of their keys; nodes that are not ready are left out: they have failed.
    pub losses: Vec<Loss>,
    /// For the nodes whose loss weighs the most.
    pub second: Vec<SecondLoss>,
    pub control_plane: ControlPlane,
}

impl Resilience {
    pub fn all_may_fail(&self) -> bool {
        self.losses.iter().all(|loss| loss.may_fail)
    }
}

pub fn resilience(cluster: &Cluster, policy: &Policy, control_plane: ControlPlane) -> Resilience {
    let alive = cluster.nodes().filter(|node| node.availability == Availability::Ready);
    let losses: Vec<Loss> = alive
        .filter_map(|node| loss(cluster, policy, &control_plane, node.id))
        .collect();
    let mut heaviest: Vec<(i64, NodeKey)> = losses
        .iter()
        .map(|loss| (-cluster.weights().key(room(loss.inflow.plus(loss.missing))), loss.node))
        .collect();
    heaviest.sort_unstable();
    let firsts = heaviest.into_iter().take(FIRST_LOSSES);
    let second = firsts.filter_map(|(_, first)| second(cluster, policy, first)).collect();
    Resilience {
        losses,
        second,
        control_plane,
    }
}

fn loss(cluster: &Cluster, policy: &Policy, control_plane: &ControlPlane, node: NodeKey) -> Option<Loss> {
    let (plan, leftovers) = look_up(cluster, policy, node).ok()?;
    let mut targets: BTreeMap<NodeKey, u32> = BTreeMap::new();
    for step in &plan.steps {
        *targets.entry(step.to).or_default() += 1;
    }
    let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let left = leftovers.iter().filter_map(|&key| cluster.workload(key));
    // What only keeps its disk is neither: nothing of it stops, and its data follows when it is started again.
    let running = left.filter(|(workload, _)| workload.request.pods > 0);
    let (protected, soft): (Vec<_>, Vec<_>) = running.partition(|(workload, _)| workload.needs_certificate());
    let sum = |amounts: &mut dyn Iterator<Item = Resources>| amounts.fold(Resources::ZERO, Resources::plus);
    let stops_placement = !control_plane.survives(node);
    Some(Loss {
        node,
        name: cluster.node(node)?.name.clone(),
        may_fail: protected.is_empty() && !stops_placement,
        stops_placement,
        replaced: count(plan.steps.len()),
        inflow: sum(&mut plan.steps.iter().map(|step| step.precondition)),
        targets,
        exposed: count(protected.len()),
        missing: sum(&mut protected.iter().map(|(workload, _)| workload.request)),
        best_effort: count(soft.len() + plan.evictions.len()),
        pinned: count(plan.restore.len()),
    })
}

fn second(cluster: &Cluster, policy: &Policy, first: NodeKey) -> Option<SecondLoss> {
    let plan = failover::failover(cluster, policy, first).ok()?;
    let mut after = cluster.clone();
    apply(&mut after, &plan).ok()?;
    after.alter(first, |node| node.availability = Availability::Offline);
    let mut exposed: BTreeMap<NodeKey, u32> = BTreeMap::new();
    for key in certify::recertify(&mut after, policy).exposed {
        let at = after.workload(key).map(|(_, node)| node).filter(|&node| node != first);
        if let Some(node) = at {
            *exposed.entry(node).or_default() += 1;
        }
    }
    // Of equal ones, the lowest key.
    let worst = exposed
        .into_iter()
        .max_by_key(|&(node, count)| (count, std::cmp::Reverse(node)));
    worst.map(|(second, exposed)| SecondLoss { first, second, exposed })
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.may_fail { "may fail" } else { "must not fail" };
        write!(f, "{} {verdict}: {} re-placed", self.name, self.replaced)?;
        if self.exposed > 0 {
            write!(
                f,
                ", {} find no certain place ({} is missing)",
                self.exposed, self.missing
            )?;
        }
        if self.best_effort > 0 {
            write!(f, ", {} best-effort stopped", self.best_effort)?;
        }
        if self.pinned > 0 {
            write!(f, ", {} restored from backup", self.pinned)?;
        }
        if self.stops_placement {
            f.write_str(", and nothing can be placed until it returns")?;
        }
        Ok(())
    }
}

/// A line per node, a line per second loss, and the control plane.
impl fmt::Display for Resilience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for loss in &self.losses {
            writeln!(f, "{loss}.")?;
        }
        let name = |key: NodeKey| {
            let found = self.losses.iter().find(|loss| loss.node == key);
            found.map_or_else(|| key.to_string(), |loss| loss.name.clone())
        };
        for second in &self.second {
            writeln!(
                f,
                "After {}, the loss of {} too would leave {} without a certain place.",
                name(second.first),
                name(second.second),
                second.exposed
            )?;
        }
        write!(f, "{}", self.control_plane)
    }
}
