//! What is shown of a pod: phase, conditions and container statuses, as a kubelet writes them.

use serde_json::{Value, json};

use super::{
    Scene,
    container::{Container, Ended, State},
    pod::{Pod, Resize, shown, specs},
};
use crate::{
    app::Role,
    clock,
    controllers::{fnv1a, set_condition},
    dig::Dig,
};

/// The conditions that a kubelet keeps, in the order in which it shows them; those of others come after them.
const ORDER: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "ContainersReady",
    "Ready",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

/// The pod's status as it should be now, made from the one that is stored.
pub(super) fn render(pod: &Pod, scene: &Scene<'_>) -> Value {
    let mut object = json!({"status": scene.pod.at("status")});
    let host = scene.host_ip();
    object.put("status.observedGeneration", scene.pod.at("metadata.generation").clone());
    object.put("status.phase", phase(pod));
    object.put("status.hostIP", host.as_str());
    object.put("status.hostIPs", json!([{"ip": host}]));
    object.put("status.startTime", clock::seconds(pod.started_at.unwrap_or(scene.ctx.now)));
    if let Some(ip) = &pod.ip {
        object.put("status.podIP", ip.as_str());
        object.put("status.podIPs", json!([{"ip": ip}]));
    }
    if let Some((reason, message)) = pod.outcome.as_ref().and_then(|outcome| outcome.why.as_ref()) {
        object.put("status.reason", *reason);
        object.put("status.message", message.as_str());
    }
    for (path, main) in [("status.initContainerStatuses", false), ("status.containerStatuses", true)] {
        let pairs = pod.containers.iter().zip(specs(scene.pod)).filter(|(c, _)| (c.role == Role::Main) == main);
        let statuses: Vec<Value> = pairs.map(|(c, spec)| container_status(c, spec, pod, scene)).collect();
        if main || !statuses.is_empty() {
            object.put(path, statuses);
        }
    }
    conditions(pod, scene, &mut object);
    object["status"].take()
}

fn phase(pod: &Pod) -> &'static str {
    match &pod.outcome {
        Some(outcome) if outcome.succeeded => "Succeeded",
        Some(_) => "Failed",
        None if pod.initialized && pod.containers.iter().any(|c| c.role == Role::Main && c.has_run) => "Running",
        None => "Pending",
    }
}

fn conditions(pod: &Pod, scene: &Scene<'_>, object: &mut Value) {
    let names = |wanted: fn(&Container) -> bool| {
        let wanted = pod.containers.iter().zip(specs(scene.pod)).filter(|(container, _)| wanted(container));
        wanted.map(|(_, spec)| spec.text("name")).collect::<Vec<_>>().join(" ")
    };
    let incomplete = names(|c| match c.role {
        Role::Init => c.exit_code() != Some(0),
        Role::Sidecar => !c.is_started(),
        Role::Main => false,
    });
    let unready = names(|c| c.role != Role::Init && !c.process().is_some_and(|process| process.ready));
    let initialized = pod.initialized || incomplete.is_empty();
    let not_ready = || ("ContainersNotReady", format!("containers with unready status: [{unready}]"));
    let not_initialized = || ("ContainersNotInitialized", format!("containers with incomplete status: [{incomplete}]"));
    let ended = pod.outcome.as_ref().map(|o| (if o.succeeded { "PodCompleted" } else { "PodFailed" }, String::new()));
    let (ready, ready_why) = match &ended {
        Some(why) => (false, Some(why.clone())),
        None => (unready.is_empty(), (!unready.is_empty()).then(not_ready)),
    };
    let init_why = match &ended {
        Some(why) => Some(why.clone()).filter(|_| pod.outcome.as_ref().is_some_and(|outcome| outcome.succeeded)),
        None => (!initialized).then(not_initialized),
    };
    let mut wanted = vec![
        (ORDER[0], ended.is_none() && pod.ip.is_some(), None),
        (ORDER[1], initialized, init_why),
        (ORDER[2], ready, ready_why.clone()),
        (ORDER[3], ready, ready_why),
    ];
    let has = |object: &Value, kind: &str| object.items("status.conditions").iter().any(|c| c.text("type") == kind);
    // A pod that was made with its node never met the scheduler.
    wanted.extend((!has(object, ORDER[4])).then_some((ORDER[4], true, None)));
    match &pod.resize {
        Resize::Pending(reason, message) => wanted.push((ORDER[5], true, Some((*reason, message.clone())))),
        Resize::InProgress(..) => wanted.push((ORDER[6], true, None)),
        Resize::Done => {}
    }
    if let Some((_, message)) = pod.outcome.as_ref().and_then(|o| o.why.clone()).filter(|why| why.0 == "Evicted") {
        wanted.push(("DisruptionTarget", true, Some(("TerminationByKubelet", message))));
    }
    if let Some(conditions) = object.at_mut("status.conditions").and_then(Value::as_array_mut) {
        conditions.retain(|c| !ORDER[5..].contains(&c.text("type")) || wanted.iter().any(|w| w.0 == c.text("type")));
    }
    for (kind, holds, why) in wanted {
        let mut condition = json!({
            "type": kind, "observedGeneration": scene.pod.at("metadata.generation"),
            "status": if holds { "True" } else { "False" },
            "lastProbeTime": null, "lastTransitionTime": clock::seconds(scene.ctx.now),
        });
        if kind == "PodScheduled" {
            condition.remove("observedGeneration");
        }
        for (field, text) in why.iter().flat_map(|(reason, message)| [("reason", *reason), ("message", message)]) {
            if !text.is_empty() {
                condition.put(field, text);
            }
        }
        set_condition(object, condition);
    }
    if let Some(conditions) = object.at_mut("status.conditions").and_then(Value::as_array_mut) {
        conditions.sort_by_key(|c| ORDER.iter().position(|kind| *kind == c.text("type")).unwrap_or(ORDER.len()));
    }
}

fn container_status(container: &Container, spec: &Value, pod: &Pod, scene: &Scene<'_>) -> Value {
    let (process, name) = (container.process(), spec.text("name"));
    let id = |run: u32| container_id(scene.uid(), name, run);
    let mut status = json!({
        "name": name, "state": state(container, name, scene), "lastState": {},
        "ready": match container.role {
            Role::Init => container.exit_code() == Some(0),
            Role::Sidecar | Role::Main => process.is_some_and(|process| process.ready),
        },
        "restartCount": container.restarts, "image": container.image,
        "imageID": "", "started": container.is_started(),
    });
    if let Some(last) = &container.last {
        status.put("lastState.terminated", terminated(last, id(last.run)));
    }
    if container.has_run {
        status.put("imageID", format!("{}@sha256:{:064x}", container.image, 0));
        let run = match (&container.state, &container.last) {
            (State::Running(process), _) => process.run,
            (State::Ended(ended), _) | (_, Some(ended)) => ended.run,
            _ => container.restarts,
        };
        status.put("containerID", id(run));
        let asked = |path: &str| Some(spec.at(path)).filter(|list| list.is_object()).cloned();
        let had = |field: &str| Some(shown(scene.pod, spec).at(field)).filter(|list| list.is_object()).cloned();
        let (allocated, actual) = match pod.resize {
            Resize::Done => (asked("resources.requests"), asked("resources")),
            Resize::InProgress(..) => (asked("resources.requests"), had("resources").or(asked("resources"))),
            Resize::Pending(..) => (had("allocatedResources"), had("resources").or(asked("resources"))),
        };
        status.put("resources", actual.unwrap_or(json!({})));
        if let Some(allocated) = allocated {
            status.put("allocatedResources", allocated);
        }
    }
    status
}

fn state(container: &Container, name: &str, scene: &Scene<'_>) -> Value {
    let image = &container.image;
    let (reason, message) = match &container.state {
        State::Running(process) => return json!({"running": {"startedAt": clock::seconds(process.since)}}),
        State::Ended(ended) => {
            return json!({"terminated": terminated(ended, container_id(scene.uid(), name, ended.run))});
        }
        State::Idle | State::Pulling(_) | State::Starting(_) if !scene.pod.items("spec.initContainers").is_empty() => {
            ("PodInitializing", String::new())
        }
        State::Idle | State::Pulling(_) | State::Starting(_) => ("ContainerCreating", String::new()),
        State::Misconfigured(why) => ("CreateContainerConfigError", why.clone()),
        State::PullFailed { shown_as_error_until, .. } if *shown_as_error_until > scene.ctx.now => {
            ("ErrImagePull", format!("{image}: not found"))
        }
        State::PullFailed { .. } => {
            ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found"))
        }
        State::BackOff(_) => {
            let pod = scene.full_name();
            ("CrashLoopBackOff", format!("back-off restarting failed container={name} pod={pod}"))
        }
    };
    match message.is_empty() {
        true => json!({"waiting": {"reason": reason}}),
        false => json!({"waiting": {"reason": reason, "message": message}}),
    }
}

fn terminated(ended: &Ended, id: String) -> Value {
    let mut state = json!({
        "exitCode": ended.exit_code, "reason": ended.reason, "startedAt": clock::seconds(ended.started_at),
        "finishedAt": clock::seconds(ended.finished_at), "containerID": id,
    });
    if !ended.message.is_empty() {
        state.put("message", ended.message.as_str());
    }
    state
}

fn container_id(uid: &str, container: &str, run: u32) -> String {
    let run = run.to_string();
    let part = |salt: &str| fnv1a(&[uid, container, &run, salt]);
    format!("containerd://{:016x}{:016x}{:016x}{:016x}", part("a"), part("b"), part("c"), part("d"))
}
