//! What machines do to pods: partitions and corruption, full disks, full memory, resizes, use that follows a trace.

use std::time::Duration;

use lumbung_simcluster::{Delays, DeleteOptions, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{
    NS, bare_pod, cluster, cluster_with, condition, container, create, events, pod, runs, set, until,
};

/// A set of one pod with a movable volume, on a node that is then lost: uid and node of its pod.
async fn lost_set(fault: fn(&str) -> Fault, tolerates: u64) -> (SimCluster, String, String) {
    let (lease_interval, node_grace) = (Duration::from_millis(50), Duration::from_millis(250));
    let sim = cluster_with(Delays { lease_interval, node_grace, ..Delays::zero() }).await;
    let mut object = set("db", "postgres:18");
    let toleration =
        json!({"operator": "Exists", "key": "node.kubernetes.io/unreachable", "tolerationSeconds": tolerates});
    object["spec"]["template"]["spec"]["tolerations"] = json!([toleration]);
    create(&sim, &resource::STATEFUL_SET, object);
    sim.settle().await;
    let first = pod(&sim, "db-0");
    let [uid, node] =
        [&first["metadata"]["uid"], &first["spec"]["nodeName"]].map(|text| text.as_str().unwrap().to_owned());
    sim.faults().add(fault(&node));
    until(&sim, "the node is unknown", |sim| condition(&get_node(sim, &node), "Ready").0 == "Unknown").await;
    (sim, uid, node)
}

/// A pod on the node `n1`, whose container is restarted for other memory.
fn on_n1(sim: &SimCluster, name: &str, resources: Value, class: Value) {
    let mut app = container("app", "nginx");
    app["resources"] = resources;
    app["resizePolicy"] = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    let mut object = bare_pod(name, app);
    object["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "n1"});
    object["spec"]["priorityClassName"] = class;
    create(sim, &resource::POD, object);
}

fn delete(sim: &SimCluster, name: &str) {
    sim.cluster().delete(&resource::POD, NS, name, &DeleteOptions::default()).expect("deleted");
}

fn get_node(sim: &SimCluster, name: &str) -> Value {
    Value::clone(&sim.cluster().get(&resource::NODE, "", name).expect("the node exists"))
}

async fn declare_out_of_service(sim: &SimCluster, node: &str) {
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    let declare = |node: &mut Value| node["spec"]["taints"].as_array_mut().unwrap().push(taint);
    sim.cluster().update(&resource::NODE, "", node, "test", declare).expect("declared");
    let moved = |sim: &SimCluster| runs(sim, "db-0") && pod(sim, "db-0")["spec"]["nodeName"] != node;
    until(sim, "the pod runs elsewhere", moved).await;
}

#[tokio::test]
async fn a_partitioned_node_declared_out_of_service_ruins_the_volume() {
    let (sim, uid, node) = lost_set(Fault::partition_node, 100_000).await;
    assert_eq!(sim.corruptions(), []);
    declare_out_of_service(&sim, &node).await;
    let found = sim.corruptions();
    assert_eq!(found.len(), 1, "{found:?}");
    let second = pod(&sim, "db-0");
    assert_eq!(found[0].claim, "data-db-0");
    assert_eq!(found[0].pods.each_ref().map(|writer| writer.pod.as_str()), ["db-0", "db-0"]);
    assert_eq!((&found[0].pods[0].uid, &found[0].pods[0].node), (&uid, &node));
    assert_eq!(second["metadata"]["uid"], found[0].pods[1].uid.as_str());

    sim.faults().clear();
    until(&sim, "the node is back", |sim| condition(&get_node(sim, &node), "Ready").0 == "True").await;
    sim.settle().await;
    assert!(!sim.metrics().contains(&format!("node=\"{node}\"")), "the kubelet has killed what is gone");
    delete(&sim, "db-0");
    until(&sim, "another pod runs", |sim| {
        runs(sim, "db-0") && pod(sim, "db-0")["metadata"]["uid"] != second["metadata"]["uid"]
    })
    .await;
    assert_eq!(sim.corruptions(), found, "who was killed does not write");
}

#[tokio::test]
async fn a_node_without_power_declared_out_of_service_ruins_nothing() {
    let (sim, _, node) = lost_set(Fault::kill_node, 100_000).await;
    declare_out_of_service(&sim, &node).await;
    assert_eq!(sim.corruptions(), []);
}

#[tokio::test]
async fn taint_eviction_alone_moves_nothing_and_the_pod_goes_when_the_partition_ends() {
    let (sim, uid, _) = lost_set(Fault::partition_node, 1).await;
    let deleting = |sim: &SimCluster| pod(sim, "db-0")["metadata"]["deletionTimestamp"].is_string();
    until(&sim, "the pod is marked", deleting).await;
    sim.settle().await;
    let stuck = pod(&sim, "db-0");
    assert_eq!((stuck["metadata"]["uid"].as_str(), &stuck["status"]["phase"]), (Some(uid.as_str()), &json!("Running")));
    sim.faults().clear();
    until(&sim, "another pod runs", |sim| runs(sim, "db-0") && pod(sim, "db-0")["metadata"]["uid"] != uid.as_str())
        .await;
    assert_eq!(sim.corruptions(), []);
}

#[tokio::test]
async fn a_full_disk_costs_one_pod_after_the_other() {
    let sim = cluster().await;
    on_n1(&sim, "rich", json!({"requests": {"cpu": "1"}}), Value::Null);
    on_n1(&sim, "poor", json!({}), Value::Null);
    sim.settle().await;
    let full = sim.faults().add(Fault::disk_pressure("n1"));
    sim.settle().await;
    let (poor, node) = (pod(&sim, "poor"), get_node(&sim, "n1"));
    assert_eq!((&poor["status"]["phase"], &poor["status"]["reason"]), (&json!("Failed"), &json!("Evicted")));
    let message = poor["status"]["message"].as_str().unwrap();
    assert!(message.starts_with("The node was low on resource: ephemeral-storage. Threshold quantity: "), "{message}");
    assert_eq!(condition(&poor, "DisruptionTarget"), ("True".into(), "TerminationByKubelet".into()));
    assert_eq!(condition(&node, "DiskPressure"), ("True".into(), "KubeletHasDiskPressure".into()));
    assert_eq!(node["spec"]["taints"][0]["key"], "node.kubernetes.io/disk-pressure");
    assert!(runs(&sim, "rich"), "one at a time");
    until(&sim, "the other one goes", |sim| pod(sim, "rich")["status"]["reason"] == "Evicted").await;
    sim.faults().remove(full);
    sim.settle().await;
    let node = get_node(&sim, "n1");
    assert_eq!((condition(&node, "DiskPressure").0.as_str(), &node["spec"]["taints"]), ("False", &Value::Null));
}

#[tokio::test]
async fn use_follows_a_trace_and_too_much_memory_kills() {
    let sim = cluster().await;
    let resources = json!({"requests": {"cpu": "200m", "memory": "400Mi"}, "limits": {"cpu": "300m"}});
    for (name, class) in [("a", json!("system-cluster-critical")), ("b", Value::Null)] {
        on_n1(&sim, name, resources.clone(), class);
    }
    sim.settle().await;
    let usage = |name: &str| sim.usage(NS, name, "app").map(|usage| (usage.cpu_milli, usage.memory_bytes >> 20));
    assert_eq!(usage("a"), Some((10, 100)));
    sim.faults().add(Fault::load(&[(3600, 900, 700)]).label("app", "a"));
    sim.settle().await;
    assert_eq!(usage("a"), Some((300, 700)), "CPU is throttled at the limit");
    let memory =
        format!("container_memory_working_set_bytes{{namespace=\"{NS}\",pod=\"a\",container=\"app\",node=\"n1\"}} ");
    assert!(sim.metrics().contains(&format!("{memory}{}\n", 700 << 20)), "{}", sim.metrics());

    let restarts = |sim: &SimCluster, name: &str| {
        let status = pod(sim, name)["status"]["containerStatuses"][0].clone();
        (status["restartCount"].as_u64().unwrap(), status["lastState"]["terminated"]["reason"].clone())
    };
    // Eight GiB are in the machine.
    sim.faults().add(Fault::load(&[(3600, 1, 7000)]).label("app", "a"));
    sim.settle().await;
    assert_eq!((usage("a"), restarts(&sim, "b").0), (Some((1, 7000)), 0));
    sim.faults().add(Fault::load(&[(5, 1, 400), (3600, 1, 3000)]).label("app", "b"));
    until(&sim, "the lesser one is killed", |sim| restarts(sim, "b").1 == "OOMKilled").await;
    assert_eq!(restarts(&sim, "a").0, 0);
}

#[tokio::test]
async fn resources_change_in_place_as_far_as_the_node_has_room() {
    let sim = cluster_with(Delays { start: Duration::from_millis(20), ..Delays::zero() }).await;
    for name in ["x", "other"] {
        on_n1(&sim, name, json!({"requests": {"cpu": "1"}, "limits": {"memory": "64Mi"}}), Value::Null);
    }
    until(&sim, "both run", |sim| runs(sim, "x") && runs(sim, "other")).await;
    let resize = async |resources: Value| {
        let patch = json!({"spec": {"containers": [{"name": "app", "resources": resources}]}}).to_string();
        let url = format!("{}/api/v1/namespaces/{NS}/pods/x/resize", sim.url());
        let request = reqwest::Client::new().patch(url).bearer_auth(sim.token()).body(patch);
        let strategic = request.header("content-type", "application/strategic-merge-patch+json");
        assert_eq!(strategic.send().await.expect("answered").status(), 200);
        sim.settle().await;
    };
    let shown = |sim: &SimCluster| {
        let status = pod(sim, "x")["status"]["containerStatuses"][0].clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&status["allocatedResources"]["cpu"]), text(&status["resources"]["requests"]["cpu"]))
    };
    let is = |allocated: &str, actual: &str| (allocated.to_owned(), actual.to_owned());
    let pending = |sim: &SimCluster| condition(&pod(sim, "x"), "PodResizePending").1;

    resize(json!({"requests": {"cpu": "2"}})).await;
    assert_eq!((shown(&sim), condition(&pod(&sim, "x"), "PodResizeInProgress").0), (is("2", "1"), "True".into()));
    until(&sim, "it is in force", |sim| shown(sim) == is("2", "2")).await;
    assert_eq!(condition(&pod(&sim, "x"), "PodResizeInProgress").0, "");
    resize(json!({"requests": {"cpu": "5"}})).await;
    assert_eq!((shown(&sim), pending(&sim)), (is("2", "2"), "Infeasible".into()));
    resize(json!({"requests": {"cpu": "3500m"}})).await;
    assert_eq!((shown(&sim), pending(&sim)), (is("2", "2"), "Deferred".into()));
    let x = pod(&sim, "x");
    assert_eq!((&x["status"]["observedGeneration"], x["metadata"]["generation"].as_i64()), (&json!(4), Some(4)));
    assert_eq!(x["status"]["containerStatuses"][0]["restartCount"], 0);

    delete(&sim, "other");
    until(&sim, "there is room", |sim| shown(sim) == is("3500m", "3500m")).await;
    resize(json!({"limits": {"memory": "128Mi"}})).await;
    let restarted =
        |sim: &SimCluster| pod(sim, "x")["status"]["containerStatuses"][0]["restartCount"] == 1 && runs(sim, "x");
    until(&sim, "memory wants a restart", restarted).await;
    assert_eq!(pod(&sim, "x")["status"]["containerStatuses"][0]["resources"]["limits"]["memory"], "128Mi");
    assert!(events(&sim, "x", "Killing")[0].contains("resize requires restart"));
}
