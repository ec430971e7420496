//! StatefulSets, their revisions, their claims, and what a quota refuses them.

use lumbung_simcluster::{Fault, SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{bare_pod, cluster, container, create, delete, edit, events, find, get, pod, runs, set, until};

async fn with_set(object: Value) -> SimCluster {
    let sim = cluster().await;
    create(&sim, &STATEFUL_SET, object);
    sim.settle().await;
    sim
}

fn set_status(sim: &SimCluster, name: &str) -> Value {
    get(sim, &STATEFUL_SET, name)["status"].clone()
}

#[tokio::test]
async fn a_set_makes_its_claim_and_its_pod_scales_to_zero_and_back_and_leaves_the_claim() {
    let sim = with_set(set("db", "postgres:18")).await;
    let claim = get(&sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0");
    assert_eq!((&claim["status"]["phase"], &claim["status"]["capacity"]["storage"]), (&json!("Bound"), &json!("1Gi")));
    let first = pod(&sim, "db-0");
    let labels = &first["metadata"]["labels"];
    assert_eq!((&first["spec"]["hostname"], &labels["apps.kubernetes.io/pod-index"]), (&json!("db-0"), &json!("0")));
    assert_eq!(labels["controller-revision-hash"], set_status(&sim, "db")["updateRevision"]);
    assert_eq!((events(&sim, "db", "SuccessfulCreate").len(), events(&sim, "db-0", "Scheduled").len()), (2, 1));

    for (replicas, ready) in [(0, json!(null)), (1, json!(1))] {
        edit(&sim, &STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(replicas)).await;
        assert_eq!(runs(&sim, "db-0"), replicas == 1);
        let status = set_status(&sim, "db");
        assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(replicas), &ready));
    }
    assert_ne!(first["metadata"]["uid"], pod(&sim, "db-0")["metadata"]["uid"]);
    delete(&sim, &STATEFUL_SET, "db").await;
    assert!(find(&sim, &POD, "db-0").is_none());
    assert_eq!(claim["metadata"]["uid"], get(&sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0")["metadata"]["uid"]);
}

#[tokio::test]
async fn on_delete_a_pod_keeps_its_revision_until_it_is_deleted_or_has_failed() {
    let sim = with_set(set("db", "postgres:18")).await;
    let image = || pod(&sim, "db-0")["spec"]["containers"][0]["image"].clone();
    let change = |set: &mut Value| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("postgres:19");
    edit(&sim, &STATEFUL_SET, "db", change).await;
    let changed = set_status(&sim, "db");
    assert_eq!((image(), &changed["updatedReplicas"]), (json!("postgres:18"), &json!(null)));
    assert_ne!(changed["currentRevision"], changed["updateRevision"]);
    delete(&sim, &POD, "db-0").await;
    assert_eq!((image(), &set_status(&sim, "db")["updatedReplicas"]), (json!("postgres:19"), &json!(1)));
    let second = pod(&sim, "db-0");
    assert_eq!(second["metadata"]["labels"]["controller-revision-hash"], changed["updateRevision"]);

    sim.faults().add(Fault::kill_node(second["spec"]["nodeName"].as_str().unwrap_or_default()));
    let fail = |pod: &mut Value| pod["status"]["phase"] = json!("Failed");
    sim.cluster().update_status(&POD, "shop", "db-0", "test", fail).expect("failed");
    sim.settle().await;
    assert_ne!(pod(&sim, "db-0")["metadata"]["uid"], second["metadata"]["uid"]);
}

#[tokio::test]
async fn in_order_an_unhealthy_pod_is_not_replaced_and_holds_up_the_next() {
    let mut three = set("web", "nginx:1");
    three["spec"]["replicas"] = json!(0);
    let sim = with_set(three).await;
    sim.faults().add(Fault::never_ready().label("app", "web"));
    edit(&sim, &STATEFUL_SET, "web", |set| set["spec"]["replicas"] = json!(3)).await;
    let first = pod(&sim, "web-0");
    assert!(!runs(&sim, "web-0") && find(&sim, &POD, "web-1").is_none());
    sim.faults().clear();
    sim.settle().await;
    assert_eq!(pod(&sim, "web-0")["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(set_status(&sim, "web")["readyReplicas"], 3);
}

#[tokio::test]
async fn a_set_that_a_quota_refuses_says_so_and_succeeds_once_there_is_room() {
    let sim = cluster().await;
    let hard = json!({"pods": "1", "requests.memory": "1Gi"});
    create(&sim, &RESOURCE_QUOTA, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}));
    sim.settle().await;
    let used = || get(&sim, &RESOURCE_QUOTA, "q")["status"]["used"].clone();
    assert_eq!(used(), json!({"pods": "0", "requests.memory": "0"}));
    create(&sim, &POD, bare_pod("first", container("app", "nginx")));
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert_eq!(used(), json!({"pods": "1", "requests.memory": "64Mi"}));
    let refusal = "Create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: q, \
                   requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!(events(&sim, "db", "FailedCreate"), [refusal]);
    edit(&sim, &RESOURCE_QUOTA, "q", |quota| quota["spec"]["hard"]["pods"] = json!("2")).await;
    until(&sim, "the refused pod runs", |sim| runs(sim, "db-0")).await;
    delete(&sim, &POD, "first").await;
    assert_eq!(used(), json!({"pods": "1", "requests.memory": "64Mi"}));
}
