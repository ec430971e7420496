//! Claims, volumes and attachments.

use lumbung_simcluster::{DeleteOptions, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, container, create, get, pod, runs};

fn claim(name: &str, class: &str) -> Value {
    json!({
        "metadata": {"name": name, "finalizers": ["kubernetes.io/pvc-protection"]},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}},
        },
    })
}

fn pod_with(name: &str, claim: &str) -> Value {
    let mut pod = bare_pod(name, container("app", "nginx"));
    pod["spec"]["volumes"] = json!([{"name": "d", "persistentVolumeClaim": {"claimName": claim}}]);
    pod
}

fn bound_claim(sim: &SimCluster, name: &str) -> (Value, Value) {
    let claim = get(sim, &resource::PERSISTENT_VOLUME_CLAIM, name);
    assert_eq!(claim["status"]["phase"], "Bound");
    let volume = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    let volume = sim.cluster().get(&resource::PERSISTENT_VOLUME, "", volume).expect("the volume exists");
    (Value::clone(&claim), Value::clone(&volume))
}

#[tokio::test]
async fn a_local_volume_waits_for_its_pod_and_pins_it() {
    let sim = cluster().await;
    create(&sim, &resource::PERSISTENT_VOLUME_CLAIM, claim("data", "local-path"));
    sim.settle().await;
    assert_ne!(get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data")["status"]["phase"], "Bound");

    create(&sim, &resource::POD, pod_with("x", "data"));
    sim.settle().await;
    let node = pod(&sim, "x")["spec"]["nodeName"].clone();
    let (_, volume) = bound_claim(&sim, "data");
    let term = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
    assert_eq!((&term["key"], &term["values"][0]), (&json!("kubernetes.io/hostname"), &node));
    assert!(runs(&sim, "x"));

    sim.cluster().delete(&resource::POD, NS, "x", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    let mut elsewhere = pod_with("y", "data");
    let other = if node == "n1" { "n2" } else { "n1" };
    elsewhere["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": other});
    create(&sim, &resource::POD, elsewhere);
    sim.settle().await;
    let stuck = pod(&sim, "y");
    let message = stuck["status"]["conditions"][0]["message"].as_str().unwrap_or_default();
    assert!(message.contains("1 node(s) didn't match PersistentVolume's node affinity"), "{message}");
}

#[tokio::test]
async fn a_used_claim_is_protected_and_its_volume_goes_with_it() {
    let sim = cluster().await;
    create(&sim, &resource::PERSISTENT_VOLUME_CLAIM, claim("data", "longhorn"));
    create(&sim, &resource::POD, pod_with("x", "data"));
    sim.settle().await;
    let (_, volume) = bound_claim(&sim, "data");
    assert!(volume["spec"]["nodeAffinity"].is_null());
    assert_eq!(sim.cluster().list(&resource::VOLUME_ATTACHMENT, None).len(), 1);

    let delete = |kind, name: &str| sim.cluster().delete(kind, NS, name, &DeleteOptions::default()).expect("deleted");
    delete(&resource::PERSISTENT_VOLUME_CLAIM, "data");
    sim.settle().await;
    assert!(get(&sim, &resource::PERSISTENT_VOLUME_CLAIM, "data")["metadata"]["deletionTimestamp"].is_string());

    delete(&resource::POD, "x");
    sim.settle().await;
    assert!(sim.cluster().get(&resource::PERSISTENT_VOLUME_CLAIM, NS, "data").is_none());
    assert!(sim.cluster().list(&resource::PERSISTENT_VOLUME, None).is_empty());
    assert!(sim.cluster().list(&resource::VOLUME_ATTACHMENT, None).is_empty());
}

#[tokio::test]
async fn a_claim_grows_where_its_class_allows_it() {
    let sim = cluster().await;
    create(&sim, &resource::PERSISTENT_VOLUME_CLAIM, claim("data", "longhorn"));
    sim.settle().await;
    let grow = |claim: &mut Value| claim["spec"]["resources"]["requests"]["storage"] = json!("2Gi");
    sim.cluster().update(&resource::PERSISTENT_VOLUME_CLAIM, NS, "data", "test", grow).expect("grown");
    sim.settle().await;
    let (claim, volume) = bound_claim(&sim, "data");
    assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
    assert_eq!(volume["spec"]["capacity"]["storage"], "2Gi");
}
