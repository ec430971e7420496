//! The independent check: is what is placed what may be placed? Written from the definitions.
//!
//! It takes flat lists, and shares no arithmetic and no bookkeeping with the rest of the crate: only the types. It looks at invariants of what runs, not at rules for admission (reserves, cordons,
//! NoSchedule taints), which may rightly be broken by what was there before.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

mod losses;

use crate::{
    GroupKey, NodeKey, Resources, WorkloadKey,
    model::{Admission, Node, Placement, VolumeLocality, Workload},
    resources::Dimension,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Violation {
    NodeListedTwice {
        node: NodeKey,
    },
    WorkloadListedTwice {
        workload: WorkloadKey,
    },
    UnknownWorkload {
        workload: WorkloadKey,
        node: NodeKey,
    },
    UnknownNode {
        workload: WorkloadKey,
        node: NodeKey,
    },
    RemovedNode {
        workload: WorkloadKey,
        node: NodeKey,
    },
    PlacedTwice {
        workload: WorkloadKey,
        placements: u64,
    },
    /// The requests, foreign ones included, exceed what the node has.
    OverCapacity {
        node: NodeKey,
        dimension: Dimension,
        requested: i128,
        allocatable: i64,
    },
    VolumeElsewhere {
        workload: WorkloadKey,
        node: NodeKey,
    },
    SelectorUnmet {
        workload: WorkloadKey,
        node: NodeKey,
    },
    StorageClassMissing {
        workload: WorkloadKey,
        node: NodeKey,
    },
    /// More of a group are in one place than may be.
    GroupCrowded {
        group: GroupKey,
        node: NodeKey,
        workloads: u64,
        most: u32,
    },
    /// The certificate names the node that it insures against, or one that does not exist, cannot take the workload, or
    /// cannot take anything now.
    BackupUnfit {
        workload: WorkloadKey,
        node: NodeKey,
    },
    /// If `lost` died, what its certificates bring to `node` would not fit beside the protected workloads there.
    LossNotAbsorbed {
        lost: NodeKey,
        node: NodeKey,
        dimension: Dimension,
        requested: i128,
        allocatable: i64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeListedTwice { node } => write!(f, "node {node} is listed twice"),
            Self::WorkloadListedTwice { workload } => {
                write!(f, "workload {workload} is listed twice")
            }
            Self::UnknownWorkload { workload, node } => {
                write!(f, "workload {workload} on node {node} does not exist")
            }
            Self::UnknownNode { workload, node } => {
                write!(f, "workload {workload} is on node {node}, which does not exist")
            }
            Self::RemovedNode { workload, node } => {
                write!(f, "workload {workload} is on removed node {node}")
            }
            Self::PlacedTwice { workload, placements } => {
                write!(f, "workload {workload} has {placements} placements")
            }
            Self::OverCapacity {
                node,
                dimension,
                requested,
                allocatable,
            } => {
                write!(
                    f,
                    "node {node} is over on {dimension}: {requested} requested of {allocatable}"
                )
            }
            Self::VolumeElsewhere { workload, node } => {
                write!(f, "workload {workload} is on node {node}, where its data is not")
            }
            Self::SelectorUnmet { workload, node } => {
                write!(
                    f,
                    "workload {workload} is on node {node}, which lacks a label that it selects"
                )
            }
            Self::StorageClassMissing { workload, node } => {
                write!(
                    f,
                    "workload {workload} is on node {node}, which lacks its storage class"
                )
            }
            Self::GroupCrowded {
                group,
                node,
                workloads,
                most,
            } => {
                write!(
                    f,
                    "{workloads} workloads of group {group} are on node {node} or in its zone, where {most} may be"
                )
            }
            Self::BackupUnfit { workload, node } => {
                write!(
                    f,
                    "workload {workload} has a certificate for node {node}, which cannot take it"
                )
            }
            Self::LossNotAbsorbed {
                lost,
                node,
                dimension,
                requested,
                allocatable,
            } => {
                write!(
                    f,
                    "the loss of node {lost} would take node {node} over on {dimension}: {requested} requested of {allocatable}"
                )
            }
        }
    }
}

/// Every violation: of the lists, then of each placement, then of each node. Empty means that all invariants hold.
/// Takes time in proportion to the lists, but for a logarithm.
pub fn check(nodes: &[Node], workloads: &[Workload], placements: &[Placement]) -> Vec<Violation> {
    let mut found = Vec::new();
    let known_nodes: BTreeMap<NodeKey, &Node> = nodes.iter().map(|node| (node.id, node)).collect();
    let known_workloads: BTreeMap<WorkloadKey, &Workload> =
        workloads.iter().map(|workload| (workload.id, workload)).collect();
    for (node, _) in repeated(nodes.iter().map(|node| node.id)) {
        found.push(Violation::NodeListedTwice { node });
    }
    for (workload, _) in repeated(workloads.iter().map(|workload| workload.id)) {
        found.push(Violation::WorkloadListedTwice { workload });
    }
    for (workload, placements) in repeated(placements.iter().map(|placement| placement.workload)) {
        found.push(Violation::PlacedTwice { workload, placements });
    }

    let mut sums: BTreeMap<NodeKey, [i128; 4]> = BTreeMap::new();
    for &Placement { workload, node, .. } in placements {
        let (host, guest) = (known_nodes.get(&node), known_workloads.get(&workload));
        match host {
            None => found.push(Violation::UnknownNode { workload, node }),
            Some(host) if host.admission == Admission::Removed => {
                found.push(Violation::RemovedNode { workload, node });
            }
            Some(_) => {}
        }
        match guest {
            None => found.push(Violation::UnknownWorkload { workload, node }),
            Some(guest) => {
                let sum = sums.entry(node).or_default();
                for (total, (_, amount)) in sum.iter_mut().zip(amounts(&guest.request)) {
                    *total += i128::from(amount);
                }
            }
        }
        if let (Some(host), Some(guest)) = (host, guest) {
            constraints(host, guest, &mut found);
        }
    }
    for node in nodes {
        over_capacity(node, sums.get(&node.id).copied().unwrap_or_default(), &mut found);
    }
    losses::crowds(&known_nodes, &known_workloads, placements, &mut found);
    losses::insured_crowds(&known_nodes, &known_workloads, placements, &mut found);
    losses::certificates(&known_nodes, &known_workloads, placements, &mut found);
    found
}

/// The keys that come more than once, and how often.
fn repeated<K: Ord>(keys: impl Iterator<Item = K>) -> impl Iterator<Item = (K, u64)> {
    let mut counts: BTreeMap<K, u64> = BTreeMap::new();
    for key in keys {
        *counts.entry(key).or_default() += 1;
    }
    counts.into_iter().filter(|(_, count)| *count > 1)
}

fn amounts(of: &Resources) -> [(Dimension, i64); 4] {
    [
        (Dimension::Cpu, of.cpu_milli),
        (Dimension::Memory, of.mem_mib),
        (Dimension::Disk, of.disk_mib),
        (Dimension::Pods, of.pods),
    ]
}

fn constraints(host: &Node, guest: &Workload, found: &mut Vec<Violation>) {
    let (workload, node) = (guest.id, host.id);
    let reachable = match &guest.volume {
        VolumeLocality::Anywhere => true,
        VolumeLocality::Pinned(home) => *home == node,
        VolumeLocality::OneOf(homes) => homes.iter().any(|home| *home == node),
    };
    if !reachable {
        found.push(Violation::VolumeElsewhere { workload, node });
    }
    let missing = |(key, value): (&String, &String)| host.labels.get(key).is_none_or(|label| label != value);
    if guest.selector.iter().any(missing) {
        found.push(Violation::SelectorUnmet { workload, node });
    }
    if guest
        .storage_class
        .as_ref()
        .is_some_and(|class| !host.storage_classes.contains(class))
    {
        found.push(Violation::StorageClassMissing { workload, node });
    }
}

fn over_capacity(node: &Node, ours: [i128; 4], found: &mut Vec<Violation>) {
    let rows = amounts(&node.allocatable)
        .into_iter()
        .zip(amounts(&node.foreign))
        .zip(ours);
    for (((dimension, allocatable), (_, foreign)), ours) in rows {
        let requested = i128::from(foreign) + ours;
        // What is over without us, and where we ask for nothing, is not a fault of placement.
        if ours > 0 && requested > i128::from(allocatable) {
            found.push(Violation::OverCapacity {
                node: node.id,
                dimension,
                requested,
                allocatable,
            });
        }
    }
}
