//! The stories in which the points lie, each to its end. What they assert of it is what the uninterrupted run gives.

use lumbung::clock::{Ambient, Entropy};
use lumbung::identity::admin::create_admin;
use lumbung::identity::password::{Cost, Hasher, Password};
use lumbung_tests::{PASSWORD, inputs};
use serde_json::{Value, json};

use super::stage::Stage;

struct Ordered {
    instance: String,
    subscription: String,
    invoice: String,
}

async fn order(stage: &mut Stage, service: &str, plan: &str) -> Ordered {
    let offer = stage.get(&format!("/api/v1/services/{service}")).await;
    let body = json!({"service": service, "plan": plan, "inputs": inputs(&offer)});
    let accepted = stage.post("/api/v1/orders", "order", body).await.expect(202);
    let path = |root: &str, field: &str| format!("/api/v1/{root}/{}", accepted[field].as_str().expect("an id"));
    Ordered {
        instance: path("instances", "instance_id"),
        subscription: path("subscriptions", "subscription_id"),
        invoice: path("admin/invoices", "invoice_id"),
    }
}

async fn reaches(stage: &mut Stage, ordered: &Ordered, phase: &str) {
    let there = |seen: &Value| seen["phase"] == phase && seen["observed_generation"] == seen["generation"];
    stage.until(&ordered.instance, there).await;
}

/// Running, and its first period has begun.
async fn begins(stage: &mut Stage, ordered: &Ordered) {
    reaches(stage, ordered, "running").await;
    stage
        .until(&ordered.subscription, |seen| seen["period_start"].is_string())
        .await;
}

async fn running(stage: &mut Stage) -> Ordered {
    let ordered = order(stage, "linkding", "mini").await;
    begins(stage, &ordered).await;
    ordered
}

/// What has happened to the one order, once each; and every operation has ended well.
async fn tells(stage: &mut Stage, operations: &[&str], beside: &[(&str, i64)]) {
    let pool = &stage.db.pool;
    let running = || async {
        let kinds: Vec<(String, String)> =
            sqlx::query_as("SELECT kind, status FROM operations ORDER BY created_at, id")
                .fetch_all(pool)
                .await
                .expect("operations");
        kinds.iter().all(|(_, status)| status != "running").then_some(kinds)
    };
    let ended = lumbung_tests::eventually("every operation ends", running).await;
    let wanted: Vec<_> = operations
        .iter()
        .map(|kind| ((*kind).to_owned(), "succeeded".to_owned()))
        .collect();
    assert_eq!(ended, wanted);
    let mut events = vec![
        ("invoice.opened", 1),
        ("invoice.paid", 1),
        ("order.accepted", 1),
        ("subscription.activated", 1),
        ("subscription.period_begun", 1),
    ];
    events.retain(|(name, _)| beside.iter().all(|(other, _)| other != name));
    events.extend_from_slice(beside);
    events.push(("operation.finished", i64::try_from(operations.len()).expect("few")));
    events.sort_unstable();
    let told: Vec<(String, i64)> = sqlx::query_as(
        "SELECT type, count(*) FROM events
          WHERE stream IN (SELECT user_id FROM subscriptions) AND type <> 'instance.phase_changed'
          GROUP BY type ORDER BY type COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await
    .expect("events");
    let told: Vec<_> = told.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    assert_eq!(told, events);
}

/// From the order to the running service, with a configuration, a setup pod and a verification.
pub async fn provision(stage: &mut Stage) {
    let ordered = order(stage, "ghost", "starter").await;
    begins(stage, &ordered).await;
    tells(stage, &["provision"], &[]).await;
}

/// A secret that takes long to make is made after the order.
pub async fn provision_with_a_hashed_password(stage: &mut Stage) {
    let ordered = order(stage, "n8n", "starter").await;
    begins(stage, &ordered).await;
    tells(stage, &["provision"], &[]).await;
}

/// A price, paid by a transfer that an operator confirms.
pub async fn pay(stage: &mut Stage) {
    stage.sql("UPDATE service_plans SET price_idr = 25000").await;
    let ordered = order(stage, "linkding", "mini").await;
    stage
        .until("/api/v1/transactions", |seen| seen["items"][0]["status"] == "pending")
        .await;
    let (ambient, entropy) = (Ambient::system(), Entropy::from_os());
    let hasher = Hasher::new(Cost::TRIFLING, &entropy).expect("a hasher");
    let (root, password) = ("root@example.org", Some(Password::new(PASSWORD)));
    create_admin(&stage.db.pool, &ambient, &hasher, root, password, false)
        .await
        .expect("an admin");
    stage.log_in(json!({"email": root, "password": PASSWORD})).await;
    let path = format!("{}/confirm-payment", ordered.invoice);
    stage.post(&path, "confirm", json!({})).await.expect(200);
    begins(stage, &ordered).await;
    tells(stage, &["provision"], &[]).await;
}

pub async fn stop_and_start(stage: &mut Stage) {
    let ordered = running(stage).await;
    for (act, phase) in [("stop", "stopped"), ("start", "running"), ("restart", "running")] {
        let operation = stage
            .post(&format!("{}/{act}", ordered.instance), act, json!({}))
            .await
            .expect(202);
        let path = format!("/api/v1/operations/{}", operation["id"].as_str().expect("an id"));
        stage.until(&path, |seen| seen["status"] == "succeeded").await;
        reaches(stage, &ordered, phase).await;
    }
    tells(stage, &["provision", "stop", "start", "restart"], &[]).await;
}

/// The second period is bought, and it is bought once.
pub async fn renew(stage: &mut Stage) {
    let ordered = running(stage).await;
    let path = format!("{}/renew", ordered.subscription);
    stage.post(&path, "renew", json!({"period_no": 2})).await.expect(200);
    let beside = [("invoice.opened", 2), ("invoice.paid", 2), ("subscription.renewed", 1)];
    tells(stage, &["provision"], &beside).await;
}

/// Cancelled by its owner: everything of it is deleted.
pub async fn cancel(stage: &mut Stage) {
    let ordered = running(stage).await;
    cancelled(stage, ordered).await;
}

/// The same with a configuration to delete.
pub async fn cancel_with_a_configuration(stage: &mut Stage) {
    let ordered = order(stage, "ghost", "starter").await;
    begins(stage, &ordered).await;
    cancelled(stage, ordered).await;
}

async fn cancelled(stage: &mut Stage, ordered: Ordered) {
    let path = format!("{}/cancel", ordered.subscription);
    let answer = stage.post(&path, "cancel", json!({"when": "now"})).await;
    assert!(matches!(answer.status.as_u16(), 200 | 202), "{:#}", answer.body);
    reaches(stage, &ordered, "deleted").await;
    tells(
        stage,
        &["provision", "delete"],
        &[("subscription.cancelled", 1), ("instance.deleted", 1)],
    )
    .await;
}

/// Its period ends, then its grace: stopped, and at last deleted.
pub async fn expire(stage: &mut Stage) {
    let ordered = running(stage).await;
    stage
        .sql(
            "UPDATE subscriptions
                SET period_start = period_start - interval '31 days', period_end = period_end - interval '31 days',
                    next_transition_at = next_transition_at - interval '31 days', version = version + 1",
        )
        .await;
    stage
        .until(&ordered.subscription, |seen| seen["status"] == "expired")
        .await;
    reaches(stage, &ordered, "stopped").await;
    stage
        .sql(
            "UPDATE subscriptions
                SET grace_until = grace_until - interval '31 days',
                    next_transition_at = next_transition_at - interval '31 days', version = version + 1",
        )
        .await;
    stage
        .until(&ordered.subscription, |seen| seen["status"] == "cancelled")
        .await;
    reaches(stage, &ordered, "deleted").await;
    let beside = [
        ("subscription.expired", 1),
        ("subscription.cancelled", 1),
        ("instance.deleted", 1),
    ];
    tells(stage, &["provision"], &beside).await;
}
