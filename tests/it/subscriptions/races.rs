//! Two replicas, many rows, one transition each.

use futures::future::join_all;
use serde_json::json;

use super::*;

async fn both(app: &TestApp, other: &[lumbung::tasks::Task], task: &str) -> u64 {
    let of = |tasks: &[lumbung::tasks::Task]| tasks.iter().find(|it| it.name == task).unwrap().clone();
    let runners = [of(&app.tasks), of(other), of(&app.tasks)];
    let runs = join_all(runners.iter().map(|task| {
        tokio::spawn({
            let task = task.clone();
            async move { task.once().await }
        })
    }))
    .await;
    runs.into_iter().map(|run| run.unwrap().unwrap().done).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transition_happens_once_under_several_runners() {
    const MANY: u64 = 20;
    let app = platform(&[MANY]).await;
    let other = app.replica().await;
    let person = customer(&app).await;
    let mut orders = Vec::new();
    for i in 0..MANY {
        orders.push(order(&person, &format!("o{i}")).await.expect(202));
    }
    for accepted in &orders {
        seen_ready(&app, accepted).await;
    }
    assert_eq!(both(&app, &other.tasks, "begin_periods").await, MANY);
    app.advance(DAY * 30);
    assert_eq!(both(&app, &other.tasks, "advance_subscriptions").await, MANY);
    app.advance(DAY * 30);
    assert_eq!(both(&app, &other.tasks, "advance_subscriptions").await, MANY);
    assert_eq!(both(&app, &other.tasks, "advance_subscriptions").await, 0);
    for cause in ["paid", "first_ready", "period_over", "grace_over"] {
        let sql = "SELECT count(*)::text FROM events WHERE payload->>'cause' = $1";
        let seen: String = sqlx::query_scalar(sql)
            .bind(cause)
            .fetch_one(&app.db.pool)
            .await
            .unwrap();
        assert_eq!(seen, MANY.to_string(), "{cause}");
    }
    sound(&app).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn confirmations_renewals_and_the_clock_at_once_leave_one_outcome() {
    let app = platform(&[6]).await;
    let person = customer(&app).await;
    let mut orders = Vec::new();
    for i in 0..6 {
        orders.push(running(&app, &person, &format!("o{i}")).await);
    }
    price(&app, 40_000).await;
    app.advance(DAY * 30);
    let operator = admin(&app).await;
    // Each period is over at this moment: renewals, asked three times each, race with the expiry.
    let renewals = orders.iter().flat_map(|accepted| (0..3).map(move |n| (accepted, n)));
    let renewals = renewals.map(|(accepted, n)| {
        let (operator, key) = (operator.clone(), format!("r{n}-{}", id(accepted, "subscription_id")));
        async move { renew(&operator, accepted, &key, 2).await }
    });
    let (answers, _) = tokio::join!(join_all(renewals), app.run("advance_subscriptions"));
    assert!(answers.iter().all(|answer| answer.status == 202), "{answers:#?}");
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM billing WHERE period_no = 2 AND status = 'open'"
        )
        .await,
        6
    );
    let confirmations = answers.iter().map(|answer| {
        let path = format!(
            "/api/v1/admin/invoices/{}/confirm-payment",
            id(&answer.body, "invoice_id")
        );
        let operator = operator.clone();
        async move { operator.post(&path, json!({})).await.expect(200) }
    });
    let (_, _, done) = tokio::join!(
        join_all(confirmations),
        app.run("settle_payments"),
        app.run("advance_subscriptions")
    );
    assert_eq!(done.done, 0, "nothing was due any more");
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM events WHERE payload->>'cause' = 'renewed_in_grace'"
        )
        .await,
        6
    );
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM events WHERE payload->>'cause' = 'period_over'"
        )
        .await,
        6
    );
    assert_eq!(
        count(
            &app,
            "SELECT count(*) FROM subscriptions WHERE status = 'active' AND awaiting_restart"
        )
        .await,
        6
    );
    sound(&app).await;
}
