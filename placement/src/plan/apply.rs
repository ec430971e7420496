//! Carrying a plan out on the books: each step looks at its precondition first.
//!
//! A plan that no longer fits what is (an order came between) stops at the first step that does not hold; what is done by
//! then is valid, and the rest is planned anew.

use std::{collections::BTreeMap, fmt};

use super::{Plan, Step};
use crate::{
    NodeKey, Resources, WorkloadKey,
    cluster::{Cluster, ClusterError},
    model::Workload,
};

/// Why a step cannot be taken any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// The workload is not where the step begins.
    Elsewhere {
        workload: WorkloadKey,
        from: NodeKey,
    },
    /// The target has less free than it needs.
    NoRoom {
        to: NodeKey,
        missing: Resources,
    },
    Unknown(ClusterError),
}

impl fmt::Display for Outdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { workload, from } => write!(f, "workload {workload} is not on node {from} any more"),
            Self::NoRoom { to, missing } => write!(f, "node {to} lacks {missing} by now"),
            Self::Unknown(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for Outdated {}

impl Step {
    /// Whether the step can begin now.
    pub fn holds(&self, cluster: &Cluster) -> Result<(), Outdated> {
        match cluster.workload(self.workload) {
            Some((_, node)) if node == self.from => self.has_room(cluster),
            _ => Err(Outdated::Elsewhere {
                workload: self.workload,
                from: self.from,
            }),
        }
    }

    fn has_room(&self, cluster: &Cluster) -> Result<(), Outdated> {
        let at = cluster.at(self.to).map_err(Outdated::Unknown)?;
        if !self.moves() {
            return Ok(());
        }
        let missing = cluster.room_spending(at).shortage(self.precondition);
        if missing.is_zero() {
            Ok(())
        } else {
            Err(Outdated::NoRoom { to: self.to, missing })
        }
    }
}

/// Carries out the whole plan, or stops before the first step that does not hold.
pub fn apply(cluster: &mut Cluster, plan: &Plan) -> Result<(), Outdated> {
    let mut evicted: BTreeMap<WorkloadKey, Workload> = BTreeMap::new();
    for eviction in &plan.evictions {
        let found = cluster
            .workload(eviction.workload)
            .filter(|(_, node)| *node == eviction.node);
        let Some((workload, _)) = found else {
            return Err(Outdated::Elsewhere {
                workload: eviction.workload,
                from: eviction.node,
            });
        };
        evicted.insert(eviction.workload, workload.clone());
        cluster.remove(eviction.workload);
    }
    for step in &plan.steps {
        if let Some(workload) = evicted.remove(&step.workload) {
            step.has_room(cluster)?;
            cluster
                .assign_with(workload, step.to, step.backup)
                .map_err(Outdated::Unknown)?;
        } else {
            step.holds(cluster)?;
            cluster
                .relocate(step.workload, step.to, step.backup)
                .map_err(Outdated::Unknown)?;
        }
    }
    Ok(())
}
