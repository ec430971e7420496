//! StatefulSets, their revisions and their claims.

use lumbung_simcluster::{Fault, SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{cluster, create, delete, edit, events, find, get, is_ready, pod, runs, set};

fn status(sim: &SimCluster, name: &str) -> Value {
    get(sim, &STATEFUL_SET, name)["status"].clone()
}

fn set_image(sim: &SimCluster, name: &str, image: &str) {
    edit(sim, &STATEFUL_SET, name, |set| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image));
}

fn image(sim: &SimCluster, name: &str) -> Value {
    pod(sim, name)["spec"]["containers"][0]["image"].clone()
}

#[tokio::test]
async fn a_set_makes_its_claim_and_its_pod_scales_to_zero_and_back_and_leaves_the_claim() {
    let sim = cluster().await;
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    let claim = get(&sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0");
    assert_eq!((&claim["status"]["phase"], &claim["status"]["capacity"]["storage"]), (&json!("Bound"), &json!("1Gi")));
    let first = pod(&sim, "db-0");
    assert!(is_ready(&first), "{first:#}");
    let labels = &first["metadata"]["labels"];
    assert_eq!((&first["spec"]["hostname"], &labels["apps.kubernetes.io/pod-index"]), (&json!("db-0"), &json!("0")));
    assert_eq!(labels["controller-revision-hash"], status(&sim, "db")["updateRevision"]);
    assert_eq!((events(&sim, "db", "SuccessfulCreate").len(), events(&sim, "db-0", "Scheduled").len()), (2, 1));

    for (replicas, ready) in [(0, json!(null)), (1, json!(1))] {
        edit(&sim, &STATEFUL_SET, "db", |set| set["spec"]["replicas"] = json!(replicas));
        sim.settle().await;
        assert_eq!(runs(&sim, "db-0"), replicas == 1);
        let status = status(&sim, "db");
        assert_eq!((&status["replicas"], &status["readyReplicas"]), (&json!(replicas), &ready));
    }
    assert_ne!(first["metadata"]["uid"], pod(&sim, "db-0")["metadata"]["uid"]);
    delete(&sim, &STATEFUL_SET, "db").await;
    assert!(find(&sim, &POD, "db-0").is_none());
    assert_eq!(claim["metadata"]["uid"], get(&sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0")["metadata"]["uid"]);
}

#[tokio::test]
async fn on_delete_a_pod_keeps_its_revision_until_it_is_deleted() {
    let sim = cluster().await;
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    set_image(&sim, "db", "postgres:19");
    sim.settle().await;
    let changed = status(&sim, "db");
    assert_eq!((image(&sim, "db-0"), &changed["updatedReplicas"]), (json!("postgres:18"), &json!(null)));
    assert_ne!(changed["currentRevision"], changed["updateRevision"]);
    delete(&sim, &POD, "db-0").await;
    assert_eq!((image(&sim, "db-0"), &status(&sim, "db")["updatedReplicas"]), (json!("postgres:19"), &json!(1)));
    assert_eq!(pod(&sim, "db-0")["metadata"]["labels"]["controller-revision-hash"], changed["updateRevision"]);
}

#[tokio::test]
async fn in_order_an_unhealthy_pod_is_not_replaced_and_holds_up_the_next_and_the_roll_out() {
    let sim = cluster().await;
    let mut three = set("web", "nginx:1");
    three["spec"]["replicas"] = json!(3);
    three["spec"]["updateStrategy"] = json!({"type": "RollingUpdate"});
    sim.faults().add(Fault::never_ready().label("app", "web"));
    create(&sim, &STATEFUL_SET, three);
    sim.settle().await;
    let first = pod(&sim, "web-0");
    assert!(!is_ready(&first) && find(&sim, &POD, "web-1").is_none());
    sim.faults().clear();
    sim.settle().await;
    assert_eq!(pod(&sim, "web-0")["metadata"]["uid"], first["metadata"]["uid"]);
    assert_eq!(status(&sim, "web")["readyReplicas"], 3);

    sim.faults().add(Fault::never_ready().label("statefulset.kubernetes.io/pod-name", "web-2"));
    set_image(&sim, "web", "nginx:2");
    sim.settle().await;
    assert_eq!(["web-0", "web-1", "web-2"].map(|name| image(&sim, name)), ["nginx:1", "nginx:1", "nginx:2"]);
    sim.faults().clear();
    sim.settle().await;
    assert_eq!(["web-0", "web-1", "web-2"].map(|name| image(&sim, name)), ["nginx:2", "nginx:2", "nginx:2"]);
    assert_eq!(status(&sim, "web")["currentRevision"], status(&sim, "web")["updateRevision"]);
}

#[tokio::test]
async fn a_pod_that_failed_is_replaced_and_what_is_not_simulated_is_refused_aloud() {
    let sim = cluster().await;
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    let mut careful = set("careful", "nginx:1");
    careful["spec"]["minReadySeconds"] = json!(10);
    create(&sim, &STATEFUL_SET, careful);
    sim.settle().await;
    assert!(find(&sim, &POD, "careful-0").is_none());
    assert_eq!(events(&sim, "careful", "FailedCreate").len(), 1);

    let first = pod(&sim, "db-0");
    sim.faults().add(Fault::kill_node(first["spec"]["nodeName"].as_str().unwrap_or_default()));
    let fail = |pod: &mut Value| pod["status"]["phase"] = json!("Failed");
    sim.cluster().update_status(&POD, "shop", "db-0", "test", fail).expect("failed");
    sim.settle().await;
    assert_ne!(pod(&sim, "db-0")["metadata"]["uid"], first["metadata"]["uid"]);
}
