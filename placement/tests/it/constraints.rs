//! Each hard constraint alone, and the order of the soft ones: one case a line.

use lumbung_placement::{
    Admission, Availability, Node, NodeKey, Purpose, Reason, Resources, Taint, TaintEffect, Toleration, VolumeLocality,
    Workload, explain, headroom, place, place_for,
};

use crate::support::{amounts, bare, cluster, fill, labels, node, workload};

fn taint(effect: TaintEffect) -> Taint {
    Taint {
        key: "dedicated".into(),
        value: "db".into(),
        effect,
    }
}

fn tainted(id: u128, effect: TaintEffect) -> Node {
    Node {
        taints: vec![taint(effect)],
        ..node(id)
    }
}

fn tolerating(toleration: Toleration) -> Workload {
    Workload {
        tolerations: vec![toleration],
        ..workload(1)
    }
}

#[test]
fn what_rules_a_node_out() {
    let plain = workload(1);
    let asks = |request: Resources| Workload { request, ..workload(1) };
    let cases = [
        (
            Reason::NotReady,
            Node {
                availability: Availability::Suspect,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::NotReady,
            Node {
                availability: Availability::Offline,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::NotReady,
            Node {
                availability: Availability::Unknown,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::Standby,
            Node {
                admission: Admission::Standby,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::Cordoned,
            Node {
                admission: Admission::Cordoned,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::Draining,
            Node {
                admission: Admission::Draining,
                ..node(1)
            },
            plain.clone(),
        ),
        (
            Reason::Removed,
            Node {
                admission: Admission::Removed,
                ..node(1)
            },
            plain.clone(),
        ),
        (Reason::Taint, tainted(1, TaintEffect::NoSchedule), plain.clone()),
        (Reason::Taint, tainted(1, TaintEffect::NoExecute), plain.clone()),
        (
            Reason::Selector,
            node(1),
            Workload {
                selector: labels(&[("disk", "ssd")]),
                ..plain.clone()
            },
        ),
        (
            Reason::StorageClass,
            node(1),
            Workload {
                storage_class: Some("longhorn".into()),
                ..plain.clone()
            },
        ),
        (
            Reason::VolumeElsewhere,
            node(1),
            Workload {
                volume: VolumeLocality::Pinned(NodeKey(2)),
                ..plain.clone()
            },
        ),
        (
            Reason::VolumeElsewhere,
            node(1),
            Workload {
                volume: VolumeLocality::OneOf([NodeKey(2), NodeKey(3)].into()),
                ..plain.clone()
            },
        ),
        (Reason::Cpu, node(1), asks(amounts(4001, 1, 1, 1))),
        (Reason::Memory, node(1), asks(amounts(1, 4097, 1, 1))),
        (Reason::Disk, node(1), asks(amounts(1, 1, 10241, 1))),
        (Reason::Pods, node(1), asks(amounts(1, 1, 1, 11))),
        (Reason::Memory, node(1), asks(amounts(4001, 8192, 1, 1))),
        (
            Reason::Memory,
            Node {
                foreign: amounts(0, 4000, 0, 0),
                ..node(1)
            },
            plain.clone(),
        ),
    ];
    for (reason, node, workload) in cases {
        let refusal = place(&cluster([node.clone()]), &bare(), &workload).unwrap_err();
        assert_eq!(refusal.rejected, [(reason, 1)].into(), "{node:?} {workload:?}");
        assert_eq!(refusal.binding, reason, "{refusal}");
    }
}

#[test]
fn what_lets_a_node_in() {
    let exactly = Workload {
        request: node(1).allocatable,
        ..workload(1)
    };
    let ssd = labels(&[("disk", "ssd"), ("zone", "a")]);
    let cases = [
        (node(1), exactly),
        (
            node(1),
            Workload {
                storage_class: Some("local-path".into()),
                ..workload(1)
            },
        ),
        (
            node(1),
            Workload {
                volume: VolumeLocality::Pinned(NodeKey(1)),
                ..workload(1)
            },
        ),
        (
            node(1),
            Workload {
                volume: VolumeLocality::OneOf([NodeKey(1), NodeKey(9)].into()),
                ..workload(1)
            },
        ),
        (
            Node { labels: ssd, ..node(1) },
            Workload {
                selector: labels(&[("disk", "ssd")]),
                ..workload(1)
            },
        ),
        (tainted(1, TaintEffect::NoSchedule), tolerating(Toleration::default())),
        (
            tainted(1, TaintEffect::NoExecute),
            tolerating(Toleration {
                key: Some("dedicated".into()),
                ..Toleration::default()
            }),
        ),
        (tainted(1, TaintEffect::PreferNoSchedule), workload(1)),
        // Over on disk because of others, but this one asks for none.
        (
            Node {
                foreign: amounts(0, 0, 20000, 0),
                ..node(1)
            },
            Workload {
                request: amounts(1, 1, 0, 1),
                ..workload(1)
            },
        ),
    ];
    for (node, workload) in cases {
        let decision = place(&cluster([node.clone()]), &bare(), &workload);
        assert_eq!(
            decision.map(|decision| decision.node),
            Ok(NodeKey(1)),
            "{node:?} {workload:?}"
        );
    }
}

#[test]
fn a_toleration_of_something_else_does_not_help() {
    let other = [
        Toleration {
            key: Some("gpu".into()),
            ..Toleration::default()
        },
        Toleration {
            value: Some("web".into()),
            ..Toleration::default()
        },
        Toleration {
            effect: Some(TaintEffect::NoExecute),
            ..Toleration::default()
        },
    ];
    for toleration in other {
        let refusal = place(
            &cluster([tainted(1, TaintEffect::NoSchedule)]),
            &bare(),
            &tolerating(toleration),
        );
        assert_eq!(refusal.unwrap_err().binding, Reason::Taint);
    }
}

#[test]
fn standby_nodes_take_failovers_only() {
    let nodes = cluster([Node {
        admission: Admission::Standby,
        ..node(1)
    }]);
    assert!(place_for(&nodes, &bare(), &workload(1), Purpose::Admission).is_err());
    assert_eq!(
        place_for(&nodes, &bare(), &workload(1), Purpose::Failover)
            .unwrap()
            .node,
        NodeKey(1)
    );
}

#[test]
fn the_fullest_node_that_fits_is_chosen() {
    let fuller = Node {
        foreign: amounts(1000, 1024, 0, 2),
        ..node(2)
    };
    let full = Node {
        foreign: amounts(3500, 0, 0, 0),
        ..node(3)
    };
    let nodes = cluster([node(1), fuller, full]);
    let explained = explain(&nodes, &bare(), &workload(1), Purpose::Admission).unwrap();
    assert_eq!(place(&nodes, &bare(), &workload(1)), Ok(explained.decision));
    assert_eq!(explained.decision.node, NodeKey(2));
    assert_eq!(explained.runner_up.map(|score| score.node), Some(NodeKey(1)));
    assert_eq!(explained.rejected, [(Reason::Cpu, 1)].into());
}

#[test]
fn a_small_node_is_filled_before_a_large_one() {
    let large = Node {
        allocatable: amounts(16000, 16384, 40960, 40),
        ..node(1)
    };
    let decision = place(&cluster([large, node(2)]), &bare(), &workload(1)).unwrap();
    assert_eq!(decision.node, NodeKey(2));
}

#[test]
fn a_soft_taint_costs_rank_and_equal_nodes_go_by_key() {
    let soft = Node {
        foreign: amounts(2000, 2048, 0, 2),
        ..tainted(1, TaintEffect::PreferNoSchedule)
    };
    let decision = place(&cluster([soft, node(3), node(2)]), &bare(), &workload(1)).unwrap();
    assert_eq!(decision.node, NodeKey(2));
}

#[test]
fn a_larger_plan_stays_where_it_fits() {
    let mut nodes = cluster([
        node(1),
        Node {
            foreign: amounts(2000, 2048, 0, 2),
            ..node(2)
        },
    ]);
    nodes.assign(workload(1), NodeKey(1)).unwrap();
    let larger = Workload {
        request: amounts(2000, 2048, 1024, 1),
        ..workload(1)
    };
    assert_eq!(place(&nodes, &bare(), &larger).unwrap().node, NodeKey(1));

    // Its own present request does not stand in its way.
    let whole = Workload {
        request: node(1).allocatable,
        ..workload(1)
    };
    assert_eq!(place(&nodes, &bare(), &whole).unwrap().node, NodeKey(1));

    // It moves only if it has to.
    nodes
        .upsert_node(Node {
            foreign: amounts(2500, 0, 0, 0),
            ..node(1)
        })
        .unwrap();
    let decision = place(&nodes, &bare(), &larger).unwrap();
    assert_eq!((decision.node, decision.score.moves), (NodeKey(2), true));
}

/// The first workload that asks for disk is ranked by it as the second one is: head-room and orders agree from the start.
#[test]
fn the_first_to_ask_for_disk_is_ranked_by_disk() {
    let roomy = Node {
        allocatable: amounts(4000, 4096, 34, 4),
        ..node(2)
    };
    let tight = Node {
        allocatable: amounts(4100, 4096, 10, 4),
        ..node(4)
    };
    let asks = Workload {
        request: amounts(0, 0, 1, 1),
        ..workload(1)
    };
    let mut pair = cluster([roomy, tight]);
    let told = headroom(&pair, &bare(), &asks);
    let chosen = fill(&mut pair, &bare(), &asks);
    let order: Vec<NodeKey> = told
        .nodes
        .iter()
        .flat_map(|room| std::iter::repeat_n(room.node, usize::try_from(room.count).unwrap()))
        .collect();
    assert_eq!(order, chosen);
    assert_eq!(chosen[0], NodeKey(4));
}
