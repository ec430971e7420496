//! What one connection may cost the others: nothing.

use lumbung_tests::{TestApp, eventually};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use super::socket::{Got, Opening, open};
use super::{account, write};

async fn closed_as_slow(app: &TestApp) -> bool {
    let metrics = app.client().get("/metrics").await.expect(200);
    metrics
        .as_str()
        .expect("text")
        .contains("lumbung_live_closes_total{code=\"4008\"} 1")
}

#[tokio::test]
async fn a_slow_reader_is_closed_and_the_others_go_on() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let id = account(&budi).await;
    let mut slow = Opening {
        receive_buffer: Some(4096),
        ..Opening::default()
    }
    .bearer(&budi)
    .open(&app.url)
    .await;
    let mut quick = open(&budi, &app.url, "").await;
    quick.snapshot().await;
    // Until the kernel's buffers and the queue of the one that does not read are full; they have a few MiB together.
    let big = "x".repeat(200_000);
    let mut written = 0;
    while !closed_as_slow(&app).await {
        assert!(
            written < 200,
            "40 MB are more than anybody may keep for a reader that does not read"
        );
        write(&app, &app.signals, id, [json!({"big": big})]).await;
        written += 1;
        assert_eq!(quick.event().await["seq"], written);
    }
    assert_eq!(slow.code().await, 4008);
    write(&app, &app.signals, id, [json!({})]).await;
    assert_eq!(quick.event().await["seq"], written + 1);
}

#[tokio::test]
async fn an_account_has_sixteen_connections_and_gets_them_back() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let mut sockets = Vec::new();
    for _ in 0..16 {
        sockets.push(Opening::query("").bearer(&budi).open(&app.url).await);
    }
    let mut one_more = Opening::query("").bearer(&budi).open(&app.url).await;
    assert_eq!(one_more.got().await, Got::Closed(4430));
    sockets.pop();
    eventually("a seat is free again", || async {
        let mut socket = Opening::query("").bearer(&budi).open(&app.url).await;
        matches!(socket.got().await, Got::Message(_)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_a_client_may_not_say_closes_it_with_the_code_for_that() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let frame = |opcode, bytes: &'static [u8]| Message::Frame(Frame::message(bytes, opcode, true));
    for (message, code) in [
        (Message::text("hello"), 4400),
        (Message::binary(vec![1]), 4400),
        (Message::text("x".repeat(17 * 1024)), 1009),
        (frame(OpCode::Data(Data::Text), b"\xff\xfe"), 1007),
        (frame(OpCode::Data(Data::Reserved(3)), b""), 1002),
    ] {
        let mut socket = open(&budi, &app.url, "").await;
        socket.snapshot().await;
        socket.send(message).await;
        assert_eq!(socket.got().await, Got::Closed(code));
    }
    let mut socket = open(&budi, &app.url, "").await;
    socket.snapshot().await;
    socket.send(Message::text(r#"{"type":"ping"}"#)).await;
    assert_eq!(socket.message().await, json!({"type": "pong"}));
    for _ in 0..200 {
        socket.send(Message::Ping(Vec::new().into())).await;
    }
    assert_eq!(socket.code().await, 4429);
}

#[tokio::test]
async fn a_shutdown_says_goodbye() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let mut socket = open(&budi, &app.url, "").await;
    socket.snapshot().await;
    drop(app);
    assert_eq!(socket.got().await, Got::Closed(4001));
}
