//! The cluster as placement sees it: nodes in the order of their keys, who runs where, and what is taken on each node.
//!
//! It promises that what is taken is always the sum of the foreign requests and of what is assigned, kept up to date at
//! each change. It does not refuse an assignment that does not fit: it mirrors what is, and [`check`](crate::check())
//! says what is wrong with that. A clone shares everything that it does not change, so that what-if is cheap.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    NodeKey, Placement, Resources, WorkloadKey,
    model::{Admission, Availability, Node, Workload},
    resources::Dimension,
};

/// A node with what the scan reads of every node beside it, so that most nodes are judged without following a pointer.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub key: NodeKey,
    pub node: Arc<Node>,
    allocatable: Resources,
    /// Foreign requests and ours.
    pub occupied: Resources,
    /// Ready, open and without taints: takes every workload that has no wishes of its own, as far as there is room.
    pub plain: bool,
}

impl Slot {
    fn new(occupied: Resources, node: Node) -> Self {
        let plain =
            node.availability == Availability::Ready && node.admission == Admission::Open && node.taints.is_empty();
        Self {
            key: node.id,
            allocatable: node.allocatable,
            occupied,
            plain,
            node: Arc::new(node),
        }
    }

    /// What may be given to workloads at most, whatever runs there now.
    pub fn capacity(&self, setup_reserve: Resources) -> Resources {
        self.allocatable.minus(setup_reserve)
    }

    /// Whether what is free here could take over what runs elsewhere.
    pub fn counts_for_reserve(&self) -> bool {
        self.node.availability == Availability::Ready
            && matches!(self.node.admission, Admission::Open | Admission::Standby)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub workload: Workload,
    pub node: NodeKey,
}

#[derive(Clone, Debug, Default)]
pub struct Cluster {
    slots: Vec<Slot>,
    placed: Arc<BTreeMap<WorkloadKey, Arc<Placed>>>,
    largest: Resources,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterError {
    UnknownNode(NodeKey),
    /// The node cannot be forgotten while something is assigned to it.
    NodeInUse {
        node: NodeKey,
        workloads: usize,
    },
    NodeOutOfRange {
        node: NodeKey,
        field: &'static str,
        dimension: Dimension,
    },
    RequestOutOfRange {
        workload: WorkloadKey,
        dimension: Dimension,
    },
}

impl fmt::Display for ClusterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = Resources::MAX_AMOUNT;
        match self {
            Self::UnknownNode(node) => write!(f, "there is no node {node}"),
            Self::NodeInUse { node, workloads } => {
                write!(f, "{workloads} workloads are still assigned to node {node}")
            }
            Self::NodeOutOfRange { node, field, dimension } => {
                write!(f, "{field} {dimension} of node {node} has to be between 0 and {most}")
            }
            Self::RequestOutOfRange { workload, dimension } => {
                write!(
                    f,
                    "the requested {dimension} of workload {workload} has to be between 0 and {most}"
                )
            }
        }
    }
}

impl std::error::Error for ClusterError {}

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    /// A cluster from rows, in any order: the result is the same.
    pub fn from_parts(
        nodes: impl IntoIterator<Item = Node>,
        placed: impl IntoIterator<Item = (Workload, NodeKey)>,
    ) -> Result<Self, ClusterError> {
        let mut cluster = Self::new();
        for node in nodes {
            cluster.upsert_node(node)?;
        }
        for (workload, node) in placed {
            cluster.assign(workload, node)?;
        }
        Ok(cluster)
    }

    /// Adds a node or replaces what is known of it; what is assigned to it stays.
    pub fn upsert_node(&mut self, node: Node) -> Result<(), ClusterError> {
        for (field, amounts) in [("allocatable", node.allocatable), ("foreign", node.foreign)] {
            if let Some(dimension) = amounts.out_of_range() {
                return Err(ClusterError::NodeOutOfRange {
                    node: node.id,
                    field,
                    dimension,
                });
            }
        }
        match self.position(node.id) {
            Ok(at) => {
                let slot = &mut self.slots[at];
                let ours = slot.occupied.minus(slot.node.foreign);
                *slot = Slot::new(ours.plus(node.foreign), node);
            }
            Err(at) => self.slots.insert(at, Slot::new(node.foreign, node)),
        }
        self.measure();
        Ok(())
    }

    /// Forgets a node that nothing is assigned to. To take one out of service, set its admission instead.
    pub fn remove_node(&mut self, node: NodeKey) -> Result<(), ClusterError> {
        let at = self.position(node).map_err(|_| ClusterError::UnknownNode(node))?;
        let workloads = self.workloads_on(node).count();
        if workloads > 0 {
            return Err(ClusterError::NodeInUse { node, workloads });
        }
        self.slots.remove(at);
        self.measure();
        Ok(())
    }

    /// Puts a workload on a node, or moves it there; returns where it was. Asks nobody whether it fits.
    pub fn assign(&mut self, workload: Workload, node: NodeKey) -> Result<Option<NodeKey>, ClusterError> {
        let at = self.position(node).map_err(|_| ClusterError::UnknownNode(node))?;
        if let Some(dimension) = workload.request.out_of_range() {
            return Err(ClusterError::RequestOutOfRange {
                workload: workload.id,
                dimension,
            });
        }
        let before = self.remove(workload.id);
        self.slots[at].occupied = self.slots[at].occupied.plus(workload.request);
        Arc::make_mut(&mut self.placed).insert(workload.id, Arc::new(Placed { workload, node }));
        Ok(before.map(|placement| placement.node))
    }

    /// Takes a workload off its node.
    pub fn remove(&mut self, workload: WorkloadKey) -> Option<Placement> {
        if !self.placed.contains_key(&workload) {
            return None;
        }
        let placed = Arc::make_mut(&mut self.placed).remove(&workload)?;
        if let Ok(at) = self.position(placed.node) {
            self.slots[at].occupied = self.slots[at].occupied.minus(placed.workload.request);
        }
        Some(Placement {
            workload,
            node: placed.node,
            backup: None,
        })
    }

    pub fn node(&self, node: NodeKey) -> Option<&Node> {
        self.slot(node).map(|slot| &*slot.node)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.slots.iter().map(|slot| &*slot.node)
    }

    /// Requests on a node, foreign ones included.
    pub fn occupied(&self, node: NodeKey) -> Option<Resources> {
        self.slot(node).map(|slot| slot.occupied)
    }

    pub fn workload(&self, workload: WorkloadKey) -> Option<(&Workload, NodeKey)> {
        self.placed.get(&workload).map(|placed| (&placed.workload, placed.node))
    }

    /// All that is placed, in the order of the workloads' keys.
    pub fn workloads(&self) -> impl Iterator<Item = (&Workload, NodeKey)> {
        self.placed.values().map(|placed| (&placed.workload, placed.node))
    }

    pub fn workloads_on(&self, node: NodeKey) -> impl Iterator<Item = &Workload> {
        self.workloads()
            .filter(move |(_, on)| *on == node)
            .map(|(workload, _)| workload)
    }

    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        self.placed.iter().map(|(&workload, placed)| Placement {
            workload,
            node: placed.node,
            backup: None,
        })
    }

    pub(crate) fn slot(&self, node: NodeKey) -> Option<&Slot> {
        self.position(node).ok().map(|at| &self.slots[at])
    }

    pub(crate) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The largest allocatable amount of each resource on any node: the scale of scores.
    pub(crate) fn largest(&self) -> Resources {
        self.largest
    }

    /// Changes a node for the sake of a what-if, without the checks of [`Self::upsert_node`]. Its key must stay.
    pub(crate) fn alter(&mut self, node: NodeKey, change: impl FnOnce(&mut Node)) {
        if let Ok(at) = self.position(node) {
            let slot = &mut self.slots[at];
            let mut node = Node::clone(&slot.node);
            change(&mut node);
            *slot = Slot::new(slot.occupied, node);
            self.measure();
        }
    }

    /// Takes (or, if negative, gives) room on a node on behalf of nobody: what-if only.
    pub(crate) fn occupy(&mut self, node: NodeKey, amount: Resources) {
        if let Ok(at) = self.position(node) {
            self.slots[at].occupied = self.slots[at].occupied.plus(amount);
        }
    }

    fn position(&self, node: NodeKey) -> Result<usize, usize> {
        self.slots.binary_search_by_key(&node, |slot| slot.key)
    }

    fn measure(&mut self) {
        self.largest = self
            .slots
            .iter()
            .fold(Resources::ZERO, |most, slot| most.max(slot.allocatable));
    }
}
