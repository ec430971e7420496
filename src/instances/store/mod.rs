//! SQL of instances: the row with what it is joined to, pages of rows, and the touch that makes a row due.
//!
//! Only this domain writes `service_instances`, `customer_namespaces` and `instance_secrets`.

pub mod claim;
pub mod namespaces;
pub mod secrets;
pub mod templates;

use sqlx::PgConnection;
use uuid::Uuid;

use super::phase::{AdminState, Desire, Entitled, Phase, Wanted, effective};
use crate::catalog::template::Plan;
use crate::clock::Time;
use crate::http::page::Window;

/// An instance as stored, with the names of what it belongs to.
#[derive(Clone, Debug)]
pub struct Instance {
    pub id: Uuid,
    pub user_id: Uuid,
    pub subscription_id: Uuid,
    pub namespace_id: Uuid,
    pub namespace: String,
    pub service_id: Uuid,
    pub service_slug: String,
    pub service_name: String,
    pub plan_id: Uuid,
    pub plan: Plan,
    pub name: String,
    pub host: String,
    pub inputs: serde_json::Value,
    pub wanted: Wanted,
    pub entitled: Entitled,
    pub held: bool,
    pub restart_no: i64,
    pub generation: i64,
    pub volume_node_id: Option<Uuid>,
    pub phase: Phase,
    pub reason: String,
    pub message: String,
    pub observed_generation: i64,
    pub observed_at: Option<Time>,
    pub admin_state: AdminState,
    pub admin_attempt: i32,
    pub admin_retry_at: Option<Time>,
    pub first_ready_at: Option<Time>,
    pub last_ready_at: Option<Time>,
    pub next_reconcile_at: Option<Time>,
    pub attempts: i32,
    pub version: i64,
    pub created_at: Time,
    pub deleted_at: Option<Time>,
}

impl Instance {
    pub fn desire(&self) -> Desire {
        effective(self.wanted, self.entitled, self.held)
    }

    /// It was entitled once, so there may be something of it in the cluster.
    pub fn was_begun(&self) -> bool {
        self.observed_generation > 0 || self.entitled == Entitled::Yes
    }
}

struct Row {
    id: Uuid,
    user_id: Uuid,
    subscription_id: Uuid,
    namespace_id: Uuid,
    namespace: String,
    service_id: Uuid,
    service_slug: String,
    service_name: String,
    plan_id: Uuid,
    plan_code: String,
    plan_name: String,
    price_idr: i64,
    cpu_request_milli: i32,
    cpu_limit_milli: i32,
    mem_request_mib: i32,
    mem_limit_mib: i32,
    disk_mib: i32,
    name: String,
    host: String,
    inputs: serde_json::Value,
    wanted: String,
    entitled: String,
    held: bool,
    restart_no: i64,
    generation: i64,
    volume_node_id: Option<Uuid>,
    phase: String,
    reason: String,
    message: String,
    observed_generation: i64,
    observed_at: Option<Time>,
    admin_state: String,
    admin_attempt: i32,
    admin_retry_at: Option<Time>,
    first_ready_at: Option<Time>,
    last_ready_at: Option<Time>,
    next_reconcile_at: Option<Time>,
    attempts: i32,
    version: i64,
    created_at: Time,
    deleted_at: Option<Time>,
}

fn unsigned(value: i32) -> sqlx::Result<u32> {
    u32::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

impl TryFrom<Row> for Instance {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        let unknown = |what: &str| sqlx::Error::Decode(format!("unknown {what} of an instance").into());
        Ok(Self {
            id: row.id,
            user_id: row.user_id,
            subscription_id: row.subscription_id,
            namespace_id: row.namespace_id,
            namespace: row.namespace,
            service_id: row.service_id,
            service_slug: row.service_slug,
            service_name: row.service_name,
            plan_id: row.plan_id,
            plan: Plan {
                code: row.plan_code,
                name: row.plan_name,
                price_idr: row.price_idr,
                cpu_request_milli: unsigned(row.cpu_request_milli)?,
                cpu_limit_milli: unsigned(row.cpu_limit_milli)?,
                mem_request_mib: unsigned(row.mem_request_mib)?,
                mem_limit_mib: unsigned(row.mem_limit_mib)?,
                disk_mib: unsigned(row.disk_mib)?,
            },
            name: row.name,
            host: row.host,
            inputs: row.inputs,
            wanted: Wanted::parse(&row.wanted).ok_or_else(|| unknown("wanted"))?,
            entitled: Entitled::parse(&row.entitled).ok_or_else(|| unknown("entitled"))?,
            held: row.held,
            restart_no: row.restart_no,
            generation: row.generation,
            volume_node_id: row.volume_node_id,
            phase: Phase::parse(&row.phase).ok_or_else(|| unknown("phase"))?,
            reason: row.reason,
            message: row.message,
            observed_generation: row.observed_generation,
            observed_at: row.observed_at,
            admin_state: AdminState::parse(&row.admin_state).ok_or_else(|| unknown("admin_state"))?,
            admin_attempt: row.admin_attempt,
            admin_retry_at: row.admin_retry_at,
            first_ready_at: row.first_ready_at,
            last_ready_at: row.last_ready_at,
            next_reconcile_at: row.next_reconcile_at,
            attempts: row.attempts,
            version: row.version,
            created_at: row.created_at,
            deleted_at: row.deleted_at,
        })
    }
}

/// The instances with these ids, newest first.
pub async fn load(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<Instance>> {
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT i.id, i.user_id, i.subscription_id, i.namespace_id, n.name AS namespace, i.service_id,
                  s.slug AS service_slug, s.name AS service_name, i.plan_id, p.code AS plan_code, p.name AS plan_name,
                  p.price_idr, p.cpu_request_milli, p.cpu_limit_milli, p.mem_request_mib, p.mem_limit_mib, p.disk_mib,
                  i.name, i.host, i.inputs, i.wanted, i.entitled, i.held, i.restart_no, i.generation, i.volume_node_id,
                  i.phase, i.reason, i.message, i.observed_generation, i.observed_at AS "observed_at: Time",
                  i.admin_state, i.admin_attempt, i.admin_retry_at AS "admin_retry_at: Time",
                  i.first_ready_at AS "first_ready_at: Time", i.last_ready_at AS "last_ready_at: Time",
                  i.next_reconcile_at AS "next_reconcile_at: Time", i.attempts, i.version,
                  i.created_at AS "created_at: Time", i.deleted_at AS "deleted_at: Time"
             FROM service_instances i
             JOIN customer_namespaces n ON n.id = i.namespace_id
             JOIN services_catalog s ON s.id = i.service_id
             JOIN service_plans p ON p.id = i.plan_id
            WHERE i.id = ANY($1)
            ORDER BY i.created_at DESC, i.id DESC"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn get(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Instance>> {
    Ok(load(conn, &[id]).await?.pop())
}

/// The row, locked until the transaction ends: every change of desire starts here.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Instance>> {
    sqlx::query!("SELECT id FROM service_instances WHERE id = $1 FOR UPDATE", id)
        .fetch_optional(&mut *conn)
        .await?;
    get(conn, id).await
}

/// Whose instances, and in which phase, a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub user_id: Option<Uuid>,
    pub phase: Option<Phase>,
    /// Tombstones are history: shown to staff that asks for them.
    pub deleted: bool,
}

pub async fn page(conn: &mut PgConnection, filter: &Filter, window: &Window) -> sqlx::Result<Vec<Instance>> {
    let (before, before_id) = window.bound();
    let ids = sqlx::query_scalar!(
        "SELECT id FROM service_instances
          WHERE (created_at, id) < ($1, $2)
            AND ($3::uuid IS NULL OR user_id = $3)
            AND ($4::text IS NULL OR phase = $4)
            AND ($5 OR deleted_at IS NULL)
          ORDER BY created_at DESC, id DESC
          LIMIT $6",
        before as _,
        before_id,
        filter.user_id,
        filter.phase.map(Phase::name),
        filter.deleted,
        window.fetch()
    )
    .fetch_all(&mut *conn)
    .await?;
    load(conn, &ids).await
}

/// Makes instances due now: something of theirs was seen to change, or was not looked at for long. Returns how many.
pub async fn touch(conn: &mut PgConnection, now: Time, ids: &[Uuid]) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE service_instances
            SET next_reconcile_at = LEAST(COALESCE(next_reconcile_at, $1), $1), version = version + 1
          WHERE id = ANY($2) AND deleted_at IS NULL AND (observed_generation > 0 OR next_reconcile_at IS NOT NULL)",
        now as _,
        ids
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Makes due what nobody has looked at since `seen_before` and what waits for nothing; returns how many.
pub async fn touch_stale(conn: &mut PgConnection, now: Time, seen_before: Time) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "UPDATE service_instances
            SET next_reconcile_at = $1, version = version + 1
          WHERE deleted_at IS NULL AND observed_at < $2 AND (next_reconcile_at IS NULL OR next_reconcile_at > $1)",
        now as _,
        seen_before as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// How many instances are in each phase; tombstones left out.
pub async fn by_phase(conn: &mut PgConnection) -> sqlx::Result<Vec<(Phase, i64)>> {
    let rows = sqlx::query!(
        r#"SELECT phase, count(*) AS "count!" FROM service_instances WHERE deleted_at IS NULL GROUP BY phase"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| Some((Phase::parse(&row.phase)?, row.count)))
        .collect())
}

/// Which of these instances have a row, and whether it is a tombstone.
pub async fn buried(conn: &mut PgConnection, ids: &[Uuid]) -> sqlx::Result<Vec<(Uuid, bool)>> {
    let rows = sqlx::query!(
        r#"SELECT id, deleted_at IS NOT NULL AS "buried!" FROM service_instances WHERE id = ANY($1)"#,
        ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.buried)).collect())
}
