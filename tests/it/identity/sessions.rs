//! Refreshing, logging out, expiring.

use std::time::Duration;

use lumbung_tests::{Answer, TestApp};
use serde_json::{Value, json};

use super::{PASSWORD, audited, log_in, me, tokens};

const DAY: Duration = Duration::from_hours(24);

async fn refresh(app: &TestApp, tokens: &Value) -> Answer {
    app.client()
        .post(
            "/api/v1/auth/refresh",
            json!({"refresh_token": tokens["refresh_token"]}),
        )
        .await
}

#[tokio::test]
async fn a_lost_answer_logs_nobody_out() {
    let app = TestApp::start().await;
    let first = tokens(&app, "budi@example.org").await;
    let lost = refresh(&app, &first).await;
    assert_eq!(lost.header("cache-control"), Some("no-store"));
    let lost = lost.expect(200);
    app.advance(Duration::from_mins(1));
    let second = refresh(&app, &first).await.expect(200);
    assert_eq!(second["refresh_token"], lost["refresh_token"]);
    me(&app, &second).await.expect(200);
    refresh(&app, &second).await.expect(200);
}

#[tokio::test]
async fn tabs_that_refresh_together_get_the_same_successor() {
    let app = TestApp::start().await;
    let first = tokens(&app, "budi@example.org").await;
    let other = app.replica().await;
    let there = lumbung_tests::Client::new(&other.url);
    let body = json!({"refresh_token": first["refresh_token"]});
    let calls = (0..8).map(|n| {
        let client = if n % 2 == 0 { app.client() } else { there.clone() };
        let body = body.clone();
        async move { client.post("/api/v1/auth/refresh", body).await.expect(200)["refresh_token"].clone() }
    });
    let successors = futures::future::join_all(calls).await;
    assert!(successors.iter().all(|token| *token == successors[0]));
    let counter: i64 = sqlx::query_scalar("SELECT counter FROM sessions")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(counter, 1);
}

#[tokio::test]
async fn a_spent_token_used_again_ends_the_session() {
    let app = TestApp::start().await;
    let first = tokens(&app, "budi@example.org").await;
    let second = refresh(&app, &first).await.expect(200);
    let third = refresh(&app, &second).await.expect(200);
    me(&app, &third).await.expect(200);
    refresh(&app, &first).await.problem(401, "invalid-token");
    refresh(&app, &third).await.problem(401, "invalid-token");
    me(&app, &third).await.problem(401, "invalid-token");
    let trail = audited(&app, "user.refresh").await;
    assert_eq!((trail.len(), trail[0].0.as_str()), (1, "refused"));
    let reason: String = sqlx::query_scalar("SELECT revoked_reason FROM sessions")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(reason, "reuse");
    log_in(&app, "budi@example.org", PASSWORD).await.expect(200);
}

#[tokio::test]
async fn the_predecessor_is_good_for_a_minute_only() {
    let app = TestApp::start().await;
    let first = tokens(&app, "budi@example.org").await;
    let second = refresh(&app, &first).await.expect(200);
    app.advance(Duration::from_secs(61));
    refresh(&app, &first).await.problem(401, "invalid-token");
    refresh(&app, &second).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn a_forged_token_ends_nothing() {
    let app = TestApp::start().await;
    let first = tokens(&app, "budi@example.org").await;
    let second = refresh(&app, &first).await.expect(200);
    let genuine = second["refresh_token"].as_str().unwrap();
    let (head, _) = genuine.rsplit_once('.').unwrap();
    for forged in [
        format!("{head}.{}", "A".repeat(43)),
        genuine.replace(".1.", ".0."),
        genuine.replace(".1.", ".2."),
    ] {
        refresh(&app, &json!({"refresh_token": forged}))
            .await
            .problem(401, "invalid-token");
    }
    refresh(&app, &second).await.expect(200);
}

#[tokio::test]
async fn logging_out_ends_this_session_and_no_other() {
    let app = TestApp::start().await;
    let here = tokens(&app, "budi@example.org").await;
    let there = log_in(&app, "budi@example.org", PASSWORD).await.expect(200);
    me(&app, &here).await.expect(200);
    let client = app.client().with_token(here["access_token"].as_str().unwrap());
    client
        .send(reqwest::Method::POST, "/api/v1/auth/logout", &[], None)
        .await
        .expect(204);
    me(&app, &here).await.problem(401, "invalid-token");
    refresh(&app, &here).await.problem(401, "invalid-token");
    me(&app, &there).await.expect(200);
    refresh(&app, &there).await.expect(200);
}

#[tokio::test]
async fn access_ends_after_ten_minutes_and_sessions_after_two_idle_weeks_or_a_month() {
    let app = TestApp::start().await;
    let idle = tokens(&app, "siti@example.org").await;
    let first = tokens(&app, "budi@example.org").await;
    app.advance(Duration::from_secs(599));
    me(&app, &first).await.expect(200);
    app.advance(Duration::from_secs(1));
    me(&app, &first).await.problem(401, "invalid-token");
    let mut current = refresh(&app, &first).await.expect(200);
    for _ in 0..2 {
        app.advance(13 * DAY);
        current = refresh(&app, &current).await.expect(200);
    }
    refresh(&app, &idle).await.problem(401, "invalid-token");
    app.advance(4 * DAY);
    refresh(&app, &current).await.problem(401, "invalid-token");

    let report = app.run("forget_expired").await;
    assert_eq!(report.done, 2, "both sessions are forgotten");
    assert_eq!(app.run("forget_expired").await.done, 0);
}
