//! One order of all streams: `position`, and up to where it is final.
//!
//! Positions are drawn from a sequence when an event is written and seen when its transaction commits, so a lower one may
//! appear after a higher one: a reader that remembers the highest it saw would miss it for ever. Transaction ids do not
//! help, since a transaction that began earlier may draw later. Therefore every writer says, before it draws, above which
//! position it will draw ([`announce`]: a shared advisory lock that ends with its transaction and makes nobody wait), and
//! a reader stops below the lowest that is still announced ([`settled`]).
//!
//! A writer that hangs between its events and its commit delays readers of all streams, for as long as the idle
//! transaction time-out lets it; nothing is lost. Readers of one stream are not concerned.

use sqlx::PgConnection;

use super::Event;
use crate::clock::Time;

/// Marks the advisory locks that carry a position in their lower 48 bits.
const TAG: i64 = 0x6c76 << 48;

/// Holds, until the transaction ends, that it may draw any position above the last one drawn so far.
pub(super) async fn announce(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!(
        "SELECT pg_advisory_xact_lock_shared($1::bigint + last_value - CASE WHEN is_called THEN 0 ELSE 1 END)
           FROM events_position_seq",
        TAG
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The last position drawn, whether or not its event is there yet, or ever will be.
pub async fn drawn(conn: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT last_value - CASE WHEN is_called THEN 0 ELSE 1 END AS "drawn!" FROM events_position_seq"#
    )
    .fetch_one(conn)
    .await
}

/// The position up to which no event can appear any more. It may be lower than an earlier answer, which stays true.
///
/// Call it outside a transaction: each of its statements must see what is committed by then. What was drawn is asked
/// first: whoever announces after the second question draws above the first one's answer.
pub async fn settled(conn: &mut PgConnection) -> sqlx::Result<i64> {
    let drawn = drawn(conn).await?;
    let announced = sqlx::query_scalar!(
        "SELECT min((classid::bigint << 32 | objid::bigint) - $1::bigint)
           FROM pg_locks
          WHERE locktype = 'advisory' AND objsubid = 1
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND classid::bigint >> 16 = $1::bigint >> 48",
        TAG
    )
    .fetch_one(conn)
    .await?;
    Ok(announced.map_or(drawn, |announced| announced.min(drawn)))
}

/// Events of all streams with positions in `(after, upto]`, in order; `upto` must be settled.
pub async fn between(conn: &mut PgConnection, after: i64, upto: i64, limit: i64) -> sqlx::Result<Vec<Event>> {
    sqlx::query_as!(
        Event,
        r#"SELECT stream, seq, id, type AS "type", payload, occurred_at AS "occurred_at: Time", position
             FROM events
            WHERE position > $1 AND position <= $2
            ORDER BY position
            LIMIT $3"#,
        after,
        upto,
        limit
    )
    .fetch_all(conn)
    .await
}

/// The lowest position that retention has left; `None` when nothing is there.
pub async fn oldest(conn: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!("SELECT min(position) FROM events")
        .fetch_one(conn)
        .await
}
