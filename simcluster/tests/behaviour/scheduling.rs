//! Which node a pod gets, and what is said when it gets none.

use lumbung_simcluster::{SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{bare_pod, cluster, container, create, delete, edit, events, pod, runs};

const UNHELPFUL: &str =
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
const OTHER: &str = "2 node(s) didn't match Pod's node affinity/selector";

fn message(sim: &SimCluster, name: &str) -> String {
    let conditions = pod(sim, name)["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let scheduled = conditions.into_iter().find(|c| c["type"] == "PodScheduled").unwrap_or_default();
    assert_eq!((&scheduled["status"], &scheduled["reason"]), (&json!("False"), &json!("Unschedulable")));
    let message = scheduled["message"].as_str().unwrap_or_default();
    message.strip_prefix("0/3 nodes are available: ").unwrap_or(message).to_owned()
}

fn sized(name: &str, cpu: &str, memory: &str, more: Value) -> Value {
    let resources = json!({"requests": {"cpu": cpu, "memory": memory}});
    let mut pod = bare_pod(name, json!({"name": "app", "image": "nginx", "resources": resources}));
    for (field, value) in more.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

fn only(field: &str, key: &str, node: &str) -> Value {
    let term = json!({field: [{"key": key, "operator": "In", "values": [node]}]});
    json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}})
}

#[tokio::test]
async fn refusals_are_counted_per_reason_until_there_is_room() {
    let sim = cluster().await;
    edit(&sim, &NODE, "n2", |node| node["spec"]["unschedulable"] = json!(true));
    edit(&sim, &NODE, "n3", |node| node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}]));
    sim.settle().await;
    let anti = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}]);
    let anti = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": anti}}});
    let volume = |claim: &str| json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": claim}}]});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": "no", "resources": {"requests": {"storage": "1"}}});
    create(&sim, &PERSISTENT_VOLUME_CLAIM, json!({"metadata": {"name": "unbound"}, "spec": claim}));
    let refused = "1 node(s) had untolerated taint(s), 1 node(s) were unschedulable";
    let affinity = "1 node(s) didn't match Pod's node affinity/selector";
    for (name, cpu, more, expected) in [
        (
            "x",
            "1",
            only("matchExpressions", "kubernetes.io/hostname", "n2"),
            format!("{affinity}, {refused}. {UNHELPFUL}"),
        ),
        ("labelled", "1", json!({"nodeSelector": {"disk": "ssd"}}), format!("{affinity}, {refused}. {UNHELPFUL}")),
        ("big", "5", json!({}), format!("1 Insufficient cpu, {refused}. {UNHELPFUL}")),
        ("noclaim", "1", volume("missing"), "persistentvolumeclaim \"missing\" not found. not found".to_owned()),
        ("unbound", "1", volume("unbound"), "pod has unbound immediate PersistentVolumeClaims. not found".to_owned()),
        ("anti", "1", anti, "the simulated scheduler does not support affinity between pods.".to_owned()),
    ] {
        create(&sim, &POD, sized(name, cpu, "1Gi", more));
        sim.settle().await;
        assert_eq!(message(&sim, name), expected);
        assert_eq!(events(&sim, name, "FailedScheduling"), [format!("0/3 nodes are available: {expected}")]);
    }
    edit(&sim, &NODE, "n2", |node| node["spec"]["unschedulable"] = json!(false));
    sim.settle().await;
    assert!(runs(&sim, "x") && !runs(&sim, "labelled"));
    assert_eq!(
        (&pod(&sim, "x")["spec"]["nodeName"], &pod(&sim, "x")["metadata"]["generation"]),
        (&json!("n2"), &json!(1))
    );
    edit(&sim, &NODE, "n1", |node| node["metadata"]["labels"]["disk"] = json!("ssd"));
    sim.settle().await;
    assert!(runs(&sim, "labelled"));
}

#[tokio::test]
async fn a_full_node_takes_no_more_until_a_pod_has_gone() {
    let sim = cluster().await;
    for name in ["a", "b", "c"] {
        create(&sim, &POD, sized(name, "1500m", "1Gi", only("matchFields", "metadata.name", "n1")));
    }
    sim.settle().await;
    assert!(runs(&sim, "a") && runs(&sim, "b"));
    let expected = format!(
        "1 Insufficient cpu, {OTHER}. no new claims to deallocate, preemption: 0/3 nodes are available: 1 No preemption \
         victims found for incoming pod, 2 Preemption is not helpful for scheduling."
    );
    assert_eq!(message(&sim, "c"), expected);
    delete(&sim, &POD, "a").await;
    assert!(runs(&sim, "c"));
}

#[tokio::test]
async fn pods_go_where_they_prefer_else_to_the_emptier_node_and_bear_what_they_tolerate() {
    let sim = cluster().await;
    let wish = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
    let wish = json!({"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": wish}]});
    let tolerant = json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "v"}]});
    for (name, more, expected) in [
        ("a", json!({}), "n1"),
        ("b", json!({}), "n2"),
        ("c", json!({}), "n3"),
        ("d", json!({"affinity": {"nodeAffinity": wish}}), "n1"),
        ("e", json!({}), "n2"),
        ("f", tolerant, "n3"),
    ] {
        create(&sim, &POD, sized(name, "1", "1Gi", more));
        sim.settle().await;
        assert_eq!(pod(&sim, name)["spec"]["nodeName"], expected, "{name}");
        let taint = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]);
        edit(&sim, &NODE, "n3", |node| node["spec"]["taints"] = if name == "e" { taint } else { json!([]) });
    }
    create(&sim, &POD, bare_pod("gone", container("app", "nginx")));
    for name in ["n1", "n2", "n3"] {
        delete(&sim, &NODE, name).await;
    }
    sim.settle().await;
    assert!(sim.cluster().list(&POD, Some("shop")).is_empty(), "pods of nodes that are gone go, too");
    create(&sim, &POD, bare_pod("late", container("app", "nginx")));
    sim.settle().await;
    assert_eq!(message(&sim, "late"), "no nodes available to schedule pods");
}
