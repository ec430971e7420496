//! What the policy holds back: room for setup pods on each node, a fraction of the whole cluster.

use lumbung_placement::{
    Admission, Availability, Node, NodeKey, Policy, PolicySpec, Purpose, Reason, Reserve, Workload, place, place_for,
};

use crate::support::{amounts, cluster, fill, node, violations, with_reserve, workload};

#[test]
fn room_for_setup_pods_is_kept_on_every_node() {
    let policy = Policy::new(PolicySpec {
        reserve: Reserve::None,
        ..PolicySpec::default()
    })
    .unwrap();
    let mut nodes = cluster([node(1), node(2)]);
    assert_eq!(fill(&mut nodes, &policy, &workload(1)).len(), 6, "3 of 4 CPUs on each");
    for key in [NodeKey(1), NodeKey(2)] {
        let occupied = nodes.occupied(key).unwrap();
        let with_setup = occupied.plus(policy.setup_reserve());
        assert_eq!(with_setup.max(node(1).allocatable), node(1).allocatable);
    }
}

#[test]
fn the_fraction_is_of_all_that_is_not_removed() {
    let policy = with_reserve(Reserve::FractionPpm(250_000));
    // 4 nodes of 4 CPUs: 4 CPUs stay free.
    let mut nodes = cluster([node(1), node(2), node(3), node(4)]);
    assert_eq!(fill(&mut nodes, &policy, &workload(1)).len(), 12);
    let refusal = place(&nodes, &policy, &workload(1)).unwrap_err();
    assert_eq!(refusal.binding, Reason::Reserve, "{refusal}");

    // A node goes: what it had counts in the whole and is not free.
    nodes
        .upsert_node(Node {
            availability: Availability::Offline,
            ..node(4)
        })
        .unwrap();
    assert!(place(&nodes, &policy, &workload(1)).is_err());
    assert!(violations(&nodes).is_empty());
}

#[test]
fn a_standby_node_is_reserve() {
    let policy = with_reserve(Reserve::FractionPpm(250_000));
    let standby = Node {
        admission: Admission::Standby,
        ..node(4)
    };
    let mut nodes = cluster([node(1), node(2), node(3), standby]);
    assert_eq!(
        fill(&mut nodes, &policy, &workload(1)).len(),
        12,
        "the open nodes fill up"
    );
    assert_eq!(place(&nodes, &policy, &workload(1)).unwrap_err().binding, Reason::Cpu);
}

#[test]
fn failover_spends_the_reserve() {
    let policy = with_reserve(Reserve::FractionPpm(500_000));
    let mut nodes = cluster([node(1), node(2)]);
    fill(&mut nodes, &policy, &workload(1));
    assert!(place_for(&nodes, &policy, &workload(1), Purpose::Admission).is_err());
    assert!(place_for(&nodes, &policy, &workload(1), Purpose::Failover).is_ok());
}

#[test]
fn a_smaller_plan_is_admitted_below_the_reserve() {
    let mut nodes = cluster([node(1)]);
    nodes
        .assign(
            Workload {
                request: amounts(3000, 3072, 1024, 1),
                ..workload(1)
            },
            NodeKey(1),
        )
        .unwrap();
    let policy = with_reserve(Reserve::FractionPpm(500_000));
    let smaller = Workload {
        request: amounts(2500, 2560, 1024, 1),
        ..workload(1)
    };
    assert_eq!(place(&nodes, &policy, &smaller).unwrap().node, NodeKey(1));
    let larger = Workload {
        request: amounts(3500, 3072, 1024, 1),
        ..workload(1)
    };
    assert_eq!(place(&nodes, &policy, &larger).unwrap_err().binding, Reason::Reserve);
}

#[test]
fn a_larger_plan_counts_its_own_room_as_free() {
    let mut nodes = cluster([node(1)]);
    nodes
        .assign(
            Workload {
                request: amounts(2000, 2048, 1024, 1),
                ..workload(1)
            },
            NodeKey(1),
        )
        .unwrap();
    let policy = with_reserve(Reserve::FractionPpm(250_000));
    let larger = Workload {
        request: amounts(3000, 3072, 1024, 1),
        ..workload(1)
    };
    assert_eq!(place(&nodes, &policy, &larger).unwrap().node, NodeKey(1));
}

#[test]
fn a_removed_node_is_no_part_of_the_whole() {
    let policy = with_reserve(Reserve::FractionPpm(250_000));
    let removed = Node {
        admission: Admission::Removed,
        ..node(2)
    };
    let mut nodes = cluster([node(1), removed]);
    assert_eq!(
        fill(&mut nodes, &policy, &workload(1)).len(),
        3,
        "1 of 4 CPUs stays free"
    );
}
