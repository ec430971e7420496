//! The engine's values as staff reads them: nodes by name, refusals in words, room and candidates.

use placement::{Change, Cluster, Cost, NodeKey, Reason, Refusal, Resources, Score, what_if};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::nodes::read::Amounts;

impl From<Resources> for Amounts {
    fn from(amount: Resources) -> Self {
        Self {
            cpu_milli: amount.cpu_milli,
            mem_mib: amount.mem_mib,
            disk_mib: amount.disk_mib,
            pods: amount.pods,
        }
    }
}

/// A worker node.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PlacementNode)]
pub(super) struct NodeName {
    pub node_id: Uuid,
    pub node: String,
}

/// Names for the engine's keys.
#[derive(Clone, Copy)]
pub(super) struct Names<'a>(pub &'a Cluster);

impl Names<'_> {
    /// A node that is not in the cluster is one that a what-if added: those are numbered from the last one on.
    pub fn text(self, key: NodeKey) -> String {
        let last = self.0.nodes().last().map_or(0, |node| node.id.0);
        match self.0.node(key) {
            Some(node) => node.name.clone(),
            None => format!("new-{}", key.0.saturating_sub(last)),
        }
    }

    pub fn of(self, key: NodeKey) -> NodeName {
        NodeName {
            node_id: Uuid::from_u128(key.0),
            node: self.text(key),
        }
    }
}

/// How many more of one size fit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementRoom)]
pub(super) struct Room {
    /// What would be written into each pod.
    pub request: Amounts,
    pub count: i64,
    /// How many there would be if nothing were kept free for the loss of a node.
    pub without_reserve: i64,
    /// What would stop the next one then.
    #[schema(value_type = String, example = "memory")]
    pub binding_without_reserve: Reason,
    /// In the order in which they fill; nodes that take none are left out.
    pub nodes: Vec<NodeHeadroom>,
    /// Why not one more.
    pub refusal: RefusalView,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeHeadroom {
    node_id: Uuid,
    node: String,
    count: i64,
}

impl Room {
    pub fn new(found: what_if::Room, request: Resources, names: Names<'_>) -> Self {
        let nodes = found.with_reserve.nodes.iter().map(|room| NodeHeadroom {
            node_id: Uuid::from_u128(room.node.0),
            node: names.text(room.node),
            count: room.count,
        });
        Self {
            request: request.into(),
            count: found.with_reserve.count,
            without_reserve: found.without_reserve,
            binding_without_reserve: found.binding_without_reserve,
            nodes: nodes.collect(),
            refusal: found.with_reserve.refusal.into(),
        }
    }
}

/// A node that would take it. Less is better, in the order of the fields; the lower id breaks ties.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementCandidate)]
pub(super) struct Candidate {
    node_id: Uuid,
    node: String,
    /// PreferNoSchedule taints that are not tolerated.
    softness: u32,
    /// What another node would have to begin to keep free for its certificate, in the measure of `residual_ppm`; 0 while
    /// the nodes that carry a reserve have room for more.
    growth_ppm: i64,
    /// What it costs on this kind of node beyond the cheapest kind, in tenths; 0 is as good as the best.
    regret: u32,
    /// What would stay free there, each resource in parts per million of the largest node, added up.
    residual_ppm: i64,
}

impl Candidate {
    pub fn new(score: Score, names: Names<'_>) -> Self {
        Self {
            node_id: Uuid::from_u128(score.node.0),
            node: names.text(score.node),
            softness: score.softness,
            growth_ppm: score.growth_ppm,
            regret: score.regret,
            residual_ppm: score.residual_ppm,
        }
    }
}

/// What plans cost.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = PlacementCost)]
pub(super) struct CostView {
    pub moves: u32,
    /// How long services are away, added up.
    pub restart_seconds: i64,
    /// What is copied, at most.
    pub volume_mib: i64,
}

impl From<Cost> for CostView {
    fn from(cost: Cost) -> Self {
        Self {
            moves: cost.moves,
            restart_seconds: cost.restart_seconds,
            volume_mib: cost.volume_mib,
        }
    }
}

/// Why no node takes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementRefusal)]
pub(super) struct RefusalView {
    /// What stands in the way on the node that is closest to taking it.
    #[schema(value_type = String, example = "memory")]
    binding: Reason,
    rejected: Vec<Rejected>,
    /// The same in words, with the smallest change that would help.
    explanation: String,
    /// That change, for programs: `existing` (a node becomes ready or opens, room is freed) or `new_node`. Null when
    /// nothing helps, as the data is elsewhere.
    #[schema(value_type = Option<Object>)]
    smallest_change: Option<Change>,
}

impl From<Refusal> for RefusalView {
    fn from(refusal: Refusal) -> Self {
        Self {
            binding: refusal.binding,
            rejected: rejected(&refusal.rejected),
            explanation: refusal.to_string(),
            smallest_change: refusal.smallest_change.map(|change| *change),
        }
    }
}

/// How many nodes are out for one reason; each node is counted once.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Rejected {
    #[schema(value_type = String, example = "cordoned")]
    reason: Reason,
    nodes: u32,
}

pub(super) fn rejected(counts: &placement::Counts) -> Vec<Rejected> {
    counts
        .iter()
        .map(|(&reason, &nodes)| Rejected { reason, nodes })
        .collect()
}
