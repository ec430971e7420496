//! Restarts, moves, stops, deletions, and the ends of tasks.

use serde_json::{Value, json};

use super::world::{NOW, World, at, ended, task, waiting};
use super::{expect, nothing};
use crate::instances::phase::{Desire, Phase};
use crate::instances::status::{Outcome, Status, outcome, reason};

#[test]
fn an_old_revision_is_outdated_and_never_ready() {
    let mut world = World::running();
    world.set.as_mut().unwrap()["status"]["updateRevision"] = json!("wp-2");
    let status = expect(&world, Phase::Provisioning, reason::RESTARTING);
    assert!(status.revision_outdated && !status.pod_ready);

    // The controller has not read the new spec: nothing is known, and nothing is deleted.
    let mut world = World::running();
    world.set.as_mut().unwrap()["metadata"]["generation"] = json!(3);
    let status = expect(&world, Phase::Degraded, reason::STARTING);
    assert!(!status.revision_outdated && !status.pod_ready);

    // Our own apply has not arrived: the set carries out an older desire.
    let mut world = World::running();
    world.generation = 5;
    let status = expect(&world, Phase::Provisioning, reason::RESTARTING);
    assert!(!status.pod_ready && !status.revision_outdated);

    let mut world = World::running();
    world.set.as_mut().unwrap()["status"]["updateRevision"] = json!("wp-2");
    world.node = Some("node-c");
    assert!(expect(&world, Phase::Migrating, reason::MIGRATING).revision_outdated);
    let arriving = World {
        previous: Phase::Migrating,
        ..World::coming_up().unscheduled(None)
    };
    expect(&arriving, Phase::Migrating, reason::SCHEDULING);
}

#[test]
fn a_terminating_pod_restarts_until_its_time_is_over() {
    expect(
        &World::running().terminating("2026-11-24T10:00:20Z"),
        Phase::Provisioning,
        reason::RESTARTING,
    );
    expect(
        &World::running().terminating("2026-11-24T09:59:40Z"),
        Phase::Provisioning,
        reason::RESTARTING,
    );
    expect(
        &World::running().terminating("2026-11-24T09:59:20Z"),
        Phase::Unknown,
        reason::NODE_LOST,
    );
}

#[test]
fn a_tasks_end_is_read_by_its_exit_code() {
    let read = |pod: Value| outcome(&serde_json::from_value(pod).unwrap());
    let none = nothing();
    assert_eq!(
        read(task("verify", "Pending", None, &waiting("ImagePullBackOff", ""), false)),
        Outcome::Running
    );
    assert_eq!(
        read(task("verify", "Succeeded", None, &ended(0, "Completed", NOW), true)),
        Outcome::Succeeded
    );
    for (pod, words) in [
        (
            task("verify", "Failed", None, &ended(1, "Error", NOW), true),
            "exit code 1",
        ),
        (
            task("verify", "Failed", Some("DeadlineExceeded"), &none, true),
            "in time",
        ),
        (
            task("setup", "Failed", Some("DeadlineExceeded"), &none, false),
            "downloaded",
        ),
        (task("setup", "Failed", Some("Evicted"), &none, true), "interrupted"),
        (task("setup", "Failed", None, &none, true), "interrupted"),
    ] {
        let Outcome::Failed { message } = read(pod) else {
            panic!("{words}")
        };
        assert!(message.contains(words), "{message}");
    }
}

#[test]
fn stopped_means_that_no_pod_can_come_back() {
    let set = |replicas: i32, generation: i64, counted: i32| {
        json!({ "metadata": { "generation": generation, "annotations": { "lumbung.dev/generation": "4" } },
                "spec": { "replicas": replicas, "selector": {}, "template": {} },
                "status": { "observedGeneration": 3, "replicas": counted } })
    };
    let stop = |set: Option<Value>, pod: bool| {
        let world = World::running();
        World {
            desire: Desire::Stop,
            pod: if pod { world.pod.clone() } else { None },
            set,
            ..world
        }
    };
    for (world, phase, gone) in [
        (stop(Some(set(0, 3, 0)), false), Phase::Stopped, true),
        (stop(None, false), Phase::Stopped, true),
        (stop(Some(set(0, 3, 1)), false), Phase::Stopping, false),
        (stop(Some(set(0, 4, 0)), false), Phase::Stopping, false),
        (stop(Some(set(1, 3, 0)), false), Phase::Stopping, false),
        (stop(Some(set(0, 3, 1)), true), Phase::Stopping, false),
    ] {
        let status = world.derive();
        assert_eq!((status.phase, status.pod_gone), (phase, gone), "{:?}", world.set);
    }
}

#[test]
fn deleted_means_that_nothing_is_left() {
    let gone = || World {
        desire: Desire::Purge,
        set: None,
        pod: None,
        claims: vec![],
        ingress: false,
        others: false,
        ..World::running()
    };
    assert!(expect(&gone(), Phase::Deleted, reason::DELETED).pod_gone);
    let full = World::running;
    for left in [
        World {
            set: full().set,
            ..gone()
        },
        World {
            pod: full().pod,
            ..gone()
        },
        World {
            claims: full().claims,
            ..gone()
        },
        World {
            task: Some(task("verify", "Running", None, &nothing(), true)),
            ..gone()
        },
        World {
            ingress: true,
            ..gone()
        },
        World { others: true, ..gone() },
    ] {
        expect(&left, Phase::Deleting, reason::DELETING);
    }
}

/// A status that changed with the clock alone would be an event for everybody who watches, every time it is derived.
#[test]
fn words_do_not_change_with_the_clock() {
    let last = ended(1, "Error", NOW);
    let mut world = World::running()
        .unready()
        .app(&waiting("CrashLoopBackOff", ""), false, 2, &last);
    let first = world.derive();
    world.now = at("2026-11-24T10:00:19Z");
    assert_eq!(world.derive(), first);
    world.now = at("2026-11-24T10:00:21Z");
    let overdue = Status {
        next_retry: None,
        ..first
    };
    assert_eq!(world.derive(), overdue);
}
