//! A small cluster for tests, whose time is moved by hand, and the objects that they put into it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use lumbung_simcluster::{
    Clock, Delays, DeleteOptions, NodeSpec, Options, SimCluster,
    resource::{self, Kind},
};
use serde_json::{Value, json};

pub const NS: &str = "shop";

/// Three small nodes `n1`, `n2`, `n3` (4 CPUs, 8 GiB), the namespace `shop`.
pub async fn cluster_of(options: Options) -> SimCluster {
    let nodes = ["n1", "n2", "n3"].map(|name| NodeSpec::new(name, 4000, 8192)).to_vec();
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000).expect("in range"));
    let sim = SimCluster::start(Options { nodes, clock, ..options }).await.expect("the cluster starts");
    create(&sim, &resource::NAMESPACE, json!({"metadata": {"name": NS}}));
    sim.settle().await;
    sim
}

/// Work takes no time.
pub async fn cluster() -> SimCluster {
    cluster_of(Options { delays: Delays::zero(), ..Options::default() }).await
}

pub fn create(sim: &SimCluster, kind: &'static Kind, object: Value) {
    sim.cluster().create(kind, NS, object, "test").expect("the object is accepted");
}

pub async fn edit(sim: &SimCluster, kind: &'static Kind, name: &str, change: impl FnOnce(&mut Value)) {
    sim.cluster().update(kind, NS, name, "test", change).expect("the change is accepted");
    sim.settle().await;
}

pub async fn delete(sim: &SimCluster, kind: &'static Kind, name: &str) {
    sim.cluster().delete(kind, NS, name, &DeleteOptions::default()).expect("the deletion is accepted");
    sim.settle().await;
}

pub fn find(sim: &SimCluster, kind: &'static Kind, name: &str) -> Option<Arc<Value>> {
    sim.cluster().get(kind, NS, name)
}

pub fn get(sim: &SimCluster, kind: &'static Kind, name: &str) -> Arc<Value> {
    find(sim, kind, name).unwrap_or_else(|| panic!("{} {name} exists", kind.kind))
}

pub fn pod(sim: &SimCluster, name: &str) -> Arc<Value> {
    get(sim, &resource::POD, name)
}

/// The status of a pod's first container.
pub fn status(sim: &SimCluster, name: &str) -> Value {
    pod(sim, name)["status"]["containerStatuses"][0].clone()
}

/// Lets so many of the cluster's seconds pass.
pub async fn pass(sim: &SimCluster, seconds: u64) {
    sim.advance(Duration::from_secs(seconds)).await;
}

/// Lets time pass until the condition holds; fails after a minute of the cluster's time.
pub async fn until(sim: &SimCluster, what: &str, holds: impl Fn(&SimCluster) -> bool) {
    sim.settle().await;
    for _ in 0..6000 {
        if holds(sim) {
            return;
        }
        sim.advance(Duration::from_millis(10)).await;
    }
    panic!("in vain: {what}");
}

/// Status of a condition, and its reason.
pub fn condition(object: &Value, kind: &str) -> String {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    let found = conditions.find(|c| c["type"] == kind).cloned().unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    format!("{} {}", text("status"), text("reason"))
}

/// Whether a pod of this name is there and ready.
pub fn runs(sim: &SimCluster, name: &str) -> bool {
    find(sim, &resource::POD, name).is_some_and(|pod| condition(&pod, "Ready").starts_with("True"))
}

/// The messages of the events about an object with this reason.
pub fn events(sim: &SimCluster, name: &str, reason: &str) -> Vec<String> {
    let all = sim.cluster().list(&resource::EVENT, Some(NS));
    let about = |event: &&Arc<Value>| event["involvedObject"]["name"] == name && event["reason"] == reason;
    all.iter().filter(about).map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A container with small requests.
pub fn container(name: &str, image: &str) -> Value {
    json!({"name": name, "image": image, "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}}})
}

pub fn bare_pod(name: &str, container: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {"containers": [container]}})
}

pub fn claim(name: &str, class: &str) -> Value {
    let resources = json!({"requests": {"storage": "1Gi"}});
    let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": resources});
    json!({"metadata": {"name": name}, "spec": spec})
}

/// A set of one replica that is replaced by hand, with a claim of class `longhorn`.
pub fn set(name: &str, image: &str) -> Value {
    let mut app = container("app", image);
    app["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
    json!({
        "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 1, "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [app]}},
            "volumeClaimTemplates": [claim("data", "longhorn")],
        },
    })
}
