//! PostgreSQL: the pool, migrations, advisory locks and wake-up signals.
//!
//! Settings, and why: at most 16 connections a replica (the server's 2–8 cores are the limit, more only queue inside
//! PostgreSQL, where they cannot be seen); 5 s to get one (longer than any healthy transaction, shorter than a client's
//! patience); a statement is cut at 15 s and an idle transaction at 30 s, so that a bug cannot hold the placement lock.

pub mod binaries;
pub mod embedded;
pub mod signal;

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor as _, PgConnection, Row as _};

/// A schema that is newer than this binary is no reason to refuse: an old replica may have to start again while it is
/// being replaced, and an operator may have to go back. Migrations leave the binary before them working.
fn migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("./migrations");
    migrator.set_ignore_missing(true);
    migrator
}

/// The one lock under which placements are decided and written.
pub const PLACEMENT_LOCK: i64 = 0x6c75_6d62_0001;
/// Serialises key fingerprints and catalogue synchronisation of replicas that start together.
pub const STARTUP_LOCK: i64 = 0x6c75_6d62_0002;

#[derive(Clone, Debug)]
pub struct Settings {
    pub url: String,
    pub max_connections: u32,
}

pub fn options(url: &str) -> sqlx::Result<PgConnectOptions> {
    Ok(PgConnectOptions::from_str(url)?.application_name("lumbung").options([
        ("statement_timeout", "15s"),
        ("idle_in_transaction_session_timeout", "30s"),
        ("lock_timeout", "10s"),
    ]))
}

pub async fn connect(settings: &Settings) -> sqlx::Result<PgPool> {
    pool_options(settings.max_connections)
        .connect_with(options(&settings.url)?)
        .await
}

/// A future that is dropped while its BEGIN is on the way (its client went away, its time was up) gives back a
/// connection inside of a transaction that nobody knows of: what the next one writes there would never be committed.
/// So every connection that comes back is asked, and closed if it is in one.
pub fn pool_options(max_connections: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(Duration::from_secs(5))
        .idle_timeout(Duration::from_mins(10))
        .after_release(|conn, _| Box::pin(outside_transaction(conn)))
}

/// A lone statement begins its own transaction. As a simple query, because the extended protocol's steps each have a
/// time of their own. In a failed transaction this is an error, with the same consequence.
async fn outside_transaction(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let row = conn
        .fetch_one(sqlx::raw_sql("SELECT now() = statement_timestamp()"))
        .await?;
    row.try_get(0)
}

/// Brings the schema up to date, on a connection of its own: a migration may take longer than a statement may.
pub async fn migrate(url: &str) -> Result<(), sqlx::migrate::MigrateError> {
    let mut conn =
        PgConnection::connect_with(&PgConnectOptions::from_str(url)?.application_name("lumbung-migrate")).await?;
    migrator().run(&mut conn).await?;
    conn.close().await?;
    Ok(())
}

/// Identifies the schema: tests keep one template database per value.
pub fn schema_hash() -> String {
    let mut all = Vec::new();
    for migration in migrator().iter() {
        all.extend_from_slice(&migration.checksum);
    }
    crate::crypto::encode_hex(&crate::crypto::sha256(&all)[..8])
}

/// Takes an advisory lock until the transaction ends. Under READ COMMITTED every later statement sees what the
/// previous holder committed; it must still be the first statement that decides anything.
pub async fn lock(conn: &mut PgConnection, key: i64) -> sqlx::Result<()> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", key)
        .execute(conn)
        .await?;
    Ok(())
}

/// True when the error is the violation of the named constraint or unique index.
pub fn violates(error: &sqlx::Error, constraint: &str) -> bool {
    error.as_database_error().and_then(|error| error.constraint()) == Some(constraint)
}
