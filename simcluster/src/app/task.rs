//! Setup and verify pods: short-lived pods that make, or look for, an installation's first administrator.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{TASK, TASK_TARGET, Volumes, email};

/// What a task pod does to its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskKind {
    /// Makes the first administrator unless there is one.
    Setup,
    /// Succeeds only if there is one.
    Verify,
}

/// The script of a task pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    pub kind: TaskKind,
    /// As given in `LUMBUNG_TARGET`; empty when the variable is missing.
    pub target: String,
    pub owner: String,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskResult {
    pub exit_code: i32,
    /// The termination message.
    pub message: String,
}

/// The task of a bare pod that carries the mark as a label or an annotation; `None` for every other pod.
pub(super) fn of_pod(pod: &Value, env: &BTreeMap<String, String>) -> Option<Task> {
    let metadata = &pod["metadata"];
    let mark = metadata["labels"][TASK].as_str().or_else(|| metadata["annotations"][TASK].as_str())?;
    let kind = match mark {
        "setup" => TaskKind::Setup,
        "verify" => TaskKind::Verify,
        _ => return None,
    };
    let owner = email(env, &["OWNER", "ADMIN", ""]).unwrap_or_else(|| "owner".to_owned());
    Some(Task { kind, target: env.get(TASK_TARGET).cloned().unwrap_or_default(), owner })
}

impl Task {
    /// Service and namespace of the target; a scheme, port and path are ignored. `own_namespace` completes a bare name.
    pub fn service(&self, own_namespace: &str) -> Option<(String, String)> {
        let host = self.target.rsplit("://").next().unwrap_or_default();
        let host = host.split(['/', ':']).next().unwrap_or_default();
        let mut labels = host.split('.').filter(|label| !label.is_empty());
        let service = labels.next()?.to_owned();
        Some((labels.next().unwrap_or(own_namespace).to_owned(), service))
    }

    /// Runs the task against the volume of a target that answers.
    pub fn run(&self, volumes: &mut Volumes, volume: &str) -> TaskResult {
        match self.kind {
            TaskKind::Setup => {
                let made = volumes.claim_ownership(volume, &self.owner);
                let message = if made { "first administrator created" } else { "already set up" };
                TaskResult { exit_code: 0, message: message.to_owned() }
            }
            TaskKind::Verify => match volumes.get(volume).and_then(|data| data.owner.as_ref()) {
                Some(_) => TaskResult { exit_code: 0, message: "first administrator found".to_owned() },
                None => TaskResult { exit_code: 1, message: "the installation has no administrator yet".to_owned() },
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(kind: TaskKind, target: &str) -> Task {
        Task { kind, target: target.to_owned(), owner: "me@x.test".to_owned() }
    }

    #[test]
    fn targets_are_read_as_service_and_namespace() {
        let own = "shop";
        let pair = |ns: &str, name: &str| Some((ns.to_owned(), name.to_owned()));
        assert_eq!(task(TaskKind::Setup, "blog").service(own), pair("shop", "blog"));
        assert_eq!(
            task(TaskKind::Setup, "http://blog.c1.svc.cluster.local:2368/ghost").service(own),
            pair("c1", "blog")
        );
        assert_eq!(task(TaskKind::Setup, "").service(own), None);
    }

    #[test]
    fn verify_fails_until_setup_has_run_and_setup_is_idempotent() {
        let mut volumes = Volumes::default();
        assert_eq!(task(TaskKind::Verify, "blog").run(&mut volumes, "v").exit_code, 1);
        assert_eq!(task(TaskKind::Setup, "blog").run(&mut volumes, "v").message, "first administrator created");
        assert_eq!(task(TaskKind::Setup, "blog").run(&mut volumes, "v").message, "already set up");
        assert_eq!(task(TaskKind::Verify, "blog").run(&mut volumes, "v").exit_code, 0);
    }
}
