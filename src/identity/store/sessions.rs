//! SQL of sessions, and of what expires with them.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::{Ambient, Time};
use crate::identity::session::INACTIVITY;
use crate::identity::{Role, Status};

/// A family of refresh tokens.
#[derive(Clone, Debug)]
pub struct Session {
    pub id: Uuid,
    pub user_id: Uuid,
    pub seed: Vec<u8>,
    /// The number of the token that is good.
    pub counter: i64,
    pub rotated_at: Time,
    pub expires_at: Time,
    pub revoked_at: Option<Time>,
}

/// Why a session was ended; the table's CHECK knows the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Logout,
    /// A spent refresh token was used again.
    Reuse,
    /// The account's role or status changed.
    Rights,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Logout => "logout",
            Self::Reuse => "reuse",
            Self::Rights => "rights",
        }
    }
}

pub async fn insert(conn: &mut PgConnection, session: &Session, user_agent: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO sessions (id, user_id, seed, counter, rotated_at, created_at, expires_at, user_agent)
         VALUES ($1, $2, $3, $4, $5, $5, $6, $7)",
        session.id,
        session.user_id,
        session.seed,
        session.counter,
        session.rotated_at as _,
        session.expires_at as _,
        user_agent,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Concurrent refreshes of one session go one after the other.
pub async fn lock(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Session>> {
    sqlx::query_as!(
        Session,
        "SELECT id, user_id, seed, counter, rotated_at, expires_at, revoked_at
           FROM sessions
          WHERE id = $1
            FOR UPDATE",
        id
    )
    .fetch_optional(conn)
    .await
}

pub async fn rotate(conn: &mut PgConnection, ambient: &Ambient, id: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE sessions SET counter = counter + 1, rotated_at = $2 WHERE id = $1",
        id,
        ambient.now() as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// True when this call ended it.
pub async fn revoke(conn: &mut PgConnection, ambient: &Ambient, id: Uuid, reason: Reason) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE sessions SET revoked_at = $2, revoked_reason = $3 WHERE id = $1 AND revoked_at IS NULL",
        id,
        ambient.now() as _,
        reason.name(),
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends all of an account's sessions and names them.
pub async fn revoke_all(
    conn: &mut PgConnection,
    ambient: &Ambient,
    user_id: Uuid,
    reason: Reason,
) -> sqlx::Result<Vec<Uuid>> {
    sqlx::query_scalar!(
        "UPDATE sessions SET revoked_at = $2, revoked_reason = $3
          WHERE user_id = $1 AND revoked_at IS NULL
         RETURNING id",
        user_id,
        ambient.now() as _,
        reason.name(),
    )
    .fetch_all(conn)
    .await
}

/// What a session may do now.
#[derive(Clone, Copy, Debug)]
pub struct Rights {
    pub user_id: Uuid,
    pub role: Role,
    pub auth_version: i64,
    /// Neither the session was ended nor the account suspended.
    pub active: bool,
    pub expires_at: Time,
}

pub async fn rights(conn: &mut PgConnection, session_id: Uuid) -> sqlx::Result<Option<Rights>> {
    let row = sqlx::query!(
        r#"SELECT u.id, u.role, u.status, u.auth_version, s.expires_at, s.revoked_at IS NOT NULL AS "revoked!"
             FROM sessions s
             JOIN users u ON u.id = s.user_id
            WHERE s.id = $1"#,
        session_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Rights {
        user_id: row.id,
        role: Role::parse(&row.role).unwrap_or(Role::Customer),
        auth_version: row.auth_version,
        active: !row.revoked && Status::parse(&row.status) == Status::Active,
        expires_at: row.expires_at,
    }))
}

/// Deletes up to `limit` sessions that nobody can use any more. Ended ones stay until they would have expired, so that
/// a stolen token of theirs is still recognised.
pub async fn forget_expired(conn: &mut PgConnection, ambient: &Ambient, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM sessions WHERE id IN (
             SELECT id FROM sessions WHERE expires_at <= $1 OR rotated_at <= $2 LIMIT $3 FOR UPDATE SKIP LOCKED)",
        ambient.now() as _,
        ambient.now().minus(INACTIVITY) as _,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` expired tickets for live connections.
pub async fn forget_tickets(conn: &mut PgConnection, ambient: &Ambient, limit: i64) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM live_tickets WHERE hash IN (
             SELECT hash FROM live_tickets WHERE expires_at <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
        ambient.now() as _,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
