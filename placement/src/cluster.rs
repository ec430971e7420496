//! The cluster as placement sees it: nodes in the order of their keys, who runs where, and what is taken on each node.
//!
//! It promises that what is taken is always the sum of the foreign requests and of what is assigned, and that the reserve
//! of each node is what its certificates say, kept up to date at each change. It does not refuse an assignment that does not
//! fit: it mirrors what is, and [`check`](crate::check()) says what is wrong with that. A clone shares the workloads until
//! it changes them, so that what-if is cheap.

mod books;
mod error;
mod nodes;

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

pub use error::ClusterError;

use crate::{
    GroupKey, NodeKey, Placement, Prices, Resources, WorkloadKey,
    certificates::Certificates,
    index::{Index, Room, Weights},
    model::{Admission, Availability, Node, Priority, Workload},
    pods::{Pod, Pods},
    usage::Load,
};

/// A kind of node: what its capacities are to each other, in steps of about a fifth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group(pub u32);

/// What is known of one node beside the arrays that the scan reads.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub node: Arc<Node>,
    /// Requests of protected workloads.
    pub protected: Resources,
    pub best_effort: Resources,
    /// Taken on behalf of nobody: what-if only.
    pub ghost: Resources,
    /// Handles of what runs here, in no particular order.
    pub pods: Vec<u32>,
    /// Position in the cluster's list of groups.
    pub group: u16,
    /// Ready, open, cool and without taints: takes every workload that has no wishes of its own, if there is room.
    pub plain: bool,
    /// Ready, open or standby, and without taints: the same for a backup.
    pub plain_backup: bool,
}

/// Sums over the nodes that a cluster-wide reserve counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Of all nodes that are not removed.
    pub allocatable: Resources,
    /// Of those that could take over what runs elsewhere: what nobody requests.
    pub free: Resources,
    pub counted: i64,
}

#[derive(Debug, Default)]
pub struct Cluster {
    keys: Vec<NodeKey>,
    rows: Vec<Row>,
    /// What a protected workload may take on each node, the room for setup pods left aside.
    rooms: Vec<Room>,
    /// The weighted sum of the room: best fit is the least that fits.
    ranks: Vec<i64>,
    pods: Arc<Pods>,
    certificates: Certificates,
    /// Expected use of protected and best-effort workloads, where usage is tracked.
    loads: Option<Vec<[Load; 2]>>,
    /// How many of a group are on a node.
    spreads: BTreeMap<GroupKey, BTreeMap<u32, u32>>,
    /// How many of a group have a certificate for a node.
    spread_backups: BTreeMap<GroupKey, BTreeMap<u32, u32>>,
    totals: Totals,
    largest: Resources,
    weights: Weights,
    disk_users: usize,
    groups: Vec<Group>,
    prices: Prices,
    /// The prices by group's position; empty when there are none.
    group_prices: Vec<Option<[i64; 3]>>,
    /// One per group, of the plain nodes; none until it is asked for.
    index: Option<Vec<Index>>,
    /// The nodes that no index holds.
    odd: Vec<u32>,
}

impl Clone for Cluster {
    /// Without the index: a what-if asks few questions, and the scan answers the same.
    fn clone(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            rows: self.rows.clone(),
            rooms: self.rooms.clone(),
            ranks: self.ranks.clone(),
            pods: self.pods.clone(),
            certificates: self.certificates.clone(),
            loads: self.loads.clone(),
            spreads: self.spreads.clone(),
            spread_backups: self.spread_backups.clone(),
            totals: self.totals,
            largest: self.largest,
            weights: self.weights,
            disk_users: self.disk_users,
            groups: self.groups.clone(),
            prices: self.prices.clone(),
            group_prices: self.group_prices.clone(),
            index: None,
            odd: Vec::new(),
        }
    }
}

impl Cluster {
    pub fn new() -> Self {
        Self::default()
    }

    /// A cluster from rows, in any order: the result is the same.
    pub fn from_parts(
        nodes: impl IntoIterator<Item = Node>,
        placed: impl IntoIterator<Item = (Workload, NodeKey)>,
    ) -> Result<Self, ClusterError> {
        let mut nodes: Vec<Node> = nodes.into_iter().collect();
        nodes.sort_by_key(|node| node.id);
        let mut cluster = Self::new();
        for node in nodes {
            cluster.upsert_node(node)?;
        }
        for (workload, node) in placed {
            cluster.assign(workload, node)?;
        }
        Ok(cluster)
    }

    /// Puts a workload on a node without a certificate, or moves it there; returns where it was. Asks nobody whether it fits.
    pub fn assign(&mut self, workload: Workload, node: NodeKey) -> Result<Option<NodeKey>, ClusterError> {
        self.assign_with(workload, node, None)
    }

    /// The same with the node that takes it if this one dies.
    pub fn assign_with(
        &mut self,
        workload: Workload,
        node: NodeKey,
        backup: Option<NodeKey>,
    ) -> Result<Option<NodeKey>, ClusterError> {
        let at = self.at(node)?;
        let backup = backup.map(|backup| self.at(backup)).transpose()?;
        if let Some(dimension) = workload.request.out_of_range() {
            return Err(ClusterError::RequestOutOfRange {
                workload: workload.id,
                dimension,
            });
        }
        let before = self.remove(workload.id);
        self.take(Arc::new(workload), at, backup);
        Ok(before.map(|placement| placement.node))
    }

    /// Changes the certificate of a workload. `false`: there is no such workload.
    pub fn certify(&mut self, workload: WorkloadKey, backup: Option<NodeKey>) -> Result<bool, ClusterError> {
        let backup = backup.map(|backup| self.at(backup)).transpose()?;
        let Some(handle) = self.pods.handle(workload) else {
            return Ok(false);
        };
        self.set_backup(handle, backup);
        Ok(true)
    }

    /// Moves what is placed, or changes its certificate; returns where it was.
    pub(crate) fn relocate(
        &mut self,
        workload: WorkloadKey,
        node: NodeKey,
        backup: Option<NodeKey>,
    ) -> Result<Option<Placement>, ClusterError> {
        let at = self.at(node)?;
        let to = backup.map(|backup| self.at(backup)).transpose()?;
        let Some(pod) = self.pods.find(workload) else {
            return Ok(None);
        };
        let before = Placement {
            workload,
            node: self.keys[pod.node as usize],
            backup: pod.backup.map(|backup| self.keys[backup as usize]),
        };
        if before.node == node {
            self.certify(workload, backup)?;
        } else if let Some((_, pod)) = self.give_back(workload) {
            self.take(pod.workload, at, to);
        }
        Ok(Some(before))
    }

    /// Takes a workload off its node.
    pub fn remove(&mut self, workload: WorkloadKey) -> Option<Placement> {
        self.pods.handle(workload)?;
        let (_, pod) = self.give_back(workload)?;
        Some(Placement {
            workload,
            node: self.keys[pod.node as usize],
            backup: pod.backup.map(|backup| self.keys[backup as usize]),
        })
    }

    pub fn node(&self, node: NodeKey) -> Option<&Node> {
        self.position(node).ok().map(|at| &*self.rows[at].node)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.rows.iter().map(|row| &*row.node)
    }

    /// Requests on a node, foreign ones included.
    pub fn occupied(&self, node: NodeKey) -> Option<Resources> {
        self.position(node).ok().map(|at| self.taken(at))
    }

    /// What its certificates keep free on a node: what the worst loss of one other node would bring.
    pub fn reserved(&self, node: NodeKey) -> Option<Resources> {
        self.position(node).ok().map(|at| self.reserve(at))
    }

    pub fn workload(&self, workload: WorkloadKey) -> Option<(&Workload, NodeKey)> {
        self.pods
            .find(workload)
            .map(|pod| (&*pod.workload, self.keys[pod.node as usize]))
    }

    /// The node that takes a workload if its own dies.
    pub fn backup(&self, workload: WorkloadKey) -> Option<NodeKey> {
        self.pods
            .find(workload)?
            .backup
            .map(|backup| self.keys[backup as usize])
    }

    /// All that is placed, in the order of the workloads' keys.
    pub fn workloads(&self) -> impl Iterator<Item = (&Workload, NodeKey)> {
        let pods = self.pods.sorted().into_iter();
        pods.map(|pod| (&*pod.workload, self.keys[pod.node as usize]))
    }

    /// The same in any order, for sums.
    pub(crate) fn workloads_unordered(&self) -> impl Iterator<Item = (&Workload, NodeKey)> {
        self.pods
            .unordered()
            .map(|pod| (&*pod.workload, self.keys[pod.node as usize]))
    }

    /// In the order of their keys.
    pub fn workloads_on(&self, node: NodeKey) -> impl Iterator<Item = &Workload> {
        let mut pods: Vec<&Workload> = match self.position(node) {
            Ok(at) => self.pods_on(at).map(|pod| &*pod.workload).collect(),
            Err(_) => Vec::new(),
        };
        pods.sort_unstable_by_key(|workload| workload.id);
        pods.into_iter()
    }

    pub fn placements(&self) -> impl Iterator<Item = Placement> {
        self.pods.sorted().into_iter().map(|pod| Placement {
            workload: pod.workload.id,
            node: self.keys[pod.node as usize],
            backup: pod.backup.map(|backup| self.keys[backup as usize]),
        })
    }

    pub fn workload_count(&self) -> usize {
        self.pods.len()
    }

    /// Prefers, from now on, the kinds of nodes where these prices say that the least is wasted.
    pub fn set_prices(&mut self, prices: Prices) {
        self.prices = prices;
        self.price_groups();
    }

    fn price_groups(&mut self) {
        self.group_prices.clear();
        if !self.prices.is_empty() {
            self.group_prices
                .extend(self.groups.iter().map(|&group| self.prices.of(group)));
        }
    }

    pub fn prices(&self) -> &Prices {
        &self.prices
    }
}
