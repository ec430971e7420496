//! Forgets what has expired: sessions, idempotency keys, tickets for live connections.

use std::time::Duration;

use sqlx::PgPool;

use super::store::sessions;
use crate::clock::Ambient;
use crate::http::idempotency;
use crate::tasks::{Report, Task};

/// Rows per statement: short transactions, and the task says that there is more.
const BATCH: i64 = 1000;

pub fn task(pool: PgPool, ambient: Ambient) -> Task {
    Task::new("forget_expired", Duration::from_mins(10), None, move || {
        let (pool, ambient) = (pool.clone(), ambient.clone());
        async move { Ok(run(&pool, &ambient).await?) }
    })
}

async fn run(pool: &PgPool, ambient: &Ambient) -> sqlx::Result<Report> {
    let mut conn = pool.acquire().await?;
    let sessions = sessions::forget_expired(&mut conn, ambient, BATCH).await?;
    let tickets = sessions::forget_tickets(&mut conn, ambient, BATCH).await?;
    let keys = idempotency::forget_expired(&mut conn, ambient).await?;
    let full = BATCH.unsigned_abs();
    Ok(Report {
        done: sessions + tickets + keys,
        more: sessions == full || tickets == full,
    })
}
