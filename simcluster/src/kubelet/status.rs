//! What is shown of a pod: phase, conditions and container statuses, as a kubelet writes them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Scene,
    container::{Container, Ended, State},
    pod::{Outcome, Pod, specs},
};
use crate::{
    app::Role,
    clock,
    controllers::{list, set_condition},
};

/// The pod's status as it should be now, made from the one that is stored.
pub(super) fn render(pod: &Pod, scene: &Scene<'_>) -> Value {
    let mut object = json!({"status": scene.pod["status"]});
    let generation = &scene.pod["metadata"]["generation"];
    let status = &mut object["status"];
    status["observedGeneration"] = generation.clone();
    status["phase"] = json!(phase(pod));
    let host = scene.host_ip();
    status["hostIP"] = json!(host);
    status["hostIPs"] = json!([{"ip": host}]);
    status["startTime"] = json!(clock::seconds(pod.started_at));
    if let Some(ip) = &pod.ip {
        status["podIP"] = json!(ip);
        status["podIPs"] = json!([{"ip": ip}]);
    }
    if pod.outcome == Some(Outcome::DeadlineExceeded) {
        status["reason"] = json!("DeadlineExceeded");
        status["message"] = json!("Pod was active on the node longer than the specified deadline");
    }
    let shown = |init: bool| {
        let pairs = pod.containers.iter().zip(specs(scene.pod));
        let wanted = pairs.filter(|(container, _)| (container.role != Role::Main) == init);
        wanted.map(|(container, spec)| container_status(container, spec, scene)).collect::<Vec<_>>()
    };
    let init = shown(true);
    if !init.is_empty() {
        status["initContainerStatuses"] = json!(init);
    }
    status["containerStatuses"] = json!(shown(false));
    for condition in conditions(pod, scene.ctx.now, generation) {
        set_condition(&mut object, condition);
    }
    // A pod that was made with its node never met the scheduler.
    if !list(&object["status"]["conditions"]).iter().any(|c| c["type"] == "PodScheduled") {
        let at = clock::seconds(scene.ctx.now);
        let scheduled =
            json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": at});
        set_condition(&mut object, scheduled);
    }
    order_conditions(&mut object["status"]["conditions"]);
    object["status"].take()
}

fn phase(pod: &Pod) -> &'static str {
    match pod.outcome {
        Some(Outcome::Succeeded) => "Succeeded",
        Some(Outcome::Failed | Outcome::DeadlineExceeded) => "Failed",
        None if pod.initialized && pod.containers.iter().any(|c| c.role == Role::Main && c.has_run) => "Running",
        None => "Pending",
    }
}

fn conditions(pod: &Pod, now: Timestamp, generation: &Value) -> Vec<Value> {
    let condition = |kind: &str, holds: bool, reason: Option<&str>, message: Option<String>| {
        let mut condition = json!({
            "type": kind, "observedGeneration": generation, "status": if holds { "True" } else { "False" },
            "lastProbeTime": null, "lastTransitionTime": clock::seconds(now),
        });
        if let Some(reason) = reason {
            condition["reason"] = json!(reason);
        }
        if let Some(message) = message {
            condition["message"] = json!(message);
        }
        condition
    };
    let names = |wanted: &dyn Fn(&&Container) -> bool| {
        pod.containers.iter().filter(wanted).map(|c| c.name.as_str()).collect::<Vec<_>>().join(" ")
    };
    let incomplete = names(&|c| match c.role {
        Role::Init => !c.has_succeeded(),
        Role::Sidecar => !c.is_started(),
        Role::Main => false,
    });
    let unready = names(&|c| c.role != Role::Init && !c.process().is_some_and(|process| process.ready));
    let initialized = pod.initialized || incomplete.is_empty();
    if let Some(outcome) = pod.outcome {
        let completed = outcome == Outcome::Succeeded;
        let reason = if completed { "PodCompleted" } else { "PodFailed" };
        return vec![
            condition("PodReadyToStartContainers", false, None, None),
            condition("Initialized", initialized, Some("PodCompleted").filter(|_| completed), None),
            condition("ContainersReady", false, Some(reason), None),
            condition("Ready", false, Some(reason), None),
        ];
    }
    let not_initialized = format!("containers with incomplete status: [{incomplete}]");
    let not_ready = format!("containers with unready status: [{unready}]");
    let (reason, message) =
        if unready.is_empty() { (None, None) } else { (Some("ContainersNotReady"), Some(not_ready)) };
    vec![
        condition("PodReadyToStartContainers", pod.ip.is_some(), None, None),
        condition(
            "Initialized",
            initialized,
            Some("ContainersNotInitialized").filter(|_| !initialized),
            Some(not_initialized).filter(|_| !initialized),
        ),
        condition("ContainersReady", unready.is_empty(), reason, message.clone()),
        condition("Ready", unready.is_empty(), reason, message),
    ]
}

/// The kubelet's own conditions stand before those of others.
fn order_conditions(conditions: &mut Value) {
    let rank = |condition: &Value| {
        let kind = condition["type"].as_str().unwrap_or_default();
        let order = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"];
        order.iter().position(|name| *name == kind).unwrap_or(order.len())
    };
    if let Some(conditions) = conditions.as_array_mut() {
        conditions.sort_by_key(rank);
    }
}

fn container_status(container: &Container, spec: &Value, scene: &Scene<'_>) -> Value {
    let process = container.process();
    let ran = container.has_run;
    let mut status = json!({
        "name": container.name, "state": state(container, scene), "lastState": {},
        "ready": match container.role {
            Role::Init => container.has_succeeded(),
            Role::Sidecar | Role::Main => process.is_some_and(|p| p.ready),
        },
        "restartCount": container.restarts, "image": container.image,
        "imageID": "", "started": process.is_some_and(|p| p.started),
    });
    if let Some(last) = &container.last {
        status["lastState"] = json!({"terminated": terminated(last)});
    }
    if ran {
        status["imageID"] = json!(format!("{}@sha256:{:064x}", container.image, 0));
        status["containerID"] = json!(match (&container.state, process) {
            (State::Ended(ended), _) => ended.id.clone(),
            (_, Some(process)) => process.id.clone(),
            _ => container.last.as_ref().map(|last| last.id.clone()).unwrap_or_default(),
        });
        status["resources"] = spec["resources"].as_object().cloned().unwrap_or_default().into();
        if !spec["resources"]["requests"].is_null() {
            status["allocatedResources"] = spec["resources"]["requests"].clone();
        }
    }
    status
}

fn state(container: &Container, scene: &Scene<'_>) -> Value {
    let waiting = |reason: &str, message: Option<String>| {
        let mut state = json!({"waiting": {"reason": reason}});
        if let Some(message) = message {
            state["waiting"]["message"] = json!(message);
        }
        state
    };
    let image = &container.image;
    match &container.state {
        State::Idle | State::Pulling { .. } | State::Starting { .. } => {
            let has_init = !list(&scene.pod["spec"]["initContainers"]).is_empty();
            waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, None)
        }
        State::Misconfigured(why) => waiting("CreateContainerConfigError", Some(why.clone())),
        State::PullFailed { shown_as_error_until, .. } if *shown_as_error_until > scene.ctx.now => {
            waiting("ErrImagePull", Some(format!("{image}: not found")))
        }
        State::PullFailed { .. } => {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found");
            waiting("ImagePullBackOff", Some(message))
        }
        State::Running(process) => json!({"running": {"startedAt": clock::seconds(process.since)}}),
        State::BackOff { .. } => {
            let (name, pod) = (&container.name, scene.full_name());
            let message = format!("back-off restarting failed container={name} pod={pod}");
            waiting("CrashLoopBackOff", Some(message))
        }
        State::Ended(ended) => json!({"terminated": terminated(ended)}),
    }
}

fn terminated(ended: &Ended) -> Value {
    let mut state = json!({
        "exitCode": ended.exit_code, "reason": ended.reason, "startedAt": clock::seconds(ended.started_at),
        "finishedAt": clock::seconds(ended.finished_at), "containerID": ended.id,
    });
    if !ended.message.is_empty() {
        state["message"] = json!(ended.message);
    }
    state
}
