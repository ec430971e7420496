//! Orders, money and time: what is sold, paid, renewed, expired and purged, each once.
//!
//! Nothing is reconciled here: that a service was seen ready, or its pod gone, is written where the reconciler would.

mod cluster;
mod life;
mod orders;
mod payments;
mod races;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lumbung::scheduling;
use lumbung_tests::{Answer, Client, TestApp};
use serde_json::{Value, json};
use simcluster::NodeSpec;
use uuid::Uuid;

const DAY: Duration = Duration::from_hours(24);
const ORDERS: &str = "/api/v1/orders";
/// What one linkding in its mini plan requests: 256 MiB.
const PLACE_MIB: u64 = 256;
/// What the policy keeps free on every node for setup pods.
const SETUP_MIB: u64 = 256;

/// A platform with room for exactly this many mini plans on each node.
async fn platform(places: &[u64]) -> TestApp {
    let node = |(i, places): (usize, &u64)| NodeSpec::new(format!("node-{i}"), 32_000, places * PLACE_MIB + SETUP_MIB);
    let nodes = places.iter().enumerate().map(node).collect();
    let app = TestApp::builder().nodes(nodes).start().await;
    app.run("nodes").await;
    app
}

fn address(role: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{role}-{}@example.org", NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn customer(app: &TestApp) -> Client {
    app.customer(&address("customer")).await
}

async fn support(app: &TestApp) -> Client {
    app.support(&address("support")).await
}

async fn admin(app: &TestApp) -> Client {
    app.admin(&address("admin")).await
}

fn wish() -> Value {
    json!({"service": "linkding", "plan": "mini"})
}

async fn order(client: &Client, key: &str) -> Answer {
    client.post_once(key, ORDERS, wish()).await
}

/// An accepted order and, when it is free, seen ready at once.
async fn running(app: &TestApp, person: &Client, key: &str) -> Value {
    let accepted = order(person, key).await.expect(202);
    seen_ready(app, &accepted).await;
    app.run("begin_periods").await;
    accepted
}

fn id(of: &Value, field: &str) -> Uuid {
    of[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} in {of:#}"))
        .parse()
        .unwrap()
}

async fn price(app: &TestApp, idr: i64) {
    let sql = "UPDATE service_plans SET price_idr = $1";
    sqlx::query(sql).bind(idr).execute(&app.db.pool).await.unwrap();
}

/// What the reconciler writes when the service comes up.
async fn seen_ready(app: &TestApp, accepted: &Value) {
    sqlx::query(
        "UPDATE service_instances
            SET phase = 'running', observed_generation = generation, last_ready_at = $2,
                first_ready_at = coalesce(first_ready_at, $2)
          WHERE id = $1",
    )
    .bind(id(accepted, "instance_id"))
    .bind(app.ambient.now())
    .execute(&app.db.pool)
    .await
    .unwrap();
}

/// What the reconciler writes when an expired service's pod is gone.
async fn seen_gone(app: &TestApp, accepted: &Value) {
    let instance = id(accepted, "instance_id");
    let mut conn = app.db.pool.acquire().await.unwrap();
    scheduling::park(&mut conn, &app.ambient, instance).await.unwrap();
    sqlx::query("UPDATE service_instances SET phase = 'stopped', observed_generation = generation WHERE id = $1")
        .bind(instance)
        .execute(&mut *conn)
        .await
        .unwrap();
}

/// As a fresh admin sees it: tokens do not live for months.
async fn show(app: &TestApp, accepted: &Value) -> Value {
    let path = format!("/api/v1/subscriptions/{}", id(accepted, "subscription_id"));
    admin(app).await.get(&path).await.expect(200)
}

async fn renew(client: &Client, accepted: &Value, key: &str, period_no: i32) -> Answer {
    let path = format!("/api/v1/subscriptions/{}/renew", id(accepted, "subscription_id"));
    client.post_once(key, &path, json!({"period_no": period_no})).await
}

async fn text(app: &TestApp, sql: &'static str, id: Uuid) -> String {
    sqlx::query_scalar(sql).bind(id).fetch_one(&app.db.pool).await.unwrap()
}

async fn count(app: &TestApp, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&app.db.pool).await.unwrap()
}

async fn entitled(app: &TestApp, accepted: &Value) -> String {
    text(
        app,
        "SELECT entitled FROM service_instances WHERE id = $1",
        id(accepted, "instance_id"),
    )
    .await
}

/// State of the open placement; `none` without one.
async fn placed(app: &TestApp, accepted: &Value) -> String {
    let sql = "SELECT coalesce((SELECT state FROM placements WHERE instance_id = $1 AND released_at IS NULL), 'none')";
    text(app, sql, id(accepted, "instance_id")).await
}

/// The events of one subscription as `type cause`, in order.
async fn story(app: &TestApp, accepted: &Value) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT type || coalesce(' ' || (payload->>'cause'), '') FROM events
          WHERE payload->>'subscription_id' = $1::text ORDER BY position",
    )
    .bind(id(accepted, "subscription_id").to_string())
    .fetch_all(&app.db.pool)
    .await
    .unwrap()
}

/// What must hold at every moment: streams without gaps, no node over its room, and every rupiah accounted for.
async fn sound(app: &TestApp) {
    let gaps = "SELECT count(*) FROM event_streams s
                 WHERE last_seq - first_seq + 1 <> (SELECT count(*) FROM events e WHERE e.stream = s.id)";
    assert_eq!(count(app, gaps).await, 0, "an event stream has a gap");
    let over = "SELECT count(*) FROM worker_nodes n
                 WHERE mem_mib < foreign_mem_mib + (SELECT coalesce(sum(mem_request_mib), 0) FROM placements p
                                                     WHERE p.node_id = n.id AND released_at IS NULL)";
    assert_eq!(count(app, over).await, 0, "a node is oversold");
    // Paid: one payment. Credited: one payment and one credit of the same amount. Open and void: no money.
    let unbalanced = "SELECT count(*) FROM billing b
        LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE kind = 'payment' AND status = 'paid' AND amount_idr = b.amount_idr) AS paid,
                                  count(*) FILTER (WHERE kind = 'credit' AND amount_idr = b.amount_idr) AS credited,
                                  count(*) FILTER (WHERE amount_idr <> b.amount_idr) AS wrong
                             FROM transactions t WHERE t.billing_id = b.id) t ON TRUE
        WHERE t.wrong > 0 OR (t.paid::int, t.credited::int) <> CASE b.status WHEN 'paid' THEN (1, 0) WHEN 'credited' THEN (1, 1) ELSE (0, 0) END";
    assert_eq!(count(app, unbalanced).await, 0, "an invoice and its money disagree");
    let overlap = "SELECT count(*) FROM billing a JOIN billing b USING (subscription_id)
                    WHERE a.id < b.id AND a.period_start < b.period_end AND b.period_start < a.period_end";
    assert_eq!(count(app, overlap).await, 0, "two periods of one subscription overlap");
}
