//! The catalogue against a real database and over HTTP.

mod admin;
mod public;
mod synchronisation;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use lumbung::catalog::http::{Catalog, routes};
use lumbung::catalog::template::{Template, load_embedded};
use lumbung::catalog::{Status, seed, store};
use lumbung::clock::{Ambient, Entropy, ManualClock, Time};
use lumbung::db::signal::Signals;
use lumbung::http::layers::wrap;
use lumbung::identity::Role;
use lumbung::identity::principal::{Caller, Principal};
use lumbung_tests::database::Database;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

struct World {
    pool: PgPool,
    _database: Database,
    ambient: Ambient,
    clock: Arc<ManualClock>,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Time::new(
            "2026-01-01T00:00:00Z".parse().expect("a time"),
        )));
        let ambient = Ambient {
            clock: clock.clone(),
            entropy: Entropy::seeded(7),
        };
        let database = Database::create().await;
        Self {
            pool: database.pool.clone(),
            _database: database,
            ambient,
            clock,
        }
    }

    async fn sync(&self, templates: &[Template]) -> usize {
        self.clock.advance(Duration::from_secs(1));
        let mut tx = self.pool.begin().await.expect("a transaction");
        let written = seed::sync(&mut tx, &self.ambient, templates)
            .await
            .expect("synchronised");
        tx.commit().await.expect("committed");
        written
    }

    async fn statuses(&self, slug: &str) -> Vec<(i32, Status)> {
        let mut tx = self.pool.begin().await.expect("a transaction");
        let versions = store::lock_versions(&mut tx, slug).await.expect("versions");
        versions
            .iter()
            .map(|version| (version.version, version.status))
            .collect()
    }

    /// Serves the catalogue; the caller's role stands in a header, as the authentication layer would find it.
    async fn serve(&self, accepted: &[&str]) -> Api {
        let user_id = Uuid::from_u128(0xad);
        sqlx::query(
            "INSERT INTO users (id, email, password_hash, handle, role, created_at, updated_at)
             VALUES ($1, 'a@example.org', 'x', 'abcdefgh', 'admin', now(), now()) ON CONFLICT DO NOTHING",
        )
        .bind(user_id)
        .execute(&self.pool)
        .await
        .expect("a user");
        let state = Catalog {
            pool: self.pool.clone(),
            ambient: self.ambient.clone(),
            signals: Signals::default(),
            accepted_licences: Arc::new(accepted.iter().map(|slug| (*slug).to_owned()).collect::<BTreeSet<_>>()),
        };
        let (router, _) = routes(state).split_for_parts();
        let router = router.layer(from_fn(move |mut request: Request, next: Next| async move {
            let role = request
                .headers()
                .get("x-role")
                .and_then(|role| Role::parse(role.to_str().ok()?));
            let caller = role.map_or(Caller::Anonymous, |role| {
                Caller::Known(Principal {
                    user_id,
                    session_id: Uuid::nil(),
                    role,
                })
            });
            request.extensions_mut().insert(caller);
            next.run(request).await
        }));
        let router = wrap(router, self.ambient.clone(), &[]);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        Api {
            base: format!("http://{address}/api/v1"),
            client: reqwest::Client::new(),
            server,
        }
    }
}

struct Api {
    base: String,
    client: reqwest::Client,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Api {
    async fn call(
        &self,
        method: Method,
        path: &str,
        role: &str,
        key: &str,
        body: Option<&Value>,
    ) -> (StatusCode, Value) {
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.base))
            .header("x-role", role);
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status();
        let text = response.text().await.expect("a body");
        (status, serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.call(Method::GET, path, "", "", None).await
    }

    async fn post(&self, path: &str, key: &str, body: Option<&Value>) -> (StatusCode, Value) {
        self.call(Method::POST, path, "admin", key, body).await
    }
}

fn embedded(slug: &str) -> Template {
    load_embedded()
        .expect("ours are valid")
        .into_iter()
        .find(|template| template.slug == slug)
        .expect("known slug")
}

fn with_version(template: &Template, app_version: &str) -> Template {
    Template {
        version: app_version.to_owned(),
        ..template.clone()
    }
}
