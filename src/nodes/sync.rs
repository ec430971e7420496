//! Looks at the cluster's nodes and writes what changed.
//!
//! When more than half of the ready nodes look lost at once, it is more likely that we see badly than that they all
//! died: nothing is written, and an alert counts the blindness. The same when the API server cannot be reached. A
//! majority that stays lost, in every look for [`PATIENCE`] and in [`LOOKS`] of them at least, is believed in the end:
//! the operator has been alerted long since, and orders must not go on filling nodes that are not there. The memory of
//! that is the process's own, so a restart, and a look that reached nobody, begin anew: errors are on the slow side.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::Api;
use prometheus::IntCounterVec;
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Deps, quantity, requests, store};
use crate::clock::Time;
use crate::db::signal::Channel;
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

/// How long a majority must stay lost. Kubernetes waits as long before it evicts the pods of a node that is gone.
pub const PATIENCE: Duration = Duration::from_mins(5);
/// In how many looks at least: a process that was paused must not take one look for a long one.
pub const LOOKS: u32 = 10;

/// Pods that others brought; what they request is not ours to sell.
const FOREIGN: &str = "app.kubernetes.io/managed-by!=lumbung";

/// Since when a majority has looked lost, in how many looks.
#[derive(Debug, Default)]
pub struct Doubt(Option<(Time, u32)>);

impl Doubt {
    /// One more look that saw a majority lost: is it to be believed by now?
    fn another(&mut self, now: Time) -> bool {
        let (since, looks) = self.0.get_or_insert((now, 0));
        *looks += 1;
        *looks >= LOOKS && now.since(*since) >= PATIENCE
    }

    fn settle(&mut self) {
        self.0 = None;
    }
}

/// One look. `doubt` is what the process remembers from the looks before.
pub async fn run(deps: &Deps, doubt: &mut Doubt) -> anyhow::Result<Report> {
    let (nodes, pods) = (
        Api::<Node>::all(deps.client.clone()),
        Api::<Pod>::all(deps.client.clone()),
    );
    let (nodes, pods) = match futures::try_join!(k8s::list(&nodes, ""), k8s::list(&pods, FOREIGN)) {
        Ok(both) => both,
        Err(error) => {
            BLIND.with_label_values(&["unreachable"]).inc();
            doubt.settle();
            return Err(error.into());
        }
    };
    let seen = look(&nodes, &pods);

    let mut tx = deps.pool.begin().await?;
    let region = regions::default(&mut tx).await?;
    let known = store::known(&mut tx, region).await?;
    if !too_many_lost(&known, &seen) {
        doubt.settle();
    } else if doubt.another(deps.ambient.now()) {
        tracing::warn!(
            known_nodes = known.len(),
            "more than half of the nodes have stayed lost; believing it now"
        );
    } else {
        BLIND.with_label_values(&["majority_lost"]).inc();
        tracing::warn!(
            known_nodes = known.len(),
            "more than half of the nodes look lost at once; believing nothing"
        );
        return Ok(Report::default());
    }
    let mut outbox = Outbox::default();
    let done = write(&mut tx, deps, region, &known, &seen, &mut outbox).await?;
    let told = !outbox.is_empty();
    outbox.flush(&mut tx, &deps.ambient).await?;
    tx.commit().await?;
    if told {
        deps.signals.ring(Channel::Events);
    }
    if done > 0 {
        deps.signals.ring(Channel::Placement);
    }
    Ok(Report::did(done))
}

/// Rows that changed, and the events that tell of it.
async fn write(
    conn: &mut PgConnection,
    deps: &Deps,
    region: Uuid,
    known: &[store::Known],
    seen: &[Seen],
    outbox: &mut Outbox,
) -> sqlx::Result<u64> {
    let mut done = 0;
    let mut told = |id: Uuid, name: &str, from: Option<&str>, to: &str| {
        let payload = json!({"node_id": id, "node": name, "from": from, "to": to});
        outbox.push(events::SYSTEM, "node.availability_changed", payload);
    };
    let mut replaced = Vec::new();
    for node in seen {
        let Some(id) = store::upsert(conn, &deps.ambient, region, node).await? else {
            continue;
        };
        done += 1;
        let before = known.iter().find(|known| known.name == node.name);
        if before.is_none_or(|before| before.availability != node.availability) {
            let from = before.map(|before| before.availability.as_str());
            told(id, &node.name, from, node.availability);
        }
        if before.is_some_and(|before| before.uid != node.uid) {
            replaced.push((id, &node.name));
        }
    }
    for gone in known {
        if seen.iter().all(|seen| seen.name != gone.name) && store::vanished(conn, gone.id).await? {
            done += 1;
            told(gone.id, &gone.name, Some(&gone.availability), "unknown");
        }
    }
    for (id, name) in replaced {
        tracing::warn!(node = %name, "another machine came under a known name; it takes the row over");
        outbox.push(events::SYSTEM, "node.replaced", json!({"node_id": id, "node": name}));
    }
    Ok(done)
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
                "spec": {"nodeName": "a", "containers": [
                    {"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}}}
                ]},
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
    fn a_majority_that_stays_lost_is_believed_in_the_end() {
        let start = Time::new("2026-01-01T00:00:00Z".parse().unwrap());
        let after = |seconds| start.plus(Duration::from_secs(seconds));
        let mut doubt = Doubt::default();
        for look in 0..LOOKS * 2 {
            assert!(!doubt.another(after(u64::from(look))), "many looks in a short time");
        }
        assert!(!doubt.another(after(299)));
        assert!(doubt.another(after(300)));
        doubt.settle();
        assert!(!doubt.another(after(301)), "it begins anew");
        for look in 2..LOOKS {
            assert!(
                !doubt.another(after(301 + 600)),
                "look {look}: a long pause is not many looks"
            );
        }
        assert!(doubt.another(after(301 + 600)));
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
