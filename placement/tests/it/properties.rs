//! What holds for every cluster, every policy and every history.

use lumbung_placement::{
    Admission, Change, Cluster, Decision, Node, NodeChange, NodeKey, Policy, Purpose, Refusal, Resources, Violation,
    VolumeLocality, Workload, WorkloadKey, evacuate, explain, headroom, place, place_for,
};
use proptest::prelude::*;

use crate::{
    definitions::ranking,
    histories::{Step, node_key, nodes, policy, steps, workload},
    support::{amounts, fill, violations},
};

fn run(cluster: &mut Cluster, policy: &Policy, step: Step) -> Option<Result<Decision, Refusal>> {
    match step {
        Step::Place(workload) => {
            let answer = place(cluster, policy, &workload);
            if let Ok(decision) = &answer {
                cluster.assign(*workload, decision.node).unwrap();
            }
            return Some(answer);
        }
        Step::Remove(workload) => {
            cluster.remove(workload);
        }
        Step::Availability(node, availability) => {
            change(cluster, node, |node| node.availability = availability);
        }
        Step::Admission(node, admission) => {
            change(cluster, node, |node| node.admission = admission);
        }
    }
    None
}

fn change(cluster: &mut Cluster, node: NodeKey, change: impl FnOnce(&mut Node)) {
    if let Some(mut node) = cluster.node(node).cloned() {
        change(&mut node);
        cluster.upsert_node(node).unwrap();
    }
}

fn after(nodes: &[Node], policy: &Policy, steps: &[Step]) -> Cluster {
    let mut cluster = Cluster::from_parts(nodes.iter().cloned(), []).unwrap();
    for step in steps {
        run(&mut cluster, policy, step.clone());
    }
    cluster
}

/// Each way to ask for one unit less than the change does, for changes of one kind.
fn one_less(change: &Change) -> Vec<Change> {
    let units = [
        amounts(1, 0, 0, 0),
        amounts(0, 1, 0, 0),
        amounts(0, 0, 1, 0),
        amounts(0, 0, 0, 1),
    ];
    let less = |amount: Resources| {
        let steps = units.into_iter().map(move |unit| amount.minus(unit));
        steps.filter(|less| less.out_of_range().is_none()).collect::<Vec<_>>()
    };
    match change.clone() {
        Change::Existing {
            node: None,
            backup: None,
            free_anywhere,
        } => {
            let with = |free_anywhere| Change::Existing {
                backup: None,
                node: None,
                free_anywhere,
            };
            less(free_anywhere).into_iter().map(with).collect()
        }
        Change::Existing {
            node: Some(change),
            backup: None,
            free_anywhere,
        } if free_anywhere.is_zero() => {
            let with = |free| Change::Existing {
                backup: None,
                node: Some(NodeChange { free, ..change.clone() }),
                free_anywhere,
            };
            less(change.free).into_iter().map(with).collect()
        }
        _ => Vec::new(),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    /// Nothing that place says ever breaks an invariant, and the books agree with a fresh count.
    #[test]
    fn no_history_oversells(nodes in nodes(), policy in policy(), steps in steps()) {
        let mut cluster = Cluster::from_parts(nodes, []).unwrap();
        for step in steps {
            run(&mut cluster, &policy, step);
            prop_assert_eq!(violations(&cluster), Vec::<Violation>::new());
        }
        for node in cluster.nodes() {
            let sum = cluster.workloads_on(node.id).fold(node.foreign, |sum, workload| sum.plus(workload.request));
            prop_assert_eq!(cluster.occupied(node.id), Some(sum));
        }
    }

    /// The answer is the one that the definitions give: a yes is allowed and the best, a no has no alternative.
    #[test]
    fn the_answer_is_the_defined_one(nodes in nodes(), policy in policy(), steps in steps(), workload in workload()) {
        let cluster = after(&nodes, &policy, &steps);
        let fresh = Workload { id: WorkloadKey(100), ..workload };
        let answer = place(&cluster, &policy, &fresh).ok();
        prop_assert_eq!(&serde_json::from_str::<Option<Decision>>(&json(&answer)).unwrap(), &answer);
        let explained = explain(&cluster, &policy, &fresh, Purpose::Admission).ok();
        prop_assert_eq!(explained.as_ref().map(|explained| explained.decision), answer);
        let first_two: Vec<NodeKey> = explained.into_iter().flat_map(|explained| {
            [Some(explained.decision.node), explained.runner_up.map(|score| score.node)].into_iter().flatten()
        }).collect();
        let ranked = ranking(&cluster, &policy, &fresh);
        prop_assert_eq!(first_two, ranked.into_iter().take(2).collect::<Vec<_>>());
    }

    /// The order in which a cluster was built leaves no trace.
    #[test]
    fn order_of_insertion_is_invisible(
        (nodes, shuffled) in nodes().prop_flat_map(|nodes| (Just(nodes.clone()), Just(nodes).prop_shuffle())),
        policy in policy(), steps in steps(), workload in workload(),
    ) {
        let first = after(&nodes, &policy, &steps);
        let placed: Vec<_> = first.workloads().map(|(workload, node)| (workload.clone(), node)).collect();
        let states = shuffled.iter().map(|node| first.node(node.id).unwrap().clone());
        let second = Cluster::from_parts(states, placed.into_iter().rev()).unwrap();
        prop_assert_eq!(json(&place(&first, &policy, &workload)), json(&place(&second, &policy, &workload)));
        prop_assert_eq!(json(&headroom(&first, &policy, &workload)), json(&headroom(&second, &policy, &workload)));
    }

    /// Whoever has been placed and asks again stays.
    #[test]
    fn placing_again_changes_nothing(nodes in nodes(), policy in policy(), steps in steps(), workload in workload()) {
        let mut cluster = after(&nodes, &policy, &steps);
        if let Ok(decision) = place(&cluster, &policy, &workload) {
            cluster.assign(workload.clone(), decision.node).unwrap();
            let again = place(&cluster, &policy, &workload).map(|decision| decision.node);
            prop_assert_eq!(again, Ok(decision.node));
        }
    }

    /// The closed form is the loop: same count, same nodes, same obstacle in the end.
    #[test]
    fn headroom_is_placing_one_by_one(nodes in nodes(), policy in policy(), steps in steps(), workload in workload()) {
        let mut cluster = after(&nodes, &policy, &steps);
        let answer = headroom(&cluster, &policy, &workload);
        let request = workload.request.max(Resources { pods: 1, ..Resources::ZERO });
        let kind = Workload { request, ..workload };
        let chosen = fill(&mut cluster, &policy, &kind);
        prop_assert_eq!(answer.count, i64::try_from(chosen.len()).unwrap());
        let runs: Vec<(NodeKey, i64)> = chosen.chunk_by(|a, b| a == b).map(|run| (run[0], i64::try_from(run.len()).unwrap())).collect();
        let told: Vec<(NodeKey, i64)> = answer.nodes.iter().map(|node| (node.node, node.count)).collect();
        prop_assert_eq!(told, runs);
        let next = Workload { id: WorkloadKey(999), ..kind };
        let refusal = place(&cluster, &policy, &next).unwrap_err();
        prop_assert_eq!(answer.binding, refusal.binding);
        prop_assert_eq!(answer.refusal.rejected, refusal.rejected);
    }

    /// Every node is accounted for, the proposed change works, and one unit less does not.
    #[test]
    fn a_refusal_is_justified(nodes in nodes(), policy in policy(), steps in steps(), workload in workload()) {
        let cluster = after(&nodes, &policy, &steps);
        if let Err(refusal) = place(&cluster, &policy, &workload) {
            prop_assert_eq!(refusal.rejected.values().sum::<u32>() as usize, nodes.len());
            prop_assert!(refusal.rejected.contains_key(&refusal.binding));
            if let Some(change) = refusal.smallest_change.as_deref() {
                prop_assert!(place(&change.apply(&cluster), &policy, &workload).is_ok(), "{}", refusal);
                for less in one_less(change) {
                    prop_assert!(place(&less.apply(&cluster), &policy, &workload).is_err(), "{} suffices", less);
                }
            } else {
                prop_assert_ne!(&workload.volume, &VolumeLocality::Anywhere);
            }
            let read: Refusal = serde_json::from_str(&json(&refusal)).unwrap();
            prop_assert_eq!(read, refusal);
        }
    }

    /// An evacuation accounts for everything on the node, never oversells a target, and strands only with reason.
    #[test]
    fn evacuation_is_complete(nodes in nodes(), policy in policy(), steps in steps(), node in node_key()) {
        let node = NodeKey(node.0 % nodes.len() as u128 + 1);
        let mut cluster = after(&nodes, &policy, &steps);
        let mut leaving: Vec<WorkloadKey> = cluster.workloads_on(node).map(|workload| workload.id).collect();
        let plan = evacuate(&cluster, &policy, node).unwrap();
        for step in &plan.moves {
            prop_assert_ne!(step.to, node);
            let workload = cluster.workload(step.workload).unwrap().0.clone();
            cluster.assign(workload, step.to).unwrap();
            prop_assert_eq!(violations(&cluster), Vec::<Violation>::new());
        }
        change(&mut cluster, node, |node| node.admission = Admission::Draining);
        for refusal in &plan.stranded {
            let (workload, at) = cluster.workload(refusal.workload).unwrap();
            prop_assert_eq!(at, node);
            prop_assert!(place_for(&cluster, &policy, workload, Purpose::Failover).is_err());
        }
        let mut named: Vec<WorkloadKey> = plan.moves.iter().map(|step| step.workload).collect();
        named.extend(plan.stranded.iter().map(|refusal| refusal.workload));
        named.sort_unstable();
        leaving.sort_unstable();
        prop_assert_eq!(named, leaving);
    }
}
