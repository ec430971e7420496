//! How a setup or verify pod ended. Exit code 0 is success and nothing else is.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::explain::{self, TaskFailure};
use crate::kube::LABEL_TASK;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Not started, pulling or at work; its deadline ends it.
    Running,
    Succeeded,
    /// The words are for the customer.
    Failed {
        message: String,
    },
}

pub fn outcome(pod: &Pod) -> Outcome {
    match failure(pod) {
        Some(why) => Outcome::Failed {
            message: explain::task_failed(is_setup(pod), why),
        },
        None if phase(pod) == Some("Succeeded") => Outcome::Succeeded,
        None => Outcome::Running,
    }
}

pub(super) fn is_setup(pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(LABEL_TASK)).map(String::as_str) == Some("setup")
}

fn phase(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.phase.as_deref()
}

fn failure(pod: &Pod) -> Option<TaskFailure> {
    if phase(pod) != Some("Failed") {
        return None;
    }
    let status = pod.status.as_ref()?;
    let container = status.container_statuses.as_ref().and_then(|all| all.first());
    let terminated: Option<&ContainerStateTerminated> = container
        .and_then(|container| container.state.as_ref())
        .and_then(|state| state.terminated.as_ref());
    let never_ran = container.is_some_and(|container| container.image_id.is_empty());
    Some(match (status.reason.as_deref(), terminated) {
        (Some("DeadlineExceeded"), _) if never_ran => TaskFailure::Image,
        (Some("DeadlineExceeded"), _) => TaskFailure::TimedOut,
        (None, Some(end)) => TaskFailure::Exit(end.exit_code),
        // Evicted, shut down with its node, or gone without a word.
        (Some(_), _) | (None, None) => TaskFailure::Gone,
    })
}
