//! Claims, volumes and attachments.

use lumbung_simcluster::{SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{
    bare_pod, claim, cluster, container, create, delete, edit, events, find, get, pod, runs, set, until,
};

fn pod_with(name: &str, claim: &str) -> Value {
    let mut pod = bare_pod(name, container("app", "nginx"));
    pod["spec"]["volumes"] = json!([{"name": "d", "persistentVolumeClaim": {"claimName": claim}}]);
    pod
}

fn volume_of(sim: &SimCluster, claim: &str) -> Value {
    let claim = get(sim, &PERSISTENT_VOLUME_CLAIM, claim);
    assert_eq!(claim["status"]["phase"], "Bound");
    Value::clone(&get(sim, &PERSISTENT_VOLUME, claim["spec"]["volumeName"].as_str().unwrap_or_default()))
}

#[tokio::test]
async fn a_local_volume_waits_for_its_pod_and_pins_it() {
    let sim = cluster().await;
    create(&sim, &PERSISTENT_VOLUME_CLAIM, claim("data", "local-path"));
    sim.settle().await;
    assert_ne!(get(&sim, &PERSISTENT_VOLUME_CLAIM, "data")["status"]["phase"], "Bound");
    create(&sim, &POD, pod_with("x", "data"));
    sim.settle().await;
    assert!(runs(&sim, "x"));
    let node = pod(&sim, "x")["spec"]["nodeName"].clone();
    let term =
        &volume_of(&sim, "data")["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!((&term["key"], &term["values"][0]), (&json!("kubernetes.io/hostname"), &node));

    delete(&sim, &POD, "x").await;
    let mut elsewhere = pod_with("y", "data");
    elsewhere["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": if node == "n1" { "n2" } else { "n1" }});
    create(&sim, &POD, elsewhere);
    create(&sim, &POD, pod_with("z", "data"));
    sim.settle().await;
    let stuck = pod(&sim, "y")["status"]["conditions"][0]["message"].to_string();
    assert!(stuck.contains("1 node(s) didn't match PersistentVolume's node affinity"), "{stuck}");
    assert_eq!(pod(&sim, "z")["spec"]["nodeName"], node);
}

#[tokio::test]
async fn a_used_claim_grows_is_protected_and_takes_its_volume_with_it() {
    let sim = cluster().await;
    let mut protected = claim("data", "longhorn");
    protected["metadata"]["finalizers"] = json!(["kubernetes.io/pvc-protection"]);
    create(&sim, &PERSISTENT_VOLUME_CLAIM, protected);
    create(&sim, &POD, pod_with("x", "data"));
    sim.settle().await;
    assert!(volume_of(&sim, "data")["spec"]["nodeAffinity"].is_null());
    assert_eq!(sim.cluster().list(&VOLUME_ATTACHMENT, None).len(), 1);
    let grow = |claim: &mut Value| claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    edit(&sim, &PERSISTENT_VOLUME_CLAIM, "data", grow).await;
    assert_eq!(get(&sim, &PERSISTENT_VOLUME_CLAIM, "data")["status"]["capacity"]["storage"], "2Gi");
    assert_eq!(volume_of(&sim, "data")["spec"]["capacity"]["storage"], "2Gi");

    delete(&sim, &PERSISTENT_VOLUME_CLAIM, "data").await;
    assert!(get(&sim, &PERSISTENT_VOLUME_CLAIM, "data")["metadata"]["deletionTimestamp"].is_string());
    delete(&sim, &POD, "x").await;
    assert!(find(&sim, &PERSISTENT_VOLUME_CLAIM, "data").is_none());
    for kind in [&PERSISTENT_VOLUME, &VOLUME_ATTACHMENT] {
        assert!(sim.cluster().list(kind, None).is_empty(), "{}", kind.kind);
    }
}

/// Found by reading: the set made its pod anew before the claim was gone, and both waited for ever.
#[tokio::test]
async fn a_claim_that_is_deleted_under_its_set_is_made_anew() {
    let sim = cluster().await;
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    let claimed = |sim: &SimCluster| get(sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0")["metadata"]["uid"].clone();
    let first = claimed(&sim);
    delete(&sim, &PERSISTENT_VOLUME_CLAIM, "data-db-0").await;
    assert!(runs(&sim, "db-0") && claimed(&sim) == first, "held by its pod");
    delete(&sim, &POD, "db-0").await;
    until(&sim, "the set has both again", |sim| runs(sim, "db-0") && claimed(sim) != first).await;
    let refused = events(&sim, "db", "FailedCreate");
    assert!(refused.iter().all(|why| why.ends_with("pvc data-db-0 is being deleted")), "{refused:?}");
}
