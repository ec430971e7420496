//! Disks that are full, use that follows a trace, resources that change in place.

use std::time::Duration;

use lumbung_simcluster::{Delays, Fault, Options, SimCluster, faults::What, resource::*};
use serde_json::{Value, json};

use crate::support::{
    NS, bare_pod, cluster, cluster_of, condition, container, create, delete, get, pod, runs, status, until,
};

/// A pod on the node `n1`.
fn on_n1(sim: &SimCluster, name: &str, resources: Value) {
    let mut app = container("app", "nginx");
    app["resources"] = resources;
    let mut object = bare_pod(name, app);
    object["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "n1"});
    create(sim, &POD, object);
}

#[tokio::test]
async fn a_full_disk_costs_one_pod_after_the_other() {
    let sim = cluster().await;
    on_n1(&sim, "rich", json!({"requests": {"cpu": "1"}}));
    on_n1(&sim, "poor", json!({}));
    sim.settle().await;
    let full = sim.faults().add(Fault::new(What::DiskPressure).node("n1"));
    sim.settle().await;
    let (poor, node) = (pod(&sim, "poor"), get(&sim, &NODE, "n1"));
    assert_eq!((&poor["status"]["phase"], &poor["status"]["reason"]), (&json!("Failed"), &json!("Evicted")));
    let message = poor["status"]["message"].as_str().unwrap_or_default();
    assert!(message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: "), "{message}");
    assert_eq!(condition(&poor, "DisruptionTarget"), "True TerminationByKubelet");
    assert_eq!(condition(&node, "DiskPressure"), "True KubeletHasDiskPressure");
    assert_eq!(node["spec"]["taints"][0]["key"], "node.kubernetes.io/disk-pressure");
    assert!(runs(&sim, "rich"), "one at a time");
    until(&sim, "the other one goes", |sim| pod(sim, "rich")["status"]["reason"] == "Evicted").await;
    sim.faults().remove(full);
    sim.settle().await;
    let node = get(&sim, &NODE, "n1");
    assert!(condition(&node, "DiskPressure").starts_with("False") && node["spec"]["taints"].is_null());
}

#[tokio::test]
async fn use_follows_a_trace_and_too_much_memory_kills() {
    let sim = cluster().await;
    on_n1(&sim, "a", json!({"requests": {"memory": "400Mi"}, "limits": {"memory": "800Mi"}}));
    sim.settle().await;
    let uses = |sim: &SimCluster, mib: u64| {
        let labels = format!("{{namespace=\"{NS}\",pod=\"a\",container=\"app\",node=\"n1\"}}");
        sim.metrics().contains(&format!("container_memory_working_set_bytes{labels} {}\n", mib << 20))
    };
    assert!(uses(&sim, 100), "{}", sim.metrics());
    sim.faults().add(Fault::new(What::Load(vec![(5, 900, 700), (3600, 1, 900)])).label("app", "a"));
    sim.settle().await;
    assert!(uses(&sim, 700), "{}", sim.metrics());
    until(&sim, "the limit", |sim| status(sim, "a")["lastState"]["terminated"]["reason"] == "OOMKilled").await;
}

#[tokio::test]
async fn resources_change_in_place_as_far_as_the_node_has_room() {
    let delays = Delays { start: Duration::from_millis(20), ..Delays::zero() };
    let sim = cluster_of(Options { delays, ..Options::default() }).await;
    for name in ["x", "other"] {
        on_n1(&sim, name, json!({"requests": {"cpu": "1"}}));
    }
    until(&sim, "both run", |sim| runs(sim, "x") && runs(sim, "other")).await;
    let resize = async |cpu: &str| {
        let resources = json!({"requests": {"cpu": cpu}});
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}).to_string();
        let url = format!("{}/api/v1/namespaces/{NS}/pods/x/resize", sim.url());
        let request = reqwest::Client::new().patch(url).bearer_auth(sim.token()).body(patch);
        let strategic = request.header("content-type", "application/strategic-merge-patch+json");
        assert_eq!(strategic.send().await.expect("answered").status(), 200);
        sim.settle().await;
    };
    // Allocated, in force, and how far the change has come.
    let is = |sim: &SimCluster, allocated: &str, actual: &str, pending: &str, in_progress: &str| {
        let (pod, status) = (pod(sim, "x"), status(sim, "x"));
        let conditions = ["PodResizePending", "PodResizeInProgress"].map(|kind| condition(&pod, kind));
        status["allocatedResources"]["cpu"] == allocated
            && status["resources"]["requests"]["cpu"] == actual
            && conditions == [pending, in_progress]
    };
    resize("2").await;
    assert!(is(&sim, "2", "1", " ", "True "), "{:#}", pod(&sim, "x")["status"]);
    until(&sim, "it is in force", |sim| is(sim, "2", "2", " ", " ")).await;
    for (cpu, reason) in [("5", "True Infeasible"), ("3500m", "True Deferred")] {
        resize(cpu).await;
        assert!(is(&sim, "2", "2", reason, " "), "{:#}", pod(&sim, "x")["status"]);
    }
    delete(&sim, &POD, "other").await;
    until(&sim, "there is room", |sim| is(sim, "3500m", "3500m", " ", " ")).await;
    let x = pod(&sim, "x");
    assert_eq!((&x["status"]["observedGeneration"], x["metadata"]["generation"].as_i64()), (&json!(4), Some(4)));
    assert_eq!(status(&sim, "x")["restartCount"], 0);
}
