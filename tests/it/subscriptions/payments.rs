//! Plans with a price: holds, confirmations, money that comes late.

use serde_json::json;

use super::*;

async fn confirm(client: &Client, invoice: Uuid) -> Answer {
    let path = format!("/api/v1/admin/invoices/{invoice}/confirm-payment");
    client.post(&path, json!({})).await
}

#[tokio::test]
async fn a_confirmed_transfer_grants_once() {
    let app = platform(&[1]).await;
    price(&app, 75_000).await;
    let person = customer(&app).await;
    let accepted = order(&person, "o").await.expect(202);
    assert_eq!(accepted["payment"]["status"], "created");
    assert_eq!(
        (entitled(&app, &accepted).await, placed(&app, &accepted).await),
        ("suspended".into(), "hold".into())
    );
    assert_eq!(app.run("settle_payments").await.done, 1);
    assert_eq!(app.run("settle_payments").await.done, 0, "the gateway is told once");
    let invoice = id(&accepted, "invoice_id");
    let told = accepted["payment"]["instructions"].as_str().unwrap();
    assert!(
        told.contains("Rp 75.000") && told.contains(accepted["payment"]["reference"].as_str().unwrap()),
        "{told}"
    );
    confirm(&person, invoice).await.problem(403, "forbidden");
    confirm(&support(&app).await, invoice).await.problem(403, "forbidden");
    let operator = admin(&app).await;
    confirm(&operator, Uuid::nil()).await.problem(404, "not-found");
    for _ in 0..2 {
        let confirmed = confirm(&operator, invoice).await.expect(200);
        assert_eq!(
            (&confirmed["invoice"]["status"], &confirmed["transaction"]["status"]),
            (&json!("paid"), &json!("paid"))
        );
    }
    assert_eq!(
        (entitled(&app, &accepted).await, placed(&app, &accepted).await),
        ("yes".into(), "firm".into())
    );
    let generation = "SELECT generation::text FROM service_instances WHERE id = $1";
    assert_eq!(
        text(&app, generation, id(&accepted, "instance_id")).await,
        accepted["operation"]["generation"].to_string()
    );
    let grants = "SELECT count(*) FROM events WHERE type IN ('subscription.activated', 'invoice.paid')";
    assert_eq!(count(&app, grants).await, 2);
    sound(&app).await;
}

#[tokio::test]
async fn an_unpaid_hold_ends_and_late_money_is_credited() {
    let app = platform(&[1]).await;
    price(&app, 75_000).await;
    let person = customer(&app).await;
    let accepted = order(&person, "o").await.expect(202);
    app.run("settle_payments").await;
    order(&customer(&app).await, "o")
        .await
        .problem(409, "insufficient-capacity");
    app.advance(Duration::from_mins(30));
    assert_eq!(app.run("advance_subscriptions").await.done, 1);
    let gone = show(&app, &accepted).await;
    assert_eq!(
        (&gone["status"], &gone["cancel_reason"]),
        (&json!("cancelled"), &json!("unpaid"))
    );
    assert_eq!(
        (entitled(&app, &accepted).await, placed(&app, &accepted).await),
        ("purge".into(), "none".into())
    );
    let transaction = id(&accepted["payment"], "transaction_id");
    assert_eq!(
        text(&app, "SELECT status FROM transactions WHERE id = $1", transaction).await,
        "expired"
    );
    let operation = id(&accepted["operation"], "id");
    assert_eq!(
        text(&app, "SELECT status FROM operations WHERE id = $1", operation).await,
        "cancelled"
    );
    order(&customer(&app).await, "o").await.expect(202);
    sound(&app).await;
    let late = confirm(&admin(&app).await, id(&accepted, "invoice_id"))
        .await
        .expect(200);
    assert_eq!(
        (&late["invoice"]["status"], &late["transaction"]["status"]),
        (&json!("credited"), &json!("paid"))
    );
    assert_eq!(show(&app, &accepted).await["status"], "cancelled");
    assert_eq!(entitled(&app, &accepted).await, "purge");
    sound(&app).await;
}

#[tokio::test]
async fn money_that_comes_after_the_hold_and_before_the_task_is_credited_too() {
    let app = platform(&[1]).await;
    price(&app, 75_000).await;
    let accepted = order(&customer(&app).await, "o").await.expect(202);
    app.advance(Duration::from_mins(30));
    let late = confirm(&admin(&app).await, id(&accepted, "invoice_id"))
        .await
        .expect(200);
    assert_eq!(late["invoice"]["status"], "credited");
    assert_eq!(show(&app, &accepted).await["cancel_reason"], "unpaid");
    sound(&app).await;
}

#[tokio::test]
async fn a_renewal_in_grace_is_admitted_before_money_moves() {
    let app = platform(&[1]).await;
    let accepted = running(&app, &customer(&app).await, "o").await;
    price(&app, 75_000).await;
    app.advance(DAY * 30);
    app.run("advance_subscriptions").await;
    seen_gone(&app, &accepted).await;
    let other = order(&customer(&app).await, "o").await.expect(202);
    let operator = admin(&app).await;
    renew(&operator, &accepted, "r", 2)
        .await
        .problem(409, "insufficient-capacity");
    assert_eq!(
        count(&app, "SELECT count(*) FROM billing WHERE period_no = 2").await,
        0,
        "nothing was charged"
    );
    assert_eq!(
        (placed(&app, &accepted).await, placed(&app, &other).await),
        ("parked".into(), "hold".into())
    );

    // The other order is not paid; its room is taken by the renewal, which is not paid in time either.
    app.advance(Duration::from_mins(30));
    app.run("advance_subscriptions").await;
    let operator = admin(&app).await;
    let unpaid = renew(&operator, &accepted, "r1", 2).await.expect(202);
    assert_eq!(placed(&app, &accepted).await, "hold");
    app.advance(Duration::from_mins(30));
    app.run("advance_subscriptions").await;
    assert_eq!(
        (placed(&app, &accepted).await, entitled(&app, &accepted).await),
        ("parked".into(), "suspended".into())
    );
    assert_eq!(show(&app, &accepted).await["status"], "expired");

    // The period can be bought again; the money of the first attempt is credited when it comes.
    let operator = admin(&app).await;
    let again = renew(&operator, &accepted, "r2", 2).await.expect(202);
    assert_ne!(again["invoice_id"], unpaid["invoice_id"]);
    assert_eq!(
        confirm(&operator, id(&unpaid, "invoice_id")).await.expect(200)["invoice"]["status"],
        "credited"
    );
    assert_eq!(entitled(&app, &accepted).await, "suspended");
    assert_eq!(
        confirm(&operator, id(&again, "invoice_id")).await.expect(200)["invoice"]["status"],
        "paid"
    );
    assert_eq!(
        (placed(&app, &accepted).await, entitled(&app, &accepted).await),
        ("firm".into(), "yes".into())
    );
    assert_eq!(show(&app, &accepted).await["awaiting_restart"], true);
    sound(&app).await;
}

#[tokio::test]
async fn an_unpaid_renewal_does_not_keep_a_subscription_active() {
    let app = platform(&[1]).await;
    let person = customer(&app).await;
    let accepted = running(&app, &person, "o").await;
    price(&app, 75_000).await;
    let renewal = renew(&person, &accepted, "r", 2).await.expect(200);
    app.advance(DAY * 30);
    app.run("advance_subscriptions").await;
    assert_eq!(show(&app, &accepted).await["status"], "expired");
    let late = confirm(&admin(&app).await, id(&renewal, "invoice_id"))
        .await
        .expect(200);
    assert_eq!(late["invoice"]["status"], "credited");
    assert_eq!(entitled(&app, &accepted).await, "suspended");
    sound(&app).await;
}
