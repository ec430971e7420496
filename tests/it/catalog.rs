//! The catalogue against a real database and over HTTP.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use lumbung::catalog::http::{Catalog, routes};
use lumbung::catalog::template::{Template, from_json, load_embedded};
use lumbung::catalog::{Status, seed, store};
use lumbung::clock::{Ambient, Entropy, ManualClock, Time};
use lumbung::db::signal::Signals;
use lumbung::http::layers::wrap;
use lumbung::http::page::PageQuery;
use lumbung::identity::Role;
use lumbung::identity::principal::{Caller, Principal};
use lumbung_tests::database;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::PgPool;
use uuid::Uuid;

struct World {
    pool: PgPool,
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
        Self {
            pool: database::fresh().await,
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

#[tokio::test]
async fn synchronising_twice_changes_nothing_and_new_content_is_a_new_version() {
    let world = World::new().await;
    let templates = load_embedded().expect("ours are valid");
    assert_eq!(world.sync(&templates).await, 5);
    assert_eq!(world.sync(&templates).await, 0);
    let mut conn = world.pool.acquire().await.expect("a connection");
    let sold = store::plan_for_order(&mut conn, "linkding", "mini")
        .await
        .expect("read")
        .expect("for sale");

    let old = embedded("linkding");
    let new = with_version(&old, "1.48.0");
    assert_eq!(world.sync(std::slice::from_ref(&new)).await, 1);
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Retired), (2, Status::Published)]
    );
    // A replica that still has the old files must not turn the wheel back.
    assert_eq!(world.sync(std::slice::from_ref(&old)).await, 0);
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Retired), (2, Status::Published)]
    );

    let now = store::plan_for_order(&mut conn, "linkding", "mini")
        .await
        .expect("read")
        .expect("for sale");
    assert_eq!((now.service_version, now.template.version.as_str()), (2, "1.48.0"));
    let then = store::plan_by_id(&mut conn, sold.plan_id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(
        (then.service_version, then.service_id, &then.plan),
        (1, sold.service_id, &sold.plan)
    );
    let template = store::template_by_service_id(&mut conn, sold.service_id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(*template, old);
    let starter = store::plan_of_service(&mut conn, sold.service_id, "starter")
        .await
        .expect("read")
        .expect("in v1");
    assert_eq!((starter.service_version, starter.plan.mem_limit_mib), (1, 1024));
    assert!(
        store::plan_for_order(&mut conn, "linkding", "huge")
            .await
            .expect("read")
            .is_none()
    );
    assert!(
        store::plan_for_order(&mut conn, "nothing", "mini")
            .await
            .expect("read")
            .is_none()
    );
}

#[tokio::test]
async fn replicas_that_start_together_bring_each_template_in_once() {
    let world = World::new().await;
    let templates = load_embedded().expect("ours are valid");
    let start = || async {
        let mut tx = world.pool.begin().await.expect("a transaction");
        let written = seed::sync(&mut tx, &world.ambient, &templates)
            .await
            .expect("synchronised");
        tx.commit().await.expect("committed");
        written
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    assert_eq!(a + b + c, 5);
}

#[tokio::test]
async fn files_neither_replace_an_admins_version_nor_undo_a_retirement() {
    let world = World::new().await;
    let ghost = embedded("ghost");
    world.sync(std::slice::from_ref(&ghost)).await;
    let api = world.serve(&[]).await;
    let own = serde_json::to_value(with_version(&ghost, "6.65.0-own")).expect("JSON");
    assert_eq!(
        api.post("/admin/services/ghost/versions", "k1", Some(&own)).await.0,
        StatusCode::CREATED
    );
    assert_eq!(
        api.post("/admin/services/ghost/versions/2/publish", "", None).await.0,
        StatusCode::OK
    );
    assert_eq!(world.sync(&[with_version(&ghost, "6.66.0")]).await, 1);
    assert_eq!(
        world.statuses("ghost").await,
        [(1, Status::Retired), (2, Status::Published), (3, Status::Draft)]
    );

    assert_eq!(
        api.post("/admin/services/ghost/retire", "", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(world.sync(&[with_version(&ghost, "6.67.0")]).await, 1);
    assert_eq!(
        world.statuses("ghost").await,
        [
            (1, Status::Retired),
            (2, Status::Retired),
            (3, Status::Draft),
            (4, Status::Draft)
        ]
    );
}

#[tokio::test]
async fn anybody_can_browse_what_is_for_sale_page_by_page() {
    let world = World::new().await;
    world.sync(&load_embedded().expect("ours are valid")).await;
    let api = world.serve(&["n8n"]).await;
    let (mut slugs, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let (status, page) = api.get(&format!("/services?limit=2{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        slugs.extend(
            page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["slug"].as_str().unwrap_or_default().to_owned()),
        );
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
    }
    slugs.sort();
    assert_eq!(slugs, ["ghost", "linkding", "n8n", "vaultwarden", "wordpress"]);
    assert_eq!(cursor, "&cursor=", "the last page ends the walk");

    let (status, n8n) = api.get("/services/n8n").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(n8n["orderable"], json!(true));
    assert_eq!(n8n["licence"]["hosted_resale"], json!("restricted"));
    assert_eq!(n8n["plans"][0]["code"], json!("starter"));
    assert_eq!(
        (&n8n["inputs"][0]["key"], &n8n["inputs"][0]["type"]),
        (&json!("owner_email"), &json!("email"))
    );
    assert!(
        n8n.get("components").is_none() && n8n.get("secrets").is_none(),
        "how it is built is not for the public"
    );

    let (status, problem) = api.get("/services/nothing").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not-found")));
    let (status, problem) = api.get("/services?cursor=xyz").await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid-cursor"))
    );
}

#[tokio::test]
async fn a_detail_is_revalidated_by_its_etag_and_the_operators_acceptance_changes_it() {
    let world = World::new().await;
    world.sync(&load_embedded().expect("ours are valid")).await;
    let closed = world.serve(&[]).await;
    let open = world.serve(&["n8n"]).await;
    let fetch = async |api: &Api, tag: &str| {
        let url = format!("{}/services/n8n", api.base);
        let response = api
            .client
            .get(url)
            .header("if-none-match", tag)
            .send()
            .await
            .expect("an answer");
        let etag = response.headers()["etag"].to_str().expect("text").to_owned();
        (
            response.status(),
            etag,
            response.json::<Value>().await.unwrap_or(Value::Null),
        )
    };
    let (status, tag, body) = fetch(&closed, "\"other\"").await;
    assert_eq!((status, &body["orderable"]), (StatusCode::OK, &json!(false)));
    let reason = body["not_orderable_reason"].as_str().expect("a reason");
    assert!(reason.contains("licence restricts"), "{reason}");
    assert_eq!(fetch(&closed, &tag).await.0, StatusCode::NOT_MODIFIED);
    let (status, _, body) = fetch(&open, &tag).await;
    assert_eq!((status, &body["orderable"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn an_admin_drafts_publishes_replaces_and_retires_a_service() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let first = serde_json::to_value(embedded("linkding")).expect("JSON");
    let (status, created) = api.post("/admin/services", "k1", Some(&first)).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    assert_eq!(
        (&created["version"], &created["status"], &created["origin"]),
        (&json!(1), &json!("draft"), &json!("api"))
    );
    assert_eq!(from_json(created["template"].clone()).ok(), Some(embedded("linkding")));
    assert_eq!(
        api.get("/services/linkding").await.0,
        StatusCode::NOT_FOUND,
        "a draft is not for sale"
    );

    // The same request again is the same answer; the same key with another body is refused.
    assert_eq!(
        api.post("/admin/services", "k1", Some(&first)).await,
        (StatusCode::CREATED, created)
    );
    let second = serde_json::to_value(with_version(&embedded("linkding"), "1.48.0")).expect("JSON");
    let (status, problem) = api.post("/admin/services", "k1", Some(&second)).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency-mismatch"))
    );
    let (status, problem) = api.post("/admin/services", "k2", Some(&first)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")));
    let (status, problem) = api.post("/admin/services", "", Some(&first)).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("idempotency-key-missing"))
    );

    let publish = "/admin/services/linkding/versions/1/publish";
    for _ in 0..2 {
        let (status, published) = api.post(publish, "", None).await;
        assert_eq!((status, &published["status"]), (StatusCode::OK, &json!("published")));
    }
    assert_eq!(api.get("/services/linkding").await.1["version"], json!(1));

    let versions = "/admin/services/linkding/versions";
    let (status, problem) = api.post(versions, "k3", Some(&first)).await;
    assert_eq!(
        (status, &problem["detail"]),
        (StatusCode::CONFLICT, &json!("Version 1 has exactly this content."))
    );
    assert_eq!(api.post(versions, "k4", Some(&second)).await.1["version"], json!(2));
    let other = serde_json::to_value(embedded("ghost")).expect("JSON");
    let (status, problem) = api.post(versions, "k5", Some(&other)).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/slug"))
    );
    assert_eq!(
        api.post("/admin/services/ghost/versions", "k6", Some(&other)).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.post("/admin/services/linkding/versions/9/publish", "", None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.post("/admin/services/ghost/retire", "", None).await.0,
        StatusCode::NOT_FOUND
    );

    for _ in 0..2 {
        assert_eq!(
            api.post("/admin/services/linkding/retire", "", None).await.0,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(api.get("/services/linkding").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        api.post(publish, "", None).await.0,
        StatusCode::OK,
        "a retired version can return"
    );
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Published), (2, Status::Draft)]
    );

    let deeds: Vec<String> = sqlx::query_scalar("SELECT action FROM audit_log ORDER BY id")
        .fetch_all(&world.pool)
        .await
        .expect("read");
    assert_eq!(
        deeds.iter().filter(|deed| *deed == "service.version.publish").count(),
        2,
        "a publication that changes nothing is no deed: {deeds:?}"
    );
    assert_eq!(deeds.len(), 5, "{deeds:?}");
    let told: i64 = sqlx::query_scalar("SELECT last_seq FROM event_streams WHERE id = $1")
        .bind(Uuid::nil())
        .fetch_one(&world.pool)
        .await
        .expect("read");
    assert_eq!(told, 3);
}

#[tokio::test]
async fn a_wrong_template_is_refused_field_by_field() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let mut template = serde_json::to_value(embedded("ghost")).expect("JSON");
    template["components"][0]["image"]["tag"] = json!("latest");
    template["plans"][0]["price_idr"] = json!(-5);
    let (status, problem) = api.post("/admin/services", "k", Some(&template)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["pointer"].as_str())
        .collect();
    assert_eq!(pointers, ["/components/0/image/tag", "/plans/0/price_idr"]);
    template["privileged"] = json!(true);
    let (_, problem) = api.post("/admin/services", "k", Some(&template)).await;
    assert_eq!(problem["errors"][0]["pointer"], json!("/privileged"));
    assert!(world.statuses("ghost").await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn only_admins_change_the_catalogue_and_only_staff_reads_its_drafts() {
    let world = World::new().await;
    world.sync(&[embedded("linkding")]).await;
    let api = world.serve(&[]).await;
    let body = serde_json::to_value(embedded("ghost")).expect("JSON");
    let reads = [
        "/admin/services",
        "/admin/services/linkding/versions",
        "/admin/services/linkding/versions/1",
    ];
    let writes = [
        "/admin/services",
        "/admin/services/linkding/versions",
        "/admin/services/linkding/versions/1/publish",
        "/admin/services/linkding/retire",
    ];
    for (role, read, write) in [
        ("", StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
        ("customer", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        ("support", StatusCode::OK, StatusCode::FORBIDDEN),
    ] {
        for path in reads {
            assert_eq!(
                api.call(Method::GET, path, role, "", None).await.0,
                read,
                "{role} reads {path}"
            );
        }
        for path in writes {
            assert_eq!(
                api.call(Method::POST, path, role, "k", Some(&body)).await.0,
                write,
                "{role} writes {path}"
            );
        }
    }
    let list = async |query: &str| {
        api.call(Method::GET, &format!("/admin/services{query}"), "admin", "", None)
            .await
            .1
    };
    assert_eq!(
        list("?status=published").await["items"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(list("?status=draft").await["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(list("?status=unheard-of").await["code"], json!("validation"));
    assert_eq!(
        api.call(Method::GET, "/admin/services/nothing/versions", "admin", "", None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn of_two_publications_at_once_one_is_on_sale_in_the_end() {
    let world = World::new().await;
    world.sync(&[embedded("linkding")]).await;
    world.sync(&[with_version(&embedded("linkding"), "1.48.0")]).await;
    let api = world.serve(&[]).await;
    for _ in 0..5 {
        let (a, b) = tokio::join!(
            api.post("/admin/services/linkding/versions/1/publish", "", None),
            api.post("/admin/services/linkding/versions/2/publish", "", None),
        );
        assert_eq!((a.0, b.0), (StatusCode::OK, StatusCode::OK));
        let published = world
            .statuses("linkding")
            .await
            .into_iter()
            .filter(|(_, status)| *status == Status::Published);
        assert_eq!(published.count(), 1);
    }
    let window = PageQuery::default().window("services").expect("a window");
    let mut conn = world.pool.acquire().await.expect("a connection");
    assert_eq!(store::published_page(&mut conn, &window).await.expect("read").len(), 1);
}
