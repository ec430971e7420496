//! Emptying a node: everything that can leave gets a place, everything else a reason.

use lumbung_placement::{
    Admission, Availability, ClusterError, Node, NodeKey, Policy, Reason, VolumeLocality, Workload, WorkloadKey,
    evacuate,
};

use crate::support::{amounts, cluster, node};

#[test]
fn the_large_ones_choose_first_and_pinned_ones_are_listed() {
    let standby = Node {
        admission: Admission::Standby,
        ..node(3)
    };
    let mut nodes = cluster([
        node(1),
        Node {
            foreign: amounts(3000, 2048, 0, 1),
            ..node(2)
        },
        standby,
    ]);
    let size = |id, cpu, mem| Workload::new(WorkloadKey(id), amounts(cpu, mem, 0, 1), amounts(0, 0, 0, 0));
    nodes.assign(size(1, 500, 512), NodeKey(1)).unwrap();
    nodes.assign(size(2, 2000, 2048), NodeKey(1)).unwrap();
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..size(3, 100, 100)
    };
    nodes.assign(pinned, NodeKey(1)).unwrap();
    nodes
        .upsert_node(Node {
            availability: Availability::Offline,
            ..node(1)
        })
        .unwrap();

    let plan = evacuate(&nodes, &Policy::default(), NodeKey(1)).unwrap();
    let moves: Vec<(u128, u128)> = plan.moves.iter().map(|step| (step.workload.0, step.to.0)).collect();
    assert_eq!(moves, [(2, 3), (1, 2)]);
    let stranded: Vec<(u128, Reason)> = plan.stranded.iter().map(|no| (no.workload.0, no.binding)).collect();
    assert_eq!(stranded, [(3, Reason::NotReady)]);
}

#[test]
fn an_unknown_node_is_an_error() {
    let answer = evacuate(&cluster([node(1)]), &Policy::default(), NodeKey(7));
    assert_eq!(answer, Err(ClusterError::UnknownNode(NodeKey(7))));
}
