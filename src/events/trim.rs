//! Retention: forgets events that are older than [`KEEP`], the oldest first.
//!
//! What goes is always the beginning of the global order, hence the beginning of each stream: what is left has no holes.
//! A stream remembers its first number that is left, so that whoever resumes before it is told so.

use std::time::Duration;

use sqlx::{PgConnection, PgPool};

use crate::clock::Ambient;
use crate::tasks::{Report, Task};

/// How long an event is kept. Longer than a weekend offline; the state itself is in the tables, not here.
pub const KEEP: Duration = Duration::from_hours(7 * 24);
/// Rows per transaction: streams are locked meanwhile, and their writers wait.
const BATCH: i64 = 1000;

pub fn task(pool: PgPool, ambient: Ambient) -> Task {
    Task::new("trim_events", Duration::from_mins(10), None, move || {
        let (pool, ambient) = (pool.clone(), ambient.clone());
        async move {
            let mut tx = pool.begin().await?;
            let done = trim(&mut tx, &ambient).await?;
            tx.commit().await?;
            Ok(Report {
                done,
                more: done == u64::try_from(BATCH)?,
            })
        }
    })
}

async fn trim(conn: &mut PgConnection, ambient: &Ambient) -> sqlx::Result<u64> {
    let cutoff = ambient.now().minus(KEEP);
    let kept = sqlx::query_scalar!(
        "SELECT position FROM events WHERE occurred_at >= $1 ORDER BY position LIMIT 1",
        cutoff as _
    )
    .fetch_optional(&mut *conn)
    .await?
    .unwrap_or(i64::MAX);
    let old = sqlx::query!(
        "SELECT position, stream, seq FROM events WHERE position < $1 ORDER BY position LIMIT $2",
        kept,
        BATCH
    )
    .fetch_all(&mut *conn)
    .await?;
    let streams: Vec<_> = old.iter().map(|event| event.stream).collect();
    let seqs: Vec<_> = old.iter().map(|event| event.seq).collect();
    let positions: Vec<_> = old.iter().map(|event| event.position).collect();
    // In the order in which writers take them.
    sqlx::query!(
        "SELECT id FROM event_streams WHERE id = ANY($1) ORDER BY id FOR UPDATE",
        &streams
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE event_streams s
            SET first_seq = GREATEST(s.first_seq, gone.last + 1)
           FROM (SELECT stream, max(seq) AS last FROM unnest($1::uuid[], $2::bigint[]) AS t (stream, seq) GROUP BY stream) gone
          WHERE s.id = gone.stream",
        &streams,
        &seqs
    )
    .execute(&mut *conn)
    .await?;
    let done = sqlx::query!("DELETE FROM events WHERE position = ANY($1)", &positions)
        .execute(conn)
        .await?;
    Ok(done.rows_affected())
}
