//! Questions about other worlds, on the first user's three machines.

use lumbung_placement::{
    NodeKey, PolicySpec, Reason, Workload, WorkloadKey, place,
    what_if::{Answer, Change, WhatIfError, what_if},
};

use crate::support::{amounts, certified, machine, machines, workload};

/// What a default plan asks for.
fn default_pod(id: u128) -> Workload {
    Workload {
        request: amounts(250, 512, 0, 1),
        limit: amounts(1000, 1024, 0, 0),
        ..workload(id)
    }
}

/// The three machines with so many default pods on them.
fn asked(running: u128, changes: &[Change]) -> Result<Answer, WhatIfError> {
    let mut machines = machines();
    let policy = certified();
    for id in 1..=running {
        let decision = place(&machines, &policy, &default_pod(id)).unwrap();
        machines
            .assign_with(default_pod(id), decision.node, decision.backup)
            .unwrap();
    }
    let before = machines.clone();
    let answer = what_if(&machines, &policy, changes, &default_pod(0));
    let same =
        |one: &lumbung_placement::Cluster, other: &lumbung_placement::Cluster| one.placements().eq(other.placements());
    assert!(same(&before, &machines), "a question changes nothing");
    answer
}

#[test]
fn nothing_changed_is_the_headroom_with_and_without_the_reserve() {
    let answer = asked(60, &[]).unwrap();
    assert_eq!(answer.before, answer.after);
    assert_eq!(
        (answer.after.with_reserve.count, answer.after.without_reserve),
        (30, 120)
    );
    assert_eq!(answer.after.with_reserve.binding, Reason::NPlusOne);
}

#[test]
fn another_large_machine_brings_what_the_largest_one_kept_free() {
    let like = Box::new(machine(0, 22_500, 60));
    let answer = asked(90, &[Change::AddNodes { like, count: 1 }]).unwrap();
    assert_eq!(answer.before.with_reserve.count, 0);
    assert_eq!(answer.after.with_reserve.count, 90);
}

#[test]
fn a_lost_machine_is_absorbed_and_the_next_loss_is_not() {
    let answer = asked(90, &[Change::FailLargest(1)]).unwrap();
    assert_eq!(
        (answer.stranded.len(), answer.evicted.len(), answer.restore.len()),
        (0, 0, 0)
    );
    assert!(answer.cost.moves > 0);
    assert!(answer.exposed > 0, "two machines cannot insure 90 pods");
    let second = asked(90, &[Change::FailLargest(1), Change::FailLargest(1)]).unwrap();
    assert!(!second.stranded.is_empty());
}

#[test]
fn a_drained_machine_is_empty_and_takes_nothing() {
    let answer = asked(30, &[Change::Drain(NodeKey(3))]).unwrap();
    assert_eq!(answer.stranded, Vec::<WorkloadKey>::new());
    assert!(
        answer
            .after
            .with_reserve
            .nodes
            .iter()
            .all(|room| room.node != NodeKey(3))
    );
    assert_eq!(
        answer.after.with_reserve.count, 30,
        "60 pods that either of two machines can insure"
    );
}

#[test]
fn another_ratio_changes_what_is_written_into_new_pods() {
    let spec = PolicySpec {
        mem_overcommit_ppm: 1_000_000,
        ..*certified().spec()
    };
    let answer = asked(0, &[Change::Policy(spec)]).unwrap();
    assert_eq!(
        (answer.before.with_reserve.count, answer.after.with_reserve.count),
        (90, 60)
    );
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let unknown = asked(0, &[Change::Drain(NodeKey(9))]).unwrap_err();
    assert_eq!(unknown.to_string(), format!("there is no node {}", NodeKey(9)));
    let spec = PolicySpec {
        cpu_overcommit_ppm: 0,
        ..PolicySpec::default()
    };
    assert!(
        asked(0, &[Change::Policy(spec)])
            .unwrap_err()
            .to_string()
            .starts_with("cpu_overcommit_ppm")
    );
    let like = Box::new(machine(0, 1000, 1));
    assert!(matches!(
        asked(0, &[Change::AddNodes { like, count: 1 << 20 }]),
        Err(WhatIfError::TooManyNodes { .. })
    ));
}
