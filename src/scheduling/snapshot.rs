//! The rows as the engine's cluster: nodes, and every open placement on them.

use std::collections::{BTreeMap, BTreeSet};

use placement::{
    Admission, Availability, Cluster, Node, NodeKey, Resources, Taint, TaintEffect, Workload, WorkloadKey,
};
use serde::Deserialize;
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::Error;

/// A taint as the node row keeps it.
#[derive(Debug, Deserialize)]
struct TaintRow {
    key: String,
    #[serde(default)]
    value: String,
    effect: String,
}

struct NodeRow {
    id: Uuid,
    name: String,
    availability: String,
    admission: String,
    unschedulable: bool,
    cpu_milli: i32,
    mem_mib: i32,
    disk_mib: i64,
    max_pods: i32,
    foreign_cpu_milli: i32,
    foreign_mem_mib: i32,
    foreign_pods: i32,
    labels: Json<BTreeMap<String, String>>,
    taints: Json<Vec<TaintRow>>,
}

impl From<NodeRow> for Node {
    fn from(row: NodeRow) -> Self {
        Self {
            name: row.name,
            foreign: Resources {
                cpu_milli: row.foreign_cpu_milli.into(),
                mem_mib: row.foreign_mem_mib.into(),
                disk_mib: 0,
                pods: row.foreign_pods.into(),
            },
            labels: row.labels.0,
            taints: row.taints.0.into_iter().filter_map(taint).collect(),
            availability: availability(&row.availability),
            admission: admission(&row.admission, row.unschedulable),
            ..Self::new(
                NodeKey(row.id.as_u128()),
                Resources {
                    cpu_milli: row.cpu_milli.into(),
                    mem_mib: row.mem_mib.into(),
                    disk_mib: row.disk_mib,
                    pods: row.max_pods.into(),
                },
            )
        }
    }
}

fn taint(row: TaintRow) -> Option<Taint> {
    let effect = match row.effect.as_str() {
        "NoSchedule" => TaintEffect::NoSchedule,
        "PreferNoSchedule" => TaintEffect::PreferNoSchedule,
        "NoExecute" => TaintEffect::NoExecute,
        _ => return None,
    };
    // The cluster's own cordon stands in `unschedulable`; the taint that mirrors it would count twice.
    (row.key != "node.kubernetes.io/unschedulable").then_some(Taint {
        key: row.key,
        value: row.value,
        effect,
    })
}

/// Anything we do not know counts as unknown, and unknown takes nobody.
fn availability(name: &str) -> Availability {
    match name {
        "ready" => Availability::Ready,
        "suspect" => Availability::Suspect,
        "offline" => Availability::Offline,
        _ => Availability::Unknown,
    }
}

fn admission(name: &str, unschedulable: bool) -> Admission {
    match name {
        "open" | "standby" if unschedulable => Admission::Cordoned,
        "open" => Admission::Open,
        "standby" => Admission::Standby,
        "draining" => Admission::Draining,
        "removed" => Admission::Removed,
        _ => Admission::Cordoned,
    }
}

/// Every node, in the order of their ids.
pub async fn nodes(conn: &mut PgConnection) -> sqlx::Result<Vec<Node>> {
    let rows = sqlx::query_as!(
        NodeRow,
        r#"SELECT id, name, availability, admission, unschedulable, cpu_milli, mem_mib, disk_mib, max_pods,
                  foreign_cpu_milli, foreign_mem_mib, foreign_pods,
                  labels AS "labels: Json<BTreeMap<String, String>>", taints AS "taints: Json<Vec<TaintRow>>"
             FROM worker_nodes ORDER BY id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(Node::from).collect())
}

/// Reads the whole cluster. Under the placement lock this is what will still be true at commit.
pub async fn load(conn: &mut PgConnection) -> Result<Cluster, Error> {
    let nodes = nodes(conn).await?;
    let placed = sqlx::query!(
        "SELECT instance_id, node_id, state, cpu_request_milli, mem_request_mib, disk_mib
           FROM placements WHERE released_at IS NULL ORDER BY instance_id"
    )
    .fetch_all(conn)
    .await?;
    let placed = placed.into_iter().map(|row| {
        let request = Resources {
            cpu_milli: row.cpu_request_milli.into(),
            mem_mib: row.mem_request_mib.into(),
            disk_mib: row.disk_mib.into(),
            pods: i64::from(row.state != "parked"),
        };
        let workload = Workload::new(WorkloadKey(row.instance_id.as_u128()), request, request);
        (workload, NodeKey(row.node_id.as_u128()))
    });
    Cluster::from_parts(nodes, placed).map_err(|error| Error::Inconsistent(error.to_string()))
}

/// Begins a transaction that reads nodes and placements as of one instant, without the placement lock: for answers that
/// nothing is written by.
pub async fn glance(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_the_cluster_cordons_takes_nobody_and_what_is_unknown_neither() {
        assert_eq!(admission("open", false), Admission::Open);
        assert_eq!(admission("open", true), Admission::Cordoned);
        assert_eq!(admission("standby", true), Admission::Cordoned);
        assert_eq!(admission("draining", true), Admission::Draining);
        assert_eq!(admission("?", false), Admission::Cordoned);
        assert_eq!(availability("?"), Availability::Unknown);
    }

    #[test]
    fn the_mirror_of_a_cordon_is_no_second_reason() {
        let row = |key: &str, effect: &str| TaintRow {
            key: key.into(),
            value: String::new(),
            effect: effect.into(),
        };
        assert!(taint(row("node.kubernetes.io/unschedulable", "NoSchedule")).is_none());
        assert_eq!(taint(row("gpu", "NoExecute")).unwrap().effect, TaintEffect::NoExecute);
        assert!(taint(row("gpu", "Whatever")).is_none());
    }
}
