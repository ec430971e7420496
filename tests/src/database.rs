//! One PostgreSQL per run, one template database per schema, one clone per test.

use std::str::FromStr;

use sqlx::postgres::{PgConnectOptions, PgPool};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// A database of the test's own; dropped with it.
#[derive(Debug)]
pub struct Database {
    pub url: String,
    pub pool: PgPool,
    name: String,
}

fn admin_url() -> String {
    std::env::var("LUMBUNG_TEST_DATABASE_URL")
        .expect("LUMBUNG_TEST_DATABASE_URL is not set: run the tests by `make test` or `scripts/with-postgres cargo …`")
}

fn url_of(name: &str) -> String {
    let admin = admin_url();
    let (server, _) = admin.rsplit_once('/').expect("the address ends with a database name");
    format!("{server}/{name}")
}

impl Database {
    pub async fn create() -> Self {
        let admin = PgConnectOptions::from_str(&admin_url()).expect("a database address");
        let mut conn = PgConnection::connect_with(&admin)
            .await
            .expect("the test server answers");
        let template = format!("lumbung_{}", lumbung::db::schema_hash());
        // Test processes race for the template: the first makes it, the others wait here.
        sqlx::query("SELECT pg_advisory_lock(1)")
            .execute(&mut conn)
            .await
            .expect("the lock");
        let exists: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&template)
            .fetch_one(&mut conn)
            .await
            .expect("pg_database");
        if !exists {
            let draft = format!("{template}_draft");
            for sql in [
                format!("DROP DATABASE IF EXISTS {draft}"),
                format!("CREATE DATABASE {draft} TEMPLATE template0"),
            ] {
                sqlx::query(AssertSqlSafe(sql))
                    .execute(&mut conn)
                    .await
                    .expect("a draft of the template");
            }
            lumbung::db::migrate(&url_of(&draft)).await.expect("the migrations run");
            let rename = format!("ALTER DATABASE {draft} RENAME TO {template}");
            sqlx::query(AssertSqlSafe(rename))
                .execute(&mut conn)
                .await
                .expect("the template is named");
        }
        let name = format!("test_{}", random_name());
        let clone = format!("CREATE DATABASE {name} TEMPLATE {template}");
        sqlx::query(AssertSqlSafe(clone))
            .execute(&mut conn)
            .await
            .expect("a clone of the template");
        conn.close().await.expect("closed");
        let url = url_of(&name);
        let pool = connect(&url).await;
        Self { url, pool, name }
    }

    /// New connections in the place of all that there are, as another process would have.
    pub async fn reconnect(&mut self) {
        self.pool = connect(&self.url).await;
    }
}

async fn connect(url: &str) -> PgPool {
    let options = lumbung::db::options(url).expect("options");
    lumbung::db::pool_options(12)
        .connect_with(options)
        .await
        .expect("the clone answers")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a name that no other test has; nothing is decided by it"
)]
fn random_name() -> String {
    Uuid::now_v7().simple().to_string()
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, name) = (admin_url(), self.name.clone());
        // Its own thread: the test's runtime may be shutting down. A failure leaves a database that the run's end removes.
        let _ = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut conn = PgConnection::connect(&admin).await?;
                let drop = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                sqlx::query(AssertSqlSafe(drop)).execute(&mut conn).await?;
                anyhow::Ok(())
            })
        })
        .join();
    }
}
