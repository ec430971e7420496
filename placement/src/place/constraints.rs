//! What rules a node out whatever room it has: its nature, its state, and how crowded it is with the workload's group.

use super::{Purpose, Question};
use crate::{
    cluster::Row,
    model::{Admission, Availability, Spread, TaintEffect, Topology},
    refusal::Reason,
};

impl Question<'_> {
    /// What lies in the nature of the node: no room and no patience would change it.
    pub fn suits(&self, row: &Row) -> Result<(), Reason> {
        let node = &*row.node;
        let wall = |effect| effect != TaintEffect::PreferNoSchedule;
        if node.admission == Admission::Removed {
            return Err(Reason::Removed);
        }
        if !self.workload.volume.allows(node.id) {
            return Err(Reason::VolumeElsewhere);
        }
        if self
            .workload
            .storage_class
            .as_ref()
            .is_some_and(|class| !node.storage_classes.contains(class))
        {
            return Err(Reason::StorageClass);
        }
        if !self.workload.selects(&node.labels) {
            return Err(Reason::Selector);
        }
        if node
            .taints
            .iter()
            .any(|taint| wall(taint.effect) && !self.workload.tolerates(taint))
        {
            return Err(Reason::Taint);
        }
        Ok(())
    }

    pub fn admits(&self, admission: Admission) -> Result<(), Reason> {
        admits(admission, self.purpose)
    }

    /// State and crowd; what can change without a new machine.
    pub(crate) fn takes(&self, at: usize, row: &Row) -> Result<u32, Reason> {
        self.suits(row)?;
        if row.node.availability != Availability::Ready {
            return Err(Reason::NotReady);
        }
        self.admits(row.node.admission)?;
        let stays = self.present.is_some_and(|present| present.node == at);
        if row.node.hot && self.purpose == Purpose::Admission && !stays {
            return Err(Reason::Hot);
        }
        self.crowd(at)
    }

    /// How many of its group are there already, as a wish; more than allowed is a wall.
    fn crowd(&self, at: usize) -> Result<u32, Reason> {
        let Some(spread) = self.workload.spread else {
            return Ok(0);
        };
        let count = self.neighbours(spread, at);
        match spread.most {
            // Whoever is insured there must still be welcome.
            Some(most) if count + self.insured_there(spread, at) >= most => Err(Reason::Spread),
            Some(_) => Ok(0),
            None => Ok(count),
        }
    }

    /// Others of the group in one place.
    fn neighbours(&self, spread: Spread, at: usize) -> u32 {
        let near = self
            .cluster
            .spread(spread.group)
            .filter(|&(node, _)| self.together(spread, node as usize, at));
        let count: u32 = near.map(|(_, count)| count).sum();
        let own = self.present.filter(|present| self.together(spread, present.node, at));
        count.saturating_sub(u32::from(own.is_some() && self.was_of(spread)))
    }

    /// Others of the group that would come to one place if their nodes died.
    fn insured_there(&self, spread: Spread, at: usize) -> u32 {
        let near = self
            .cluster
            .spread_backups(spread.group)
            .filter(|&(node, _)| self.together(spread, node as usize, at));
        let count: u32 = near.map(|(_, count)| count).sum();
        let backup = self.present.and_then(|present| present.backup);
        let own = backup.filter(|&backup| self.together(spread, backup, at));
        count.saturating_sub(u32::from(own.is_some() && self.was_of(spread)))
    }

    /// Whether the workload is counted in the group now.
    fn was_of(&self, spread: Spread) -> bool {
        let pod = self.cluster.pod(self.workload.id);
        pod.is_some_and(|pod| pod.workload.spread.is_some_and(|own| own.group == spread.group))
    }

    fn together(&self, spread: Spread, one: usize, other: usize) -> bool {
        let rows = self.cluster.rows();
        let zone = &rows[other].node.zone;
        one == other || (spread.across == Topology::Zone && !zone.is_empty() && rows[one].node.zone == *zone)
    }

    /// Whether a node may take this workload over when the one at `from` dies, its room left aside.
    pub(crate) fn can_back(&self, from: usize, at: usize) -> bool {
        let row = &self.cluster.rows()[at];
        if from == at {
            return false;
        }
        if self.plain && row.plain_backup {
            return true;
        }
        let state = row.node.availability == Availability::Ready
            && admits(row.node.admission, Purpose::Failover).is_ok()
            && self.suits(row).is_ok();
        state && self.crowd_of_backups(at)
    }

    /// Whoever might come there, from wherever, must still be allowed to be there with who is there.
    fn crowd_of_backups(&self, at: usize) -> bool {
        let limit = self.workload.spread.and_then(|spread| Some((spread, spread.most?)));
        limit.is_none_or(|(spread, most)| self.neighbours(spread, at) + self.insured_there(spread, at) < most)
    }
}

fn admits(admission: Admission, purpose: Purpose) -> Result<(), Reason> {
    match (admission, purpose) {
        (Admission::Open, _) | (Admission::Standby, Purpose::Failover) => Ok(()),
        (Admission::Standby, Purpose::Admission) => Err(Reason::Standby),
        (Admission::Cordoned, _) => Err(Reason::Cordoned),
        (Admission::Draining, _) => Err(Reason::Draining),
        (Admission::Removed, _) => Err(Reason::Removed),
    }
}
