//! Rows as the engine's values: nodes, and open placements with what is known of their data.
//!
//! All of them, or those that are named: what is read again after a change costs what has changed.

use std::collections::BTreeMap;

use placement::{
    Admission, Availability, Node, NodeKey, Resources, Taint, TaintEffect, VolumeLocality, Workload, WorkloadKey,
};
use serde::Deserialize;
use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

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

/// The well-known label of a node's failure domain.
const ZONE: &str = "topology.kubernetes.io/zone";

impl From<NodeRow> for Node {
    fn from(row: NodeRow) -> Self {
        Self {
            name: row.name,
            zone: row.labels.0.get(ZONE).cloned().unwrap_or_default(),
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

macro_rules! node_rows {
    ($conn:expr, $which:tt $(, $argument:expr)?) => {
        sqlx::query_as!(
            NodeRow,
            r#"SELECT id, name, availability, admission, unschedulable, cpu_milli, mem_mib, disk_mib, max_pods,
                      foreign_cpu_milli, foreign_mem_mib, foreign_pods,
                      labels AS "labels: Json<BTreeMap<String, String>>", taints AS "taints: Json<Vec<TaintRow>>"
                 FROM worker_nodes "# + $which + " ORDER BY id"
            $(, $argument)?
        )
        .fetch_all($conn)
        .await
    };
}

/// Every node, in the order of their ids.
pub async fn nodes(conn: &mut PgConnection) -> sqlx::Result<Vec<Node>> {
    let rows = node_rows!(conn, "")?;
    Ok(rows.into_iter().map(Node::from).collect())
}

/// Those of these nodes that there are.
pub async fn these_nodes(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Node>> {
    let rows = node_rows!(conn, "WHERE id = ANY($1)", ids)?;
    Ok(rows.into_iter().map(Node::from).collect())
}

/// An open placement.
#[derive(Clone, Debug)]
pub struct Placed {
    pub workload: Workload,
    pub node: NodeKey,
    pub backup: Option<NodeKey>,
}

struct PlacedRow {
    instance_id: Uuid,
    node_id: Uuid,
    backup_node_id: Option<Uuid>,
    state: String,
    cpu_request_milli: i32,
    mem_request_mib: i32,
    disk_mib: i32,
    cpu_limit_milli: i32,
    mem_limit_mib: i32,
    movable: bool,
    volume_node_id: Option<Uuid>,
}

impl From<PlacedRow> for Placed {
    fn from(row: PlacedRow) -> Self {
        let key = |id: Uuid| NodeKey(id.as_u128());
        let request = Resources {
            cpu_milli: row.cpu_request_milli.into(),
            mem_mib: row.mem_request_mib.into(),
            disk_mib: row.disk_mib.into(),
            pods: i64::from(row.state != "parked"),
        };
        let limit = Resources {
            cpu_milli: row.cpu_limit_milli.into(),
            mem_mib: row.mem_limit_mib.into(),
            ..request
        };
        let volume = row.volume_node_id.map(key);
        let workload = Workload {
            volume: volume.map_or(VolumeLocality::Anywhere, VolumeLocality::Pinned),
            movable: row.movable,
            ..Workload::new(WorkloadKey(row.instance_id.as_u128()), request, limit)
        };
        Self {
            // A certificate from before its data was on one node's disk is worth nothing.
            backup: row.backup_node_id.map(key).filter(|_| workload.needs_certificate()),
            workload,
            node: key(row.node_id),
        }
    }
}

macro_rules! placed_rows {
    ($conn:expr, $which:tt $(, $argument:expr)?) => {
        sqlx::query_as!(
            PlacedRow,
            "SELECT p.instance_id, p.node_id, p.backup_node_id, p.state, p.cpu_request_milli, p.mem_request_mib,
                    p.disk_mib, p.cpu_limit_milli, p.mem_limit_mib, p.movable, i.volume_node_id
               FROM placements p JOIN service_instances i ON i.id = p.instance_id
              WHERE p.released_at IS NULL " + $which + " ORDER BY p.instance_id"
            $(, $argument)?
        )
        .fetch_all($conn)
        .await
    };
}

/// Every open placement, in the order of the instances' ids.
pub async fn placed(conn: &mut PgConnection) -> sqlx::Result<Vec<Placed>> {
    let rows = placed_rows!(conn, "")?;
    Ok(rows.into_iter().map(Placed::from).collect())
}

/// The open placements that these instances have.
pub async fn placed_of(conn: &mut PgConnection, instances: &[Uuid]) -> sqlx::Result<Vec<Placed>> {
    let rows = placed_rows!(conn, "AND p.instance_id = ANY($1)", instances)?;
    Ok(rows.into_iter().map(Placed::from).collect())
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
