//! A node dies: the three machines by the book, and what a plan says when the book does not suffice.

use lumbung_placement::{
    Availability, Cause, Cluster, ClusterError, ControlPlane, Labels, Node, NodeKey, Outdated, Plan, Priority, Reason,
    Reserve, Resources, VolumeLocality, Workload, WorkloadKey, apply, drain, failover, place, recertify, resilience,
};

use crate::support::{amounts, certified, cluster, machine, node, pod, violations, with_reserve};

fn named(name: &str, machine: Node) -> Node {
    Node {
        name: name.to_owned(),
        ..machine
    }
}

/// The first user's machines, filled with default pods until N+1 refuses.
fn machines() -> Cluster {
    let mut machines = cluster([
        named("3900x", machine(1, 22_500, 60)),
        named("6900hs", machine(2, 15_500, 30)),
        named("i7", machine(3, 7_500, 30)),
    ]);
    for id in 1.. {
        let arriving = pod(id, 250, 512);
        let Ok(decision) = place(&machines, &certified(), &arriving) else {
            break;
        };
        machines.assign_with(arriving, decision.node, decision.backup).unwrap();
    }
    machines
}

fn after(cluster: &Cluster, plan: &Plan) -> Cluster {
    let mut after = cluster.clone();
    apply(&mut after, plan).unwrap();
    after
}

#[test]
fn each_of_the_three_machines_may_fail_and_the_report_says_so() {
    let machines = machines();
    for node in 1..=3 {
        let plan = failover(&machines, &certified(), NodeKey(node)).unwrap();
        assert_eq!(plan.steps.len(), machines.workloads_on(NodeKey(node)).count());
        assert!(plan.steps.iter().all(|step| step.reason == Cause::Certificate));
        assert_eq!(
            (plan.stranded.len(), plan.restore.len(), plan.evictions.len()),
            (0, 0, 0)
        );
        let after = after(&machines, &plan);
        assert_eq!(after.workloads_on(NodeKey(node)).count(), 0);
        for other in after.nodes() {
            let free = other.allocatable.minus(after.occupied(other.id).unwrap());
            assert_eq!(free, free.max(Resources::ZERO));
        }
    }
    let report = resilience(&machines, &certified(), ControlPlane::new([NodeKey(1)]));
    let told: Vec<String> = report.losses.iter().map(ToString::to_string).collect();
    let on = |node| machines.workloads_on(NodeKey(node)).count();
    assert_eq!(
        told,
        [
            format!(
                "3900x must not fail: {} re-placed, and nothing can be placed until it returns",
                on(1)
            ),
            format!("6900hs may fail: {} re-placed", on(2)),
            format!("i7 may fail: {} re-placed", on(3)),
        ]
    );
    assert!(report.to_string().ends_with(
        "is the only control-plane machine: while it is down, what runs elsewhere goes on, and nothing can be placed anew \
         until it returns. Three of them survive the loss of one."
    ));
    // After one loss nothing is left for another: whatever runs on the busier survivor has no certain place.
    assert_eq!(report.second.len(), 3);
    assert!(
        report
            .second
            .iter()
            .all(|second| second.exposed > 0 && second.first != second.second)
    );

    let three = resilience(&machines, &certified(), ControlPlane::new((1..=3).map(NodeKey)));
    assert!(three.all_may_fail());
    assert_eq!(
        three.control_plane.to_string(),
        "Of 3 control-plane machines, 1 may be lost at once: the other 2 go on deciding."
    );
    assert!(!ControlPlane::new([NodeKey(1), NodeKey(2)]).survives(NodeKey(2)));
}

#[test]
fn best_effort_leaves_the_reserve_first_and_comes_back_where_there_is_room() {
    let mut pair = cluster([
        node(1),
        node(2),
        Node {
            allocatable: amounts(500, 512, 0, 9),
            ..node(3)
        },
    ]);
    let protected = pod(1, 3000, 3072);
    pair.assign_with(protected, NodeKey(1), Some(NodeKey(2))).unwrap();
    for (id, cpu, mem) in [(10, 500, 512), (11, 2000, 2048), (12, 1000, 1024)] {
        let trial = Workload {
            priority: Priority::BestEffort,
            ..pod(id, cpu, mem)
        };
        pair.assign(trial, NodeKey(2)).unwrap();
    }
    // 500m and 512 MiB are free on node 2, so 2500m have to go: the 2000m and the smallest that is enough beside it.
    let plan = failover(&pair, &certified(), NodeKey(1)).unwrap();
    let evicted: Vec<u128> = plan.evictions.iter().map(|eviction| eviction.workload.0).collect();
    assert_eq!(evicted, [11, 10]);
    let steps: Vec<(u128, u128, Cause)> = plan
        .steps
        .iter()
        .map(|step| (step.workload.0, step.to.0, step.reason))
        .collect();
    assert_eq!(steps, [(1, 2, Cause::Certificate), (10, 3, Cause::Search)]);
    assert_eq!(
        plan.stranded
            .iter()
            .map(|refusal| refusal.workload.0)
            .collect::<Vec<_>>(),
        [11]
    );
    let after = after(&pair, &plan);
    assert_eq!(after.workload(WorkloadKey(11)), None);
    assert_eq!(after.workload(WorkloadKey(10)).unwrap().1, NodeKey(3));
    assert_eq!(violations(&after), []);
}

#[test]
fn without_certificates_the_largest_choose_first_and_one_hop_makes_room() {
    // Node 2 has 1500m free and holds a pod of 1000m that fits on node 3, which is closed to what has lost its node by a label.
    let labelled = |id, role: &str| Node {
        labels: Labels::from([("role".to_owned(), role.to_owned())]),
        ..node(id)
    };
    let mut nodes = cluster([labelled(1, "web"), labelled(2, "web"), labelled(3, "any")]);
    let web = |id, cpu, mem| Workload {
        selector: Labels::from([("role".to_owned(), "web".to_owned())]),
        ..pod(id, cpu, mem)
    };
    nodes.assign(web(1, 2000, 2048), NodeKey(1)).unwrap();
    nodes.assign(pod(2, 1000, 1024), NodeKey(2)).unwrap();
    nodes.assign(web(3, 1500, 1536), NodeKey(2)).unwrap();
    let pinned = Workload {
        volume: VolumeLocality::Pinned(NodeKey(1)),
        ..pod(4, 100, 100)
    };
    nodes.assign(pinned, NodeKey(1)).unwrap();
    nodes
        .upsert_node(Node {
            availability: Availability::Offline,
            ..labelled(1, "web")
        })
        .unwrap();

    let plan = failover(&nodes, &with_reserve(Reserve::None), NodeKey(1)).unwrap();
    let steps: Vec<(u128, u128, u128, Cause)> = plan
        .steps
        .iter()
        .map(|step| (step.workload.0, step.from.0, step.to.0, step.reason))
        .collect();
    assert_eq!(steps, [(2, 2, 3, Cause::MakeRoom), (1, 1, 2, Cause::Search)]);
    assert_eq!(plan.restore, [WorkloadKey(4)]);
    assert!(plan.stranded.is_empty());
    assert_eq!(plan.steps[1].precondition, amounts(2000, 2048, 0, 1));
    assert_eq!(plan.steps[1].headroom_after.to, amounts(500, 512, 10240, 8));
    assert_eq!(
        (plan.cost.moves, plan.cost.restart_seconds, plan.cost.volume_mib),
        (2, 60, 0)
    );

    let mut second = after(&nodes, &plan);
    assert!(
        failover(&second, &with_reserve(Reserve::None), NodeKey(1))
            .unwrap()
            .is_empty()
    );
    // Out of date: the workload is elsewhere by now, and the second step alone finds no room.
    assert_eq!(
        apply(&mut second, &plan),
        Err(Outdated::Elsewhere {
            workload: WorkloadKey(2),
            from: NodeKey(2)
        })
    );
    let late = Plan {
        steps: plan.steps[1..].to_vec(),
        ..Plan::default()
    };
    assert_eq!(
        apply(&mut nodes.clone(), &late),
        Err(Outdated::NoRoom {
            to: NodeKey(2),
            missing: amounts(500, 512, 0, 0)
        })
    );
}

#[test]
fn what_finds_no_place_is_stranded_with_its_reason() {
    let mut pair = cluster([node(1), node(2)]);
    pair.assign(pod(1, 3000, 1024), NodeKey(1)).unwrap();
    pair.assign(pod(2, 3000, 1024), NodeKey(2)).unwrap();
    let plan = failover(&pair, &with_reserve(Reserve::None), NodeKey(1)).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.stranded[0].binding, Reason::Cpu);
    assert_eq!(
        failover(&pair, &certified(), NodeKey(9)),
        Err(ClusterError::UnknownNode(NodeKey(9)))
    );
}

#[test]
fn a_drained_node_is_empty_and_everybody_is_insured_again() {
    let mut fleet = cluster((1..=4).map(node));
    for id in 1..=6 {
        let arriving = pod(id, 1000, 1024);
        let decision = place(&fleet, &certified(), &arriving).unwrap();
        fleet.assign_with(arriving, decision.node, decision.backup).unwrap();
    }
    let busiest = NodeKey(1);
    assert!(fleet.workloads_on(busiest).count() > 0);
    let plan = drain(&fleet, &certified(), busiest).unwrap();
    let mut emptied = after(&fleet, &plan);
    assert_eq!(emptied.workloads_on(busiest).count(), 0);
    assert!(
        emptied
            .placements()
            .all(|placement| placement.backup.is_some_and(|backup| backup != busiest))
    );
    assert_eq!(violations(&emptied), []);
    let draining = Node {
        admission: lumbung_placement::Admission::Draining,
        ..node(1)
    };
    emptied.upsert_node(draining).unwrap();
    assert!(drain(&emptied, &certified(), busiest).unwrap().is_empty());
}

#[test]
fn certificates_follow_what_happens_to_nodes() {
    let mut machines = machines();
    let count = machines.workload_count();
    assert_eq!(recertify(&mut machines, &certified()).changes, []);
    // The i7 loses a third of its memory to somebody else: some of what it stood for has no certain place any more.
    let mut smaller = machines.node(NodeKey(3)).unwrap().clone();
    smaller.foreign = amounts(0, 10 * 1024, 0, 1);
    machines.upsert_node(smaller).unwrap();
    let mended = recertify(&mut machines, &certified());
    let insured = machines
        .placements()
        .filter(|placement| placement.backup.is_some())
        .count();
    assert_eq!(insured + mended.exposed.len(), count);
    assert_eq!(violations(&machines), []);
    // And a policy without certificates gives the reserves back.
    let dropped = recertify(&mut machines, &with_reserve(Reserve::None));
    assert_eq!(dropped.changes.len(), insured);
    assert!(dropped.exposed.is_empty());
    assert_eq!(machines.reserved(NodeKey(1)), Some(Resources::ZERO));
}
