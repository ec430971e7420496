//! The WebSocket hub, over real sockets.

mod access;
mod feed;
mod limits;
mod order;
mod socket;

use lumbung::db::signal::{Channel, Signals};
use lumbung::events::Outbox;
use lumbung_tests::{Client, TestApp};
use serde_json::Value;
use uuid::Uuid;

async fn account(client: &Client) -> Uuid {
    let me = client.get("/api/v1/me").await.expect(200);
    me["id"].as_str().expect("an id").parse().expect("a UUID")
}

/// Writes these events in one transaction and rings.
async fn write(app: &TestApp, signals: &Signals, stream: Uuid, payloads: impl IntoIterator<Item = Value>) {
    let mut outbox = Outbox::default();
    for payload in payloads {
        outbox.push(stream, "test.happened", payload);
    }
    let mut tx = app.db.pool.begin().await.expect("a transaction");
    outbox.flush(&mut tx, &app.ambient).await.expect("flushed");
    tx.commit().await.expect("committed");
    signals.ring(Channel::Events);
}
