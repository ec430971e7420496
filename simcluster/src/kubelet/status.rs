//! What is shown of a pod: phase, conditions and container statuses, as a kubelet writes them.

use super::prelude::*;

/// The conditions that a kubelet shows first, in this order; the last two only while they hold.
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
    let (now, generation) = (clock::seconds(scene.ctx.now), scene.pod.at("metadata.generation"));
    let runs = pod.initialized && pod.containers.iter().any(|c| c.role == Role::Main && c.has_run);
    let (host, pending) = (host_ip(scene.machine.index), if runs { "Running" } else { "Pending" });
    let phase = pod.succeeded.map_or(pending, |succeeded| if succeeded { "Succeeded" } else { "Failed" });
    object.put("status.observedGeneration", generation.clone());
    object.put("status.phase", phase);
    object.put("status.hostIPs", json!([{"ip": host}]));
    object.put("status.hostIP", host);
    object.put("status.startTime", clock::seconds(pod.started_at.unwrap_or(scene.ctx.now)));
    if let Some(ip) = &pod.ip {
        object.put("status.podIP", ip.as_str());
        object.put("status.podIPs", json!([{"ip": ip}]));
    }
    if let Some((reason, message)) = &pod.evicted {
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
    object.default("status.conditions", json!([]));
    let wanted = conditions(pod, scene);
    let is_wanted = |shown: &Value| wanted.iter().any(|condition| condition.0 == shown.text("type"));
    // A pod that was made with its node never met the scheduler; of the others the condition is the scheduler's.
    let scheduled = object.items("status.conditions").iter().any(|shown| shown.text("type") == ORDER[4]);
    for (kind, holds, reason, message) in wanted.iter().filter(|condition| !scheduled || condition.0 != ORDER[4]) {
        let mut condition = json!({
            "type": kind, "status": if *holds { "True" } else { "False" }, "observedGeneration": generation,
            "lastProbeTime": null, "lastTransitionTime": now,
        });
        for (field, text) in [("reason", *reason), ("message", message.as_str())] {
            if !text.is_empty() {
                condition.put(field, text);
            }
        }
        set_condition(&mut object, condition);
    }
    if let Some(shown) = object.at_mut("status.conditions").and_then(Value::as_array_mut) {
        shown.retain(|shown| !ORDER[5..].contains(&shown.text("type")) || is_wanted(shown));
        shown.sort_by_key(|c| ORDER.iter().position(|kind| *kind == c.text("type")).unwrap_or(ORDER.len()));
    }
    object["status"].take()
}

/// Type, whether it holds, reason and message.
type Condition = (&'static str, bool, &'static str, String);

fn conditions(pod: &Pod, scene: &Scene<'_>) -> Vec<Condition> {
    let list = |what: &str, wanted: fn(&Container) -> bool| {
        let wanted = pod.containers.iter().zip(specs(scene.pod)).filter(|(container, _)| wanted(container));
        let names: Vec<&str> = wanted.map(|(_, spec)| spec.text("name")).collect();
        if names.is_empty() { String::new() } else { format!("containers with {what} status: [{}]", names.join(" ")) }
    };
    let incomplete = list("incomplete", |c| match c.role {
        Role::Init => c.exit_code() != Some(0),
        Role::Sidecar => !c.is_started(),
        Role::Main => false,
    });
    let unready = list("unready", |c| c.role != Role::Init && !c.process().is_some_and(|process| process.ready));
    let (initialized, ready) = (pod.initialized || incomplete.is_empty(), unready.is_empty());
    let (init, main) = match pod.succeeded {
        Some(true) => (("PodCompleted", String::new()), ("PodCompleted", String::new())),
        Some(false) => (("", String::new()), ("PodFailed", String::new())),
        None => (
            if initialized { ("", String::new()) } else { ("ContainersNotInitialized", incomplete) },
            (if ready { "" } else { "ContainersNotReady" }, unready),
        ),
    };
    let ready = ready && pod.succeeded.is_none();
    let mut conditions = vec![
        (ORDER[0], pod.succeeded.is_none() && pod.ip.is_some(), "", String::new()),
        (ORDER[1], initialized, init.0, init.1),
        (ORDER[2], ready, main.0, main.1.clone()),
        (ORDER[3], ready, main.0, main.1),
        (ORDER[4], true, "", String::new()),
    ];
    match &pod.resize {
        Resize::Pending(reason, message) => conditions.push((ORDER[5], true, reason, message.clone())),
        Resize::InProgress(..) => conditions.push((ORDER[6], true, "", String::new())),
        Resize::Done => {}
    }
    if let Some(("Evicted", message)) = &pod.evicted {
        conditions.push(("DisruptionTarget", true, "TerminationByKubelet", message.clone()));
    }
    conditions
}

fn container_status(container: &Container, spec: &Value, pod: &Pod, scene: &Scene<'_>) -> Value {
    let (process, name, last) = (container.process(), spec.text("name"), container.last.as_deref());
    let id = |run: u32| format!("containerd://{:064x}", fnv1a(&[scene.uid(), name, &run.to_string()]));
    let terminated = |ended: &Ended| {
        let mut state = json!({
            "exitCode": ended.exit.0, "reason": ended.exit.1, "startedAt": clock::seconds(ended.started_at),
            "finishedAt": clock::seconds(ended.finished_at), "containerID": id(ended.run),
        });
        if !ended.exit.2.is_empty() {
            state.put("message", ended.exit.2.as_str());
        }
        json!({"terminated": state})
    };
    let mut status = json!({
        "name": name, "lastState": last.map_or(json!({}), terminated),
        "state": match &container.state {
            State::Running(process) => json!({"running": {"startedAt": clock::seconds(process.since)}}),
            State::Ended(ended) => terminated(ended),
            _ => waiting(container, name, scene),
        },
        "ready": match container.role {
            Role::Init => container.exit_code() == Some(0),
            Role::Sidecar | Role::Main => process.is_some_and(|process| process.ready),
        },
        "restartCount": container.restarts, "image": container.image, "imageID": "", "started": container.is_started(),
    });
    if !container.has_run {
        return status;
    }
    status.put("imageID", format!("{}@sha256:{:064x}", container.image, 0));
    status.put("containerID", id(container.restarts));
    let shown = shown(scene.pod, spec);
    let had = |granted: bool, field: &str, asked: &str| match shown.at(field) {
        amounts if !granted && amounts.is_object() => amounts.clone(),
        _ => spec.at(asked).clone(),
    };
    let resources = had(matches!(pod.resize, Resize::Done), "resources", "resources");
    let allocated = had(!matches!(pod.resize, Resize::Pending(..)), "allocatedResources", "resources.requests");
    status.put("resources", if resources.is_null() { json!({}) } else { resources });
    if !allocated.is_null() {
        status.put("allocatedResources", allocated);
    }
    status
}

fn waiting(container: &Container, name: &str, scene: &Scene<'_>) -> Value {
    let image = &container.image;
    let (reason, message) = match &container.state {
        State::Misconfigured(why) => ("CreateContainerConfigError", why.clone()),
        State::Until(_, Stage::PullBackOff) => {
            ("ImagePullBackOff", format!("Back-off pulling image \"{image}\": ErrImagePull: {image}: not found"))
        }
        State::Until(_, Stage::BackOff) => {
            let message = format!("back-off restarting failed container={name} pod={}", scene.full_name());
            ("CrashLoopBackOff", message)
        }
        _ if scene.pod.items("spec.initContainers").is_empty() => ("ContainerCreating", String::new()),
        _ => ("PodInitializing", String::new()),
    };
    let mut state = json!({"waiting": {"reason": reason}});
    if !message.is_empty() {
        state.put("waiting.message", message);
    }
    state
}
