//! One subscription through its whole life, on the manual clock.

use serde_json::json;

use super::*;

async fn pass(app: &TestApp, days: u32) {
    app.advance(DAY * days);
    app.run("advance_subscriptions").await;
    sound(app).await;
}

#[tokio::test]
async fn from_the_order_through_renewals_expiry_and_grace_to_the_purge() {
    let app = platform(&[2]).await;
    let person = customer(&app).await;
    let accepted = order(&person, "o").await.expect(202);
    assert_eq!(accepted["payment"]["status"], "paid");
    assert_eq!(
        (entitled(&app, &accepted).await, placed(&app, &accepted).await),
        ("yes".into(), "firm".into())
    );
    let paid = show(&app, &accepted).await;
    assert_eq!(
        (&paid["status"], &paid["period_no"], &paid["period_start"]),
        (&json!("active"), &json!(0), &json!(null))
    );
    renew(&person, &accepted, "early", 2).await.problem(409, "conflict");

    app.advance(Duration::from_mins(5));
    seen_ready(&app, &accepted).await;
    let ready_at = app.ambient.now();
    assert_eq!(app.run("begin_periods").await.done, 1);
    assert_eq!(app.run("begin_periods").await.done, 0);
    let begun = show(&app, &accepted).await;
    assert_eq!(
        begun["period_start"],
        json!(ready_at),
        "the period begins when the service is ready, not when ordered"
    );
    assert_eq!(begun["period_end"], json!(ready_at.plus(DAY * 30)));

    // Appended, at most one ahead; a repeat, whatever its key, is the same purchase.
    let first = renew(&person, &accepted, "r1", 2).await.expect(200);
    let again = renew(&person, &accepted, "r2", 2).await.expect(200);
    assert_eq!(first["invoice_id"], again["invoice_id"]);
    renew(&person, &accepted, "r3", 3).await.problem(409, "conflict");
    renew(&person, &accepted, "r4", 0).await.problem(422, "validation");
    pass(&app, 30).await;
    let second = show(&app, &accepted).await;
    assert_eq!(
        (&second["period_no"], &second["period_start"]),
        (&json!(2), &begun["period_end"])
    );

    pass(&app, 30).await;
    let expired = show(&app, &accepted).await;
    assert_eq!(
        (&expired["status"], &expired["renewable_period"]),
        (&json!("expired"), &json!(3))
    );
    assert_eq!(entitled(&app, &accepted).await, "suspended");
    seen_gone(&app, &accepted).await;
    assert_eq!(placed(&app, &accepted).await, "parked");

    app.advance(DAY * 10);
    let operator = admin(&app).await;
    let back = renew(&operator, &accepted, "r5", 3).await;
    assert!(back.header("location").is_some());
    let back = back.expect(202);
    assert_eq!(
        (entitled(&app, &accepted).await, placed(&app, &accepted).await),
        ("yes".into(), "firm".into())
    );
    let repeat = renew(&operator, &accepted, "r6", 3).await.expect(202);
    assert_eq!(
        (&repeat["invoice_id"], &repeat["operation"]["id"]),
        (&back["invoice_id"], &back["operation"]["id"])
    );
    assert_eq!(
        app.run("begin_periods").await.done,
        0,
        "the readiness of before is none"
    );
    app.advance(Duration::from_mins(3));
    seen_ready(&app, &accepted).await;
    app.run("begin_periods").await;
    let restarted = show(&app, &accepted).await;
    assert_eq!(
        restarted["period_start"],
        json!(app.ambient.now()),
        "a new anchor at the restart"
    );

    pass(&app, 30).await;
    pass(&app, 29).await;
    assert_eq!(show(&app, &accepted).await["status"], "expired");
    pass(&app, 1).await;
    let gone = show(&app, &accepted).await;
    assert_eq!(
        (&gone["status"], &gone["cancel_reason"]),
        (&json!("cancelled"), &json!("grace_over"))
    );
    assert_eq!(entitled(&app, &accepted).await, "purge");
    pass(&app, 400).await;
    let story = story(&app, &accepted).await;
    let wanted = [
        "order.accepted",
        "invoice.opened",
        "invoice.paid",
        "subscription.activated paid",
        "subscription.period_begun first_ready",
        "invoice.opened",
        "invoice.paid",
        "subscription.renewed renewed_ahead",
        "subscription.period_begun next_period",
        "subscription.expired period_over",
        "invoice.opened",
        "invoice.paid",
        "subscription.renewed renewed_in_grace",
        "subscription.period_begun restarted",
        "subscription.expired period_over",
        "subscription.cancelled grace_over",
    ];
    assert_eq!(story, wanted);
}

#[tokio::test]
async fn a_service_that_never_becomes_ready_is_credited() {
    let app = platform(&[1]).await;
    price(&app, 50_000).await;
    let person = customer(&app).await;
    let accepted = order(&person, "o").await.expect(202);
    let path = format!("/api/v1/admin/invoices/{}/confirm-payment", id(&accepted, "invoice_id"));
    admin(&app).await.post(&path, json!({})).await.expect(200);
    app.advance(Duration::from_mins(59));
    assert_eq!(app.run("advance_subscriptions").await.done, 0);
    app.advance(Duration::from_mins(1));
    assert_eq!(app.run("advance_subscriptions").await.done, 1);
    let gone = show(&app, &accepted).await;
    assert_eq!(
        (&gone["status"], &gone["cancel_reason"]),
        (&json!("cancelled"), &json!("never_ready"))
    );
    let credits = "SELECT count(*) FROM transactions WHERE kind = 'credit' AND amount_idr = 50000";
    assert_eq!(count(&app, credits).await, 1);
    let operation = text(
        &app,
        "SELECT status || ' ' || reason FROM operations WHERE id = $1",
        id(&accepted["operation"], "id"),
    )
    .await;
    assert_eq!(operation, "failed never_ready");
    assert_eq!(entitled(&app, &accepted).await, "purge");
    sound(&app).await;
}

#[tokio::test]
async fn a_cancellation_at_the_periods_end_can_be_undone_and_credits_what_was_bought_beyond_it() {
    let app = platform(&[1]).await;
    let person = customer(&app).await;
    let accepted = running(&app, &person, "o").await;
    let path = format!("/api/v1/subscriptions/{}/cancel", id(&accepted, "subscription_id"));
    let client = &person;
    client.post(&format!("{path}/undo"), json!({})).await.expect(200);
    client
        .post(&path, json!({"when": "someday"}))
        .await
        .problem(422, "validation");
    for _ in 0..2 {
        let scheduled = client.post(&path, json!({"when": "period_end"})).await.expect(200);
        assert_eq!(scheduled["subscription"]["cancel_at_period_end"], true);
        assert_eq!(scheduled["subscription"]["renewable_period"], json!(null));
    }
    renew(client, &accepted, "r", 2).await.problem(409, "conflict");
    for _ in 0..2 {
        let undone = client.post(&format!("{path}/undo"), json!({})).await.expect(200);
        assert_eq!(undone["subscription"]["cancel_at_period_end"], false);
    }
    renew(client, &accepted, "r", 2).await.expect(200);
    client.post(&path, json!({"when": "period_end"})).await.expect(200);
    pass(&app, 30).await;
    let gone = show(&app, &accepted).await;
    assert_eq!(
        (&gone["status"], &gone["cancel_reason"]),
        (&json!("cancelled"), &json!("period_end"))
    );
    let credited = "SELECT count(*) FROM billing WHERE period_no = 2 AND status = 'credited'";
    assert_eq!(count(&app, credited).await, 1);
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM billing WHERE period_no = 1 AND status = 'paid'"
        )
        .await,
        1
    );
    let story = story(&app, &accepted).await;
    let once = |event: &str| story.iter().filter(|it| it.starts_with(event)).count();
    assert_eq!(once("subscription.cancel_scheduled"), 2, "a repeat is no event");
    assert_eq!(once("subscription.cancel_undone"), 1);
}

#[tokio::test]
async fn cancelling_now_deletes_and_is_nobody_elses_to_ask() {
    let app = platform(&[1]).await;
    let person = customer(&app).await;
    let accepted = running(&app, &person, "o").await;
    let shown = format!("/api/v1/subscriptions/{}", id(&accepted, "subscription_id"));
    let (path, body) = (format!("{shown}/cancel"), json!({"when": "now"}));
    let (stranger, support) = (customer(&app).await, support(&app).await);
    stranger.get(&shown).await.problem(404, "not-found");
    stranger.post(&path, body.clone()).await.problem(404, "not-found");
    renew(&stranger, &accepted, "r", 2).await.problem(404, "not-found");
    support.get(&shown).await.expect(200);
    support.post(&path, body.clone()).await.problem(403, "forbidden");
    renew(&support, &accepted, "r", 2).await.problem(403, "forbidden");
    let admin_path = format!(
        "/api/v1/admin/subscriptions/{}/cancel",
        id(&accepted, "subscription_id")
    );
    support.post(&admin_path, json!({})).await.problem(403, "forbidden");
    person.post(&admin_path, json!({})).await.problem(403, "forbidden");

    let gone = person.post(&path, body.clone()).await.expect(202);
    assert_eq!(gone["subscription"]["cancel_reason"], "customer");
    assert_eq!(gone["operation"]["kind"], "delete");
    let again = admin(&app).await.post(&admin_path, json!({})).await.expect(202);
    assert_eq!(again["operation"]["id"], gone["operation"]["id"]);
    assert_eq!(
        again["subscription"]["cancel_reason"], "customer",
        "the first reason stays"
    );
    assert_eq!(entitled(&app, &accepted).await, "purge");
    renew(&person, &accepted, "r", 2).await.problem(409, "conflict");
    person
        .post(&format!("{path}/undo"), json!({}))
        .await
        .problem(409, "conflict");
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM audit_log WHERE action = 'subscription.cancel'"
        )
        .await,
        1
    );
    sound(&app).await;
}

#[tokio::test]
async fn lists_and_details_show_what_is_ones_own() {
    let app = platform(&[3]).await;
    let person = customer(&app).await;
    let accepted = running(&app, &person, "o").await;
    order(&customer(&app).await, "o").await.expect(202);
    for list in ["subscriptions", "invoices", "transactions"] {
        let page = person.get(&format!("/api/v1/{list}")).await.expect(200);
        assert_eq!(page["items"].as_array().unwrap().len(), 1, "{list}");
        let one = format!("/api/v1/{list}/{}", id(&page["items"][0], "id"));
        person.get(&one).await.expect(200);
        customer(&app).await.get(&one).await.problem(404, "not-found");
        support(&app).await.get(&one).await.expect(200);
    }
    let support = support(&app).await;
    for (path, rows) in [
        ("subscriptions?status=active", 2),
        ("subscriptions?status=expired", 0),
        ("invoices?status=paid", 2),
        ("invoices?limit=1", 1),
    ] {
        let page = support.get(&format!("/api/v1/admin/{path}")).await.expect(200);
        assert_eq!(page["items"].as_array().unwrap().len(), rows, "{path}");
    }
    person
        .get("/api/v1/admin/subscriptions")
        .await
        .problem(403, "forbidden");
    let path = format!("/api/v1/subscriptions/{}", id(&accepted, "subscription_id"));
    let shown = person.get(&path).await;
    let tag = shown.header("etag").unwrap().to_owned();
    let same = person
        .send(reqwest::Method::GET, &path, &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(same.status, 304);
    renew(&person, &accepted, "r", 2).await.expect(200);
    let changed = person
        .send(reqwest::Method::GET, &path, &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(changed.expect(200)["next_period_paid"], true);
}
