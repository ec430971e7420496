//! What is accepted, what is refused, and that a refusal leaves nothing behind.

use futures::future::join_all;
use serde_json::json;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_orders_at_once_for_thirty_places() {
    let app = platform(&[14, 9, 7]).await;
    let people = join_all((0..5).map(|_| customer(&app))).await;
    let orders = (0..50).map(|i| {
        let client = people[i % people.len()].clone();
        async move { order(&client, &format!("order-{i}")).await }
    });
    let answers = join_all(orders).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!(accepted, 30);
    for refused in answers.into_iter().filter(|answer| answer.status != 202) {
        let body = refused.problem(409, "insufficient-capacity");
        let detail = body["detail"].as_str().unwrap();
        assert!(
            detail.ends_with("Nothing was charged.") && !detail.contains("node"),
            "{detail}"
        );
    }
    for table in [
        "SELECT count(*) FROM subscriptions WHERE status = 'active'",
        "SELECT count(*) FROM service_instances WHERE entitled = 'yes' AND next_reconcile_at IS NOT NULL",
        "SELECT count(*) FROM billing WHERE status = 'paid'",
        "SELECT count(*) FROM placements WHERE released_at IS NULL AND state = 'firm'",
        "SELECT count(*) FROM operations WHERE kind = 'provision' AND status = 'running'",
        "SELECT count(*) FROM idempotency_keys",
        "SELECT count(*) FROM events WHERE type = 'order.accepted'",
        "SELECT count(DISTINCT host) FROM service_instances",
    ] {
        assert_eq!(count(&app, table).await, 30, "{table}");
    }
    sound(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_is_one_order_however_often_it_is_sent() {
    let app = platform(&[10]).await;
    let person = customer(&app).await;
    let answers = join_all((0..12).map(|_| order(&person, "\"same\""))).await;
    let mut bodies = Vec::new();
    for answer in answers {
        if answer.status == 202 {
            bodies.push(answer.body);
        } else {
            answer.problem(409, "idempotency-in-flight");
        }
    }
    let replay = order(&person, "same").await;
    let location = replay.header("location").unwrap().to_owned();
    bodies.push(replay.expect(202));
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "every answer is the same");
    assert_eq!(
        location,
        format!("/api/v1/operations/{}", id(&bodies[0]["operation"], "id"))
    );
    assert_eq!(count(&app, "SELECT count(*) FROM subscriptions").await, 1);
    let other = json!({"service": "linkding", "plan": "starter"});
    let answer = person.post_once("same", ORDERS, other).await;
    answer.problem(422, "idempotency-mismatch");
    let stranger = customer(&app).await;
    order(&stranger, "same").await.expect(202);
    assert_eq!(
        count(&app, "SELECT count(*) FROM subscriptions").await,
        2,
        "keys are an account's own"
    );
    sound(&app).await;
}

#[tokio::test]
async fn what_cannot_be_ordered_is_said_and_leaves_nothing() {
    let app = platform(&[1]).await;
    let person = customer(&app).await;
    let client = &person;
    client
        .post(ORDERS, wish())
        .await
        .problem(400, "idempotency-key-missing");
    client
        .anonymous()
        .post_once("k", ORDERS, wish())
        .await
        .problem(401, "unauthenticated");
    for (body, pointer) in [
        (json!({"service": "nothing", "plan": "mini"}), "/service"),
        (json!({"service": "linkding", "plan": "huge"}), "/plan"),
        (json!({"service": "", "plan": "mini"}), "/service"),
        (
            json!({"service": "linkding", "plan": "mini", "inputs": {"colour": "red"}}),
            "/inputs/colour",
        ),
        (json!({"service": "linkding", "plan": "mini", "coupon": 1}), "/coupon"),
        (json!({"service": "linkding", "plan": 7}), "/plan"),
    ] {
        let problem = client
            .post_once("k", ORDERS, body.clone())
            .await
            .problem(422, "validation");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}: {problem:#}");
    }
    let too_much = json!({"service": "linkding", "plan": "starter"});
    client
        .post_once("k", ORDERS, too_much)
        .await
        .problem(409, "insufficient-capacity");
    for table in [
        "subscriptions",
        "billing",
        "service_instances",
        "placements",
        "customer_namespaces",
        "idempotency_keys",
    ] {
        let rows: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
            .fetch_one(&app.db.pool)
            .await
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    // A refusal is evaluated afresh: the same key may yet succeed.
    order(client, "k").await.expect(202);
}
