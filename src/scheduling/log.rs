//! The log of what placement is decided on: which rows changed since a reader looked last. Triggers write it.
//!
//! An entry may be committed long after a later one, so a reader that remembers the highest position it saw would miss
//! it for ever. Readers go by transactions instead: a reader remembers the database's snapshot of its last look
//! ([`Seen`]), and asks for every entry whose transaction was not visible in it. What is committed is visible to a
//! statement, or it is not and will be news to a later one; there is nothing in between, whoever writes and in whatever
//! order they commit. No writer has to take a lock for that.
//!
//! One transaction is special, the reader's own: PostgreSQL leaves it out of the list of what is running, so that
//! its later entries would count as seen. `Seen` therefore names it apart.
//!
//! It promises nothing about rows: they are read again after the entries, and may be newer than those. That is harmless,
//! since the newer change has an entry of its own.

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// Entries that are kept. Whoever is further behind reads everything, which is about as cheap as so many rows one by one.
pub const KEEP: i64 = 10_000;
/// Entries per transaction of the trimming.
const BATCH: i64 = 1000;

/// Up to where a reader has read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What was visible, as PostgreSQL writes it.
    snapshot: String,
    /// The transaction that looked, if it had a number.
    own: Option<String>,
    /// Which server's which database's which table: transactions of another one are numbered otherwise.
    source: String,
}

/// What a look at the log says.
#[derive(Clone, Debug)]
pub enum News {
    /// These rows have changed.
    Changed(Changed),
    /// Entries that were not read are gone.
    Trimmed,
    /// The database is not the one that was read before: it was restarted, failed over or restored.
    OtherDatabase,
}

/// Rows to read again.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Up to here, once the rows have been read.
    pub seen: Seen,
    pub entries: u64,
    pub nodes: Vec<Uuid>,
    pub instances: Vec<Uuid>,
    pub policy: bool,
    pub prices: bool,
    /// The reader's own transaction has written some of it, and may still be rolled back.
    pub mine: bool,
}

/// Where a reader begins that reads every row after this, and whether its own transaction has entries.
pub async fn begin(conn: &mut PgConnection) -> sqlx::Result<(Seen, bool)> {
    let row = sqlx::query!(
        r#"SELECT pg_current_snapshot()::text AS "snapshot!", pg_current_xact_id_if_assigned()::text AS own,
                  concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), d.oid, t.tableoid) AS "source!",
                  EXISTS (SELECT FROM placement_log WHERE xid = pg_current_xact_id_if_assigned()) AS "mine!"
             FROM placement_log_trimmed t JOIN pg_database d ON d.datname = current_database()"#
    )
    .fetch_one(conn)
    .await?;
    let seen = Seen {
        snapshot: row.snapshot,
        own: row.own,
        source: row.source,
    };
    Ok((seen, row.mine))
}

/// What is new since `before`: one statement, so that the entries and the end of them are of one instant.
pub async fn since(conn: &mut PgConnection, before: &Seen) -> sqlx::Result<News> {
    let row = sqlx::query!(
        r#"WITH news AS MATERIALIZED (
               SELECT l.kind, l.node_id, l.instance_id, l.policy_version, l.xid = pg_current_xact_id_if_assigned() AS mine
                 FROM placement_log l
                WHERE l.xid >= LEAST(pg_snapshot_xmin($1::text::pg_snapshot), $2::text::xid8)
                  AND (l.xid = $2::text::xid8 OR NOT pg_visible_in_snapshot(l.xid, $1::text::pg_snapshot)))
           SELECT pg_current_snapshot()::text AS "snapshot!", pg_current_xact_id_if_assigned()::text AS own,
                  concat_ws(' ', extract(epoch FROM pg_postmaster_start_time()), d.oid, t.tableoid) AS "source!",
                  t.before > LEAST(pg_snapshot_xmin($1::text::pg_snapshot), $2::text::xid8) AS "trimmed!",
                  (SELECT count(*) FROM news) AS "entries!",
                  (SELECT coalesce(bool_or(mine), false) FROM news) AS "mine!",
                  (SELECT count(policy_version) > 0 FROM news) AS "policy!",
                  EXISTS (SELECT FROM news WHERE kind = 'prices') AS "prices!",
                  ARRAY(SELECT DISTINCT node_id FROM news WHERE node_id IS NOT NULL) AS "nodes!",
                  ARRAY(SELECT DISTINCT instance_id FROM news WHERE instance_id IS NOT NULL) AS "instances!"
             FROM placement_log_trimmed t JOIN pg_database d ON d.datname = current_database()"#,
        before.snapshot,
        before.own,
    )
    .fetch_one(conn)
    .await?;
    if row.source != before.source {
        return Ok(News::OtherDatabase);
    }
    if row.trimmed {
        return Ok(News::Trimmed);
    }
    Ok(News::Changed(Changed {
        seen: Seen {
            snapshot: row.snapshot,
            own: row.own,
            source: row.source,
        },
        entries: row.entries.unsigned_abs(),
        nodes: row.nodes,
        instances: row.instances,
        policy: row.policy,
        prices: row.prices,
        mine: row.mine,
    }))
}

/// Forgets all but the last `keep` entries, or some of that; how many went, and whether there are more.
///
/// Only entries of transactions that are over for everybody go, and the mark is raised in the same transaction: a
/// reader that has not read them sees the mark whenever it does not see the entries.
pub async fn trim(pool: &PgPool, keep: i64) -> sqlx::Result<(u64, bool)> {
    let mut tx = pool.begin().await?;
    // A restored database may bring numbers that this server has not reached: nobody could get past such a mark, and
    // whoever reads here began after the restore.
    sqlx::query!(
        "WITH restored AS (
             DELETE FROM placement_log WHERE xid >= pg_snapshot_xmax(pg_current_snapshot()))
         UPDATE placement_log_trimmed SET before = '0' WHERE before > pg_snapshot_xmax(pg_current_snapshot())"
    )
    .execute(&mut *tx)
    .await?;
    sqlx::query!(
        "UPDATE placement_log_trimmed t
            SET before = cut.before
           FROM (SELECT LEAST(pg_snapshot_xmin(pg_current_snapshot()), oldest.xid) AS before
                   FROM (SELECT CASE WHEN $1::bigint > 0
                                     THEN (SELECT xid FROM placement_log ORDER BY position DESC OFFSET $1::bigint - 1 LIMIT 1)
                                     ELSE pg_snapshot_xmin(pg_current_snapshot()) END AS xid) oldest
                  WHERE oldest.xid IS NOT NULL) cut
          WHERE cut.before > t.before",
        keep
    )
    .execute(&mut *tx)
    .await?;
    let gone = sqlx::query!(
        "DELETE FROM placement_log
          WHERE position IN (SELECT l.position FROM placement_log l JOIN placement_log_trimmed t ON l.xid < t.before
                              ORDER BY l.position LIMIT $1)",
        BATCH
    )
    .execute(&mut *tx)
    .await?
    .rows_affected();
    tx.commit().await?;
    Ok((gone, gone == BATCH.unsigned_abs()))
}
