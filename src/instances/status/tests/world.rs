//! What a cluster shows of one instance with a database sidecar, an installation step and an app, as JSON in the shapes
//! that API server, controllers and kubelet write; a test changes what it is about.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use serde_json::{Value, json};

use crate::clock::Time;
use crate::instances::phase::{AdminState, Desire, Phase};
use crate::instances::status::{Observed, Status, derive};

pub fn at(text: &str) -> Time {
    Time::new(text.parse().unwrap())
}

pub const NOW: &str = "2026-11-24T10:00:00Z";

pub struct World {
    pub desire: Desire,
    pub generation: i64,
    pub admin_state: AdminState,
    pub previous: Phase,
    pub was_ready: bool,
    pub node: Option<&'static str>,
    pub set: Option<Value>,
    pub pod: Option<Value>,
    pub claims: Vec<Value>,
    pub task: Option<Value>,
    pub warning: Option<&'static str>,
    pub ingress: bool,
    pub others: bool,
    pub now: Time,
}

impl World {
    /// Everything as it should be.
    pub fn running() -> Self {
        let up = json!({ "running": { "startedAt": "2026-11-24T09:00:00Z" } });
        let done =
            json!({ "terminated": { "exitCode": 0, "reason": "Completed", "finishedAt": "2026-11-24T09:00:00Z" } });
        Self {
            desire: Desire::Run,
            generation: 4,
            admin_state: AdminState::Settled,
            previous: Phase::Running,
            was_ready: true,
            node: Some("node-b"),
            set: Some(json!({
                "metadata": { "name": "wp", "generation": 2, "annotations": { "lumbung.dev/generation": "4" } },
                "spec": { "replicas": 1, "selector": {}, "template": {}, "serviceName": "wp" },
                "status": { "observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "updateRevision": "wp-1" },
            })),
            pod: Some(json!({
                "metadata": { "name": "wp-0", "labels": { "controller-revision-hash": "wp-1" } },
                "spec": {
                    "nodeName": "node-b",
                    "initContainers": [
                        { "name": "mariadb", "restartPolicy": "Always",
                          "resources": { "limits": { "memory": "410Mi" } } },
                        { "name": "install" },
                    ],
                    "containers": [{ "name": "wordpress", "resources": { "limits": { "memory": "614Mi" } } }],
                },
                "status": {
                    "phase": "Running",
                    "conditions": [
                        { "type": "PodReadyToStartContainers", "status": "True" },
                        { "type": "Ready", "status": "True" },
                        { "type": "PodScheduled", "status": "True" },
                    ],
                    "initContainerStatuses": [
                        container("mariadb", &up, true, true, 0),
                        container("install", &done, true, false, 0),
                    ],
                    "containerStatuses": [container("wordpress", &up, true, true, 0)],
                },
            })),
            claims: vec![json!({ "status": { "phase": "Bound" } })],
            task: None,
            warning: None,
            ingress: true,
            others: true,
            now: at(NOW),
        }
    }

    /// The same before it was ever up.
    pub fn coming_up() -> Self {
        Self {
            previous: Phase::Provisioning,
            was_ready: false,
            ..Self::running()
        }
        .unready()
    }

    pub fn unready(mut self) -> Self {
        self.status()["conditions"][1] = json!({ "type": "Ready", "status": "False", "reason": "ContainersNotReady" });
        self
    }

    pub fn status(&mut self) -> &mut Value {
        &mut self.pod.as_mut().unwrap()["status"]
    }

    /// Status of the database (0) or the installation step (1).
    pub fn init(mut self, index: usize, state: &Value, ready: bool, started: bool) -> Self {
        let all = &mut self.status()["initContainerStatuses"];
        let name = all[index]["name"].as_str().unwrap().to_owned();
        all[index] = container(&name, state, ready, started, 0);
        self
    }

    pub fn app(mut self, state: &Value, started: bool, restarts: i32, last: &Value) -> Self {
        let mut status = container("wordpress", state, false, started, restarts);
        status["lastState"] = last.clone();
        self.status()["containerStatuses"][0] = status;
        self
    }

    pub fn condition(mut self, kind: &str, condition: Value) -> Self {
        let conditions = self.status()["conditions"].as_array_mut().unwrap();
        conditions.retain(|known| known["type"] != kind);
        conditions.push(condition);
        self
    }

    /// Not assigned to a node: the scheduler has refused it, or has not looked.
    pub fn unscheduled(mut self, message: Option<&str>) -> Self {
        let pod = self.pod.as_mut().unwrap();
        pod["spec"].as_object_mut().unwrap().remove("nodeName");
        pod["status"] = json!({ "phase": "Pending" });
        if let Some(message) = message {
            let refused =
                json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message });
            pod["status"]["conditions"] = json!([refused]);
        }
        self
    }

    pub fn terminating(mut self, until: &str) -> Self {
        self.pod.as_mut().unwrap()["metadata"]["deletionTimestamp"] = json!(until);
        self
    }

    pub fn derive(&self) -> Status {
        let set: Option<StatefulSet> = self.set.clone().map(|set| serde_json::from_value(set).unwrap());
        let pod: Option<Pod> = self.pod.clone().map(|pod| serde_json::from_value(pod).unwrap());
        let task: Option<Pod> = self.task.clone().map(|pod| serde_json::from_value(pod).unwrap());
        let claims = self
            .claims
            .iter()
            .map(|claim| serde_json::from_value(claim.clone()).unwrap());
        let claims: Vec<PersistentVolumeClaim> = claims.collect();
        derive(&Observed {
            desire: self.desire,
            generation: self.generation,
            admin_state: self.admin_state,
            previous: self.previous,
            was_ready: self.was_ready,
            node: self.node,
            stateful_set: set.as_ref(),
            pod: pod.as_ref(),
            claims: &claims,
            task: task.as_ref(),
            warning: self.warning,
            ingress: self.ingress,
            others: self.others,
            now: self.now,
        })
    }
}

fn container(name: &str, state: &Value, ready: bool, started: bool, restarts: i32) -> Value {
    json!({ "name": name, "image": "", "imageID": "", "ready": ready, "started": started, "restartCount": restarts,
            "state": state, "lastState": {} })
}

pub fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

pub fn running_since(time: &str) -> Value {
    json!({ "running": { "startedAt": time } })
}

pub fn ended(exit_code: i32, reason: &str, finished_at: &str) -> Value {
    json!({ "terminated": { "exitCode": exit_code, "reason": reason, "finishedAt": finished_at } })
}

/// A setup or verify pod in a phase.
pub fn task(kind: &str, phase: &str, reason: Option<&str>, state: &Value, pulled: bool) -> Value {
    let mut status = container(kind, state, false, false, 0);
    status["imageID"] = json!(if pulled { "sha256:0" } else { "" });
    json!({
        "metadata": { "labels": { "lumbung.dev/task": kind } },
        "status": { "phase": phase, "reason": reason, "containerStatuses": [status] },
    })
}
