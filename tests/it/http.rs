//! What the framework answers by itself is a problem too.

use lumbung_tests::TestApp;
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn whatever_fails_is_a_problem() {
    let app = TestApp::start().await;
    let client = app.client();
    client.get("/nowhere").await.problem(404, "not-found");
    let wrong = client.send(Method::DELETE, "/api/v1/services", &[], None).await;
    assert!(wrong.header("allow").is_some_and(|allow| allow.contains("GET")));
    wrong.problem(405, "method-not-allowed");
    client
        .send(Method::TRACE, "/api/v1/services", &[], None)
        .await
        .problem(405, "method-not-allowed");
    client.get("/api/v1/services?limit=0").await.problem(422, "validation");
    client.get("/api/v1/services?limit=x").await.problem(422, "validation");
    client
        .get("/api/v1/services?cursor=x")
        .await
        .problem(400, "invalid-cursor");
    let answer = client
        .send(Method::GET, "/nowhere", &[("x-request-id", "abc-1")], None)
        .await;
    assert_eq!(answer.header("x-request-id"), Some("abc-1"));
    assert_eq!(answer.body["request_id"], "abc-1");
    let answer = client
        .send(Method::GET, "/nowhere", &[("x-request-id", "not sane!")], None)
        .await;
    assert_ne!(answer.header("x-request-id"), Some("not sane!"));
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let app = TestApp::start().await;
    assert_eq!(app.client().get("/healthz").await.expect(200), json!({"status": "ok"}));
    app.client().get("/readyz").await.expect(200);
    let text = app.client().get("/metrics").await.expect(200);
    assert!(text.as_str().unwrap().contains("lumbung_http_requests_total"));
}

#[tokio::test]
async fn an_unreachable_database_is_said_by_readiness_and_not_by_health() {
    let app = TestApp::start().await;
    app.db.pool.close().await;
    app.client().get("/readyz").await.problem(503, "unavailable");
    app.client().get("/healthz").await.expect(200);
    let answer = app.client().get("/api/v1/services").await;
    assert_eq!(answer.header("retry-after"), Some("2"));
    answer.problem(503, "unavailable");
}

#[tokio::test]
async fn the_nodes_of_the_cluster_become_rows() {
    let app = TestApp::start().await;
    app.settle().await;
    let rows: Vec<(String, i32, i32)> =
        sqlx::query_as("SELECT name, cpu_milli, mem_mib FROM worker_nodes ORDER BY name")
            .fetch_all(&app.db.pool)
            .await
            .unwrap();
    let expected = [
        ("intel-i7-gen7", 7500, 30_720),
        ("ryzen-3900x", 22_500, 61_440),
        ("ryzen-6900hs", 15_500, 30_720),
    ];
    assert_eq!(rows, expected.map(|(name, cpu, mem)| (name.to_owned(), cpu, mem)));
}

#[tokio::test]
async fn an_older_binary_starts_on_a_newer_schema() {
    let db = lumbung_tests::database::Database::create().await;
    sqlx::query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (9999, 'of tomorrow', true, '', 0)")
        .execute(&db.pool)
        .await
        .unwrap();
    lumbung::db::migrate(&db.url).await.unwrap();
}
