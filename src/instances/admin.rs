//! The first administrator: from nothing to a proved log-in, one observed step after another.
//!
//! Pure: what is seen and what the row says go in, the next step comes out. `pending` → `created` (the application made
//! the account, or the setup pod did) → `verified` (the verify pod has logged in) → `settled` (the variables that made
//! the account are withdrawn and rolled out). The route opens at `settled` only. A task pod's outcome counts once it is
//! in the row; the pod is removed by the pass after that, so that a crash in between repeats nothing.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;

use super::manifests::task::{Kind, pod_name};
use super::phase::AdminState;
use super::status::{Outcome, outcome};
use super::store::Instance;
use crate::catalog::template::FirstAdmin;
use crate::clock::Time;
use crate::kube::{LABEL_TASK, label};

/// How far it is, as in the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub state: AdminState,
    /// The number of the present task pod.
    pub attempt: i32,
    /// A failed attempt is followed by the next one at this time.
    pub retry_at: Option<Time>,
}

impl Progress {
    pub fn of(row: &Instance) -> Self {
        Self {
            state: row.admin_state,
            attempt: row.admin_attempt,
            retry_at: row.admin_retry_at,
        }
    }

    fn reached(state: AdminState) -> Self {
        Self {
            state,
            attempt: 1,
            retry_at: None,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// As it goes into the row.
    pub progress: Progress,
    /// Start this task pod now.
    pub launch: Option<(Kind, i32)>,
    /// Why the attempt that ended just now failed, in words for the customer.
    pub failure: Option<String>,
}

/// What is seen of it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    pub now: Time,
    /// The pod of the wanted revision is ready.
    pub pod_ready: bool,
    /// The setup and verify pods that are there.
    pub tasks: &'a [Pod],
}

/// The task whose outcome this state waits for.
pub fn awaited(strategy: &FirstAdmin, state: AdminState) -> Option<Kind> {
    match state {
        AdminState::Pending => strategy.setup().map(|_| Kind::Setup),
        AdminState::Created => Some(Kind::Verify),
        AdminState::Verified | AdminState::Settled => None,
    }
}

/// The next step. `delay` says how long to wait after so many failed attempts.
pub fn advance(
    strategy: &FirstAdmin,
    before: Progress,
    sight: Sight<'_>,
    instance: &str,
    delay: impl FnOnce(i32) -> Duration,
) -> Step {
    let step = |progress| Step {
        progress,
        launch: None,
        failure: None,
    };
    // A pod that did not get ready made no account that is worth asking for.
    let before = match before.state {
        AdminState::Pending if strategy.setup().is_none() && sight.pod_ready => Progress::reached(AdminState::Created),
        // What was rendered for this pass had the variables withdrawn, so a ready pod of it is the second rollout.
        AdminState::Verified if sight.pod_ready || !matches!(strategy, FirstAdmin::EnvOnce(_)) => {
            return step(Progress::reached(AdminState::Settled));
        }
        _ => before,
    };
    let Some(kind) = awaited(strategy, before.state) else {
        return step(before);
    };
    let wanted = pod_name(instance, kind, before.attempt);
    let present = sight
        .tasks
        .iter()
        .find(|pod| pod.metadata.name.as_deref() == Some(&wanted));
    match present.map(outcome) {
        Some(Outcome::Succeeded) => step(Progress::reached(match kind {
            Kind::Setup => AdminState::Created,
            Kind::Verify => AdminState::Verified,
        })),
        Some(Outcome::Failed { message }) => Step {
            progress: Progress {
                state: before.state,
                attempt: before.attempt.saturating_add(1),
                retry_at: Some(sight.now.plus(delay(before.attempt))),
            },
            launch: None,
            failure: Some(message),
        },
        None if sight.pod_ready && before.retry_at.is_none_or(|at| at <= sight.now) => Step {
            launch: Some((kind, before.attempt)),
            ..step(before)
        },
        Some(Outcome::Running) | None => step(before),
    }
}

/// Task pods whose outcome is in the row already, or that nobody waits for.
pub fn leftovers<'a>(strategy: &FirstAdmin, progress: Progress, tasks: &'a [Pod], instance: &str) -> Vec<&'a Pod> {
    let keep = awaited(strategy, progress.state).map(|kind| pod_name(instance, kind, progress.attempt));
    tasks
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none() && pod.metadata.name != keep)
        .collect()
}

/// A setup or verify pod, not the service's own.
pub fn is_task(pod: &Pod) -> bool {
    label(&pod.metadata, LABEL_TASK).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::template::load_embedded;
    use AdminState::{Created, Pending, Settled, Verified};

    const NAME: &str = "app";

    fn strategy(slug: &str) -> FirstAdmin {
        let all = load_embedded().unwrap();
        all.into_iter()
            .find(|template| template.slug == slug)
            .unwrap()
            .first_admin
    }

    fn at(second: i64) -> Time {
        Time::new(jiff::Timestamp::from_second(second).unwrap())
    }

    fn task(kind: Kind, attempt: i32, phase: &str) -> Pod {
        let pod = serde_json::json!({
            "metadata": {"name": pod_name(NAME, kind, attempt), "labels": {LABEL_TASK: kind.name()}},
            "status": {"phase": phase, "containerStatuses": [{
                "name": kind.name(), "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": i32::from(phase == "Failed")}},
            }]},
        });
        serde_json::from_value(pod).unwrap()
    }

    fn progress(state: AdminState) -> Progress {
        Progress::reached(state)
    }

    fn step(slug: &str, before: Progress, pod_ready: bool, tasks: &[Pod]) -> Step {
        let sight = Sight {
            now: at(100),
            pod_ready,
            tasks,
        };
        advance(&strategy(slug), before, sight, NAME, |failures| {
            Duration::from_secs(10 * u64::from(failures.unsigned_abs()))
        })
    }

    #[test]
    fn nothing_is_asked_of_a_pod_that_is_not_ready() {
        for slug in ["linkding", "n8n", "wordpress", "ghost"] {
            for state in [Pending, Created] {
                let step = step(slug, progress(state), false, &[]);
                assert_eq!((step.launch, step.progress.state), (None, state), "{slug}");
            }
        }
    }

    #[test]
    fn who_makes_the_account_decides_which_task_comes_first() {
        for (slug, kind, state) in [
            ("linkding", Kind::Verify, Created),
            ("n8n", Kind::Verify, Created),
            ("wordpress", Kind::Verify, Created),
            ("ghost", Kind::Setup, Pending),
        ] {
            let step = step(slug, progress(Pending), true, &[]);
            assert_eq!((step.launch, step.progress.state), (Some((kind, 1)), state), "{slug}");
        }
    }

    #[test]
    fn an_outcome_moves_on_even_when_the_pod_is_not_ready_any_more() {
        for ready in [false, true] {
            let setup = step("ghost", progress(Pending), ready, &[task(Kind::Setup, 1, "Succeeded")]);
            assert_eq!((setup.progress, setup.launch), (progress(Created), None));
            let verify = step("ghost", progress(Created), ready, &[task(Kind::Verify, 1, "Succeeded")]);
            assert_eq!((verify.progress, verify.launch), (progress(Verified), None));
        }
    }

    #[test]
    fn a_failed_attempt_is_followed_by_another_number_after_a_wait() {
        let failed = [task(Kind::Verify, 1, "Failed")];
        let first = step("linkding", progress(Created), true, &failed);
        assert!(first.failure.is_some());
        assert_eq!((first.progress.attempt, first.progress.retry_at), (2, Some(at(110))));
        // The old pod may still be there; it does not count again.
        let waiting = step("linkding", first.progress, true, &failed);
        assert_eq!(
            (waiting.progress, waiting.launch, waiting.failure),
            (first.progress, None, None)
        );
        let due = Progress {
            retry_at: Some(at(100)),
            ..first.progress
        };
        assert_eq!(step("linkding", due, true, &failed).launch, Some((Kind::Verify, 2)));
        let running = [task(Kind::Verify, 2, "Running")];
        assert_eq!(step("linkding", due, true, &running).launch, None);
    }

    #[test]
    fn only_a_withdrawn_environment_needs_a_second_ready_pod() {
        assert_eq!(step("n8n", progress(Verified), false, &[]).progress.state, Verified);
        assert_eq!(step("n8n", progress(Verified), true, &[]).progress.state, Settled);
        for slug in ["linkding", "wordpress", "ghost"] {
            assert_eq!(
                step(slug, progress(Verified), false, &[]).progress.state,
                Settled,
                "{slug}"
            );
        }
        assert_eq!(step("n8n", progress(Settled), false, &[]).progress.state, Settled);
    }

    #[test]
    fn only_the_awaited_task_is_kept() {
        let tasks = [
            task(Kind::Setup, 1, "Succeeded"),
            task(Kind::Verify, 1, "Failed"),
            task(Kind::Verify, 2, "Running"),
        ];
        let names = |state, attempt| -> Vec<String> {
            let progress = Progress {
                attempt,
                ..progress(state)
            };
            let left = leftovers(&strategy("ghost"), progress, &tasks, NAME);
            left.into_iter().filter_map(|pod| pod.metadata.name.clone()).collect()
        };
        assert_eq!(names(Created, 2), ["app-setup-1", "app-verify-1"]);
        assert_eq!(names(Settled, 1).len(), 3);
    }
}
