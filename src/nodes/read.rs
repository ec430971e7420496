//! Worker nodes as staff reads them: what a machine offers, what others take of it, what is sold, what is left.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use sqlx::types::Json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Admission, Availability};
use crate::clock::Time;
use crate::http::page::Window;

/// Milli-CPU, MiB of memory, MiB of a node's own disk, pods. What is free is negative where a node is over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Amounts {
    pub cpu_milli: i64,
    pub mem_mib: i64,
    pub disk_mib: i64,
    pub pods: i64,
}

impl Amounts {
    fn minus(self, other: Self) -> Self {
        Self {
            cpu_milli: self.cpu_milli - other.cpu_milli,
            mem_mib: self.mem_mib - other.mem_mib,
            disk_mib: self.disk_mib - other.disk_mib,
            pods: self.pods - other.pods,
        }
    }
}

/// A worker node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Worker {
    pub id: Uuid,
    pub name: String,
    pub availability: Availability,
    pub admission: Admission,
    /// The cluster itself takes no new pods there (`kubectl cordon`).
    pub unschedulable: bool,
    pub kubelet_version: String,
    /// What its kubelet offers to pods.
    pub allocatable: Amounts,
    /// Requested by pods that are not ours; its `pods` is how many of them there are.
    pub foreign: Amounts,
    /// Reserved by what is placed there; its `pods` leaves out what only keeps its disk.
    pub requested: Amounts,
    /// Allocatable less foreign and requested, before what the policy holds back.
    pub free: Amounts,
    /// When the cluster last told of it; refreshed once a minute while nothing changes.
    pub observed_at: Time,
    pub created_at: Time,
    #[serde(skip)]
    pub version: i64,
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    #[serde(skip)]
    pub taints: Vec<Taint>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = NodeTaint)]
pub struct Taint {
    pub key: String,
    #[serde(default)]
    pub value: String,
    pub effect: String,
}

/// An instance that is placed on a node.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Occupant {
    pub instance_id: Uuid,
    pub name: String,
    /// The service's slug.
    pub service: String,
    pub phase: String,
    /// `hold` (unpaid), `firm` or `parked` (CPU and memory given back).
    pub state: String,
    pub cpu_request_milli: i32,
    pub mem_request_mib: i32,
    pub disk_mib: i32,
}

pub async fn page(conn: &mut PgConnection, window: &Window) -> sqlx::Result<Vec<Worker>> {
    workers(conn, None, window.bound(), window.fetch()).await
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Worker>> {
    let newest = Window { limit: 1, before: None }.bound();
    Ok(workers(conn, Some(id), newest, 1).await?.pop())
}

async fn workers(
    conn: &mut PgConnection,
    id: Option<Uuid>,
    before: (Time, Uuid),
    limit: i64,
) -> sqlx::Result<Vec<Worker>> {
    let rows = sqlx::query!(
        r#"SELECT n.id, n.name, n.availability, n.admission, n.unschedulable, n.kubelet_version,
                  n.cpu_milli, n.mem_mib, n.disk_mib, n.max_pods,
                  n.foreign_cpu_milli, n.foreign_mem_mib, n.foreign_pods,
                  p.cpu AS "cpu!", p.mem AS "mem!", p.disk AS "disk!", p.pods AS "pods!",
                  n.observed_at AS "observed_at: Time", n.created_at AS "created_at: Time", n.version,
                  n.labels AS "labels: Json<BTreeMap<String, String>>", n.taints AS "taints: Json<Vec<Taint>>"
             FROM worker_nodes n
            CROSS JOIN LATERAL (
                  SELECT coalesce(sum(cpu_request_milli), 0) AS cpu, coalesce(sum(mem_request_mib), 0) AS mem,
                         coalesce(sum(disk_mib), 0) AS disk, count(*) FILTER (WHERE state <> 'parked') AS pods
                    FROM placements
                   WHERE node_id = n.id AND released_at IS NULL) p
            WHERE ($1::uuid IS NULL OR n.id = $1) AND (n.created_at, n.id) < ($2, $3)
            ORDER BY n.created_at DESC, n.id DESC
            LIMIT $4"#,
        id,
        before.0 as _,
        before.1,
        limit
    )
    .fetch_all(conn)
    .await?;
    let workers = rows.into_iter().map(|row| {
        let allocatable = Amounts {
            cpu_milli: row.cpu_milli.into(),
            mem_mib: row.mem_mib.into(),
            disk_mib: row.disk_mib,
            pods: row.max_pods.into(),
        };
        let foreign = Amounts {
            cpu_milli: row.foreign_cpu_milli.into(),
            mem_mib: row.foreign_mem_mib.into(),
            disk_mib: 0,
            pods: row.foreign_pods.into(),
        };
        let requested = Amounts {
            cpu_milli: row.cpu,
            mem_mib: row.mem,
            disk_mib: row.disk,
            pods: row.pods,
        };
        Worker {
            id: row.id,
            name: row.name,
            availability: Availability::parse(&row.availability),
            admission: Admission::parse(&row.admission),
            unschedulable: row.unschedulable,
            kubelet_version: row.kubelet_version,
            allocatable,
            foreign,
            requested,
            free: allocatable.minus(foreign).minus(requested),
            observed_at: row.observed_at,
            created_at: row.created_at,
            version: row.version,
            labels: row.labels.0,
            taints: row.taints.0,
        }
    });
    Ok(workers.collect())
}

/// Who is placed on a node, the largest first.
pub async fn occupants(conn: &mut PgConnection, node_id: Uuid, limit: i64) -> sqlx::Result<Vec<Occupant>> {
    sqlx::query_as!(
        Occupant,
        "SELECT p.instance_id, i.name, s.slug AS service, i.phase, p.state, p.cpu_request_milli, p.mem_request_mib,
                p.disk_mib
           FROM placements p
           JOIN service_instances i ON i.id = p.instance_id
           JOIN services_catalog s ON s.id = i.service_id
          WHERE p.node_id = $1 AND p.released_at IS NULL
          ORDER BY p.mem_request_mib DESC, p.instance_id
          LIMIT $2",
        node_id,
        limit
    )
    .fetch_all(conn)
    .await
}
