//! Nodes come, change and go; what depends on all of them (scale, groups, index) is measured anew then.

use std::sync::Arc;

use super::{Admission, Availability, Cluster, ClusterError, Group, Load, Resources, Row};
use crate::{
    NodeKey,
    index::{Index, Weights},
    model::Node,
};

/// The weight of a resource that no node has.
const SCALE: i64 = 1 << 32;

impl Cluster {
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
        self.put(node);
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.position(node.id) {
            Ok(at) => {
                let same_shape = self.rows[at].node.allocatable == node.allocatable;
                self.unlist(at);
                self.count_node(at, -1);
                self.rows[at].node = Arc::new(node);
                self.count_node(at, 1);
                self.rows[at].mark();
                if same_shape {
                    (self.rooms[at], self.ranks[at]) = self.measured(at);
                    self.list(at);
                } else {
                    self.measure();
                }
            }
            Err(at) if at == self.rows.len() => {
                self.keys.push(node.id);
                self.rows.push(Row::new(node));
                self.rooms.push([0; 4]);
                self.ranks.push(0);
                self.certificates.push_node();
                if let Some(loads) = &mut self.loads {
                    loads.push([Load::ZERO; 2]);
                }
                self.count_node(at, 1);
                self.measure_one(at);
            }
            // Positions shift: everything is entered anew.
            Err(_) => {
                let mut nodes: Vec<Node> = self.rows.iter().map(|row| Node::clone(&row.node)).collect();
                nodes.push(node);
                self.rebuild(nodes);
            }
        }
    }

    /// Takes a node out of the index.
    fn unlist(&mut self, at: usize) {
        let Some(index) = &mut self.index else { return };
        let (node, row) = (u32::try_from(at).unwrap_or(u32::MAX), &self.rows[at]);
        if row.plain {
            index[usize::from(row.group)].remove(node, self.ranks[at], self.rooms[at]);
        } else {
            self.odd.retain(|&odd| odd != node);
        }
    }

    fn list(&mut self, at: usize) {
        let Some(index) = &mut self.index else { return };
        let (node, row) = (u32::try_from(at).unwrap_or(u32::MAX), &self.rows[at]);
        if row.plain {
            index[usize::from(row.group)].insert(node, self.ranks[at], self.rooms[at]);
        } else {
            let place = self.odd.partition_point(|&odd| odd < node);
            self.odd.insert(place, node);
        }
    }

    fn rebuild(&mut self, mut nodes: Vec<Node>) {
        nodes.sort_by_key(|node| node.id);
        let indexed = self.index.is_some();
        let mut fresh = Self {
            prices: std::mem::take(&mut self.prices),
            ..Self::default()
        };
        if self.loads.is_some() {
            fresh.track_loads();
        }
        for node in nodes {
            fresh.put(node);
        }
        for pod in self.pods.unordered() {
            let moved = |at: u32| self.keys.get(at as usize).and_then(|&key| fresh.position(key).ok());
            let (node, backup) = (moved(pod.node), pod.backup.and_then(moved));
            if let Some(node) = node {
                fresh.take(pod.workload.clone(), node, backup);
            }
        }
        for row in &self.rows {
            fresh.occupy(row.node.id, row.ghost);
        }
        *self = fresh;
        if indexed {
            self.reindex();
        }
    }

    /// Forgets a node that nothing is assigned to; certificates that name it are lost. To take one out of service, set its
    /// admission instead.
    pub fn remove_node(&mut self, node: NodeKey) -> Result<(), ClusterError> {
        let at = self.at(node)?;
        let workloads = self.rows[at].pods.len();
        if workloads > 0 {
            return Err(ClusterError::NodeInUse { node, workloads });
        }
        let rest = self.rows.iter().filter(|row| row.node.id != node);
        self.rebuild(rest.map(|row| Node::clone(&row.node)).collect());
        Ok(())
    }

    /// Changes a node for the sake of a what-if, without the checks of [`Self::upsert_node`]. Its key must stay.
    pub(crate) fn alter(&mut self, node: NodeKey, change: impl FnOnce(&mut Node)) {
        if let Ok(at) = self.position(node) {
            let mut node = Node::clone(&self.rows[at].node);
            change(&mut node);
            self.put(node);
        }
    }

    /// Takes (or, if negative, gives) room on a node on behalf of nobody: what-if only.
    pub(crate) fn occupy(&mut self, node: NodeKey, amount: Resources) {
        if let Ok(at) = self.position(node) {
            self.rows[at].ghost = self.rows[at].ghost.plus(amount);
            if self.rows[at].counted() {
                self.totals.free = self.totals.free.minus(amount);
            }
            self.touch(at);
        }
    }

    /// Keeps an index from now on: worth it above some hundred nodes, if many questions follow.
    pub fn reindex(&mut self) {
        self.index = Some(Vec::new());
        self.rebuild_index();
    }

    pub(super) fn rebuild_index(&mut self) {
        for at in 0..self.rows.len() {
            (self.rooms[at], self.ranks[at]) = self.measured(at);
        }
        if self.index.is_none() {
            return;
        }
        let of = |group: usize| self.rows.iter().filter(move |row| usize::from(row.group) == group);
        let mut index: Vec<Index> = (0..self.groups.len())
            .map(|group| {
                let most = of(group).fold(Resources::ZERO, |most, row| most.max(row.node.allocatable));
                let key = self.weights.key(crate::place::room(most));
                Index::new(self.weights, of(group).count(), key, most.cpu_milli)
            })
            .collect();
        self.odd.clear();
        for (at, row) in self.rows.iter().enumerate() {
            let node = u32::try_from(at).unwrap_or(u32::MAX);
            if row.plain {
                index[usize::from(row.group)].insert(node, self.ranks[at], self.rooms[at]);
            } else {
                self.odd.push(node);
            }
        }
        self.index = Some(index);
    }

    /// After a node joined at the end: only if it changes what all are measured by, all are measured.
    fn measure_one(&mut self, at: usize) {
        let allocatable = self.rows[at].node.allocatable;
        let known = self
            .groups
            .iter()
            .position(|&group| group == self.group_of(allocatable));
        match known {
            Some(group) if self.largest == self.largest.max(allocatable) && self.index.is_none() => {
                self.rows[at].group = u16::try_from(group).unwrap_or(u16::MAX);
                self.touch(at);
            }
            _ => self.measure(),
        }
    }

    /// The scale of scores, the groups, and everything that follows from them.
    pub(super) fn measure(&mut self) {
        self.largest = self
            .rows
            .iter()
            .fold(Resources::ZERO, |most, row| most.max(row.node.allocatable));
        self.weights = self.weights_if(self.disk_users > 0);
        let groups: Vec<Group> = self
            .rows
            .iter()
            .map(|row| self.group_of(row.node.allocatable))
            .collect();
        self.groups.clone_from(&groups);
        self.groups.sort_unstable();
        self.groups.dedup();
        for (row, group) in self.rows.iter_mut().zip(groups) {
            let at = self.groups.binary_search(&group).unwrap_or(0);
            row.group = u16::try_from(at).unwrap_or(u16::MAX);
        }
        self.price_groups();
        self.rebuild_index();
    }

    fn weights_if(&self, disk_counts: bool) -> Weights {
        let weight = |largest: i64| if largest > 0 { SCALE / largest } else { 0 };
        let disk = if disk_counts { weight(self.largest.disk_mib) } else { 0 };
        Weights([weight(self.largest.cpu_milli), weight(self.largest.mem_mib), disk])
    }

    /// What nodes are ranked by for this demand: as it will be once it is placed, the first one to ask for disk included.
    pub(crate) fn weights_for(&self, demand: Resources) -> Weights {
        self.weights_if(self.disk_users > 0 || demand.disk_mib > 0)
    }

    fn group_of(&self, allocatable: Resources) -> Group {
        let step = |amount: i64| {
            let ratio = (u64::try_from(amount.max(0)).unwrap_or(0) << 20)
                / u64::try_from(allocatable.cpu_milli.max(1)).unwrap_or(1);
            let log = ratio.max(1).ilog2();
            // The two bits below the highest: quarters of an octave, nearly.
            let next = if log >= 2 { (ratio >> (log - 2)) & 3 } else { 0 };
            log * 4 + u32::try_from(next).unwrap_or(0)
        };
        let disk = if self.disk_users > 0 {
            step(allocatable.disk_mib)
        } else {
            0
        };
        Group(step(allocatable.mem_mib) << 16 | disk)
    }

    /// Free room by kind of node, without what workloads of ours take: what prices are made of.
    pub(crate) fn offered(&self) -> impl Iterator<Item = (Group, Resources)> + '_ {
        let taking = self.rows.iter().filter(|row| row.plain);
        taking.map(|row| {
            (
                self.groups[usize::from(row.group)],
                row.node.allocatable.minus(row.node.foreign),
            )
        })
    }
}

impl Row {
    fn new(node: Node) -> Self {
        let mut row = Self {
            node: Arc::new(node),
            protected: Resources::ZERO,
            best_effort: Resources::ZERO,
            ghost: Resources::ZERO,
            pods: Vec::new(),
            group: 0,
            plain: false,
            plain_backup: false,
        };
        row.mark();
        row
    }

    fn mark(&mut self) {
        let node = &*self.node;
        let untainted = node.availability == Availability::Ready && node.taints.is_empty();
        self.plain = untainted && node.admission == Admission::Open && !node.hot;
        self.plain_backup = untainted && matches!(node.admission, Admission::Open | Admission::Standby);
    }

    /// Whether what is free here could take over what runs elsewhere.
    pub fn counted(&self) -> bool {
        self.node.availability == Availability::Ready
            && matches!(self.node.admission, Admission::Open | Admission::Standby)
    }
}
