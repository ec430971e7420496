//! The arithmetic of every change: one place takes, one gives back, one measures what is left.

use std::{collections::BTreeMap, sync::Arc};

use super::{Certificates, Cluster, ClusterError, Load, Pod, Pods, Priority, Resources, Row, Totals};
use crate::{
    GroupKey, NodeKey, WorkloadKey,
    index::{Index, Room, Weights},
    model::{Admission, Workload},
    place::room,
};

impl Cluster {
    pub(super) fn position(&self, node: NodeKey) -> Result<usize, usize> {
        self.keys.binary_search(&node)
    }

    pub(crate) fn at(&self, node: NodeKey) -> Result<usize, ClusterError> {
        self.position(node).map_err(|_| ClusterError::UnknownNode(node))
    }

    pub(crate) fn key(&self, at: usize) -> NodeKey {
        self.keys[at]
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(crate) fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    pub(crate) fn ranks(&self) -> &[i64] {
        &self.ranks
    }

    pub(crate) fn index(&self) -> Option<(&[Index], &[u32])> {
        Some((self.index.as_deref()?, &self.odd))
    }

    pub(crate) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    pub(crate) fn weights(&self) -> Weights {
        self.weights
    }

    pub(crate) fn totals(&self) -> &Totals {
        &self.totals
    }

    /// By the position of the group; empty when no kind of node is preferred.
    pub(crate) fn group_prices(&self) -> &[Option<[i64; 3]>] {
        &self.group_prices
    }

    /// The largest allocatable amount of each resource on any node: the scale of scores.
    pub(crate) fn largest(&self) -> Resources {
        self.largest
    }

    pub(crate) fn pod(&self, workload: WorkloadKey) -> Option<&Pod> {
        self.pods.find(workload)
    }

    pub(crate) fn pods_on(&self, at: usize) -> impl Iterator<Item = &Pod> {
        self.rows[at].pods.iter().filter_map(|&handle| self.pods.get(handle))
    }

    /// Foreign requests and ours.
    pub(crate) fn taken(&self, at: usize) -> Resources {
        let row = &self.rows[at];
        row.node
            .foreign
            .plus(row.ghost)
            .plus(row.protected)
            .plus(row.best_effort)
    }

    /// R of the node: what its certificates keep free.
    pub(crate) fn reserve(&self, at: usize) -> Resources {
        let carrier = self.certificates.carrier(u32::try_from(at).unwrap_or(u32::MAX));
        carrier.map_or(Resources::ZERO, crate::certificates::Carrier::reserve)
    }

    /// What a protected workload may take if the reserve were `reserve`. Best-effort workloads live inside of it.
    pub(crate) fn room_with(&self, at: usize, reserve: Resources) -> Resources {
        let row = &self.rows[at];
        let inside = reserve.max(row.best_effort);
        row.node
            .allocatable
            .minus(row.node.foreign)
            .minus(row.ghost)
            .minus(row.protected)
            .minus(inside)
    }

    /// What is free when the reserve may be spent.
    pub(crate) fn room_spending(&self, at: usize) -> Resources {
        self.rows[at].node.allocatable.minus(self.taken(at))
    }

    /// Expected use of what runs on a node, without the workloads in the reserve: protected, best-effort.
    pub(crate) fn load_on(&self, at: usize) -> [Load; 2] {
        self.loads.as_ref().map_or_else(
            || {
                let mut sums = [Load::ZERO; 2];
                for pod in self.pods_on(at) {
                    let class = usize::from(pod.workload.priority == Priority::BestEffort);
                    sums[class] = sums[class].plus(pod.workload.load());
                }
                sums
            },
            |loads| loads[at],
        )
    }

    /// How many of a group are on each node.
    pub(crate) fn spread(&self, group: GroupKey) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.spreads
            .get(&group)
            .into_iter()
            .flatten()
            .map(|(&node, &count)| (node, count))
    }

    /// How many of a group would come to each node, from anywhere.
    pub(crate) fn spread_backups(&self, group: GroupKey) -> impl Iterator<Item = (u32, u32)> + '_ {
        let nodes = self.spread_backups.get(&group).into_iter().flatten();
        nodes.map(|(&node, &count)| (node, count))
    }

    /// Keeps sums of expected use from now on, for policies that go by usage.
    pub fn track_loads(&mut self) {
        if self.loads.is_some() {
            return;
        }
        let sums: Vec<[Load; 2]> = (0..self.rows.len()).map(|at| self.load_on(at)).collect();
        self.loads = Some(sums);
        let mut certificates = Certificates::new(self.rows.len(), true);
        for pod in self.pods.unordered() {
            if let Some(backup) = pod.backup {
                certificates.add(pod.node, backup, pod.workload.request, Some(&pod.workload.load()));
            }
        }
        self.certificates = certificates;
    }

    pub(super) fn take(&mut self, workload: Arc<Workload>, at: usize, backup: Option<usize>) {
        let small = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        let (request, node) = (workload.request, small(at));
        self.count(&workload, node, true);
        let position = small(self.rows[at].pods.len());
        let load = self.loads.is_some().then(|| workload.load());
        let pod = Pod {
            workload,
            node,
            backup: backup.map(small),
            at: position,
        };
        let class = pod.workload.priority;
        let group = pod.workload.spread.map(|spread| spread.group);
        let handle = Arc::make_mut(&mut self.pods).insert(pod);
        let row = &mut self.rows[at];
        row.pods.push(handle);
        match class {
            Priority::Protected => row.protected = row.protected.plus(request),
            Priority::BestEffort => row.best_effort = row.best_effort.plus(request),
        }
        if row.counted() {
            self.totals.free = self.totals.free.minus(request);
        }
        if let (Some(loads), Some(load)) = (&mut self.loads, &load) {
            let sum = &mut loads[at][usize::from(class == Priority::BestEffort)];
            *sum = sum.plus(*load);
        }
        if let Some(backup) = backup {
            self.certificates.add(node, small(backup), request, load.as_ref());
            if let Some(group) = group {
                tally(&mut self.spread_backups, group, small(backup), true);
            }
            self.touch(backup);
        }
        self.touch(at);
    }

    pub(super) fn give_back(&mut self, workload: WorkloadKey) -> Option<(u32, Pod)> {
        let pods: &mut Pods = Arc::make_mut(&mut self.pods);
        let (handle, pod) = pods.remove(workload)?;
        let at = pod.node as usize;
        let row = &mut self.rows[at];
        row.pods.swap_remove(pod.at as usize);
        if let Some(moved) = row.pods.get(pod.at as usize).and_then(|&moved| pods.get_mut(moved)) {
            moved.at = pod.at;
        }
        let request = pod.workload.request;
        match pod.workload.priority {
            Priority::Protected => row.protected = row.protected.minus(request),
            Priority::BestEffort => row.best_effort = row.best_effort.minus(request),
        }
        if row.counted() {
            self.totals.free = self.totals.free.plus(request);
        }
        let load = self.loads.is_some().then(|| pod.workload.load());
        if let (Some(loads), Some(load)) = (&mut self.loads, &load) {
            let sum = &mut loads[at][usize::from(pod.workload.priority == Priority::BestEffort)];
            *sum = sum.minus(*load);
        }
        if let Some(backup) = pod.backup {
            self.certificates.remove(pod.node, backup, request, load.as_ref());
            if let Some(spread) = pod.workload.spread {
                tally(&mut self.spread_backups, spread.group, backup, false);
            }
            self.touch(backup as usize);
        }
        self.count(&pod.workload, pod.node, false);
        self.touch(at);
        Some((handle, pod))
    }

    pub(super) fn set_backup(&mut self, handle: u32, backup: Option<usize>) {
        let Some(pod) = Arc::make_mut(&mut self.pods).get_mut(handle) else {
            return;
        };
        let new = backup.map(|at| u32::try_from(at).unwrap_or(u32::MAX));
        let old = std::mem::replace(&mut pod.backup, new);
        let (node, request) = (pod.node, pod.workload.request);
        let group = pod.workload.spread.map(|spread| spread.group);
        for (at, comes) in [(old, false), (new, true)] {
            if let (Some(at), Some(group)) = (at, group) {
                tally(&mut self.spread_backups, group, at, comes);
            }
        }
        let load = self.loads.is_some().then(|| pod.workload.load());
        if let Some(old) = old {
            self.certificates.remove(node, old, request, load.as_ref());
            self.touch(old as usize);
        }
        if let Some(new) = new {
            self.certificates.add(node, new, request, load.as_ref());
            self.touch(new as usize);
        }
    }

    /// What is counted over the whole cluster: groups, and whether anybody asks for disk.
    fn count(&mut self, workload: &Workload, node: u32, comes: bool) {
        if workload.request.disk_mib > 0 {
            self.disk_users = if comes {
                self.disk_users + 1
            } else {
                self.disk_users - 1
            };
            if self.disk_users == usize::from(comes) {
                self.measure();
            }
        }
        if let Some(spread) = workload.spread {
            tally(&mut self.spreads, spread.group, node, comes);
        }
    }

    pub(super) fn count_node(&mut self, at: usize, sign: i64) {
        let row = &self.rows[at];
        if row.node.admission != Admission::Removed {
            self.totals.allocatable = self.totals.allocatable.plus(row.node.allocatable.times(sign));
        }
        if row.counted() {
            let free = row.node.allocatable.minus(self.taken(at));
            self.totals.free = self.totals.free.plus(free.times(sign));
            self.totals.counted += sign;
        }
    }

    pub(super) fn measured(&self, at: usize) -> (Room, i64) {
        let room = room(self.room_with(at, self.reserve(at)));
        (room, self.weights.key(room))
    }

    pub(super) fn touch(&mut self, at: usize) {
        let (room, rank) = self.measured(at);
        let (old_room, old_rank) = (self.rooms[at], self.ranks[at]);
        if room == old_room && rank == old_rank {
            return;
        }
        (self.rooms[at], self.ranks[at]) = (room, rank);
        let row = &self.rows[at];
        if let (true, Some(index)) = (row.plain, &mut self.index) {
            let (node, index) = (
                u32::try_from(at).unwrap_or(u32::MAX),
                &mut index[usize::from(row.group)],
            );
            index.remove(node, old_rank, old_room);
            index.insert(node, rank, room);
        }
    }
}

/// One more of a group on a node, or one less.
fn tally(counts: &mut BTreeMap<GroupKey, BTreeMap<u32, u32>>, group: GroupKey, node: u32, comes: bool) {
    let nodes = counts.entry(group).or_default();
    let count = nodes.entry(node).or_default();
    *count = if comes { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        nodes.remove(&node);
    }
    if nodes.is_empty() {
        counts.remove(&group);
    }
}
