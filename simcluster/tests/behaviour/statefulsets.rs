//! StatefulSets, their revisions and their claims.

use lumbung_simcluster::{DeleteOptions, Fault, resource};
use serde_json::json;

use crate::support::{NS, cluster, create, events, get, is_ready, pod, set};

#[tokio::test]
async fn a_set_gets_its_claim_its_pod_and_its_status() {
    let sim = cluster().await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;

    let claim = get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data-db-0");
    assert_eq!(claim["status"]["phase"], "Bound");
    assert_eq!(claim["status"]["capacity"]["storage"], "1Gi");
    assert_eq!(claim["spec"]["volumeName"], format!("pvc-{}", claim["metadata"]["uid"].as_str().unwrap_or_default()));

    let pod = pod(&sim, "db-0");
    assert!(is_ready(&pod), "{pod:#}");
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["spec"]["hostname"], "db-0");
    assert_eq!(pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"], "0");

    let set = get(&sim, &resource::STATEFUL_SET, "db");
    let status = &set["status"];
    assert_eq!(status["readyReplicas"], 1);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(pod["metadata"]["labels"]["controller-revision-hash"], status["updateRevision"]);
    assert_eq!(events(&sim, "db", "SuccessfulCreate").len(), 2);
    assert_eq!(events(&sim, "db-0", "Scheduled").len(), 1);
}

#[tokio::test]
async fn scaled_to_zero_and_back_the_claim_stays() {
    let sim = cluster().await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    let first = pod(&sim, "db-0");

    let scale = |replicas: u64| {
        let change = |set: &mut serde_json::Value| set["spec"]["replicas"] = json!(replicas);
        sim.cluster().update(&resource::STATEFUL_SET, NS, "db", "test", change).expect("scaled")
    };
    scale(0);
    sim.settle().await;
    assert!(sim.cluster().get(&resource::POD, NS, "db-0").is_none());
    let status = get(&sim, &resource::STATEFUL_SET, "db")["status"].clone();
    assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(0), &json!(null)));
    let claim = get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data-db-0");

    scale(1);
    sim.settle().await;
    let second = pod(&sim, "db-0");
    assert!(is_ready(&second));
    assert_ne!(first["metadata"]["uid"], second["metadata"]["uid"]);
    assert_eq!(claim["metadata"]["uid"], get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data-db-0")["metadata"]["uid"]);
}

#[tokio::test]
async fn on_delete_a_pod_keeps_its_revision_until_it_is_deleted() {
    let sim = cluster().await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    let change = |set: &mut serde_json::Value| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("postgres:19");
    };
    sim.cluster().update(&resource::STATEFUL_SET, NS, "db", "test", change).expect("changed");
    sim.settle().await;

    let old = pod(&sim, "db-0");
    let status = get(&sim, &resource::STATEFUL_SET, "db")["status"].clone();
    assert_eq!(old["spec"]["containers"][0]["image"], "postgres:18");
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(status["updatedReplicas"], json!(null));

    let uid = old["metadata"]["uid"].as_str().map(str::to_owned);
    let options = DeleteOptions { uid, ..DeleteOptions::default() };
    sim.cluster().delete(&resource::POD, NS, "db-0", &options).expect("deleted");
    sim.settle().await;
    let new = pod(&sim, "db-0");
    assert_eq!(new["spec"]["containers"][0]["image"], "postgres:19");
    assert_eq!(new["metadata"]["labels"]["controller-revision-hash"], status["updateRevision"]);
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "db")["status"]["updatedReplicas"], 1);
}

#[tokio::test]
async fn a_rolling_update_replaces_pods_from_the_highest_ordinal() {
    let sim = cluster().await;
    let mut three = set("web", "nginx:1");
    three["spec"]["replicas"] = json!(3);
    three["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    create(&sim, &resource::STATEFUL_SET, three);
    sim.settle().await;
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "web")["status"]["readyReplicas"], 3);
    let change = |set: &mut serde_json::Value| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("nginx:2");
    };
    sim.cluster().update(&resource::STATEFUL_SET, NS, "web", "test", change).expect("changed");
    sim.settle().await;
    let images = ["web-0", "web-1", "web-2"].map(|name| pod(&sim, name)["spec"]["containers"][0]["image"].clone());
    assert_eq!(images, ["nginx:2", "nginx:2", "nginx:2"]);
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "web")["status"]["readyReplicas"], 3);
}

#[tokio::test]
async fn an_unhealthy_pod_is_not_replaced_and_holds_up_the_next() {
    let sim = cluster().await;
    let mut two = set("web", "nginx:1");
    two["spec"]["replicas"] = json!(2);
    sim.faults().add(Fault::never_ready().label("app", "web"));
    create(&sim, &resource::STATEFUL_SET, two);
    sim.settle().await;
    let first = pod(&sim, "web-0");
    assert!(!is_ready(&first));
    assert!(sim.cluster().get(&resource::POD, NS, "web-1").is_none());

    sim.faults().clear();
    sim.settle().await;
    assert_eq!(pod(&sim, "web-0")["metadata"]["uid"], first["metadata"]["uid"]);
    assert!(is_ready(&pod(&sim, "web-1")));
}

#[tokio::test]
async fn a_parallel_set_makes_all_its_pods_at_once_and_replaces_those_that_ended() {
    let sim = cluster().await;
    sim.faults().add(Fault::never_ready().label("app", "web"));
    let mut three = set("web", "nginx:1");
    three["spec"]["replicas"] = json!(3);
    three["spec"]["podManagementPolicy"] = json!("Parallel");
    create(&sim, &resource::STATEFUL_SET, three);
    sim.settle().await;
    let first = pod(&sim, "web-2");
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "web")["status"]["replicas"], 3);

    let fail = |pod: &mut serde_json::Value| pod["status"]["phase"] = json!("Failed");
    sim.faults().add(Fault::kill_node(first["spec"]["nodeName"].as_str().unwrap_or_default()));
    sim.settle().await;
    sim.cluster().update_status(&resource::POD, NS, "web-2", "test", fail).expect("failed");
    sim.settle().await;
    assert_ne!(pod(&sim, "web-2")["metadata"]["uid"], first["metadata"]["uid"]);
}

#[tokio::test]
async fn a_set_that_is_deleted_takes_its_pod_and_leaves_its_claim() {
    let sim = cluster().await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    sim.cluster().delete(&resource::STATEFUL_SET, NS, "db", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    assert!(sim.cluster().list(&resource::POD, Some(NS)).is_empty());
    assert_eq!(get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data-db-0")["status"]["phase"], "Bound");
}
