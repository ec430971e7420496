//! SQL of live connections: tickets, who may stay, and the state that a snapshot shows.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use super::message::InstanceState;
use crate::clock::Ambient;
use crate::identity::{Principal, Role};

/// Keeps a ticket, by hash, for `life`.
pub async fn insert_ticket(
    conn: &mut PgConnection,
    ambient: &Ambient,
    hash: &[u8],
    holder: &Principal,
    life: Duration,
) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO live_tickets (hash, user_id, session_id, expires_at) VALUES ($1, $2, $3, $4)",
        hash,
        holder.user_id,
        holder.session_id,
        ambient.now().plus(life) as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Spends a ticket: of two who present it, one gets in. `None` also when it has expired or its session has ended; the
/// role is the one of this moment.
pub async fn spend_ticket(conn: &mut PgConnection, ambient: &Ambient, hash: &[u8]) -> sqlx::Result<Option<Principal>> {
    let row = sqlx::query!(
        r#"DELETE FROM live_tickets t
            USING sessions s, users u
            WHERE t.hash = $1 AND s.id = t.session_id AND u.id = t.user_id
           RETURNING t.user_id, t.session_id, u.role,
                     (t.expires_at > $2 AND s.expires_at > $2 AND s.revoked_at IS NULL AND u.status = 'active') AS "good!""#,
        hash,
        ambient.now() as _
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.filter(|row| row.good).map(|row| Principal {
        user_id: row.user_id,
        session_id: row.session_id,
        role: Role::parse(&row.role).unwrap_or(Role::Customer),
    }))
}

/// Of these sessions those that still count, with the role that they have now.
pub async fn open_sessions(
    conn: &mut PgConnection,
    ambient: &Ambient,
    sessions: &[Uuid],
) -> sqlx::Result<Vec<(Uuid, Role)>> {
    let rows = sqlx::query!(
        "SELECT s.id, u.role
           FROM sessions s
           JOIN users u ON u.id = s.user_id
          WHERE s.id = ANY($1) AND s.revoked_at IS NULL AND s.expires_at > $2 AND u.status = 'active'",
        sessions,
        ambient.now() as _
    )
    .fetch_all(conn)
    .await?;
    let role = |role: &str| Role::parse(role).unwrap_or(Role::Customer);
    Ok(rows.into_iter().map(|row| (row.id, role(&row.role))).collect())
}

/// An account's instances that are not deleted, by id after `after`.
pub async fn instances_of(
    conn: &mut PgConnection,
    account: Uuid,
    after: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<InstanceState>> {
    sqlx::query_as!(
        InstanceState,
        "SELECT i.id, i.user_id, i.name, c.slug AS service, i.phase, i.reason, i.message, i.host,
                i.generation, i.observed_generation
           FROM service_instances i
           JOIN services_catalog c ON c.id = i.service_id
          WHERE i.user_id = $1 AND i.id > $2 AND i.deleted_at IS NULL
          ORDER BY i.id
          LIMIT $3",
        account,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Everybody's.
pub async fn all_instances(conn: &mut PgConnection, after: Uuid, limit: i64) -> sqlx::Result<Vec<InstanceState>> {
    sqlx::query_as!(
        InstanceState,
        "SELECT i.id, i.user_id, i.name, c.slug AS service, i.phase, i.reason, i.message, i.host,
                i.generation, i.observed_generation
           FROM service_instances i
           JOIN services_catalog c ON c.id = i.service_id
          WHERE i.id > $1 AND i.deleted_at IS NULL
          ORDER BY i.id
          LIMIT $2",
        after,
        limit
    )
    .fetch_all(conn)
    .await
}
