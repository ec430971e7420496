//! Certificates: any single machine may die, whatever happened before.

use lumbung_placement::{
    Admission, Availability, Certified, Change, Cluster, ControlPlane, GroupKey, Node, NodeKey, Policy, Priority,
    Reason, Recertification, Reserve, Resources, Spread, Topology, Violation, VolumeLocality, Workload, WorkloadKey,
    headroom, place, prices, recertify, resilience,
};
use proptest::prelude::*;

use crate::support::{amounts, certified, cluster, machine, machines, node, pod, violations, with_reserve, workload};

/// Places until the first refusal; returns how many.
fn fill(cluster: &mut Cluster, policy: &Policy, kind: impl Fn(u128) -> Workload) -> u128 {
    for count in 0.. {
        let arriving = kind(count + 1);
        let Ok(decision) = place(cluster, policy, &arriving) else {
            return count;
        };
        cluster.assign_with(arriving, decision.node, decision.backup).unwrap();
    }
    0
}

#[test]
fn three_unequal_machines_take_ninety_default_pods_and_any_of_them_may_die() {
    let mut machines = machines();
    assert_eq!(fill(&mut machines, &certified(), |id| pod(id, 250, 512)), 90);
    assert_eq!(violations(&machines), []);
    assert!(machines.placements().all(|placement| placement.backup.is_some()));
    let refusal = place(&machines, &certified(), &pod(1000, 250, 512)).unwrap_err();
    assert_eq!(refusal.binding, Reason::NPlusOne, "{refusal}");
}

#[test]
fn one_machine_alone_insures_nobody() {
    let refusal = place(&cluster([node(1)]), &certified(), &workload(1)).unwrap_err();
    assert_eq!(refusal.rejected, [(Reason::NPlusOne, 1)].into());
    let Some(Change::NewNode { allocatable, .. }) = refusal.smallest_change.map(|change| *change) else {
        panic!("a second machine is what is missing");
    };
    assert_eq!(allocatable.cpu_milli, 1000);
}

/// The three machines are full; what has to leave the backup is named, and works.
#[test]
fn the_smallest_change_under_n_plus_one_works_and_a_little_less_does_not() {
    let mut pair = cluster([node(1), node(2)]);
    let policy = certified();
    fill(&mut pair, &policy, |id| pod(id, 1000, 1024));
    let refused = pod(100, 1000, 1024);
    let refusal = place(&pair, &policy, &refused).unwrap_err();
    let change = *refusal.smallest_change.unwrap();
    assert!(place(&change.apply(&pair), &policy, &refused).is_ok(), "{change}");
    let room = headroom(&change.apply(&pair), &policy, &refused);
    assert_eq!(room.count, 1);
}

#[test]
fn headroom_under_n_plus_one_is_what_placing_gives() {
    let machines = machines();
    let told = headroom(&machines, &certified(), &pod(1, 250, 512));
    assert_eq!((told.count, told.binding), (90, Reason::NPlusOne));
}

#[test]
fn what_cannot_move_gets_no_certificate_and_costs_no_reserve() {
    let mut pair = cluster([node(1), node(2)]);
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..workload(1)
    };
    let decision = place(&pair, &certified(), &pinned).unwrap();
    assert_eq!((decision.node, decision.backup), (NodeKey(1), None));
    pair.assign_with(pinned, decision.node, decision.backup).unwrap();
    assert_eq!(pair.reserved(NodeKey(2)), Some(Resources::ZERO));
}

#[test]
fn best_effort_lives_in_the_reserve_and_protected_does_not() {
    let mut pair = cluster([node(1), node(2)]);
    let policy = certified();
    assert_eq!(fill(&mut pair, &policy, |id| pod(id, 1000, 1024)), 4);
    let trial = Workload {
        priority: Priority::BestEffort,
        ..pod(100, 1000, 1024)
    };
    let decision = place(&pair, &policy, &trial).unwrap();
    assert_eq!(decision.backup, None);
    pair.assign_with(trial, decision.node, None).unwrap();
    assert_eq!(violations(&pair), []);
    assert!(place(&pair, &policy, &pod(101, 1000, 1024)).is_err());
}

#[test]
fn a_standby_machine_is_a_backup_and_takes_no_order() {
    let standby = Node {
        admission: Admission::Standby,
        ..node(2)
    };
    let mut pair = cluster([node(1), standby]);
    assert_eq!(fill(&mut pair, &certified(), |id| pod(id, 1000, 1024)), 4);
    assert!(
        pair.placements()
            .all(|placement| placement.node == NodeKey(1) && placement.backup == Some(NodeKey(2)))
    );
}

#[derive(Clone, Debug)]
enum Event {
    Arrive(usize, bool, u128),
    Leave(usize),
    Resize(usize, usize),
    Price,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => (0..SIZES.len(), any::<bool>(), 0..6_u128)
            .prop_map(|(size, protected, group)| Event::Arrive(size, protected, group)),
        3 => any::<usize>().prop_map(Event::Leave),
        1 => (any::<usize>(), 0..SIZES.len()).prop_map(|(which, size)| Event::Resize(which, size)),
        1 => Just(Event::Price),
    ]
}

const SIZES: [(i64, i64); 5] = [(250, 512), (500, 256), (250, 1024), (1000, 1024), (2000, 1500)];

fn fleet(count: u128) -> Cluster {
    let kinds = [(4000, 4), (2000, 4), (6000, 6)];
    let node = |id: u128| {
        let (cpu, gib) = kinds[usize::try_from(id % 3).unwrap()];
        let availability = if id % 11 == 7 {
            Availability::Suspect
        } else {
            Availability::Ready
        };
        Node {
            availability,
            ..machine(id, cpu, gib)
        }
    };
    cluster((1..=count).map(node))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// After every step any single node may die, and the index gives what the scan gives.
    #[test]
    fn certificates_hold_after_any_history(count in 2_u128..90, events in prop::collection::vec(event(), 1..160), with in any::<bool>()) {
        let policy = if with { certified() } else {
            with_reserve(Reserve::None)
        };
        let mut cluster = fleet(count);
        cluster.reindex();
        let mut running: Vec<WorkloadKey> = Vec::new();
        for (id, event) in (1..).zip(events) {
            let (arriving, replaces) = match event {
                Event::Arrive(size, protected, group) => {
                    let priority = if protected { Priority::Protected } else { Priority::BestEffort };
                    // Groups 1 to 4 spread, some over zones; the others do not care.
                    let across = if group % 2 == 0 { Topology::Zone } else { Topology::Node };
                    let spread = (1..=4).contains(&group).then_some(Spread {
                        group: GroupKey(group),
                        across,
                        most: (group < 4).then_some(2),
                    });
                    (Workload { priority, spread, ..pod(id, SIZES[size].0, SIZES[size].1) }, None)
                }
                Event::Leave(which) if !running.is_empty() => {
                    cluster.remove(running.swap_remove(which % running.len()));
                    continue;
                }
                Event::Resize(which, size) if !running.is_empty() => {
                    let key = running[which % running.len()];
                    let priority = if which % 3 == 0 { Priority::BestEffort } else { Priority::Protected };
                    let resized = Workload { priority, request: amounts(SIZES[size].0, SIZES[size].1, 0, 1), ..cluster.workload(key).unwrap().0.clone() };
                    (resized, Some(key))
                }
                Event::Price => {
                    let prices = prices(&cluster);
                    cluster.set_prices(prices);
                    continue;
                }
                Event::Leave(_) | Event::Resize(..) => continue,
            };
            let decided = place(&cluster, &policy, &arriving);
            // A clone has no index.
            prop_assert_eq!(&place(&cluster.clone(), &policy, &arriving), &decided);
            if let Ok(decision) = decided {
                if replaces.is_none() {
                    running.push(arriving.id);
                }
                let insured = decision.backup.is_some() || !with || arriving.priority == Priority::BestEffort;
                prop_assert!(insured, "a protected workload without a certificate");
                cluster.assign_with(arriving, decision.node, decision.backup).unwrap();
            }
            prop_assert_eq!(violations(&cluster), []);
        }
        // The books, entered anew in another order, say the same.
        let nodes: Vec<Node> = cluster.nodes().cloned().collect();
        let mut anew = Cluster::from_parts(nodes.into_iter().rev(), []).unwrap();
        for placement in cluster.placements().collect::<Vec<_>>().into_iter().rev() {
            let workload = cluster.workload(placement.workload).unwrap().0.clone();
            anew.assign_with(workload, placement.node, placement.backup).unwrap();
        }
        for node in cluster.nodes() {
            prop_assert_eq!(anew.reserved(node.id), cluster.reserved(node.id));
            prop_assert_eq!(anew.occupied(node.id), cluster.occupied(node.id));
        }
    }
}

#[test]
fn what_cannot_follow_and_what_only_keeps_its_disk_is_not_insured() {
    let mut machines = cluster([machine(1, 4000, 8), machine(2, 4000, 8)]);
    let fixed = Workload {
        movable: false,
        ..pod(1, 1000, 1024)
    };
    let decision = place(&machines, &certified(), &fixed).unwrap();
    assert_eq!(decision.backup, None);
    let home = decision.node;
    machines.assign(fixed, home).unwrap();
    let parked = Workload {
        request: amounts(0, 0, 1024, 0),
        ..workload(2)
    };
    machines.assign(parked, home).unwrap();
    let certificates = recertify(&mut machines, &certified());
    assert_eq!(certificates, Recertification::default(), "neither exposed nor insured");
    let found = resilience(&machines, &certified(), ControlPlane::default());
    let loss = found.losses.iter().find(|loss| loss.node == home).unwrap();
    assert!(loss.may_fail);
    assert_eq!(
        (loss.pinned, loss.exposed, loss.best_effort, loss.replaced),
        (1, 0, 0, 0)
    );

    machines.assign(pod(3, 1000, 1024), home).unwrap();
    let other = machines.nodes().map(|node| node.id).find(|&node| node != home);
    assert_eq!(
        recertify(&mut machines, &certified()).changes,
        [Certified {
            workload: WorkloadKey(3),
            backup: other
        }]
    );
    machines.certify(WorkloadKey(1), other).unwrap();
    let unfit = violations(&machines);
    assert!(
        unfit
            .iter()
            .any(|violation| matches!(violation, Violation::BackupUnfit { .. })),
        "{unfit:?}"
    );
}
