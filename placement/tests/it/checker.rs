//! The independent check finds each kind of violation, and only that one.

use lumbung_placement::{
    Admission, Availability, Dimension, Node, NodeKey, Placement, Violation, VolumeLocality, Workload, WorkloadKey,
    check,
};

use crate::support::{amounts, labels, node, workload};

fn on(workload: u128, node: u128) -> Placement {
    Placement {
        workload: WorkloadKey(workload),
        node: NodeKey(node),
        backup: None,
    }
}

#[test]
fn each_violation_is_found_alone() {
    let (guest, host) = (WorkloadKey(1), NodeKey(1));
    let asks = |cpu, mem, disk, pods| Workload {
        request: amounts(cpu, mem, disk, pods),
        ..workload(1)
    };
    let over = |dimension, requested, allocatable| Violation::OverCapacity {
        node: host,
        dimension,
        requested,
        allocatable,
    };
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(2)),
        ..workload(1)
    };
    let copied = Workload {
        volume: VolumeLocality::OneOf([NodeKey(2)].into()),
        ..workload(1)
    };
    let selective = Workload {
        selector: labels(&[("zone", "a")]),
        ..workload(1)
    };
    let stored = Workload {
        storage_class: Some("longhorn".into()),
        ..workload(1)
    };
    let removed = Node {
        admission: Admission::Removed,
        ..node(1)
    };
    let foreign = Node {
        foreign: amounts(3001, 0, 0, 0),
        ..node(1)
    };
    let elsewhere = Node {
        labels: labels(&[("zone", "b")]),
        ..node(1)
    };
    let one = || vec![on(1, 1)];
    let cases = [
        (
            vec![node(1), node(1)],
            vec![workload(1)],
            vec![],
            Violation::NodeListedTwice { node: host },
        ),
        (
            vec![node(1)],
            vec![workload(1), workload(1)],
            vec![],
            Violation::WorkloadListedTwice { workload: guest },
        ),
        (
            vec![node(1)],
            vec![],
            one(),
            Violation::UnknownWorkload {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![node(2)],
            vec![workload(1)],
            one(),
            Violation::UnknownNode {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![removed],
            vec![workload(1)],
            one(),
            Violation::RemovedNode {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![node(1), node(2)],
            vec![workload(1)],
            vec![on(1, 1), on(1, 2)],
            Violation::PlacedTwice {
                workload: guest,
                placements: 2,
            },
        ),
        (
            vec![node(1)],
            vec![asks(4001, 0, 0, 1)],
            one(),
            over(Dimension::Cpu, 4001, 4000),
        ),
        (
            vec![node(1)],
            vec![asks(0, 5000, 0, 1)],
            one(),
            over(Dimension::Memory, 5000, 4096),
        ),
        (
            vec![node(1)],
            vec![asks(0, 0, 20000, 1)],
            one(),
            over(Dimension::Disk, 20000, 10240),
        ),
        (
            vec![node(1)],
            vec![asks(0, 0, 0, 11)],
            one(),
            over(Dimension::Pods, 11, 10),
        ),
        (
            vec![foreign],
            vec![asks(1000, 0, 0, 1)],
            one(),
            over(Dimension::Cpu, 4001, 4000),
        ),
        (
            vec![node(1)],
            vec![pinned],
            one(),
            Violation::VolumeElsewhere {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![node(1)],
            vec![copied],
            one(),
            Violation::VolumeElsewhere {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![elsewhere],
            vec![selective],
            one(),
            Violation::SelectorUnmet {
                workload: guest,
                node: host,
            },
        ),
        (
            vec![node(1)],
            vec![stored],
            one(),
            Violation::StorageClassMissing {
                workload: guest,
                node: host,
            },
        ),
    ];
    for (nodes, workloads, placements, violation) in cases {
        let found = check(&nodes, &workloads, &placements);
        assert_eq!(found, [violation]);
        let json = serde_json::to_string(&found).unwrap();
        assert_eq!(
            serde_json::from_str::<Vec<Violation>>(&json).unwrap(),
            found,
            "{}",
            found[0]
        );
    }
}

#[test]
fn what_may_stay_is_no_violation() {
    let guest = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..workload(1)
    };
    let hosts = [
        node(1),
        Node {
            allocatable: guest.request,
            ..node(1)
        },
        Node {
            admission: Admission::Cordoned,
            ..node(1)
        },
        Node {
            admission: Admission::Draining,
            ..node(1)
        },
        Node {
            availability: Availability::Offline,
            ..node(1)
        },
    ];
    for host in hosts {
        assert_eq!(check(&[host], std::slice::from_ref(&guest), &[on(1, 1)]), []);
    }
    // Over because of pods that are not ours, in a resource that ours do not take.
    let crowded = Node {
        foreign: amounts(0, 0, 99_999, 0),
        ..node(1)
    };
    let small = Workload {
        request: amounts(1, 1, 0, 1),
        ..workload(1)
    };
    assert_eq!(check(&[crowded], &[small], &[on(1, 1)]), []);
}
