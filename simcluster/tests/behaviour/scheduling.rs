//! Which node a pod gets, and what is said when it gets none.

use lumbung_simcluster::{SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{bare_pod, claim, cluster, container, create, delete, edit, events, pod, runs};

const UNHELPFUL: &str =
    "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";

fn sized(sim: &SimCluster, name: &str, cpu: &str, more: &Value) {
    let resources = json!({"requests": {"cpu": cpu, "memory": "1Gi"}});
    let mut pod = bare_pod(name, json!({"name": "app", "image": "nginx", "resources": resources}));
    for (field, value) in more.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    create(sim, &POD, pod);
}

#[tokio::test]
async fn refusals_are_counted_per_reason_until_there_is_room() {
    let sim = cluster().await;
    edit(&sim, &NODE, "n2", |node| node["spec"]["unschedulable"] = json!(true)).await;
    edit(&sim, &NODE, "n3", |node| node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}])).await;
    let only = json!([{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2"]}]}]);
    let only = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": only}});
    let volume = |claim: &str| json!({"volumes": [{"name": "d", "persistentVolumeClaim": {"claimName": claim}}]});
    create(&sim, &PERSISTENT_VOLUME_CLAIM, claim("unbound", "no"));
    let refused = format!("1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. {UNHELPFUL}");
    let affinity = format!("1 node(s) didn't match Pod's node affinity/selector, {refused}");
    for (name, cpu, more, expected) in [
        ("x", "1", json!({"affinity": {"nodeAffinity": only}}), affinity.clone()),
        ("labelled", "1", json!({"nodeSelector": {"disk": "ssd"}}), affinity),
        ("big", "5", json!({}), format!("1 Insufficient cpu, {refused}")),
        ("noclaim", "1", volume("missing"), "persistentvolumeclaim \"missing\" not found. not found".to_owned()),
        ("unbound", "1", volume("unbound"), "pod has unbound immediate PersistentVolumeClaims. not found".to_owned()),
    ] {
        sized(&sim, name, cpu, &more);
        sim.settle().await;
        let scheduled = &pod(&sim, name)["status"]["conditions"][0];
        let message = format!("0/3 nodes are available: {expected}");
        assert_eq!((&scheduled["reason"], &scheduled["message"]), (&json!("Unschedulable"), &json!(message)));
        assert_eq!(events(&sim, name, "FailedScheduling"), [message]);
    }
    edit(&sim, &NODE, "n2", |node| node["spec"]["unschedulable"] = json!(false)).await;
    assert!(runs(&sim, "x") && !runs(&sim, "labelled"));
    edit(&sim, &NODE, "n1", |node| node["metadata"]["labels"]["disk"] = json!("ssd")).await;
    assert!(runs(&sim, "labelled"));
}

#[tokio::test]
async fn a_full_node_takes_no_more_until_a_pod_has_gone() {
    let sim = cluster().await;
    for name in ["a", "b", "c"] {
        sized(&sim, name, "1500m", &json!({"nodeSelector": {"kubernetes.io/hostname": "n1"}}));
    }
    sim.settle().await;
    assert!(runs(&sim, "a") && runs(&sim, "b") && !runs(&sim, "c"));
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
        sized(&sim, name, "1", &more);
        sim.settle().await;
        assert_eq!(pod(&sim, name)["spec"]["nodeName"], expected, "{name}");
        let taint = json!([{"key": "k", "value": "v", "effect": "NoSchedule"}]);
        edit(&sim, &NODE, "n3", |node| node["spec"]["taints"] = if name == "e" { taint } else { json!([]) }).await;
    }
    for name in ["n1", "n2", "n3"] {
        delete(&sim, &NODE, name).await;
    }
    assert!(sim.cluster().list(&POD, Some("shop")).is_empty(), "pods of nodes that are gone go, too");
    create(&sim, &POD, bare_pod("late", container("app", "nginx")));
    sim.settle().await;
    assert_eq!(events(&sim, "late", "FailedScheduling"), ["no nodes available to schedule pods"]);
}
