//! The queue: claiming due rows, and writing back what was seen.
//!
//! A claim takes a lease on the database's clock; everything written afterwards is refused when the lease token has
//! moved on, because another replica then works on the row and its word counts.

use sqlx::PgConnection;
use uuid::Uuid;

use super::Instance;
use crate::clock::Time;
use crate::instances::phase::{AdminState, Phase};

/// A claimed row as it was at the claim.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub instance: Instance,
    pub lease_token: i64,
}

/// Claims what is due, the longest due first.
pub async fn claim(conn: &mut PgConnection, now: Time, lease_seconds: i32, limit: i64) -> sqlx::Result<Vec<Claimed>> {
    let tokens = sqlx::query!(
        "UPDATE service_instances
            SET lease_token = lease_token + 1, lease_until = lease_now() + make_interval(secs => $2::int4::float8)
          WHERE id IN (SELECT id FROM service_instances
                        WHERE next_reconcile_at <= $1 AND (lease_until IS NULL OR lease_until < lease_now())
                        ORDER BY next_reconcile_at
                          FOR UPDATE SKIP LOCKED
                        LIMIT $3)
         RETURNING id, lease_token",
        now as _,
        lease_seconds,
        limit
    )
    .fetch_all(&mut *conn)
    .await?;
    let ids: Vec<Uuid> = tokens.iter().map(|row| row.id).collect();
    let instances = super::load(conn, &ids).await?;
    let token_of = |id| tokens.iter().find(|row| row.id == id).map(|row| row.lease_token);
    Ok(instances
        .into_iter()
        .filter_map(|instance| {
            Some(Claimed {
                lease_token: token_of(instance.id)?,
                instance,
            })
        })
        .collect())
}

/// Keeps the lease for another while; false when it is not ours any more.
pub async fn renew(conn: &mut PgConnection, claimed: &Claimed, lease_seconds: i32) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE service_instances SET lease_until = lease_now() + make_interval(secs => $3::int4::float8)
          WHERE id = $1 AND lease_token = $2 AND lease_until > lease_now()",
        claimed.instance.id,
        claimed.lease_token,
        lease_seconds
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether the row is still ours and still to be purged: asked before the first step that destroys data.
pub async fn may_purge(conn: &mut PgConnection, claimed: &Claimed) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM service_instances
                           WHERE id = $1 AND lease_token = $2 AND lease_until > lease_now() AND entitled = 'purge') AS "ok!""#,
        claimed.instance.id,
        claimed.lease_token
    )
    .fetch_one(conn)
    .await
}

/// What a pass has seen and decided, as it goes into the row.
#[derive(Clone, Debug)]
pub struct Observation<'a> {
    pub phase: Phase,
    pub reason: &'a str,
    pub message: &'a str,
    pub admin_state: AdminState,
    pub admin_attempt: i32,
    pub admin_retry_at: Option<Time>,
    pub volume_node_id: Option<Uuid>,
    /// Ready for the customer at this pass, its route open.
    pub ready: bool,
    /// The objects of the claimed generation were applied (or refused for good).
    pub applied: bool,
    pub attempts: i32,
    /// When to look again if nothing rings before; `None` waits for a touch or another desire.
    pub next: Option<Time>,
}

/// Writes it; false when the lease was lost. A row that was touched or desired anew meanwhile stays due.
pub async fn observe(
    conn: &mut PgConnection,
    now: Time,
    claimed: &Claimed,
    seen: &Observation<'_>,
) -> sqlx::Result<bool> {
    let row = &claimed.instance;
    let came_up = seen.ready && (row.phase != Phase::Running || row.observed_generation < row.generation);
    let done = sqlx::query!(
        "UPDATE service_instances
            SET phase = $3, reason = $4, message = $5, admin_state = $6,
                -- A new desire clears the wait for the next attempt; a pass that began before it must not bring it back.
                admin_attempt = $7, admin_retry_at = CASE WHEN generation = $8 THEN $9 END::timestamptz,
                volume_node_id = COALESCE(volume_node_id, $10),
                observed_generation = CASE WHEN $11 THEN $8 ELSE observed_generation END, observed_at = $12,
                first_ready_at = COALESCE(first_ready_at, CASE WHEN $13 THEN $12::timestamptz END),
                last_ready_at = CASE WHEN $13 THEN $12 ELSE last_ready_at END,
                attempts = CASE WHEN generation = $8 THEN $14 ELSE 0 END,
                next_reconcile_at = CASE WHEN version = $15 THEN $16 ELSE $12 END::timestamptz,
                lease_until = NULL
          WHERE id = $1 AND lease_token = $2",
        row.id,
        claimed.lease_token,
        seen.phase.name(),
        seen.reason,
        seen.message,
        seen.admin_state.name(),
        seen.admin_attempt,
        row.generation,
        seen.admin_retry_at as _,
        seen.volume_node_id,
        seen.applied,
        now as _,
        came_up,
        seen.attempts,
        row.version,
        seen.next as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Leaves the row as it was seen before, and says when it is tried again. False when the lease was lost.
pub async fn postpone(conn: &mut PgConnection, now: Time, claimed: &Claimed, next: Time) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE service_instances
            SET attempts = CASE WHEN generation = $3 THEN attempts + 1 ELSE 0 END, lease_until = NULL,
                next_reconcile_at = CASE WHEN generation = $3 THEN $4 ELSE $5 END::timestamptz
          WHERE id = $1 AND lease_token = $2",
        claimed.instance.id,
        claimed.lease_token,
        claimed.instance.generation,
        next as _,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The tombstone: nothing is left of it. Its host and its name are free from here on.
pub async fn bury(conn: &mut PgConnection, now: Time, claimed: &Claimed) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE service_instances
            SET phase = 'deleted', reason = 'deleted', message = '', deleted_at = $3, observed_at = $3, updated_at = $3,
                observed_generation = generation, next_reconcile_at = NULL, lease_until = NULL, attempts = 0
          WHERE id = $1 AND lease_token = $2 AND entitled = 'purge'",
        claimed.instance.id,
        claimed.lease_token,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}
