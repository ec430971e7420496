//! Why nothing could be placed, in numbers for a program and in words for an operator.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    WorkloadKey,
    place::Question,
    remedy::{self, Change},
    resources::Dimension,
};

/// What rules a node out. In the order in which the constraints are looked at: the later, the closer the node came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// There is no node at all. Never counted.
    NoNodes,
    Removed,
    VolumeElsewhere,
    StorageClass,
    Selector,
    Taint,
    NotReady,
    Standby,
    Cordoned,
    Draining,
    /// Above its trigger line, and not yet back below the lower one.
    Hot,
    /// As many of the workload's group are there as may be.
    Spread,
    Cpu,
    Memory,
    Disk,
    Pods,
    /// The requests fit; the expected peak of CPU use would pass the policy's line.
    UsageCpu,
    UsageMemory,
    /// The node has room, but the cluster would not keep its reserve.
    Reserve,
    /// The node has room, but no other one could take the workload over.
    NPlusOne,
}

impl Reason {
    pub const ALL: [Self; 20] = [
        Self::NoNodes,
        Self::Removed,
        Self::VolumeElsewhere,
        Self::StorageClass,
        Self::Selector,
        Self::Taint,
        Self::NotReady,
        Self::Standby,
        Self::Cordoned,
        Self::Draining,
        Self::Hot,
        Self::Spread,
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Pods,
        Self::UsageCpu,
        Self::UsageMemory,
        Self::Reserve,
        Self::NPlusOne,
    ];

    /// Of the two resources whose use is predicted.
    pub(crate) fn of_usage(dimension: Dimension) -> Self {
        if dimension == Dimension::Cpu {
            Self::UsageCpu
        } else {
            Self::UsageMemory
        }
    }

    /// Reads after a number of nodes: "2 are short of memory".
    fn of_nodes(self, count: u32) -> String {
        let (is, has) = if count == 1 { ("is", "has") } else { ("are", "have") };
        match self {
            Self::NoNodes => format!("{is} missing"),
            Self::Removed => format!("{is} removed"),
            Self::VolumeElsewhere => format!("{has} not the data of this workload"),
            Self::StorageClass => format!("{has} not the storage class"),
            Self::Selector => format!("{has} not the labels asked for"),
            Self::Taint => format!("{has} a taint that is not tolerated"),
            Self::NotReady => format!("{is} not ready"),
            Self::Standby => format!("{is} standing by for failover only"),
            Self::Cordoned => format!("{is} cordoned"),
            Self::Draining => format!("{is} being drained"),
            Self::Hot => format!("{is} used beyond the trigger line"),
            Self::Spread => format!("{has} as many of the group as allowed"),
            Self::Cpu => format!("{is} short of CPU"),
            Self::Memory => format!("{is} short of memory"),
            Self::Disk => format!("{is} short of disk"),
            Self::Pods => format!("{has} no pod left to give"),
            Self::UsageCpu => format!("{is} expected to use too much CPU"),
            Self::UsageMemory => format!("{is} expected to use too much memory"),
            Self::Reserve => format!("{has} room that is held in reserve"),
            Self::NPlusOne => format!("{has} room, but nobody could take over from there"),
        }
    }
}

impl From<Dimension> for Reason {
    fn from(dimension: Dimension) -> Self {
        match dimension {
            Dimension::Cpu => Self::Cpu,
            Dimension::Memory => Self::Memory,
            Dimension::Disk => Self::Disk,
            Dimension::Pods => Self::Pods,
        }
    }
}

/// "memory": reads after "because of".
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoNodes => "an empty cluster",
            Self::Removed => "removed nodes",
            Self::VolumeElsewhere => "where its data is",
            Self::StorageClass => "storage class",
            Self::Selector => "node labels",
            Self::Taint => "taints",
            Self::NotReady => "nodes that are not ready",
            Self::Standby => "standby nodes",
            Self::Cordoned => "cordoned nodes",
            Self::Draining => "draining nodes",
            Self::Hot => "nodes in full use",
            Self::Spread => "the spread of its group",
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Pods => "the number of pods per node",
            Self::UsageCpu => "expected CPU use",
            Self::UsageMemory => "expected memory use",
            Self::Reserve => "the reserve",
            Self::NPlusOne => "N+1: no node could take it over",
        })
    }
}

/// Nodes per reason; each node is counted once, under the first thing that rules it out (of several short resources,
/// the shortest against the largest node).
pub type Counts = BTreeMap<Reason, u32>;

/// No node takes the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub workload: WorkloadKey,
    /// What stands in the way on the node that is closest to taking it.
    pub binding: Reason,
    /// Adds up to the number of nodes.
    pub rejected: Counts,
    /// The least that has to change, verified by placing the workload with it; none if its data is out of reach.
    pub smallest_change: Option<Box<Change>>,
}

impl Refusal {
    pub(crate) fn explain(question: &Question<'_>, rejected: Counts) -> Self {
        let nearest = remedy::nearest(question);
        let binding = nearest.as_ref().and_then(|near| {
            let at = question.cluster.at(near.node).ok()?;
            question.reason(at)
        });
        Self {
            workload: question.workload.id,
            binding: binding.unwrap_or_else(|| furthest(&rejected)),
            smallest_change: remedy::smallest_change(question, nearest).map(Box::new),
            rejected,
        }
    }
}

/// The reason that came up last in the order of the constraints; of the resources, the one most nodes are short of.
fn furthest(rejected: &Counts) -> Reason {
    let resources = Reason::Cpu..=Reason::Pods;
    let key = |reason: Reason, count: u32| {
        if resources.contains(&reason) {
            (Reason::Cpu, count)
        } else {
            (reason, 0)
        }
    };
    let last = rejected.iter().max_by_key(|&(&reason, &count)| key(reason, count));
    last.map_or(Reason::NoNodes, |(&reason, _)| reason)
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "No node takes this workload because of {}", self.binding)?;
        for (i, (reason, count)) in self.rejected.iter().enumerate() {
            let separator = if i == 0 { ". Of the nodes," } else { "," };
            write!(f, "{separator} {count} {}", reason.of_nodes(*count))?;
        }
        match &self.smallest_change {
            Some(change) => write!(f, ". The smallest change that admits it: {change}."),
            None => f.write_str(". No change of capacity admits it."),
        }
    }
}

impl std::error::Error for Refusal {}
