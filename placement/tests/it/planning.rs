//! What holds for every plan, after every history.

use std::collections::BTreeSet;

use lumbung_placement::{
    Budget, Cluster, Load, Node, NodeKey, Plan, Policy, PolicySpec, Priority, Reserve, Resources, UsageRule, Violation,
    Workload, WorkloadKey, apply, consolidate, defragment, drain, failover, improve, make_room, place, place_for,
    rebalance, recertify,
};
use proptest::prelude::*;

use crate::{
    histories::{Step, node_key, nodes, policy, steps, workload},
    support::{amounts, bare, cluster, node, violations, with_reserve},
};

fn policies() -> impl Strategy<Value = Policy> {
    let certified = policy().prop_map(|policy| {
        let spec = PolicySpec {
            reserve: Reserve::NPlusOne,
            ..*policy.spec()
        };
        Policy::new(spec).unwrap()
    });
    prop_oneof![1 => policy(), 1 => certified]
}

/// The same, and policies that go by usage: to them, what is expected of a node matters too.
fn any_policy() -> impl Strategy<Value = Policy> {
    let by_usage = policies().prop_map(|policy| {
        let spec = PolicySpec {
            usage: Some(UsageRule::default()),
            ..*policy.spec()
        };
        Policy::new(spec).unwrap()
    });
    prop_oneof![2 => policies(), 1 => by_usage]
}

/// A fleet with a history; every third workload is best-effort.
fn grown(nodes: &[Node], policy: &Policy, steps: &[Step]) -> Cluster {
    let mut cluster = Cluster::from_parts(nodes.iter().cloned(), []).unwrap();
    for step in steps.iter().cloned() {
        let mut change = |key: NodeKey, change: &dyn Fn(&mut Node)| {
            if let Some(mut node) = cluster.node(key).cloned() {
                change(&mut node);
                cluster.upsert_node(node).unwrap();
            }
        };
        match step {
            Step::Place(mut workload) => {
                if workload.id.0.is_multiple_of(3) {
                    workload.priority = Priority::BestEffort;
                }
                if let Ok(decision) = place(&cluster, policy, &workload) {
                    cluster.assign_with(*workload, decision.node, decision.backup).unwrap();
                }
            }
            Step::Remove(workload) => {
                cluster.remove(workload);
            }
            Step::Availability(node, state) => change(node, &|node| node.availability = state),
            Step::Admission(node, state) => change(node, &|node| node.admission = state),
        }
    }
    cluster
}

/// What a lost or draining node may leave behind for a while: certificates that do not hold.
fn without_certificates(found: Vec<Violation>) -> Vec<Violation> {
    let about = |violation: &Violation| {
        matches!(
            violation,
            Violation::BackupUnfit { .. } | Violation::LossNotAbsorbed { .. }
        )
    };
    found.into_iter().filter(|violation| !about(violation)).collect()
}

/// Carries the plan out step by step; after each one, the independent check has nothing to say.
fn by_prefix(cluster: &Cluster, plan: &Plan, strict: bool) -> Result<Cluster, TestCaseError> {
    let mut now = cluster.clone();
    let stops = Plan {
        evictions: plan.evictions.clone(),
        ..Plan::default()
    };
    apply(&mut now, &stops).unwrap();
    for count in 0..=plan.steps.len() {
        let prefix = Plan {
            evictions: plan.evictions.clone(),
            steps: plan.steps[..count].to_vec(),
            ..Plan::default()
        };
        now = cluster.clone();
        prop_assert_eq!(apply(&mut now, &prefix), Ok(()));
        let found = violations(&now);
        let found = if strict { found } else { without_certificates(found) };
        prop_assert_eq!(found, []);
        if let Some(last) = count.checked_sub(1).map(|last| &plan.steps[last]) {
            let free = now
                .node(last.to)
                .unwrap()
                .allocatable
                .minus(now.occupied(last.to).unwrap());
            prop_assert_eq!(free, last.headroom_after.to);
            let left = now
                .node(last.from)
                .unwrap()
                .allocatable
                .minus(now.occupied(last.from).unwrap());
            prop_assert_eq!(left, last.headroom_after.from);
        }
    }
    let moves = plan.moves().count();
    prop_assert_eq!(usize::try_from(plan.cost.moves), Ok(moves));
    let volume: i64 = plan.steps.iter().map(|step| step.volume_mib).sum();
    prop_assert_eq!(plan.cost.volume_mib, volume);
    let read: Plan = serde_json::from_str(&serde_json::to_string(plan).unwrap()).unwrap();
    prop_assert_eq!(&read, plan);
    Ok(now)
}

/// Everybody who was on the node, or was stopped, is in the steps, stranded, or named for a restore, and only in one of them.
fn all_accounted_for(cluster: &Cluster, plan: &Plan, node: NodeKey) -> Result<(), TestCaseError> {
    let mut there: Vec<WorkloadKey> = cluster.workloads_on(node).map(|workload| workload.id).collect();
    there.extend(plan.evictions.iter().map(|eviction| eviction.workload));
    let mut named: Vec<WorkloadKey> = plan.restore.clone();
    named.extend(plan.stranded.iter().map(|refusal| refusal.workload));
    // One that has moved may move again to make room.
    let moved: BTreeSet<WorkloadKey> = plan.moves().map(|step| step.workload).collect();
    named.extend(moved.into_iter().filter(|workload| there.contains(workload)));
    named.sort_unstable();
    there.sort_unstable();
    prop_assert_eq!(
        named,
        there,
        "{:?} {:?}",
        plan,
        cluster.placements().collect::<Vec<_>>()
    );
    Ok(())
}

/// A cluster whose certificates hold, so that whatever a plan breaks shows.
fn mended(nodes: &[Node], policy: &Policy, steps: &[Step]) -> Cluster {
    let mut cluster = grown(nodes, policy, steps);
    recertify(&mut cluster, policy);
    cluster
}

/// The same workloads with other measurements.
fn noisy(cluster: &Cluster, noise: i64) -> Cluster {
    let mut noisy = cluster.clone();
    let all: Vec<Workload> = cluster.workloads().map(|(workload, _)| workload.clone()).collect();
    for (at, workload) in (0..).zip(all) {
        let used = Load::cold((noise + at) % 7, noise % 5);
        let (id, backup) = (workload.id, cluster.backup(workload.id));
        let node = cluster.workload(id).unwrap().1;
        let measured = Workload {
            measured: Some(Box::new(used)),
            ..workload
        };
        noisy.assign_with(measured, node, backup).unwrap();
    }
    noisy
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn a_failover_is_complete_abortable_and_final(nodes in nodes(), policy in any_policy(), steps in steps(), node in node_key()) {
        let node = NodeKey(node.0 % nodes.len() as u128 + 1);
        let cluster = grown(&nodes, &policy, &steps);
        let plan = failover(&cluster, &policy, node).unwrap();
        all_accounted_for(&cluster, &plan, node)?;
        let after = by_prefix(&cluster, &plan, false)?;
        let again = failover(&after, &policy, node).unwrap();
        prop_assert!(again.is_empty(), "{:?} after {:?}", again, plan);
    }

    #[test]
    fn a_drain_is_complete_abortable_and_final(nodes in nodes(), policy in any_policy(), steps in steps(), node in node_key()) {
        let node = NodeKey(node.0 % nodes.len() as u128 + 1);
        let cluster = grown(&nodes, &policy, &steps);
        let plan = drain(&cluster, &policy, node).unwrap();
        prop_assert!(plan.evictions.is_empty());
        all_accounted_for(&cluster, &plan, node)?;
        let after = by_prefix(&cluster, &plan, false)?;
        let again = drain(&after, &policy, node).unwrap();
        prop_assert!(again.is_empty(), "{:?} after {:?}", again, plan);
    }

    #[test]
    fn mended_certificates_hold_and_stay(nodes in nodes(), policy in any_policy(), steps in steps(), node in node_key()) {
        let node = NodeKey(node.0 % nodes.len() as u128 + 1);
        let mut cluster = grown(&nodes, &policy, &steps);
        // A loss spends the reserve first.
        let plan = failover(&cluster, &policy, node).unwrap();
        apply(&mut cluster, &plan).unwrap();
        let mut lost = cluster.node(node).unwrap().clone();
        lost.availability = lumbung_placement::Availability::Offline;
        cluster.upsert_node(lost).unwrap();
        let before: Vec<_> = cluster.placements().collect();
        let mended = recertify(&mut cluster, &policy);
        prop_assert_eq!(violations(&cluster), []);
        prop_assert_eq!(recertify(&mut cluster, &policy).changes, []);
        let certified = policy.reserve() == Reserve::NPlusOne;
        let exposed: Vec<WorkloadKey> = cluster.workloads().filter(|(workload, _)| {
            certified && workload.needs_certificate() && cluster.backup(workload.id).is_none()
        }).map(|(workload, _)| workload.id).collect();
        prop_assert_eq!(&mended.exposed, &exposed);
        for was in before {
            let changed = mended.changes.iter().find(|change| change.workload == was.workload);
            prop_assert_eq!(changed.map_or(was.backup, |change| change.backup), cluster.backup(was.workload));
        }
        let insured = cluster.placements().filter(|placement| placement.backup.is_some()).count();
        improve(&mut cluster, &policy);
        prop_assert_eq!(violations(&cluster), []);
        prop_assert_eq!(cluster.placements().filter(|placement| placement.backup.is_some()).count(), insured);
        prop_assert_eq!(improve(&mut cluster, &policy), []);
    }

    #[test]
    fn defragmenting_gains_what_it_says_and_is_final(
        nodes in nodes(), policy in policies(), steps in steps(), kind in workload(), noise in 0_i64..9, budget in 0_u32..4,
    ) {
        let cluster = mended(&nodes, &policy, &steps);
        let kind = Workload { id: WorkloadKey(1000), ..kind };
        let done = defragment(&cluster, &policy, &kind, Budget::default());
        prop_assert_eq!(done.after > done.before, !done.plan.is_empty());
        let after = by_prefix(&cluster, &done.plan, true)?;
        let again = defragment(&after, &policy, &kind, Budget::default());
        prop_assert!(again.plan.is_empty(), "{:?} after {:?}", again, done);
        prop_assert_eq!(again.before, done.after);
        prop_assert_eq!(&defragment(&noisy(&cluster, noise), &policy, &kind, Budget::default()), &done);
        let cut = defragment(&cluster, &policy, &kind, Budget::moves(budget));
        prop_assert!(cut.plan.cost.moves <= budget);
        prop_assert!(cut.plan.cut || cut.plan == done.plan);
        let stubborn = Budget { moves_per_gain: Some(0), ..Budget::default() };
        prop_assert!(defragment(&cluster, &policy, &kind, stubborn).plan.is_empty());
    }

    #[test]
    fn consolidating_empties_whole_nodes_and_is_final(nodes in nodes(), policy in policies(), steps in steps(), noise in 0_i64..9, budget in 0_u32..6) {
        let cluster = mended(&nodes, &policy, &steps);
        let done = consolidate(&cluster, &policy, Budget::default());
        let after = by_prefix(&cluster, &done.plan, true)?;
        for &node in &done.emptied {
            prop_assert!(cluster.workloads_on(node).count() > 0);
            prop_assert_eq!(after.workloads_on(node).count(), 0);
            prop_assert_eq!(after.reserved(node), Some(Resources::ZERO));
        }
        prop_assert!(done.plan.steps.iter().all(|step| done.emptied.contains(&step.from) || !step.moves()));
        let again = consolidate(&after, &policy, Budget::default());
        prop_assert!(again.plan.is_empty(), "{:?} after {:?}", again, done);
        prop_assert_eq!(&consolidate(&noisy(&cluster, noise), &policy, Budget::default()), &done);
        let cut = consolidate(&cluster, &policy, Budget::moves(budget));
        prop_assert!(cut.plan.cost.moves <= budget);
        let rest = by_prefix(&cluster, &cut.plan, true)?;
        prop_assert!(cut.emptied.iter().all(|&node| rest.workloads_on(node).count() == 0));
    }

    #[test]
    fn room_is_made_by_no_more_moves_than_allowed(nodes in nodes(), policy in any_policy(), steps in steps(), fresh in workload(), most in 1_u32..8) {
        let cluster = mended(&nodes, &policy, &steps);
        let fresh = Workload { id: WorkloadKey(1000), ..fresh };
        match make_room(&cluster, &policy, &fresh, most) {
            Ok(made) => {
                prop_assert!(made.plan.cost.moves <= most);
                let mut after = by_prefix(&cluster, &made.plan, true)?;
                after.assign_with(fresh.clone(), made.decision.node, made.decision.backup).unwrap();
                prop_assert_eq!(violations(&after), []);
                prop_assert_eq!(place(&cluster, &policy, &fresh).is_ok(), made.plan.is_empty());
            }
            Err(refusal) => prop_assert_eq!(Err(refusal), place(&cluster, &policy, &fresh)),
        }
    }

    #[test]
    fn only_hot_nodes_are_relieved(nodes in nodes(), policy in any_policy(), steps in steps(), hot in node_key()) {
        let mut cluster = mended(&nodes, &policy, &steps);
        prop_assert!(rebalance(&cluster, &policy, Budget::default()).is_empty());
        let hot = NodeKey(hot.0 % nodes.len() as u128 + 1);
        let mut glowing = cluster.node(hot).unwrap().clone();
        glowing.hot = true;
        cluster.upsert_node(glowing).unwrap();
        let plan = rebalance(&cluster, &policy, Budget::default());
        prop_assert!(plan.steps.iter().all(|step| step.from == hot && step.to != hot));
        let after = by_prefix(&cluster, &plan, true)?;
        prop_assert!(rebalance(&after, &policy, Budget::default()).is_empty());
    }
}

fn pod(id: u128, cpu_milli: i64, mem_mib: i64) -> Workload {
    Workload::new(WorkloadKey(id), amounts(cpu_milli, mem_mib, 0, 1), Resources::ZERO)
}

#[test]
fn two_halves_of_a_place_become_one() {
    let mut fleet = cluster((1..=3).map(node));
    // 1000m free on each of nodes 1 and 2, nothing on node 3.
    for (id, cpu, node) in [(1, 2000, 1), (2, 1000, 1), (3, 3000, 2), (4, 4000, 3)] {
        fleet.assign(pod(id, cpu, 256), NodeKey(node)).unwrap();
    }
    let done = defragment(&fleet, &bare(), &pod(9, 2000, 256), Budget::default());
    assert_eq!((done.before, done.after), (0, 1));
    let steps: Vec<(u128, u128, u128)> = done
        .plan
        .steps
        .iter()
        .map(|step| (step.workload.0, step.from.0, step.to.0))
        .collect();
    assert_eq!(steps, [(2, 1, 2)]);
}

#[test]
fn the_least_used_node_is_emptied_into_the_others() {
    let mut fleet = cluster((1..=4).map(node));
    for (id, cpu, node) in [(1, 1000, 1), (2, 2500, 2), (3, 2000, 3)] {
        fleet.assign(pod(id, cpu, 256), NodeKey(node)).unwrap();
    }
    let done = consolidate(&fleet, &bare(), Budget::default());
    assert_eq!(done.emptied, [NodeKey(1)]);
    assert_eq!(done.plan.steps.len(), 1);
    assert_eq!(done.plan.steps[0].to, NodeKey(2));
    // Hysteresis: an empty node is not worth a move to everybody.
    let costly = Budget {
        moves_per_gain: Some(0),
        ..Budget::default()
    };
    assert!(consolidate(&fleet, &bare(), costly).plan.is_empty());
}

#[test]
fn one_move_lets_a_large_one_in_and_the_cheapest_is_chosen() {
    let mut fleet = cluster((1..=2).map(node));
    let with_data = Workload {
        request: amounts(1000, 1024, 4096, 1),
        ..pod(1, 0, 0)
    };
    fleet.assign(with_data, NodeKey(1)).unwrap();
    fleet.assign(pod(2, 1500, 1024), NodeKey(1)).unwrap();
    fleet.assign(pod(3, 2000, 2048), NodeKey(2)).unwrap();
    let large = pod(9, 2500, 1024);
    assert!(place(&fleet, &bare(), &large).is_err());
    let made = make_room(&fleet, &bare(), &large, 3).unwrap();
    let steps: Vec<(u128, u128)> = made
        .plan
        .steps
        .iter()
        .map(|step| (step.workload.0, step.to.0))
        .collect();
    assert_eq!((steps, made.decision.node), (vec![(2, 2)], NodeKey(1)));
    let huge = pod(9, 3500, 1024);
    assert_eq!(
        make_room(&fleet, &bare(), &huge, 1),
        Err(place(&fleet, &bare(), &huge).unwrap_err())
    );
    let standing = make_room(&fleet, &with_reserve(Reserve::FractionPpm(900_000)), &large, 3);
    assert!(
        standing.is_err(),
        "a reserve that the whole cluster lacks is not made by moving"
    );
}

#[test]
fn a_hot_node_gives_away_the_smallest_pod_that_is_enough() {
    let mut fleet = cluster((1..=2).map(node));
    for (id, cpu) in [(1, 2000), (2, 1000), (3, 500)] {
        fleet.assign(pod(id, cpu, 256), NodeKey(1)).unwrap();
    }
    assert!(rebalance(&fleet, &bare(), Budget::default()).is_empty());
    fleet.upsert_node(Node { hot: true, ..node(1) }).unwrap();
    // 3500m of 4000m are requested, and 3000m are 75 %.
    let plan = rebalance(&fleet, &bare(), Budget::default());
    let steps: Vec<(u128, u128)> = plan.steps.iter().map(|step| (step.workload.0, step.to.0)).collect();
    assert_eq!(steps, [(3, 2)]);
    assert!(rebalance(&fleet, &bare(), Budget::moves(0)).cut);
    assert!(
        place_for(
            &fleet,
            &bare(),
            &pod(4, 250, 256),
            lumbung_placement::Purpose::Admission
        )
        .is_ok()
    );
}
