//! Machines that die, come back, or are declared out of service: in the real cluster's seconds.

use lumbung_simcluster::{Delays, Fault, SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{
    bare_pod, cluster_with, condition, container, create, edit, events, get, is_ready, pass, pod, runs, set,
};

const UNREACHABLE: [&str; 2] =
    ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];

/// A set whose pod runs, and the node that it runs on. It bears a lost node for 300 seconds, unless told otherwise.
async fn set_on_a_node(tolerance: Option<u64>) -> (SimCluster, String) {
    let sim = cluster_with(Delays::lifelike()).await;
    let mut object = set("db", "postgres:18");
    if let Some(seconds) = tolerance {
        let bears = json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        object["spec"]["template"]["spec"]["tolerations"] = bears;
    }
    create(&sim, &STATEFUL_SET, object);
    pass(&sim, 30).await;
    assert!(runs(&sim, "db-0"));
    let node = pod(&sim, "db-0")["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    (sim, node)
}

fn taints(sim: &SimCluster, name: &str) -> Vec<String> {
    let taints = get(sim, &NODE, name)["spec"]["taints"].as_array().cloned().unwrap_or_default();
    let text = |taint: &Value, field: &str| taint[field].as_str().unwrap_or_default().to_owned();
    taints.iter().map(|taint| format!("{}:{}", text(taint, "key"), text(taint, "effect"))).collect()
}

fn attached_to(sim: &SimCluster) -> Vec<Value> {
    sim.cluster().list(&VOLUME_ATTACHMENT, None).iter().map(|a| a["spec"]["nodeName"].clone()).collect()
}

fn declare_out_of_service(sim: &SimCluster, node: &str) {
    let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
    edit(sim, &NODE, node, |node| {
        let taints = node["spec"]["taints"].as_array_mut();
        taints.expect("there are taints").push(taint);
    });
}

#[tokio::test]
async fn a_dead_node_loses_its_pods_only_when_it_comes_back() {
    let (sim, home) = set_on_a_node(None).await;
    let first = pod(&sim, "db-0");
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 39).await;
    assert!(
        taints(&sim, &home).is_empty(),
        "the last lease is at most ten seconds old, and silence is borne for fifty"
    );
    pass(&sim, 12).await;
    assert_eq!(condition(&get(&sim, &NODE, &home), "Ready"), ("Unknown".into(), "NodeStatusUnknown".into()));
    assert_eq!(taints(&sim, &home), UNREACHABLE);
    assert_eq!(condition(&pod(&sim, "db-0"), "Ready"), ("False".into(), String::new()));
    pass(&sim, 280).await;
    assert!(pod(&sim, "db-0")["metadata"]["deletionTimestamp"].is_null());
    pass(&sim, 30).await;
    let marked = pod(&sim, "db-0");
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    assert_eq!(condition(&marked, "DisruptionTarget"), ("True".into(), "DeletionByTaintManager".into()));
    assert_eq!(marked["status"]["containerStatuses"][0]["ready"], true, "nobody speaks for the containers");
    assert_eq!(events(&sim, "db-0", "TaintManagerEviction"), ["Marking for deletion Pod shop/db-0"]);
    pass(&sim, 24 * 3600).await;
    assert_eq!(pod(&sim, "db-0")["metadata"]["uid"], first["metadata"]["uid"], "nobody else may delete it");
    assert_eq!(attached_to(&sim), [home.as_str()]);
    assert_eq!(["n1", "n2", "n3"].iter().filter(|name| is_ready(&get(&sim, &NODE, name))).count(), 2);
    sim.faults().clear();
    pass(&sim, 60).await;
    assert!(runs(&sim, "db-0") && taints(&sim, &home).is_empty());
    assert_ne!(pod(&sim, "db-0")["metadata"]["uid"], first["metadata"]["uid"]);
}

#[tokio::test]
async fn a_node_back_in_time_restarts_its_containers() {
    let (sim, home) = set_on_a_node(None).await;
    let first = pod(&sim, "db-0");
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 120).await;
    assert!(!runs(&sim, "db-0"));
    sim.faults().clear();
    pass(&sim, 30).await;
    let again = pod(&sim, "db-0");
    assert!(is_ready(&again) && again["metadata"]["uid"] == first["metadata"]["uid"]);
    let status = &again["status"]["containerStatuses"][0];
    assert_eq!((&status["restartCount"], &status["lastState"]["terminated"]["exitCode"]), (&json!(1), &json!(255)));
    assert_eq!(events(&sim, "db-0", "TaintManagerEviction"), ["Cancelling deletion of Pod shop/db-0"]);
}

#[tokio::test]
async fn out_of_service_moves_the_pod_and_its_volume_within_a_round() {
    let (sim, home) = set_on_a_node(None).await;
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 60).await;
    assert_eq!((taints(&sim, &home), attached_to(&sim)), (UNREACHABLE.map(str::to_owned).to_vec(), vec![json!(home)]));
    declare_out_of_service(&sim, &home);
    pass(&sim, 22).await;
    let elsewhere = pod(&sim, "db-0")["spec"]["nodeName"].clone();
    assert!(runs(&sim, "db-0") && elsewhere != home.as_str());
    assert_eq!(attached_to(&sim), [elsewhere]);
    sim.faults().clear();
    pass(&sim, 30).await;
    assert_eq!(taints(&sim, &home), ["node.kubernetes.io/out-of-service:NoExecute"], "nobody takes it off");
}

#[tokio::test]
async fn a_volume_of_a_silent_node_is_detached_by_force_after_six_minutes() {
    let (sim, home) = set_on_a_node(None).await;
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 60).await;
    let now = lumbung_simcluster::DeleteOptions::now();
    sim.cluster().delete(&POD, "shop", "db-0", &now).expect("deleted");
    pass(&sim, 355).await;
    assert!(!runs(&sim, "db-0") && attached_to(&sim) == [home.as_str()]);
    assert_eq!(events(&sim, "db-0", "FailedAttachVolume").len(), 1);
    pass(&sim, 10).await;
    assert!(runs(&sim, "db-0") && attached_to(&sim) != [home.as_str()]);
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
    let sim = cluster_with(Delays::lifelike()).await;
    sim.faults().add(Fault::slow_node("n1", 100));
    for name in ["n1", "n2"] {
        let mut object = bare_pod(name, container("app", "nginx"));
        object["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": name});
        create(&sim, &POD, object);
    }
    pass(&sim, 10).await;
    assert!(runs(&sim, "n2") && !runs(&sim, "n1"));
    pass(&sim, 300).await;
    assert!(runs(&sim, "n1"));
}
