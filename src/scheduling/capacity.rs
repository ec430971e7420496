//! What the cluster has in total.

use placement::{Admission, Availability, Cluster, Policy, Resources};

/// Amounts over all nodes that are not removed; but `free` only over those that take new workloads now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub allocatable: Resources,
    pub foreign: Resources,
    /// Ours.
    pub requested: Resources,
    /// What could be sold, the cluster-wide reserve left aside: on ready and open nodes, after the room for setup pods.
    /// A node that is over takes nothing away from what is free on others.
    pub free: Resources,
}

pub fn totals(cluster: &Cluster, policy: &Policy) -> Totals {
    let mut sum = Totals::default();
    for node in cluster.nodes().filter(|node| node.admission != Admission::Removed) {
        let occupied = cluster.occupied(node.id).unwrap_or_default();
        sum.allocatable = sum.allocatable.plus(node.allocatable);
        sum.foreign = sum.foreign.plus(node.foreign);
        sum.requested = sum.requested.plus(occupied.minus(node.foreign));
        if node.availability == Availability::Ready && node.admission == Admission::Open {
            let free = node.allocatable.minus(policy.setup_reserve()).minus(occupied);
            sum.free = sum.free.plus(free.max(Resources::ZERO));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use placement::{Node, NodeKey, Workload, WorkloadKey};

    use super::*;

    fn amount(cpu_milli: i64, pods: i64) -> Resources {
        Resources {
            cpu_milli,
            pods,
            ..Resources::ZERO
        }
    }

    fn node(id: u128, cpu_milli: i64, availability: Availability, admission: Admission) -> Node {
        Node {
            foreign: amount(200, 2),
            availability,
            admission,
            ..Node::new(NodeKey(id), amount(cpu_milli, 10))
        }
    }

    #[test]
    fn only_what_takes_new_workloads_is_free_and_a_full_node_owes_nothing() {
        let nodes = [
            node(1, 4000, Availability::Ready, Admission::Open),
            node(2, 1000, Availability::Ready, Admission::Open),
            node(3, 4000, Availability::Suspect, Admission::Open),
            node(4, 4000, Availability::Ready, Admission::Cordoned),
            node(5, 4000, Availability::Ready, Admission::Removed),
        ];
        let placed = [(1, 1000), (2, 1500), (3, 500)].map(|(on, cpu)| {
            let request = amount(cpu, 1);
            (Workload::new(WorkloadKey(on), request, request), NodeKey(on))
        });
        let cluster = Cluster::from_parts(nodes, placed).unwrap();
        let totals = totals(&cluster, &Policy::default());
        assert_eq!(totals.allocatable, amount(13_000, 40));
        assert_eq!(totals.foreign, amount(800, 8));
        assert_eq!(totals.requested, amount(3000, 3));
        // Node 1: 4000 - 100 - 200 - 1000 CPU and 10 - 4 - 2 - 1 pods; node 2 is over on CPU and has pods left.
        assert_eq!(totals.free, amount(2700, 6));
    }
}
