//! Machines that die, come back, or are declared out of service.

use std::time::Duration;

use lumbung_simcluster::{Delays, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{cluster_with, condition, container, create, events, get, is_ready, pod, runs, set, until};

const UNREACHABLE: &str = "node.kubernetes.io/unreachable";

async fn nervous_cluster() -> SimCluster {
    cluster_with(Delays {
        lease_interval: Duration::from_millis(50),
        node_grace: Duration::from_millis(250),
        ..Delays::zero()
    })
    .await
}

/// A set whose pod bears a lost node for so many seconds (a second lasts ten milliseconds here), on its node.
async fn set_on_a_node(sim: &SimCluster, seconds: u64) -> String {
    let mut object = set("db", "postgres:18");
    let toleration =
        |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    object["spec"]["template"]["spec"]["tolerations"] =
        json!([toleration(UNREACHABLE), toleration("node.kubernetes.io/not-ready")]);
    create(sim, &resource::STATEFUL_SET, object);
    sim.settle().await;
    assert!(runs(sim, "db-0"));
    pod(sim, "db-0")["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()
}

fn node(sim: &SimCluster, name: &str) -> Value {
    Value::clone(&sim.cluster().get(&resource::NODE, "", name).expect("the node exists"))
}

fn taints(sim: &SimCluster, name: &str) -> Vec<String> {
    let node = node(sim, name);
    let taints = node["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
    taints.iter().map(|taint| format!("{}:{}", text(taint, "key"), text(taint, "effect"))).collect()
}

#[tokio::test]
async fn living_nodes_renew_their_leases_and_report() {
    let sim = nervous_cluster().await;
    assert_eq!(condition(&node(&sim, "n1"), "Ready"), ("True".into(), "KubeletReady".into()));
    let lease = || sim.cluster().get(&resource::LEASE, "kube-node-lease", "n1").expect("the lease exists");
    let first = lease()["spec"]["renewTime"].clone();
    until(&sim, "the lease is renewed", |_| lease()["spec"]["renewTime"] != first).await;
    assert!(taints(&sim, "n1").is_empty());
}

#[tokio::test]
async fn a_dead_node_loses_its_pods_only_when_it_comes_back() {
    let sim = nervous_cluster().await;
    let home = set_on_a_node(&sim, 5).await;
    let first = pod(&sim, "db-0");
    sim.faults().add(Fault::kill_node(&home));
    until(&sim, "the node is tainted", |sim| taints(sim, &home).len() == 2).await;
    assert_eq!(condition(&node(&sim, &home), "Ready"), ("Unknown".into(), "NodeStatusUnknown".into()));
    assert_eq!(taints(&sim, &home), [format!("{UNREACHABLE}:NoSchedule"), format!("{UNREACHABLE}:NoExecute")]);

    until(&sim, "the pod is marked", |sim| pod(sim, "db-0")["metadata"]["deletionTimestamp"].is_string()).await;
    sim.settle().await;
    let marked = pod(&sim, "db-0");
    assert_eq!(marked["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(condition(&marked, "Ready"), ("False".into(), String::new()));
    assert_eq!(condition(&marked, "DisruptionTarget"), ("True".into(), "DeletionByTaintManager".into()));
    assert_eq!(marked["status"]["containerStatuses"][0]["ready"], true, "nobody speaks for the containers");
    assert_eq!(events(&sim, "db-0", "TaintManagerEviction"), ["Marking for deletion Pod shop/db-0"]);

    sim.faults().clear();
    until(&sim, "another pod runs", |sim| {
        runs(sim, "db-0") && pod(sim, "db-0")["metadata"]["uid"] != first["metadata"]["uid"]
    })
    .await;
    until(&sim, "the taints are gone", |sim| taints(sim, &home).is_empty()).await;
}

#[tokio::test]
async fn a_node_back_in_time_restarts_its_containers() {
    let sim = nervous_cluster().await;
    let home = set_on_a_node(&sim, 100_000).await;
    let first = pod(&sim, "db-0");
    sim.faults().add(Fault::kill_node(&home));
    until(&sim, "the pod is not ready", |sim| !runs(sim, "db-0")).await;
    sim.faults().clear();
    until(&sim, "the pod is ready again", |sim| runs(sim, "db-0")).await;
    let again = pod(&sim, "db-0");
    assert_eq!(again["metadata"]["uid"], first["metadata"]["uid"]);
    let status = &again["status"]["containerStatuses"][0];
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 255);
}

#[tokio::test]
async fn out_of_service_moves_the_pod_and_its_volume() {
    let sim = nervous_cluster().await;
    let home = set_on_a_node(&sim, 100_000).await;
    let attached = |sim: &SimCluster| {
        let all = sim.cluster().list(&resource::VOLUME_ATTACHMENT, None);
        all.iter().map(|a| a["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(attached(&sim), std::slice::from_ref(&home));
    sim.faults().add(Fault::kill_node(&home));
    until(&sim, "the node is tainted", |sim| taints(sim, &home).len() == 2).await;
    let declare = |node: &mut Value| {
        let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
        if let Some(taints) = node["spec"]["taints"].as_array_mut() {
            taints.push(taint);
        }
    };
    sim.cluster().update(&resource::NODE, "", &home, "test", declare).expect("declared");
    until(&sim, "the pod runs elsewhere", |sim| {
        runs(sim, "db-0") && pod(sim, "db-0")["spec"]["nodeName"] != home.as_str()
    })
    .await;
    let elsewhere = pod(&sim, "db-0")["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    assert_eq!(attached(&sim), [elsewhere]);
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "db")["status"]["readyReplicas"], 1);

    sim.faults().clear();
    until(&sim, "only the declared taint is left", |sim| taints(sim, &home).len() == 1).await;
    assert_eq!(taints(&sim, &home), ["node.kubernetes.io/out-of-service:NoExecute"]);
}

#[tokio::test]
async fn when_no_node_answers_no_pod_is_given_up() {
    let (sim, home) = set_on_a_node(Some(0)).await;
    for name in ["n1", "n2", "n3"] {
        sim.faults().add(Fault::kill_node(name));
    }
    pass(&sim, 600).await;
    assert_eq!(condition(&get(&sim, &NODE, &home), "Ready").0, "Unknown");
    sim.faults().clear();
    pass(&sim, 30).await;
    assert!(runs(&sim, "db-0") && is_ready(&get(&sim, &NODE, &home)));
    assert!(events(&sim, "db-0", "TaintManagerEviction").is_empty());
}

#[tokio::test]
async fn a_slow_node_takes_longer() {
    let ready = Duration::from_millis(20);
    let sim = cluster_with(Delays { ready, ..Delays::zero() }).await;
    sim.faults().add(Fault::slow_node("n1", 1_000_000));
    for name in ["n1", "n2"] {
        let object = json!({
            "metadata": {"name": name},
            "spec": {"nodeSelector": {"kubernetes.io/hostname": name}, "containers": [{
                "name": "app", "image": "nginx",
                "readinessProbe": {"tcpSocket": {"port": 80}},
                "resources": container("app", "nginx")["resources"],
            }]},
        });
        create(&sim, &resource::POD, object);
    }
    until(&sim, "the pod on the quick node is ready", |sim| runs(sim, "n2")).await;
    assert!(!runs(&sim, "n1"));
}
