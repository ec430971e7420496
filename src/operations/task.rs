//! Ends operations whose deadline has passed, and tells their owners.

use serde_json::json;
use sqlx::PgPool;

use super::store;
use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::events::Outbox;
use crate::tasks::Report;

pub async fn run(pool: &PgPool, ambient: &Ambient, signals: &Signals) -> anyhow::Result<Report> {
    let mut tx = pool.begin().await?;
    let ended = store::expire(&mut tx, ambient.now()).await?;
    let mut outbox = Outbox::default();
    for operation in &ended {
        let Some(owner) = operation.user_id else { continue };
        let payload = json!({
            "operation_id": operation.id, "kind": operation.kind, "subject": operation.subject,
            "subject_id": operation.subject_id, "status": "failed", "reason": "deadline_exceeded",
        });
        outbox.push(owner, "operation.finished", payload);
    }
    outbox.flush(&mut tx, ambient).await?;
    tx.commit().await?;
    if !ended.is_empty() {
        signals.ring(Channel::Events);
    }
    Ok(Report::did(u64::try_from(ended.len()).unwrap_or(u64::MAX)))
}
