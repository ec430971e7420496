//! Lists of workloads that several plans begin with, in an order that does not depend on history.

use std::cmp::Reverse;

use crate::{
    WorkloadKey,
    cluster::Cluster,
    place::{room, small},
};

/// Whose certificates name this node.
pub(super) fn backed_by(cluster: &Cluster, at: usize) -> Vec<WorkloadKey> {
    let Some(carrier) = cluster.certificates().carrier(small(at)) else {
        return Vec::new();
    };
    let mut keys: Vec<WorkloadKey> = carrier
        .sources()
        .flat_map(|source| cluster.pods_on(source as usize))
        .filter(|pod| pod.backup == Some(small(at)))
        .map(|pod| pod.workload.id)
        .collect();
    keys.sort_unstable();
    keys
}

pub(super) fn largest_first(cluster: &Cluster, mut workloads: Vec<WorkloadKey>) -> Vec<WorkloadKey> {
    workloads.sort_by_cached_key(|&key| {
        let found = cluster.workload(key);
        let weight = found.map_or(0, |(workload, _)| cluster.weights().key(room(workload.request)));
        (Reverse(weight), key)
    });
    workloads.dedup();
    workloads
}
