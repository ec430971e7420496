//! Machines that die, are cut off, come back, or are declared out of service: in the real cluster's seconds.

use lumbung_simcluster::{DeleteOptions, Fault, Options, SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{cluster_of, condition, create, delete, edit, events, get, pass, pod, runs, set, status, until};

const UNREACHABLE: [&str; 2] =
    ["node.kubernetes.io/unreachable:NoSchedule", "node.kubernetes.io/unreachable:NoExecute"];
const LOSSES: [fn(&str) -> Fault; 2] = [Fault::kill_node, Fault::partition_node];

/// A set whose pod runs, and the node that it runs on.
async fn set_on_a_node() -> (SimCluster, String) {
    let sim = cluster_of(Options::default()).await;
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    pass(&sim, 30).await;
    assert!(runs(&sim, "db-0"));
    let node = pod(&sim, "db-0")["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
    (sim, node)
}

fn taints(sim: &SimCluster, name: &str) -> Vec<String> {
    let text = |taint: &Value| format!("{}:{}", taint["key"], taint["effect"]).replace('"', "");
    get(sim, &NODE, name)["spec"]["taints"].as_array().into_iter().flatten().map(text).collect()
}

fn attached_to(sim: &SimCluster) -> Vec<Value> {
    sim.cluster().list(&VOLUME_ATTACHMENT, None).iter().map(|a| a["spec"]["nodeName"].clone()).collect()
}

#[tokio::test]
async fn a_lost_node_loses_its_pods_only_when_it_comes_back() {
    for loss in LOSSES {
        let (sim, home) = set_on_a_node().await;
        let uid = pod(&sim, "db-0")["metadata"]["uid"].clone();
        sim.faults().add(loss(&home));
        pass(&sim, 39).await;
        assert!(taints(&sim, &home).is_empty(), "a lease of ten seconds' age, and silence is borne for fifty");
        pass(&sim, 12).await;
        assert_eq!(condition(&get(&sim, &NODE, &home), "Ready"), "Unknown NodeStatusUnknown");
        assert_eq!(taints(&sim, &home), UNREACHABLE);
        assert_eq!(condition(&pod(&sim, "db-0"), "Ready"), "False ");
        pass(&sim, 280).await;
        assert!(pod(&sim, "db-0")["metadata"]["deletionTimestamp"].is_null());
        pass(&sim, 30).await;
        let marked = pod(&sim, "db-0");
        assert!(marked["metadata"]["deletionTimestamp"].is_string());
        assert_eq!(condition(&marked, "DisruptionTarget"), "True DeletionByTaintManager");
        assert_eq!(status(&sim, "db-0")["ready"], true, "nobody speaks for the containers");
        assert_eq!(events(&sim, "db-0", "TaintManagerEviction"), ["Marking for deletion Pod shop/db-0"]);
        pass(&sim, 24 * 3600).await;
        assert_eq!(pod(&sim, "db-0")["metadata"]["uid"], uid, "nobody else may delete it");
        assert_eq!(attached_to(&sim), [home.as_str()]);
        sim.faults().clear();
        pass(&sim, 60).await;
        assert!(runs(&sim, "db-0") && taints(&sim, &home).is_empty());
        assert_ne!(pod(&sim, "db-0")["metadata"]["uid"], uid);
        assert_eq!(sim.corruptions(), []);
    }
}

#[tokio::test]
async fn a_node_back_in_time_restarts_its_containers() {
    let (sim, home) = set_on_a_node().await;
    let uid = pod(&sim, "db-0")["metadata"]["uid"].clone();
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 120).await;
    assert!(!runs(&sim, "db-0"));
    sim.faults().clear();
    pass(&sim, 30).await;
    assert!(runs(&sim, "db-0") && pod(&sim, "db-0")["metadata"]["uid"] == uid);
    let status = status(&sim, "db-0");
    assert_eq!((&status["restartCount"], &status["lastState"]["terminated"]["exitCode"]), (&json!(1), &json!(255)));
    assert_eq!(events(&sim, "db-0", "TaintManagerEviction"), ["Cancelling deletion of Pod shop/db-0"]);
}

#[tokio::test]
async fn out_of_service_moves_the_pod_within_a_round_and_ruins_the_volume_of_who_runs_on() {
    for (loss, ruined) in LOSSES.into_iter().zip([0, 1]) {
        let (sim, home) = set_on_a_node().await;
        sim.faults().add(loss(&home));
        pass(&sim, 60).await;
        assert_eq!(attached_to(&sim), [home.as_str()]);
        let taint = json!({"key": "node.kubernetes.io/out-of-service", "value": "nodeshutdown", "effect": "NoExecute"});
        edit(&sim, &NODE, &home, |node| node["spec"]["taints"].as_array_mut().expect("taints").push(taint)).await;
        pass(&sim, 22).await;
        let elsewhere = pod(&sim, "db-0");
        assert!(runs(&sim, "db-0") && elsewhere["spec"]["nodeName"] != home.as_str());
        assert_eq!(attached_to(&sim), [elsewhere["spec"]["nodeName"].clone()]);
        let found = sim.corruptions();
        assert_eq!(found.len(), ruined, "{found:?}");
        for corruption in &found {
            assert_eq!((&corruption.claim[..], &corruption.pods[0].node), ("data-db-0", &home));
            assert_eq!(elsewhere["metadata"]["uid"], corruption.pods[1].uid.as_str());
        }
        sim.faults().clear();
        pass(&sim, 30).await;
        assert_eq!(taints(&sim, &home), ["node.kubernetes.io/out-of-service:NoExecute"], "nobody takes it off");
        assert!(!sim.metrics().contains(&format!("node=\"{home}\"")), "the kubelet has killed what is gone");
        delete(&sim, &POD, "db-0").await;
        let again =
            |sim: &SimCluster| runs(sim, "db-0") && pod(sim, "db-0")["metadata"]["uid"] != elsewhere["metadata"]["uid"];
        until(&sim, "another pod runs", again).await;
        assert_eq!(sim.corruptions(), found, "who was killed does not write");
    }
}

#[tokio::test]
async fn a_volume_of_a_silent_node_is_detached_by_force_after_six_minutes() {
    let (sim, home) = set_on_a_node().await;
    sim.faults().add(Fault::kill_node(&home));
    pass(&sim, 60).await;
    sim.cluster().delete(&POD, "shop", "db-0", &DeleteOptions::now()).expect("deleted");
    pass(&sim, 355).await;
    assert!(!runs(&sim, "db-0") && attached_to(&sim) == [home.as_str()]);
    assert_eq!(events(&sim, "db-0", "FailedAttachVolume").len(), 1);
    pass(&sim, 10).await;
    assert!(runs(&sim, "db-0") && attached_to(&sim) != [home.as_str()]);
}

#[tokio::test]
async fn when_no_node_answers_no_pod_is_given_up() {
    let (sim, home) = set_on_a_node().await;
    for name in ["n1", "n2", "n3"] {
        sim.faults().add(Fault::kill_node(name));
    }
    pass(&sim, 600).await;
    assert!(condition(&get(&sim, &NODE, &home), "Ready").starts_with("Unknown"));
    sim.faults().clear();
    pass(&sim, 30).await;
    assert!(runs(&sim, "db-0"));
    assert!(events(&sim, "db-0", "TaintManagerEviction").is_empty());
}
