//! The least that has to change so that a refused workload is admitted.
//!
//! First the node that needs the least: fewest steps that are not a matter of room (becoming ready, opening), then the
//! least room in the sense of the score, then the lowest key. What is missing for the reserve may be freed anywhere.
//! Only when no node can do, a new one, if the workload's data would let it go there. Every answer has been tried: it is
//! applied to a copy of the cluster and the workload is placed there, or it is not given.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Resources,
    cluster::Cluster,
    model::{Admission, Availability, Labels, Node, VolumeLocality, Workload},
    place::Question,
    policy::Reserve,
    resources::{Dimension, PPM},
    score,
};

/// What has to become true of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChange {
    pub node: NodeKey,
    pub name: String,
    pub become_ready: bool,
    pub open: bool,
    /// Requests that have to leave it.
    pub free: Resources,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Existing {
        node: Option<NodeChange>,
        /// What has to leave the node that would take the workload over if its own died.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        backup: Option<NodeChange>,
        /// Requests that have to leave any nodes that are ready and open or standby, for the reserve.
        free_anywhere: Resources,
    },
    NewNode {
        /// One, or two where a workload and its backup both need one.
        count: u32,
        allocatable: Resources,
        labels: Labels,
        storage_class: Option<String>,
    },
}

impl Change {
    /// The cluster as it would be after the change; what leaves is taken out of nobody's request in particular.
    pub fn apply(&self, cluster: &Cluster) -> Cluster {
        let mut after = cluster.clone();
        match self {
            Self::Existing {
                node,
                backup,
                free_anywhere,
            } => {
                for change in [node, backup].into_iter().flatten() {
                    after.alter(change.node, |node| {
                        if change.become_ready {
                            node.availability = Availability::Ready;
                        }
                        if change.open {
                            node.admission = Admission::Open;
                        }
                    });
                    after.occupy(change.node, Resources::ZERO.minus(change.free));
                }
                free_where_counted(&mut after, *free_anywhere);
            }
            Self::NewNode {
                count,
                allocatable,
                labels,
                storage_class,
            } => {
                let node = |after: &Cluster| Node {
                    name: String::from("new"),
                    labels: labels.clone(),
                    storage_classes: storage_class.iter().cloned().collect::<BTreeSet<_>>(),
                    ..Node::new(unused_key(after), allocatable.in_range())
                };
                for _ in 0..*count {
                    let node = node(&after);
                    after.upsert_node(node).expect("the amounts are in range");
                }
            }
        }
        after
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Existing {
                node,
                backup,
                free_anywhere,
            } => {
                let mut steps = Vec::new();
                for NodeChange {
                    name,
                    become_ready,
                    open,
                    free,
                    ..
                } in [node, backup].into_iter().flatten()
                {
                    steps.extend(become_ready.then(|| format!("node {name} becomes ready")));
                    steps.extend(open.then(|| format!("node {name} is opened")));
                    steps.extend((!free.is_zero()).then(|| format!("free {free} on node {name}")));
                }
                steps.extend((!free_anywhere.is_zero()).then(|| format!("free {free_anywhere} on any node")));
                f.write_str(&steps.join(", and "))
            }
            Self::NewNode {
                count,
                allocatable,
                labels,
                storage_class,
            } => {
                match count {
                    1 => write!(f, "add a node with at least {allocatable}")?,
                    more => write!(f, "add {more} nodes with at least {allocatable} each")?,
                }
                for (key, value) in labels {
                    write!(f, ", label {key}={value}")?;
                }
                storage_class
                    .as_ref()
                    .map_or(Ok(()), |class| write!(f, ", storage class {class}"))
            }
        }
    }
}

/// The node that needs the least to take the workload, the reserve left aside.
pub(crate) fn nearest(question: &Question<'_>) -> Option<NodeChange> {
    let wanted = (0..question.cluster.rows().len()).filter_map(|at| needed(question, at));
    let cost = |change: &NodeChange| {
        let steps = u8::from(change.become_ready) + u8::from(change.open);
        (
            steps,
            score::scaled_sum_ppm(change.free, question.cluster.largest()),
            change.node,
        )
    };
    wanted.min_by_key(cost)
}

fn needed(question: &Question<'_>, at: usize) -> Option<NodeChange> {
    let row = &question.cluster.rows()[at];
    question.suits(row).ok().filter(|()| !question.leaves(at))?;
    let free = question.free(at).shortage(question.demand);
    let left = question.occupied(at).minus(free);
    if left != left.max(Resources::ZERO) {
        // Even the empty node is too small.
        return None;
    }
    Some(NodeChange {
        node: row.node.id,
        name: row.node.name.clone(),
        become_ready: row.node.availability != Availability::Ready,
        open: question.admits(row.node.admission).is_err(),
        free,
    })
}

pub(crate) fn smallest_change(question: &Question<'_>, nearest: Option<NodeChange>) -> Option<Change> {
    nearest
        .and_then(|change| on_existing(question, change))
        .or_else(|| on_new_node(question))
}

fn on_existing(question: &Question<'_>, change: NodeChange) -> Option<Change> {
    let trivial = !change.become_ready && !change.open && change.free.is_zero();
    let node = if trivial { None } else { Some(change) };
    let first = Change::Existing {
        node: node.clone(),
        backup: None,
        free_anywhere: Resources::ZERO,
    };
    let after = first.apply(question.cluster);
    let asked = question.again(&after);
    if asked.decide().is_some() {
        return Some(first);
    }
    let with_reserve = Change::Existing {
        node,
        backup: asked.nearest_backup(),
        free_anywhere: asked.reserve_shortage,
    };
    admits(question, with_reserve)
}

fn on_new_node(question: &Question<'_>) -> Option<Change> {
    let Workload {
        volume,
        selector,
        storage_class,
        ..
    } = question.workload;
    if *volume != VolumeLocality::Anywhere {
        return None;
    }
    let alone = question.demand.plus(question.policy.setup_reserve());
    let allocatable = alone.max(for_reserve(question)).in_range();
    let new = |count| Change::NewNode {
        count,
        allocatable,
        labels: selector.clone(),
        storage_class: storage_class.clone(),
    };
    // A node cannot be its own backup.
    admits(question, new(1)).or_else(|| admits(question, new(2)))
}

/// The allocatable amount `a` of a new node that keeps a fraction `p` free with the workload on it:
/// `slack + a - setup - demand >= p * a`, hence `a >= (setup + demand - slack) / (1 - p)`, rounded up, and two more
/// because the reserve is rounded up twice.
fn for_reserve(question: &Question<'_>) -> Resources {
    let Reserve::FractionPpm(fraction) = question.policy.reserve() else {
        return Resources::ZERO;
    };
    let missing = question
        .demand
        .plus(question.policy.setup_reserve())
        .minus(question.reserve_slack());
    let needed = missing.zip(Resources::ZERO, |missing, _| {
        let scaled = i128::from(missing.max(0)) * i128::from(PPM) / i128::from(PPM - fraction);
        i64::try_from(scaled).unwrap_or(i64::MAX).saturating_add(2)
    });
    let counted = |dimension, amount| {
        if question.policy.reserves(dimension) { amount } else { 0 }
    };
    Resources {
        cpu_milli: counted(Dimension::Cpu, needed.cpu_milli),
        mem_mib: counted(Dimension::Memory, needed.mem_mib),
        disk_mib: counted(Dimension::Disk, needed.disk_mib),
        pods: counted(Dimension::Pods, needed.pods),
    }
}

fn admits(question: &Question<'_>, change: Change) -> Option<Change> {
    let after = change.apply(question.cluster);
    let admitted = question.again(&after).decide().is_some();
    admitted.then_some(change)
}

fn free_where_counted(cluster: &mut Cluster, amount: Resources) {
    let mut rest = amount;
    let counted: Vec<NodeKey> = cluster
        .rows()
        .iter()
        .filter(|row| row.counted())
        .map(|row| row.node.id)
        .collect();
    for node in counted {
        let leaving = cluster
            .occupied(node)
            .map_or(Resources::ZERO, |occupied| occupied.max(Resources::ZERO).min(rest));
        cluster.occupy(node, Resources::ZERO.minus(leaving));
        rest = rest.minus(leaving);
    }
}

fn unused_key(cluster: &Cluster) -> NodeKey {
    let taken: BTreeSet<NodeKey> = cluster.nodes().map(|node| node.id).collect();
    let mut key = u128::MAX;
    while taken.contains(&NodeKey(key)) {
        key -= 1;
    }
    NodeKey(key)
}
