//! The audit trail: who did what to what, allowed or refused. Append-only, written in the transaction of the deed.
//!
//! It holds no secrets: `detail` takes names and ids, never values.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::Ambient;

/// One deed.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// `None`: the system itself, or a stranger.
    pub actor: Option<Uuid>,
    /// `customer`, `support`, `admin`, `system` or `anonymous`.
    pub role: &'a str,
    /// Dotted, past what it touches: `instance.credentials.read`, `user.login`.
    pub action: &'a str,
    /// Kind and id of what was touched.
    pub subject: &'a str,
    pub subject_id: Option<Uuid>,
    pub allowed: bool,
    pub request_id: Option<&'a str>,
    pub detail: Value,
}

pub async fn record(conn: &mut PgConnection, ambient: &Ambient, entry: Entry<'_>) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO audit_log (id, occurred_at, actor_id, actor_role, action, subject, subject_id, outcome, request_id, detail)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        ambient.new_id(),
        ambient.now() as _,
        entry.actor,
        entry.role,
        entry.action,
        entry.subject,
        entry.subject_id,
        if entry.allowed { "allowed" } else { "refused" },
        entry.request_id,
        entry.detail,
    )
    .execute(conn)
    .await?;
    Ok(())
}
