//! What can go wrong, and in which words.

use serde_json::json;

use super::world::{World, at, ended, running_since, waiting};
use super::{expect, nothing};
use crate::instances::phase::{Desire, Phase};
use crate::instances::status::reason;

#[test]
fn a_failing_health_check_is_told_from_a_start() {
    let long_ago = running_since("2026-11-24T09:00:00Z");
    let unready = |world: World| world.app(&long_ago, true, 0, &nothing());
    expect(&unready(World::coming_up()), Phase::Provisioning, reason::PROBE_FAILING);
    expect(
        &unready(World::running().unready()),
        Phase::Degraded,
        reason::PROBE_FAILING,
    );
    let database = World::running().unready().init(0, &long_ago, false, true);
    let status = expect(&database, Phase::Degraded, reason::PROBE_FAILING);
    assert!(status.message.contains("database"), "{}", status.message);
}

#[test]
fn an_image_that_does_not_come() {
    for (why, message, words) in [
        (
            "ImagePullBackOff",
            "Back-off pulling image \"x:1\": ErrImagePull: x:1: not found",
            "does not exist",
        ),
        (
            "ErrImagePull",
            "failed to pull: pull access denied, repository does not exist or may require authorization",
            "refuses",
        ),
        (
            "ErrImagePull",
            "429 Too Many Requests - toomanyrequests: You have reached your pull rate limit",
            "limits how often",
        ),
        (
            "ErrImagePull",
            "dial tcp: lookup registry: no such host",
            "cannot be reached",
        ),
        ("InvalidImageName", "couldn't parse image name", "not valid"),
        ("ImageInspectError", "something else", "did not deliver"),
    ] {
        let world = World::coming_up().app(&waiting(why, message), false, 0, &nothing());
        let status = expect(&world, Phase::Failed, reason::IMAGE_PULL_FAILED);
        assert!(status.message.contains(words), "{message} → {}", status.message);
    }
    let of_database = World::coming_up().init(0, &waiting("ErrImagePull", "timeout"), false, false);
    assert!(
        expect(&of_database, Phase::Failed, reason::IMAGE_PULL_FAILED)
            .message
            .contains("database")
    );
}

#[test]
fn a_container_that_cannot_be_made() {
    let missing = waiting("CreateContainerConfigError", "secret \"nope\" not found");
    let status = expect(
        &World::coming_up().app(&missing, false, 0, &nothing()),
        Phase::Failed,
        reason::CONFIG_ERROR,
    );
    assert!(
        status.message.contains("configuration is missing"),
        "{}",
        status.message
    );
    let program = waiting(
        "RunContainerError",
        "exec: \"/nope\": executable file not found in $PATH",
    );
    let status = expect(
        &World::coming_up().app(&program, false, 3, &nothing()),
        Phase::Failed,
        reason::CONFIG_ERROR,
    );
    assert!(status.message.contains("program"), "{}", status.message);
}

#[test]
fn a_crash_loop_tells_exit_code_restarts_and_next_try() {
    let last = ended(3, "Error", "2026-11-24T09:59:30Z");
    let crash =
        |message: &str, restarts| World::coming_up().app(&waiting("CrashLoopBackOff", message), false, restarts, &last);
    let stated = "back-off 1m20s restarting failed container=wordpress pod=wp-0_c-kf3a9x2b(uid)";
    let status = expect(&crash(stated, 4), Phase::Failed, reason::CRASH_LOOP);
    assert!(
        status.message.contains("exit code 3") && status.message.contains("4 times"),
        "{}",
        status.message
    );
    assert_eq!(status.next_retry, Some(at("2026-11-24T10:00:50Z")));
    // Without a stated pause the kubelet's rule tells: 10 s, doubled at each restart.
    assert_eq!(
        crash("back-off restarting", 3).derive().next_retry,
        Some(at("2026-11-24T10:00:10Z"))
    );
    assert_eq!(
        crash("back-off restarting", 1).derive().next_retry,
        None,
        "that has passed"
    );

    // While it runs again it is still the same trouble, until it is ready or the back-off is forgotten.
    let again = running_since("2026-11-24T09:59:58Z");
    let status = expect(
        &World::coming_up().app(&again, false, 4, &last),
        Phase::Failed,
        reason::CRASH_LOOP,
    );
    assert!(status.message.contains("starting again"), "{}", status.message);
    assert_eq!(status.next_retry, None);
    let old = ended(3, "Error", "2026-11-24T09:40:00Z");
    expect(
        &World::coming_up().app(&again, false, 4, &old),
        Phase::Provisioning,
        reason::STARTING,
    );

    let was_up = World::running()
        .unready()
        .app(&waiting("CrashLoopBackOff", ""), false, 4, &last);
    expect(&was_up, Phase::Degraded, reason::CRASH_LOOP);
    let install = World::coming_up().init(1, &ended(1, "Error", "2026-11-24T09:59:59Z"), false, false);
    let status = expect(&install, Phase::Failed, reason::CRASH_LOOP);
    assert!(status.message.starts_with("The installation"), "{}", status.message);
}

#[test]
fn running_out_of_memory_names_the_limit() {
    let last = ended(137, "OOMKilled", "2026-11-24T09:59:55Z");
    let world = World::running()
        .unready()
        .app(&waiting("CrashLoopBackOff", ""), false, 1, &last);
    let status = expect(&world, Phase::Degraded, reason::OUT_OF_MEMORY);
    assert!(
        status.message.contains("614 MiB") && status.message.contains("once"),
        "{}",
        status.message
    );
    assert_eq!(status.next_retry, Some(at("2026-11-24T10:00:05Z")));
}

#[test]
fn a_silent_node_makes_it_unknown() {
    // The node controller's mark: not ready, without a reason, containers as they were.
    let silent = || World::running().condition("Ready", json!({ "type": "Ready", "status": "False" }));
    expect(&silent(), Phase::Unknown, reason::NODE_LOST);
    let given_up = json!({ "type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager" });
    expect(
        &silent()
            .condition("DisruptionTarget", given_up)
            .terminating("2026-11-24T10:00:20Z"),
        Phase::Unknown,
        reason::NODE_LOST,
    );
    let stopping = World {
        desire: Desire::Stop,
        ..silent().terminating("2026-11-24T09:00:00Z")
    };
    assert!(!expect(&stopping, Phase::Unknown, reason::NODE_LOST).pod_gone);
    // It comes back: what was up before is degraded until it is up again.
    let back = World {
        previous: Phase::Unknown,
        pod: None,
        ..World::running()
    };
    expect(&back, Phase::Degraded, reason::STARTING);
}

/// Found by the chaos of two processes: it was called degraded for ever.
#[test]
fn what_never_was_up_is_not_degraded_after_its_node_was_silent() {
    let pull = waiting("ImagePullBackOff", "not found");
    let back = World {
        previous: Phase::Unknown,
        ..World::coming_up().app(&pull, false, 0, &nothing())
    };
    expect(&back, Phase::Failed, reason::IMAGE_PULL_FAILED);
    expect(&World { pod: None, ..back }, Phase::Provisioning, reason::STARTING);
}

#[test]
fn an_evicted_pod_is_replaced_by_its_set() {
    let mut world = World::running();
    *world.status() =
        json!({ "phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory." });
    expect(&world, Phase::Degraded, reason::EVICTED);
}

#[test]
fn lost_storage_is_not_a_start() {
    let world = World {
        claims: vec![json!({ "status": { "phase": "Lost" } })],
        ..World::running()
    };
    expect(&world, Phase::Failed, reason::STORAGE_LOST);
}
