//! The order of all streams.

use lumbung::events::{Outbox, order};
use lumbung_tests::TestApp;
use serde_json::json;

use super::socket::open;
use super::{account, write};

/// A transaction that began earlier may draw the later position and commit first. A reader that then went past it would
/// never see the other's event.
#[tokio::test]
async fn a_reader_of_everything_waits_for_a_lower_position_that_is_still_open() {
    let app = TestApp::start().await;
    let (budi, siti) = (
        app.customer("budi@example.com").await,
        app.customer("siti@example.com").await,
    );
    let (budi, siti) = (account(&budi).await, account(&siti).await);
    let mut reader = app.db.pool.acquire().await.unwrap();
    let start = order::settled(&mut reader).await.unwrap();

    let mut early = app.db.pool.begin().await.unwrap();
    sqlx::query("SELECT pg_current_xact_id()")
        .execute(&mut *early)
        .await
        .unwrap();
    let mut late = app.db.pool.begin().await.unwrap();
    for (tx, stream) in [(&mut late, budi), (&mut early, siti)] {
        let mut outbox = Outbox::default();
        outbox.push(stream, "test.happened", json!({}));
        outbox.flush(tx, &app.ambient).await.unwrap();
    }
    early.commit().await.unwrap();
    let settled = order::settled(&mut reader).await.unwrap();
    assert_eq!(settled, start, "the first position is open");
    late.commit().await.unwrap();
    let settled = order::settled(&mut reader).await.unwrap();
    let events = order::between(&mut reader, start, settled, 10).await.unwrap();
    assert_eq!(
        events.iter().map(|event| event.stream).collect::<Vec<_>>(),
        [budi, siti]
    );
    assert_eq!(settled, events[1].position);
}

#[tokio::test]
async fn a_rolled_back_event_holds_nobody_up() {
    let app = TestApp::start().await;
    let admin = app.admin("admin@example.com").await;
    let budi = account(&app.customer("budi@example.com").await).await;
    let mut socket = open(&admin, &app.url, "").await;
    let start = socket.snapshot().await["position"].as_i64().unwrap();
    let mut tx = app.db.pool.begin().await.unwrap();
    let mut outbox = Outbox::default();
    outbox.push(budi, "test.lost", json!({}));
    outbox.flush(&mut tx, &app.ambient).await.unwrap();
    tx.rollback().await.unwrap();
    write(&app, &app.signals, budi, [json!({})]).await;
    let message = socket.event().await;
    assert_eq!(
        (&message["seq"], &message["event"]["type"]),
        (&json!(1), &json!("test.happened"))
    );
    assert_eq!(
        message["position"],
        start + 2,
        "positions may have gaps, numbers of a stream may not"
    );
}
