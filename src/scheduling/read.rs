//! SQL of what is only read: the ledger for the check, pages of placements and a plan's size for staff.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Demand, Scheduler, State};
use crate::clock::Time;
use crate::http::page::Window;

/// An instance beside its open placement, if it has one.
#[derive(Clone, Debug)]
pub struct Entry {
    pub instance_id: Uuid,
    pub entitled: String,
    pub phase: String,
    /// Its present desire has been carried out and seen.
    pub settled: bool,
    pub deleted: bool,
    pub volume_node_id: Option<Uuid>,
    pub place: Option<Place>,
}

#[derive(Clone, Debug)]
pub struct Place {
    pub node_id: Uuid,
    pub backup_node_id: Option<Uuid>,
    pub state: State,
    pub cpu_request_milli: i32,
    pub mem_request_mib: i32,
    pub disk_mib: i32,
    /// Its data could follow it, as long as none lies on one node's own disk.
    pub movable: bool,
}

/// Every instance that exists or has an open placement, once per open placement.
pub async fn ledger(conn: &mut PgConnection) -> sqlx::Result<Vec<Entry>> {
    let rows = sqlx::query!(
        r#"SELECT i.id, i.entitled, i.phase, i.observed_generation = i.generation AS "settled!",
                  i.deleted_at IS NOT NULL AS "deleted!", i.volume_node_id,
                  p.node_id AS "node_id?", p.backup_node_id, p.state AS "state?", p.cpu_request_milli AS "cpu?",
                  p.mem_request_mib AS "mem?", p.disk_mib AS "disk?", p.movable AS "movable?"
             FROM service_instances i
             LEFT JOIN placements p ON p.instance_id = i.id AND p.released_at IS NULL
            WHERE i.deleted_at IS NULL OR p.id IS NOT NULL
            ORDER BY i.id"#
    )
    .fetch_all(conn)
    .await?;
    let entries = rows.into_iter().map(|row| {
        let place = match (row.node_id, row.state, row.cpu, row.mem, row.disk, row.movable) {
            (Some(node_id), Some(state), Some(cpu), Some(mem), Some(disk), Some(movable)) => Some(Place {
                node_id,
                backup_node_id: row.backup_node_id,
                state: parse(&state)?,
                cpu_request_milli: cpu,
                mem_request_mib: mem,
                disk_mib: disk,
                movable,
            }),
            _ => None,
        };
        Ok(Entry {
            instance_id: row.id,
            entitled: row.entitled,
            phase: row.phase,
            settled: row.settled,
            deleted: row.deleted,
            volume_node_id: row.volume_node_id,
            place,
        })
    });
    entries.collect()
}

fn parse(state: &str) -> sqlx::Result<State> {
    State::parse(state).ok_or_else(|| sqlx::Error::Decode("unknown state of a placement".into()))
}

/// An open placement, as staff sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Placement)]
pub struct View {
    pub id: Uuid,
    pub instance_id: Uuid,
    pub instance: String,
    /// The service's slug.
    pub service: String,
    pub node_id: Uuid,
    pub node: String,
    /// The worker node that takes it if its own dies; null when none is promised.
    pub backup_node_id: Option<Uuid>,
    pub backup_node: Option<String>,
    /// `hold` (unpaid), `firm`, or `parked` (CPU and memory given back, disk and data's place kept).
    pub state: String,
    /// Why it was placed: `order`, `start`, `renew`, `undo`, `expire`, `change_plan`, `failover`, `drain`, `rebalance`.
    pub cause: String,
    /// As written into the pod.
    pub cpu_request_milli: i32,
    pub mem_request_mib: i32,
    pub disk_mib: i32,
    /// The overcommit policy that the request was made by.
    pub policy_version: i32,
    pub created_at: Time,
}

pub async fn page(conn: &mut PgConnection, node_id: Option<Uuid>, window: &Window) -> sqlx::Result<Vec<View>> {
    let before = window.bound();
    sqlx::query_as!(
        View,
        r#"SELECT p.id, p.instance_id, i.name AS instance, s.slug AS service, p.node_id, n.name AS node,
                  p.backup_node_id, b.name AS "backup_node?", p.state, p.cause, p.cpu_request_milli, p.mem_request_mib, p.disk_mib, p.policy_version,
                  p.created_at AS "created_at: Time"
             FROM placements p
             JOIN worker_nodes n ON n.id = p.node_id
             LEFT JOIN worker_nodes b ON b.id = p.backup_node_id
             JOIN service_instances i ON i.id = p.instance_id
             JOIN services_catalog s ON s.id = i.service_id
            WHERE p.released_at IS NULL AND ($1::uuid IS NULL OR p.node_id = $1) AND (p.created_at, p.id) < ($2, $3)
            ORDER BY p.created_at DESC, p.id DESC
            LIMIT $4"#,
        node_id,
        before.0 as _,
        before.1,
        window.fetch()
    )
    .fetch_all(conn)
    .await
}

/// What an instance of a plan would ask for; `None` when there is no such plan.
pub async fn demand_of_plan(
    conn: &mut PgConnection,
    scheduler: &Scheduler,
    plan_id: Uuid,
) -> sqlx::Result<Option<Demand>> {
    let row = sqlx::query!(
        "SELECT cpu_request_milli, cpu_limit_milli, mem_request_mib, mem_limit_mib, disk_mib
           FROM service_plans WHERE id = $1",
        plan_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Demand {
        instance_id: Uuid::nil(),
        cpu_request_milli: row.cpu_request_milli,
        cpu_limit_milli: row.cpu_limit_milli,
        mem_request_mib: row.mem_request_mib,
        mem_limit_mib: row.mem_limit_mib,
        disk_mib: row.disk_mib,
        volume_node: None,
        movable: scheduler.follows(row.disk_mib),
    }))
}
