//! The same life with the reconciler and a simulated cluster behind it: what is decided here is what runs there.

use lumbung::instances;
use serde_json::json;

use super::*;

async fn phase(app: &TestApp, accepted: &Value) -> String {
    text(
        app,
        "SELECT phase FROM service_instances WHERE id = $1",
        id(accepted, "instance_id"),
    )
    .await
}

/// Lets platform and cluster come to rest at this instant of the clock. Between the rounds every instance is made due,
/// as the watch does when its pod changes; at rest is what two rounds in a row leave as it is.
async fn rest(app: &TestApp) {
    let mut before = Vec::new();
    for _ in 0..40 {
        app.settle().await;
        let sql = "SELECT id, phase || ' ' || reason || ' ' || admin_state FROM service_instances ORDER BY id";
        let seen: Vec<(Uuid, String)> = sqlx::query_as(sql).fetch_all(&app.db.pool).await.unwrap();
        if seen == before {
            return;
        }
        let ids: Vec<_> = seen.iter().map(|(id, _)| *id).collect();
        let mut conn = app.db.pool.acquire().await.unwrap();
        instances::store::touch(&mut conn, app.ambient.now(), &ids)
            .await
            .unwrap();
        before = seen;
    }
    panic!("platform and cluster do not come to rest: {before:?}");
}

#[tokio::test]
async fn expiry_stops_renewal_restarts_and_purge_deletes() {
    let app = platform(&[1]).await;
    rest(&app).await;
    let accepted = order(&customer(&app).await, "o").await.expect(202);
    rest(&app).await;
    assert_eq!(phase(&app, &accepted).await, "running");
    let begun = show(&app, &accepted).await;
    assert_eq!(
        (&begun["period_no"], &begun["period_start"]),
        (&json!(1), &json!(app.ambient.now()))
    );

    app.advance(DAY * 30);
    rest(&app).await;
    assert_eq!(show(&app, &accepted).await["status"], "expired");
    assert_eq!(
        (phase(&app, &accepted).await, placed(&app, &accepted).await),
        ("stopped".into(), "parked".into())
    );
    let second = order(&customer(&app).await, "o").await.expect(202);
    rest(&app).await;
    assert_eq!(
        phase(&app, &second).await,
        "running",
        "the room that expiry gave back is sold again"
    );
    let operator = admin(&app).await;
    renew(&operator, &accepted, "full", 2)
        .await
        .problem(409, "insufficient-capacity");
    let path = format!("/api/v1/admin/subscriptions/{}/cancel", id(&second, "subscription_id"));
    let deletion = operator.post(&path, json!({})).await.expect(202);
    rest(&app).await;
    let operation = format!("/api/v1/operations/{}", id(&deletion["operation"], "id"));
    assert_eq!(operator.get(&operation).await.expect(200)["status"], "succeeded");
    assert_eq!(
        (phase(&app, &second).await, placed(&app, &second).await),
        ("deleted".into(), "none".into())
    );

    app.advance(Duration::from_mins(1));
    let renewal = renew(&operator, &accepted, "r", 2).await.expect(202);
    rest(&app).await;
    assert_eq!(
        (phase(&app, &accepted).await, placed(&app, &accepted).await),
        ("running".into(), "firm".into())
    );
    let restarted = show(&app, &accepted).await;
    assert_eq!(
        (&restarted["period_no"], &restarted["period_start"]),
        (&json!(2), &json!(app.ambient.now()))
    );
    let operation = format!("/api/v1/operations/{}", id(&renewal["operation"], "id"));
    assert_eq!(operator.get(&operation).await.expect(200)["status"], "succeeded");

    app.advance(DAY * 30);
    rest(&app).await;
    app.advance(DAY * 30);
    rest(&app).await;
    assert_eq!(show(&app, &accepted).await["cancel_reason"], "grace_over");
    assert_eq!(
        (phase(&app, &accepted).await, placed(&app, &accepted).await),
        ("deleted".into(), "none".into())
    );
    sound(&app).await;
}

#[tokio::test]
async fn a_renewal_before_the_pod_is_gone_keeps_its_place() {
    let app = platform(&[1]).await;
    rest(&app).await;
    let accepted = order(&customer(&app).await, "o").await.expect(202);
    rest(&app).await;
    app.advance(DAY * 30);
    app.run("advance_subscriptions").await;
    assert_eq!(
        placed(&app, &accepted).await,
        "firm",
        "until the pod is seen to be gone"
    );
    renew(&admin(&app).await, &accepted, "r", 2).await.expect(202);
    rest(&app).await;
    let shown = show(&app, &accepted).await;
    assert_eq!(
        (&shown["status"], &shown["period_start"]),
        (&json!("active"), &json!(app.ambient.now()))
    );
    assert_eq!(
        (phase(&app, &accepted).await, placed(&app, &accepted).await),
        ("running".into(), "firm".into())
    );
    sound(&app).await;
}

#[tokio::test]
async fn an_unpaid_order_leaves_nothing_in_the_cluster() {
    let app = platform(&[1]).await;
    rest(&app).await;
    price(&app, 10_000).await;
    let accepted = order(&customer(&app).await, "o").await.expect(202);
    rest(&app).await;
    assert_eq!(phase(&app, &accepted).await, "pending");
    app.advance(Duration::from_mins(30));
    rest(&app).await;
    assert_eq!(
        (phase(&app, &accepted).await, placed(&app, &accepted).await),
        ("deleted".into(), "none".into())
    );
    sound(&app).await;
}
