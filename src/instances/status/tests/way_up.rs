//! From the order to the first log-in.

use serde_json::json;

use super::world::{NOW, World, ended, running_since, task, waiting};
use super::{expect, nothing};
use crate::instances::phase::{AdminState, Desire, Phase};
use crate::instances::status::reason;

#[test]
fn a_service_that_works_is_running() {
    let status = expect(&World::running(), Phase::Running, reason::RUNNING);
    assert!(status.ready && status.pod_ready && !status.pod_gone && !status.revision_outdated);
    assert_eq!(status.next_retry, None);
}

#[test]
fn before_there_is_a_pod() {
    let blank = || World {
        previous: Phase::Pending,
        set: None,
        pod: None,
        claims: vec![],
        ..World::running()
    };
    expect(
        &World { node: None, ..blank() },
        Phase::Pending,
        reason::WAITING_FOR_NODE,
    );
    expect(&blank(), Phase::Pending, reason::ACCEPTED);
    expect(
        &World {
            desire: Desire::Stop,
            ..blank()
        },
        Phase::Pending,
        reason::ACCEPTED,
    );
    let no_pod = || World {
        previous: Phase::Provisioning,
        pod: None,
        ..World::running()
    };
    expect(&no_pod(), Phase::Provisioning, reason::STARTING);
    let quota = "create Pod wp-0 in StatefulSet wp failed error: pods \"wp-0\" is forbidden: exceeded quota: instances, requested: pods=1";
    expect(
        &World {
            warning: Some(quota),
            ..no_pod()
        },
        Phase::Provisioning,
        reason::QUOTA_REFUSED,
    );
    let other = "create Pod wp-0 in StatefulSet wp failed error: pods \"wp-0\" is forbidden: violates PodSecurity";
    expect(
        &World {
            warning: Some(other),
            ..no_pod()
        },
        Phase::Provisioning,
        reason::CREATE_REFUSED,
    );
    expect(
        &World {
            previous: Phase::Running,
            pod: None,
            ..World::running()
        },
        Phase::Degraded,
        reason::STARTING,
    );
}

#[test]
fn the_scheduler_refuses_in_our_words() {
    expect(
        &World::coming_up().unscheduled(None),
        Phase::Provisioning,
        reason::SCHEDULING,
    );
    let suffix =
        "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
    for (message, words) in [
        (
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) didn't match Pod's node affinity/selector.",
            "maintenance",
        ),
        (
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu, 2 Insufficient memory.",
            "free memory",
        ),
        (
            "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector.",
            "free CPU",
        ),
        (
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 node(s) didn't match Pod's node affinity/selector.",
            "takes no work",
        ),
        (
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.",
            "not there",
        ),
        (
            "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found",
            "storage is not ready",
        ),
        (
            "0/3 nodes are available: persistentvolumeclaim \"missing\" not found. not found",
            "storage is not ready",
        ),
        (
            "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 node(s) didn't match Pod's node affinity/selector.",
            "data lies on another",
        ),
    ] {
        let world = World::coming_up().unscheduled(Some(&format!("{message} {suffix}")));
        let status = expect(&world, Phase::Provisioning, reason::UNSCHEDULABLE);
        assert!(status.message.contains(words), "{message} → {}", status.message);
    }
}

#[test]
fn the_way_up_is_told_step_by_step() {
    let creating = waiting("ContainerCreating", "");
    let initializing = waiting("PodInitializing", "");
    let just_now = running_since("2026-11-24T09:59:50Z");
    let sandbox = |ready: &str| json!({ "type": "PodReadyToStartContainers", "status": ready });
    let at_database = || {
        World::coming_up()
            .init(1, &initializing, false, false)
            .app(&initializing, false, 0, &nothing())
    };

    let no_sandbox = || {
        at_database()
            .init(0, &creating, false, false)
            .condition("PodReadyToStartContainers", sandbox("False"))
    };
    expect(&no_sandbox(), Phase::Provisioning, reason::STARTING);
    let mut unbound = no_sandbox();
    unbound.claims = vec![json!({ "status": { "phase": "Pending" } })];
    expect(&unbound, Phase::Provisioning, reason::WAITING_FOR_STORAGE);
    expect(
        &at_database().init(0, &creating, false, false),
        Phase::Provisioning,
        reason::PULLING_IMAGE,
    );
    expect(
        &at_database().init(0, &just_now, false, false),
        Phase::Provisioning,
        reason::STARTING_DATABASE,
    );

    let installing = || World::coming_up().app(&initializing, false, 0, &nothing());
    expect(
        &installing().init(1, &just_now, false, false),
        Phase::Provisioning,
        reason::WAITING_FOR_FIRST_ADMIN,
    );
    expect(
        &World::coming_up().app(&creating, false, 0, &nothing()),
        Phase::Provisioning,
        reason::PULLING_IMAGE,
    );
    let started = |yes: bool| World::coming_up().app(&just_now, yes, 0, &nothing());
    expect(&started(false), Phase::Provisioning, reason::STARTING);
    expect(&started(true), Phase::Provisioning, reason::STARTING);
}

#[test]
fn the_customer_is_let_in_after_the_first_administrator() {
    let first = |admin_state| World {
        admin_state,
        previous: Phase::Provisioning,
        ingress: false,
        ..World::running()
    };
    let none = nothing();
    let with = |admin_state, pod| World {
        task: Some(pod),
        ..first(admin_state)
    };
    let setup_failed = task("setup", "Failed", None, &ended(22, "Error", NOW), true);
    let late = task("verify", "Failed", Some("DeadlineExceeded"), &none, true);
    for (world, phase, reason) in [
        (
            first(AdminState::Pending),
            Phase::Provisioning,
            reason::WAITING_FOR_FIRST_ADMIN,
        ),
        (
            with(AdminState::Pending, task("setup", "Running", None, &none, true)),
            Phase::Provisioning,
            reason::WAITING_FOR_FIRST_ADMIN,
        ),
        (
            with(AdminState::Pending, task("verify", "Running", None, &none, true)),
            Phase::Provisioning,
            reason::VERIFYING_ADMIN,
        ),
        (
            with(AdminState::Pending, setup_failed),
            Phase::Failed,
            reason::FIRST_ADMIN_FAILED,
        ),
        (
            with(AdminState::Created, late),
            Phase::Failed,
            reason::FIRST_ADMIN_FAILED,
        ),
        (first(AdminState::Created), Phase::Provisioning, reason::VERIFYING_ADMIN),
        (
            first(AdminState::Verified),
            Phase::Provisioning,
            reason::VERIFYING_ADMIN,
        ),
        (first(AdminState::Settled), Phase::Provisioning, reason::OPENING_ROUTE),
    ] {
        let status = expect(&world, phase, reason);
        assert!(status.pod_ready && !status.ready);
    }
}
