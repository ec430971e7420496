//! Setup and verify pods: bare, short-lived, beside the instance. One that ended is never restarted; the next attempt is
//! another pod with the next number.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, PodSpec, SeccompProfile, VolumeMount};

use super::container::{escaped, security_context, variables};
use super::{Error, Input, PRIORITY_SETUP, meta, pod, shares};
use crate::catalog::template::{Resources, Security, Task};
use crate::kube::LABEL_TASK;

/// What a task may use: a shell and an HTTP client. Also what the quota for tasks is made of.
pub const RESOURCES: Resources = Resources {
    cpu_request_milli: 10,
    cpu_limit_milli: 200,
    mem_request_mib: 32,
    mem_limit_mib: 128,
};

/// Added to the task's own time: Kubernetes counts from the pod's start, and the image comes out of that too.
const PULL_SECONDS: u32 = 120;

const TMP_MIB: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Setup,
    Verify,
}

impl Kind {
    /// Value of the task label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Verify => "verify",
        }
    }
}

/// Deterministic: whoever repeats an attempt after a crash meets the pod that it made before.
pub fn pod_name(instance: &str, kind: Kind, attempt: i32) -> String {
    format!("{instance}-{}-{attempt}", kind.name())
}

/// The pod that makes the account; `None` where the template's strategy needs none.
pub fn setup_pod(input: &Input<'_>, attempt: i32) -> Result<Option<Pod>, Error> {
    let task = input.template.first_admin.setup();
    task.map(|task| task_pod(input, task, Kind::Setup, attempt)).transpose()
}

/// The pod that logs in with the account; `None` where the template cannot say how.
pub fn verify_pod(input: &Input<'_>, attempt: i32) -> Result<Option<Pod>, Error> {
    let task = input.template.first_admin.verify();
    task.map(|task| task_pod(input, task, Kind::Verify, attempt))
        .transpose()
}

fn task_pod(input: &Input<'_>, task: &Task, kind: Kind, attempt: i32) -> Result<Pod, Error> {
    let mut metadata = meta::object_meta(input, pod_name(&input.instance.name, kind, attempt));
    let mut labels: BTreeMap<String, String> = meta::component_labels(input, meta::TASK);
    labels.insert(LABEL_TASK.to_owned(), kind.name().to_owned());
    metadata.labels = Some(labels);
    let container = Container {
        name: kind.name().to_owned(),
        image: Some(task.image.reference()),
        image_pull_policy: input.settings.image_pull_policy.clone(),
        command: escaped(&task.command),
        args: escaped(&task.args),
        env: variables(input, &task.env, RESOURCES)?,
        resources: Some(shares::requirements(RESOURCES)),
        security_context: Some(security_context(&Security {
            run_as_user: Some(task.run_as_user),
            run_as_group: Some(task.run_as_group),
            read_only_root: true,
            capabilities: Vec::new(),
        })),
        volume_mounts: Some(vec![VolumeMount {
            name: "tmp".to_owned(),
            mount_path: "/tmp".to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    };
    Ok(Pod {
        metadata,
        spec: Some(PodSpec {
            active_deadline_seconds: Some(i64::from(task.timeout_seconds) + i64::from(PULL_SECONDS)),
            automount_service_account_token: Some(false),
            containers: vec![container],
            enable_service_links: Some(false),
            priority_class_name: Some(PRIORITY_SETUP.to_owned()),
            restart_policy: Some("Never".to_owned()),
            security_context: Some(PodSecurityContext {
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    localhost_profile: None,
                }),
                ..PodSecurityContext::default()
            }),
            // It holds nothing that would need saving.
            termination_grace_period_seconds: Some(5),
            volumes: Some(vec![pod::empty_dir("tmp".to_owned(), TMP_MIB)]),
            ..PodSpec::default()
        }),
        ..Pod::default()
    })
}
