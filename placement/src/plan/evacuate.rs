//! Where everything on a node goes when the node is lost or has to be emptied.
//!
//! Best fit decreasing: the largest workloads choose first, since the small ones still fit afterwards. The plan is data;
//! nothing has moved. Whatever finds no place, or cannot leave its data, is listed with the reason. It knows no certificates:
//! [`failover`](super::failover) and [`drain`](super::drain) do.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::leftovers::size_ppm;
use crate::{
    NodeKey, WorkloadKey,
    cluster::{Cluster, ClusterError},
    model::{Admission, Workload},
    place::{Purpose, place_for},
    policy::Policy,
    refusal::Refusal,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evacuation {
    pub node: NodeKey,
    /// In the order of decision. Every prefix of it keeps every target within its capacity.
    pub moves: Vec<Move>,
    pub stranded: Vec<Refusal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    pub workload: WorkloadKey,
    pub from: NodeKey,
    pub to: NodeKey,
}

pub fn evacuate(cluster: &Cluster, policy: &Policy, node: NodeKey) -> Result<Evacuation, ClusterError> {
    if cluster.node(node).is_none() {
        return Err(ClusterError::UnknownNode(node));
    }
    let mut after = cluster.clone();
    after.alter(node, |leaving| {
        // Removed stays removed; everything else must not be chosen again.
        if leaving.admission != Admission::Removed {
            leaving.admission = Admission::Draining;
        }
    });
    let mut leaving: Vec<Workload> = cluster.workloads_on(node).cloned().collect();
    leaving.sort_by_key(|workload| (Reverse(size_ppm(workload.request, cluster.largest())), workload.id));

    let mut plan = Evacuation {
        node,
        moves: Vec::new(),
        stranded: Vec::new(),
    };
    for workload in leaving {
        match place_for(&after, policy, &workload, Purpose::Failover) {
            Ok(decision) => {
                plan.moves.push(Move {
                    workload: workload.id,
                    from: node,
                    to: decision.node,
                });
                after.assign(workload, decision.node)?;
            }
            Err(refusal) => plan.stranded.push(refusal),
        }
    }
    Ok(plan)
}
