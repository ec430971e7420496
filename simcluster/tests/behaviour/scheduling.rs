//! Which node a pod gets, and what is said when it gets none.

use lumbung_simcluster::{DeleteOptions, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, container, create, events, pod, runs};

const UNHELPFUL: &str =
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";

fn message(sim: &SimCluster, name: &str) -> String {
    let pod = pod(sim, name);
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.into_iter().find(|c| c["type"] == "PodScheduled").unwrap_or_default();
    assert_eq!((&scheduled["status"], &scheduled["reason"]), (&json!("False"), &json!("Unschedulable")));
    scheduled["message"].as_str().unwrap_or_default().to_owned()
}

fn sized(name: &str, cpu: &str, memory: &str) -> Value {
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
    bare_pod(name, json!({"name": "app", "image": "nginx", "resources": resources}))
}

fn cordon(sim: &SimCluster, name: &str, cordoned: bool) {
    let change = |node: &mut Value| node["spec"]["unschedulable"] = json!(cordoned);
    sim.cluster().update(&resource::NODE, "", name, "test", change).expect("changed");
}

fn on(mut pod: Value, key: &str, node: &str) -> Value {
    let term = json!({"key": key, "operator": "In", "values": [node]});
    let field = if key == "metadata.name" { "matchFields" } else { "matchExpressions" };
    pod["spec"]["affinity"] = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [{field: [term]}],
    }}});
    pod
}

#[tokio::test]
async fn refusals_are_counted_per_reason() {
    let sim = cluster().await;
    cordon(&sim, "n2", true);
    sim.settle().await;
    create(&sim, &resource::POD, on(sized("cordoned", "1", "1Gi"), "kubernetes.io/hostname", "n2"));
    create(&sim, &resource::POD, sized("toobig", "5", "9Gi"));
    let mut labelled = sized("nosuchlabel", "1", "1Gi");
    labelled["spec"]["nodeSelector"] = json!({"disk": "ssd"});
    create(&sim, &resource::POD, labelled);
    sim.settle().await;

    let affinity = "2 node(s) didn't match Pod's node affinity/selector";
    let expected = format!("0/3 nodes are available: 1 node(s) were unschedulable, {affinity}. {UNHELPFUL}");
    assert_eq!(message(&sim, "cordoned"), expected);
    assert_eq!(message(&sim, "nosuchlabel"), expected);
    let resources = "2 Insufficient cpu, 2 Insufficient memory";
    let expected = format!("0/3 nodes are available: 1 node(s) were unschedulable, {resources}. {UNHELPFUL}");
    assert_eq!(message(&sim, "toobig"), expected);
    assert_eq!(events(&sim, "toobig", "FailedScheduling"), [expected]);

    cordon(&sim, "n2", false);
    sim.settle().await;
    assert!(runs(&sim, "cordoned"));
    assert_eq!(pod(&sim, "cordoned")["metadata"]["generation"], 1);
    assert_eq!(pod(&sim, "cordoned")["spec"]["nodeName"], "n2");
}

#[tokio::test]
async fn a_full_node_takes_no_more_until_a_pod_has_gone() {
    let sim = cluster().await;
    for name in ["a", "b", "c"] {
        create(&sim, &resource::POD, on(sized(name, "1500m", "1Gi"), "metadata.name", "n1"));
    }
    sim.settle().await;
    assert!(runs(&sim, "a") && runs(&sim, "b"));
    let expected = "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't match Pod's node affinity/selector. \
                    no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption victims found \
                    for incoming pod, 2 Preemption is not helpful for scheduling.";
    assert_eq!(message(&sim, "c"), expected);
    sim.cluster().delete(&resource::POD, NS, "a", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    assert!(runs(&sim, "c"));
}

#[tokio::test]
async fn pods_spread_over_the_emptier_nodes() {
    let sim = cluster().await;
    for name in ["a", "b", "c"] {
        create(&sim, &resource::POD, sized(name, "1", "1Gi"));
    }
    sim.settle().await;
    let mut nodes: Vec<Value> = ["a", "b", "c"].map(|name| pod(&sim, name)["spec"]["nodeName"].clone()).to_vec();
    nodes.sort_by_key(ToString::to_string);
    assert_eq!(nodes, ["n1", "n2", "n3"]);
}

#[tokio::test]
async fn taints_repel_those_who_do_not_tolerate_them() {
    let sim = cluster().await;
    for node in ["n1", "n2", "n3"] {
        let taint =
            |node: &mut Value| node["spec"]["taints"] = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]);
        sim.cluster().update(&resource::NODE, "", node, "test", taint).expect("tainted");
    }
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    let mut tolerant = bare_pod("y", container("app", "nginx"));
    tolerant["spec"]["tolerations"] = json!([{"key": "k", "operator": "Equal", "value": "v"}]);
    create(&sim, &resource::POD, tolerant);
    sim.settle().await;
    let expected = format!("0/3 nodes are available: 3 node(s) had untolerated taint(s). {UNHELPFUL}");
    assert_eq!(message(&sim, "x"), expected);
    assert!(runs(&sim, "y"));
}

#[tokio::test]
async fn a_claim_that_cannot_be_bound_holds_its_pod() {
    let sim = cluster().await;
    let mut pod = bare_pod("x", container("app", "nginx"));
    pod["spec"]["volumes"] = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "missing"}}]);
    create(&sim, &resource::POD, pod);
    sim.settle().await;
    let expected = "0/3 nodes are available: persistentvolumeclaim \"missing\" not found. not found";
    assert_eq!(message(&sim, "x"), expected);
    let claim = json!({
        "metadata": {"name": "missing"},
        "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "nosuch",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    });
    create(&sim, &resource::PERSISTENT_VOLUME_CLAIM, claim);
    sim.settle().await;
    let expected = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found";
    assert_eq!(message(&sim, "x"), expected);
}

#[tokio::test]
async fn what_is_not_simulated_is_refused_aloud() {
    let sim = cluster().await;
    let mut pod = bare_pod("x", container("app", "nginx"));
    let term = json!({"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}});
    pod["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    create(&sim, &resource::POD, pod);
    sim.settle().await;
    let expected = "0/3 nodes are available: the simulated scheduler does not support affinity between pods.";
    assert_eq!(message(&sim, "x"), expected);
}
