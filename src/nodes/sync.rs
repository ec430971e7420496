//! Looks at the cluster's nodes and writes what changed.
//!
//! When more than half of the known nodes look lost at once, it is more likely that we see badly than that they all
//! died: nothing is written, and an alert counts the blindness. The same when the API server cannot be reached.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, ListParams};
use prometheus::IntCounterVec;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{quantity, requests, store};
use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::events::{self, Outbox};
use crate::tasks::Report;
use crate::{kube as k8s, regions, telemetry};

static BLIND: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_nodes_blind_looks_total",
        "Looks at the nodes that were not believed.",
        &["reason"],
    )
});

/// What one look saw of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    pub name: String,
    pub uid: String,
    pub availability: &'static str,
    pub cpu_milli: i32,
    pub mem_mib: i32,
    pub disk_mib: i64,
    pub max_pods: i32,
    pub foreign_cpu_milli: i32,
    pub foreign_mem_mib: i32,
    pub foreign_pods: i32,
    pub unschedulable: bool,
    pub labels: BTreeMap<String, String>,
    pub taints: Value,
    pub kubelet_version: String,
}

#[derive(Clone)]
pub struct Deps {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    pub client: kube::Client,
}

/// One look.
pub async fn run(deps: &Deps) -> anyhow::Result<Report> {
    let (nodes, pods) = (
        Api::<Node>::all(deps.client.clone()),
        Api::<Pod>::all(deps.client.clone()),
    );
    let all = ListParams::default();
    let others = ListParams::default().labels("app.kubernetes.io/managed-by!=lumbung");
    let (nodes, pods) = match futures::try_join!(k8s::timed(nodes.list(&all)), k8s::timed(pods.list(&others))) {
        Ok(both) => both,
        Err(error) => {
            BLIND.with_label_values(&["unreachable"]).inc();
            return Err(error.into());
        }
    };
    let seen = look(&nodes.items, &pods.items);

    let mut tx = deps.pool.begin().await?;
    let region = regions::default(&mut tx).await?;
    let known = store::known(&mut tx, region).await?;
    if too_many_lost(&known, &seen) {
        BLIND.with_label_values(&["majority_lost"]).inc();
        tracing::warn!(
            known = known.len(),
            "more than half of the nodes look lost at once; believing nothing"
        );
        return Ok(Report::default());
    }
    let mut outbox = Outbox::default();
    let mut done = 0;
    for node in &seen {
        let changed = store::upsert(&mut tx, &deps.ambient, region, node).await?;
        done += u64::from(changed);
        let before = known.iter().find(|known| known.name == node.name);
        if before.is_none_or(|before| before.availability != node.availability || before.uid != node.uid) {
            let from = before.map(|before| before.availability.as_str());
            outbox.push(
                events::SYSTEM,
                "node.availability_changed",
                json!({"node": node.name, "from": from, "to": node.availability}),
            );
        }
    }
    for gone in known
        .iter()
        .filter(|known| seen.iter().all(|seen| seen.name != known.name))
    {
        if store::vanished(&mut tx, gone.id).await? {
            done += 1;
            outbox.push(
                events::SYSTEM,
                "node.availability_changed",
                json!({"node": gone.name, "from": gone.availability, "to": "unknown"}),
            );
        }
    }
    let told = !outbox.is_empty();
    outbox.flush(&mut tx, &deps.ambient).await?;
    tx.commit().await?;
    if told {
        deps.signals.ring(Channel::Events);
    }
    Ok(Report::did(done))
}

/// Two nodes are no majority to speak of: with so few, losing one or both is believed.
fn too_many_lost(known: &[store::Known], seen: &[Seen]) -> bool {
    let ready_now = |name: &str| {
        seen.iter()
            .any(|seen| seen.name == name && seen.availability == "ready")
    };
    let ready_before: Vec<_> = known.iter().filter(|known| known.availability == "ready").collect();
    let lost = ready_before.iter().filter(|known| !ready_now(&known.name)).count();
    ready_before.len() > 2 && lost * 2 > ready_before.len()
}

/// Pure: the nodes as rows, with what pods that are not ours take on each.
pub fn look(nodes: &[Node], foreign: &[Pod]) -> Vec<Seen> {
    let mut taken: BTreeMap<&str, (requests::Requests, i32)> = BTreeMap::new();
    for pod in foreign.iter().filter(|pod| requests::counts(pod)) {
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            let own = requests::effective(pod);
            let (sum, pods) = taken.entry(node).or_default();
            sum.cpu_milli += own.cpu_milli;
            sum.mem_mib += own.mem_mib;
            *pods += 1;
        }
    }
    let mut seen: Vec<_> = nodes.iter().map(|node| one(node, &taken)).collect();
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    seen
}

fn one(node: &Node, taken: &BTreeMap<&str, (requests::Requests, i32)>) -> Seen {
    let name = node.metadata.name.clone().unwrap_or_default();
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let allocatable = status.allocatable.unwrap_or_default();
    // A size that cannot be read is no capacity: nothing is sold on a guess.
    let read =
        |key: &str, parse: fn(&str) -> Option<i64>| allocatable.get(key).and_then(|q| parse(&q.0)).unwrap_or(0).max(0);
    let small = |value: i64| i32::try_from(value).unwrap_or(i32::MAX);
    let (foreign, foreign_pods) = taken.get(name.as_str()).copied().unwrap_or_default();
    let ready = status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let taints = spec.taints.iter().flatten();
    Seen {
        uid: node.metadata.uid.clone().unwrap_or_default(),
        availability: if ready { "ready" } else { "suspect" },
        cpu_milli: small(read("cpu", quantity::milli_floor)),
        mem_mib: small(read("memory", quantity::mib_floor)),
        disk_mib: read("ephemeral-storage", quantity::mib_floor),
        max_pods: small(read("pods", quantity::units)),
        foreign_cpu_milli: small(foreign.cpu_milli),
        foreign_mem_mib: small(foreign.mem_mib),
        foreign_pods,
        unschedulable: spec.unschedulable.unwrap_or(false),
        labels: node.metadata.labels.clone().unwrap_or_default(),
        taints: taints
            .map(|t| json!({"key": t.key, "value": t.value.clone().unwrap_or_default(), "effect": t.effect}))
            .collect(),
        kubelet_version: status.node_info.map(|info| info.kubelet_version).unwrap_or_default(),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<store::Known> {
        let row = |name: &&str| store::Known {
            id: uuid::Uuid::nil(),
            name: (*name).into(),
            uid: String::new(),
            availability: "ready".into(),
        };
        names.iter().map(row).collect()
    }

    fn node(name: &str, ready: &str) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "uid": "u", "labels": {"zone": "a"}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "7500m", "memory": "30Gi", "ephemeral-storage": "200Gi", "pods": "110"},
                       "conditions": [{"type": "Ready", "status": ready}]}
        }))
        .unwrap()
    }

    #[test]
    fn foreign_pods_count_while_they_live() {
        let pod = |phase: &str| -> Pod {
            serde_json::from_value(json!({
                "spec": {"nodeName": "a", "containers": [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}}}]},
                "status": {"phase": phase}
            }))
            .unwrap()
        };
        let seen = look(
            &[node("b", "Unknown"), node("a", "True")],
            &[pod("Running"), pod("Pending"), pod("Succeeded")],
        );
        assert_eq!(
            (seen[0].name.as_str(), seen[0].availability, seen[0].mem_mib),
            ("a", "ready", 30_720)
        );
        assert_eq!(
            (seen[0].foreign_cpu_milli, seen[0].foreign_mem_mib, seen[0].foreign_pods),
            (200, 140, 2)
        );
        assert_eq!((seen[1].availability, seen[1].foreign_pods), ("suspect", 0));
        assert_eq!(
            seen[0].taints,
            json!([{"key": "k", "value": "", "effect": "NoSchedule"}])
        );
    }

    #[test]
    fn a_majority_that_is_lost_at_once_is_our_own_blindness() {
        let three = known(&["a", "b", "c"]);
        let all = look(&[node("a", "True"), node("b", "True"), node("c", "True")], &[]);
        let one_lost = look(&[node("a", "True"), node("b", "True"), node("c", "Unknown")], &[]);
        let two_lost = look(&[node("a", "True"), node("b", "Unknown")], &[]);
        assert!(!too_many_lost(&three, &all));
        assert!(!too_many_lost(&three, &one_lost));
        assert!(too_many_lost(&three, &two_lost));
        assert!(too_many_lost(&three, &[]));
        assert!(
            !too_many_lost(&known(&["a"]), &[]),
            "the only machine of a small cluster may be gone"
        );
    }
}
