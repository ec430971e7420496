//! One database per test, cloned from a template that is migrated once per schema.
//!
//! The server is the one at `LUMBUNG_TEST_DATABASE_URL`; `scripts/with-postgres` runs a command beside a throw-away one.

use std::str::FromStr;
use std::sync::atomic::{AtomicU32, Ordering};

use lumbung::db;
use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

/// Serialises the making of the template and every clone: PostgreSQL copies only what nobody is connected to.
const CLONE_LOCK: i64 = 0x6c75_6d62_7e57;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A migrated database that nobody else has.
pub async fn fresh() -> PgPool {
    let base = std::env::var("LUMBUNG_TEST_DATABASE_URL")
        .expect("LUMBUNG_TEST_DATABASE_URL names a PostgreSQL server; run the tests with scripts/with-postgres");
    let options = PgConnectOptions::from_str(&base).expect("a PostgreSQL URL");
    let mut admin = PgConnection::connect_with(&options)
        .await
        .expect("the test server answers");
    sqlx::query("SELECT pg_advisory_lock($1)")
        .bind(CLONE_LOCK)
        .execute(&mut admin)
        .await
        .expect("locked");
    let template = format!("lumbung_{}", db::schema_hash());
    let known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1 AND datistemplate)")
            .bind(&template)
            .fetch_one(&mut admin)
            .await
            .expect("the catalogue is readable");
    if !known {
        let statement = |sql: String| sqlx::query(AssertSqlSafe(sql));
        statement(format!("DROP DATABASE IF EXISTS {template}"))
            .execute(&mut admin)
            .await
            .expect("dropped");
        statement(format!("CREATE DATABASE {template}"))
            .execute(&mut admin)
            .await
            .expect("created");
        db::migrate(options.clone().database(&template).to_url_lossy().as_str())
            .await
            .expect("migrated");
        // Marked only now: a run that was killed half-way through the migrations leaves no template behind.
        statement(format!("ALTER DATABASE {template} IS_TEMPLATE true"))
            .execute(&mut admin)
            .await
            .expect("marked");
    }
    let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let clone = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::query(AssertSqlSafe(clone))
        .execute(&mut admin)
        .await
        .expect("cloned");
    admin.close().await.expect("closed");
    let url = options.database(&name).to_url_lossy().to_string();
    db::connect(&db::Settings {
        url,
        max_connections: 8,
    })
    .await
    .expect("the clone answers")
}
