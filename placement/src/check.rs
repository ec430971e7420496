//! The independent check: is what is placed what may be placed? Written from the definitions.
//!
//! It takes flat lists, shares no arithmetic and no bookkeeping with the rest of the crate, and is slow on purpose: sums
//! are made anew for each node. It looks at invariants of what runs, not at rules for admission (reserves, cordons,
//! NoSchedule taints), which may rightly be broken by what was there before.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, WorkloadKey,
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
        }
    }
}

/// Every violation, in the order of the lists. An empty answer means that all invariants hold.
pub fn check(nodes: &[Node], workloads: &[Workload], placements: &[Placement]) -> Vec<Violation> {
    let mut found = Vec::new();
    listed_twice(nodes, workloads, &mut found);
    placed_twice(placements, &mut found);
    for placement in placements {
        judge(*placement, nodes, workloads, &mut found);
    }
    for node in nodes {
        over_capacity(node, workloads, placements, &mut found);
    }
    found
}

fn listed_twice(nodes: &[Node], workloads: &[Workload], found: &mut Vec<Violation>) {
    let mut node_ids: Vec<NodeKey> = nodes.iter().map(|node| node.id).collect();
    node_ids.sort_unstable();
    let repeated = node_ids.windows(2).filter(|pair| pair[0] == pair[1]);
    found.extend(repeated.map(|pair| Violation::NodeListedTwice { node: pair[0] }));
    let mut workload_ids: Vec<WorkloadKey> = workloads.iter().map(|workload| workload.id).collect();
    workload_ids.sort_unstable();
    let repeated = workload_ids.windows(2).filter(|pair| pair[0] == pair[1]);
    found.extend(repeated.map(|pair| Violation::WorkloadListedTwice { workload: pair[0] }));
}

fn placed_twice(placements: &[Placement], found: &mut Vec<Violation>) {
    let mut ids: Vec<WorkloadKey> = placements.iter().map(|placement| placement.workload).collect();
    ids.sort_unstable();
    for same in ids.chunk_by(|a, b| a == b).filter(|same| same.len() > 1) {
        found.push(Violation::PlacedTwice {
            workload: same[0],
            placements: same.len() as u64,
        });
    }
}

fn judge(placement: Placement, nodes: &[Node], workloads: &[Workload], found: &mut Vec<Violation>) {
    let Placement { workload, node } = placement;
    let known_node = nodes.iter().find(|candidate| candidate.id == node);
    let known_workload = workloads.iter().find(|candidate| candidate.id == workload);
    match known_node {
        None => found.push(Violation::UnknownNode { workload, node }),
        Some(host) if host.admission == Admission::Removed => {
            found.push(Violation::RemovedNode { workload, node });
        }
        Some(_) => {}
    }
    if known_workload.is_none() {
        found.push(Violation::UnknownWorkload { workload, node });
    }
    let (Some(host), Some(guest)) = (known_node, known_workload) else {
        return;
    };
    let reachable = match &guest.volume {
        VolumeLocality::Anywhere => true,
        VolumeLocality::Pinned(home) => *home == node,
        VolumeLocality::OneOf(homes) => homes.iter().any(|home| *home == node),
    };
    if !reachable {
        found.push(Violation::VolumeElsewhere { workload, node });
    }
    if guest
        .selector
        .iter()
        .any(|(key, value)| host.labels.get(key).is_none_or(|found| found != value))
    {
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

fn over_capacity(node: &Node, workloads: &[Workload], placements: &[Placement], found: &mut Vec<Violation>) {
    for dimension in [Dimension::Cpu, Dimension::Memory, Dimension::Disk, Dimension::Pods] {
        let amount = |of: &crate::Resources| match dimension {
            Dimension::Cpu => of.cpu_milli,
            Dimension::Memory => of.mem_mib,
            Dimension::Disk => of.disk_mib,
            Dimension::Pods => of.pods,
        };
        let mut requested = i128::from(amount(&node.foreign));
        let mut ours = 0;
        for placement in placements.iter().filter(|placement| placement.node == node.id) {
            for workload in workloads.iter().filter(|workload| workload.id == placement.workload) {
                ours += i128::from(amount(&workload.request));
            }
        }
        requested += ours;
        let allocatable = amount(&node.allocatable);
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
