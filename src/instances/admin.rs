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
    let present = sight.tasks.iter().find(|pod| pod.metadata.name.as_deref() == Some(&wanted));
    match present.map(outcome) {
        Some(Outcome::Running) => step(before),
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
        None => step(before),
    }
}

/// Task pods whose outcome is in the row already, or that nobody waits for.
pub fn leftovers<'a>(
    strategy: &FirstAdmin,
    progress: Progress,
    tasks: &'a [Pod],
    instance: &str,
) -> Vec<&'a Pod> {
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
