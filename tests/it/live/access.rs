//! Who may connect, and until when.

use std::time::Duration;

use lumbung_tests::TestApp;
use reqwest::Method;
use serde_json::json;

use super::socket::{Got, Opening, open, ticket};
use super::{account, write};

#[tokio::test]
async fn a_ticket_is_good_once_and_for_thirty_seconds() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let once = ticket(&budi).await;
    let mut socket = Opening::query(format!("ticket={once}")).open(&app.url).await;
    socket.snapshot().await;
    Opening::query(format!("ticket={once}"))
        .refused(&app.url, 401, "invalid-token")
        .await;
    let late = ticket(&budi).await;
    app.advance(Duration::from_secs(30));
    Opening::query(format!("ticket={late}"))
        .refused(&app.url, 401, "invalid-token")
        .await;
    Opening::query("ticket=nonsense")
        .refused(&app.url, 401, "invalid-token")
        .await;
    Opening::query("").refused(&app.url, 401, "unauthenticated").await;
    app.client()
        .post("/api/v1/live/ticket", json!({}))
        .await
        .problem(401, "unauthenticated");
}

#[tokio::test]
async fn of_two_who_show_the_same_ticket_one_gets_in() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    open(&budi, &app.url, "").await;
    let opening = Opening::query(format!("ticket={}", ticket(&budi).await));
    let tries = futures::future::join_all((0..6).map(|_| opening.attempt(&app.url))).await;
    assert_eq!(tries.iter().filter(|attempt| attempt.is_ok()).count(), 1);
}

#[tokio::test]
async fn a_ticket_ends_with_its_session() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let early = ticket(&budi).await;
    budi.post("/api/v1/auth/logout", json!({})).await;
    Opening::query(format!("ticket={early}"))
        .refused(&app.url, 401, "invalid-token")
        .await;
}

#[tokio::test]
async fn programs_use_their_token_and_web_pages_must_be_known() {
    let app = TestApp::builder()
        .args(&["--allowed-origins", "https://portal.example"])
        .start()
        .await;
    let budi = app.customer("budi@example.com").await;
    Opening::query("").bearer(&budi).open(&app.url).await.snapshot().await;
    for known in ["https://portal.example", "http://localhost:8080"] {
        Opening::query("")
            .bearer(&budi)
            .origin(known)
            .open(&app.url)
            .await
            .snapshot()
            .await;
    }
    for foreign in ["https://evil.example", "null", "https://portal.example.evil.example"] {
        let opening = Opening::query(format!("ticket={}", ticket(&budi).await)).origin(foreign);
        opening.refused(&app.url, 403, "origin-refused").await;
    }
}

#[tokio::test]
async fn a_plain_request_is_told_to_upgrade() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let answer = budi.get("/api/v1/live").await;
    assert_eq!(answer.header("upgrade"), Some("websocket"));
    answer.problem(426, "upgrade-required");
    app.client().get("/api/v1/live").await.problem(401, "unauthenticated");
    budi.get("/api/v1/live?after=-1").await.problem(422, "validation");
    budi.get("/api/v1/live?after=x").await.problem(422, "validation");
    budi.send(Method::POST, "/api/v1/live", &[], None)
        .await
        .problem(405, "method-not-allowed");
    // A ticket is not spent on it.
    let kept = ticket(&budi).await;
    app.client()
        .get(&format!("/api/v1/live?ticket={kept}"))
        .await
        .problem(426, "upgrade-required");
    Opening::query(format!("ticket={kept}"))
        .open(&app.url)
        .await
        .snapshot()
        .await;
}

#[tokio::test]
async fn logging_out_and_losing_a_role_close_the_connection() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let siti = app.customer("siti@example.com").await;
    let staff = app.support("support@example.com").await;
    let mut sockets = [
        open(&budi, &app.url, "").await,
        open(&staff, &app.url, "").await,
        open(&siti, &app.url, "").await,
    ];
    for socket in &mut sockets {
        socket.snapshot().await;
    }
    budi.post("/api/v1/auth/logout", json!({})).await;
    sqlx::query("UPDATE users SET role = 'customer' WHERE email = 'support@example.com'")
        .execute(&app.db.pool)
        .await
        .unwrap();
    app.advance(lumbung::live::hub::CHECK);
    let [gone, demoted, kept] = &mut sockets;
    assert_eq!(gone.got().await, Got::Closed(4401));
    assert_eq!(demoted.got().await, Got::Closed(4401));
    write(&app, &app.signals, account(&siti).await, [json!({})]).await;
    kept.event().await;
}
