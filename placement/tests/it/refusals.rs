//! Refusals as an operator reads them, word for word, and the changes that they propose.

use lumbung_placement::{
    Admission, Availability, Change, Cluster, Node, NodeKey, Reason, Refusal, Reserve, Resources, VolumeLocality,
    Workload, place,
};

use crate::support::{amounts, bare, cluster, labels, node, with_reserve, workload};

fn refused(nodes: &Cluster, workload: &Workload) -> Refusal {
    place(nodes, &bare(), workload).unwrap_err()
}

fn full(id: u128, cpu_milli: i64, mem_mib: i64) -> Node {
    Node {
        foreign: amounts(cpu_milli, mem_mib, 0, 1),
        ..node(id)
    }
}

#[test]
fn the_node_that_lacks_least_is_named() {
    let nodes = cluster([
        full(1, 0, 4096),
        full(2, 0, 3372),
        full(3, 4000, 0),
        Node {
            availability: Availability::Offline,
            ..node(4)
        },
        Node {
            admission: Admission::Cordoned,
            ..node(5)
        },
    ]);
    let refusal = refused(&nodes, &workload(1));
    assert_eq!(refusal.binding, Reason::Memory);
    assert_eq!(
        refusal.to_string(),
        "No node takes this workload because of memory. Of the nodes, 1 is not ready, 1 is cordoned, \
         1 is short of CPU, 2 are short of memory. \
         The smallest change that admits it: free 300 MiB of memory on node node-2."
    );
}

#[test]
fn a_cordoned_node_is_proposed_when_room_cannot_be_made() {
    let large = Workload {
        request: amounts(4000, 4096, 0, 1),
        ..workload(1)
    };
    let small = Node {
        allocatable: amounts(2000, 2048, 10240, 10),
        ..node(1)
    };
    let cordoned = Node {
        admission: Admission::Cordoned,
        foreign: amounts(500, 0, 0, 1),
        ..node(2)
    };
    let refusal = refused(&cluster([small, cordoned]), &large);
    assert_eq!(refusal.binding, Reason::Cordoned);
    assert_eq!(
        refusal.smallest_change.unwrap().to_string(),
        "node node-2 is opened, and free 500m CPU on node node-2"
    );
}

#[test]
fn a_node_is_proposed_when_none_is_large_enough() {
    let large = Workload {
        request: amounts(8000, 4096, 0, 1),
        selector: labels(&[("zone", "a")]),
        storage_class: Some("longhorn".into()),
        ..workload(1)
    };
    let matching = Node {
        labels: labels(&[("zone", "a")]),
        storage_classes: ["longhorn".to_owned()].into(),
        ..node(1)
    };
    let refusal = refused(&cluster([matching, node(2)]), &large);
    assert_eq!(refusal.binding, Reason::Cpu);
    assert_eq!(
        refusal.smallest_change.unwrap().to_string(),
        "add a node with at least 8000m CPU, 4096 MiB of memory, 1 pod, label zone=a, storage class longhorn"
    );
}

#[test]
fn an_empty_cluster_says_so() {
    let refusal = refused(&Cluster::new(), &workload(1));
    assert_eq!(refusal.binding, Reason::NoNodes);
    assert!(refusal.rejected.is_empty());
    assert!(
        matches!(refusal.smallest_change.as_deref(), Some(Change::NewNode { .. })),
        "{refusal}"
    );
}

#[test]
fn data_on_a_lost_node_waits_for_it() {
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..workload(1)
    };
    let lost = Node {
        availability: Availability::Offline,
        ..node(1)
    };
    let refusal = refused(&cluster([lost, node(2)]), &pinned);
    assert_eq!(refusal.binding, Reason::NotReady);
    assert_eq!(
        refusal.smallest_change.unwrap().to_string(),
        "node node-1 becomes ready"
    );
}

#[test]
fn data_on_a_removed_node_is_beyond_help() {
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..workload(1)
    };
    let removed = Node {
        admission: Admission::Removed,
        ..node(1)
    };
    let refusal = refused(&cluster([removed, node(2)]), &pinned);
    assert_eq!(refusal.smallest_change, None);
    assert_eq!(
        refusal.to_string(),
        "No node takes this workload because of where its data is. Of the nodes, 1 is removed, \
         1 has not the data of this workload. No change of capacity admits it."
    );
}

#[test]
fn the_reserve_names_what_has_to_leave_any_node() {
    let mut nodes = cluster([node(1), node(2)]);
    for id in 1..=3 {
        nodes.assign(workload(id), NodeKey(1)).unwrap();
    }
    let policy = with_reserve(Reserve::FractionPpm(600_000));
    let refusal = place(&nodes, &policy, &workload(9)).unwrap_err();
    assert_eq!(refusal.binding, Reason::Reserve);
    let expected = Change::Existing {
        backup: None,
        node: None,
        free_anywhere: Resources {
            cpu_milli: 800,
            mem_mib: 820,
            ..Resources::ZERO
        },
    };
    assert_eq!(refusal.smallest_change.as_deref(), Some(&expected), "{refusal}");
}

#[test]
fn a_reserve_beyond_the_whole_cluster_asks_for_a_node() {
    let policy = with_reserve(Reserve::FractionPpm(900_000));
    let refusal = place(&cluster([node(1)]), &policy, &workload(1)).unwrap_err();
    assert_eq!(refusal.binding, Reason::Reserve);
    assert!(
        matches!(refusal.smallest_change.as_deref(), Some(Change::NewNode { .. })),
        "{refusal}"
    );
}

#[test]
fn where_no_node_could_ever_do_the_most_common_shortage_is_named() {
    let sized = |id, cpu_milli, mem_mib| Node {
        allocatable: amounts(cpu_milli, mem_mib, 10240, 10),
        ..node(id)
    };
    let nodes = cluster([sized(1, 500, 4096), sized(2, 500, 4096), sized(3, 4000, 512)]);
    assert_eq!(refused(&nodes, &workload(1)).binding, Reason::Cpu);
}

#[test]
fn room_on_an_open_node_is_asked_for_before_a_closed_one_is() {
    let cordoned = Node {
        admission: Admission::Cordoned,
        ..node(1)
    };
    let refusal = refused(&cluster([cordoned, full(2, 4000, 4096)]), &workload(1));
    assert_eq!(
        refusal.smallest_change.unwrap().to_string(),
        "free 1000m CPU, 1024 MiB of memory on node node-2"
    );
}
