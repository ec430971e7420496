//! SQL of the event log.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Draft, Event};
use crate::clock::{Ambient, Time};

/// Makes the stream of a new account; part of registering it.
pub async fn open_stream(conn: &mut PgConnection, stream: Uuid) -> sqlx::Result<()> {
    sqlx::query!(
        "INSERT INTO event_streams (id) VALUES ($1) ON CONFLICT DO NOTHING",
        stream
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn append(conn: &mut PgConnection, ambient: &Ambient, drafts: &[Draft]) -> sqlx::Result<()> {
    let count = i64::try_from(drafts.len()).unwrap_or(i64::MAX);
    let last = sqlx::query_scalar!(
        "UPDATE event_streams SET last_seq = last_seq + $2 WHERE id = $1 RETURNING last_seq",
        drafts[0].stream,
        count
    )
    .fetch_one(&mut *conn)
    .await?;
    for (seq, draft) in (last - count + 1..).zip(drafts) {
        sqlx::query!(
            "INSERT INTO events (stream, seq, id, type, payload, occurred_at) VALUES ($1, $2, $3, $4, $5, $6)",
            draft.stream,
            seq,
            ambient.new_id(),
            draft.r#type,
            draft.payload,
            ambient.now() as _
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// The stream's last number, and the first that retention has left.
pub async fn bounds(conn: &mut PgConnection, stream: Uuid) -> sqlx::Result<Option<(i64, i64)>> {
    let row = sqlx::query!("SELECT first_seq, last_seq FROM event_streams WHERE id = $1", stream)
        .fetch_optional(conn)
        .await?;
    Ok(row.map(|row| (row.first_seq, row.last_seq)))
}

/// Events of one stream after `after`, in order.
pub async fn after(conn: &mut PgConnection, stream: Uuid, after: i64, limit: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        r#"SELECT stream, seq, id, type AS "type", payload, occurred_at AS "occurred_at: Time", position
             FROM events
            WHERE stream = $1 AND seq > $2
            ORDER BY seq
            LIMIT $3"#,
        stream,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The latest events of one stream whose payload names `id` under one of two keys, newest first.
pub async fn about(
    conn: &mut PgConnection,
    stream: Uuid,
    keys: (&str, &str),
    id: Uuid,
    limit: i64,
) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        r#"SELECT stream, seq, id, type AS "type", payload, occurred_at AS "occurred_at: Time", position
             FROM events
            WHERE stream = $1 AND ($4::uuid)::text IN (payload ->> $2, payload ->> $3)
            ORDER BY seq DESC
            LIMIT $5"#,
        stream,
        keys.0,
        keys.1,
        id,
        limit
    )
    .fetch_all(conn)
    .await
}
