//! What a connection is told: the state, then every change, and after an absence what was missed.

use std::time::Duration;

use lumbung_tests::TestApp;
use serde_json::{Value, json};

use super::socket::{Opening, Socket, open};
use super::{account, write};

#[tokio::test]
async fn the_state_comes_first_and_then_every_change_of_it() {
    let app = TestApp::start().await;
    app.settle().await;
    let budi = app.customer("budi@example.com").await;
    let mut socket = open(&budi, &app.url, "").await;
    let first = socket.snapshot().await;
    assert_eq!((&first["data"]["instances"], &first["seq"]), (&json!([]), &json!(0)));

    let plans = budi.get("/api/v1/services/linkding").await.expect(200);
    let order = json!({"service": "linkding", "plan": plans["plans"][0]["code"], "inputs": {}});
    let accepted = budi.post_once("k", "/api/v1/orders", order).await.expect(202);
    app.settle().await;

    let now = open(&budi, &app.url, "").await.snapshot().await;
    let [instance] = now["data"]["instances"].as_array().unwrap().as_slice() else {
        panic!("one instance: {now:#}");
    };
    assert_eq!(
        (&instance["id"], &instance["service"]),
        (&accepted["instance_id"], &json!("linkding"))
    );
    assert_eq!(instance["user_id"], first["stream"]);

    // Whoever applies the changes one by one gets to the state that a newcomer is shown.
    let (mut types, mut phase) = (Vec::new(), json!("pending"));
    for seq in 1..=now["seq"].as_i64().unwrap() {
        let message = socket.event().await;
        assert_eq!(message["seq"], seq, "without gaps: {message:#}");
        assert_eq!(message["event"]["stream"], first["stream"]);
        let r#type = message["event"]["type"].as_str().unwrap().to_owned();
        if r#type == "instance.phase_changed" {
            phase = message["event"]["payload"]["phase"].clone();
        }
        types.push(r#type);
    }
    assert_eq!(phase, instance["phase"], "{types:?}");
    assert!(types.contains(&"order.accepted".to_owned()), "{types:?}");
    assert!(types.contains(&"instance.phase_changed".to_owned()), "{types:?}");
}

#[tokio::test]
async fn customers_follow_their_account_and_staff_everything() {
    let app = TestApp::start().await;
    let (budi, siti) = (
        app.customer("budi@example.com").await,
        app.customer("siti@example.com").await,
    );
    let (admin, support) = (
        app.admin("admin@example.com").await,
        app.support("support@example.com").await,
    );
    let ids = [account(&budi).await, account(&siti).await, lumbung::events::SYSTEM];
    let mut theirs = [open(&budi, &app.url, "").await, open(&siti, &app.url, "").await];
    let mut all = [open(&admin, &app.url, "").await, open(&support, &app.url, "").await];
    for socket in theirs.iter_mut().chain(&mut all) {
        socket.snapshot().await;
    }
    for n in 0..9 {
        write(&app, &app.signals, ids[n % 3], [json!({"n": n})]).await;
    }
    for (socket, mine) in theirs.iter_mut().zip(0..) {
        for round in 0..3 {
            let message = socket.event().await;
            assert_eq!(message["event"]["payload"]["n"], mine + 3 * round);
            assert_eq!(message["event"]["stream"], json!(ids[mine]));
            assert_eq!(message["position"], Value::Null);
        }
    }
    for socket in &mut all {
        let mut position = 0;
        for n in 0..9 {
            let message = socket.event().await;
            assert_eq!(message["event"]["payload"]["n"], n);
            let next = message["position"].as_i64().unwrap();
            assert!(next > position);
            position = next;
        }
    }
}

async fn resumed(socket: &mut Socket) -> (bool, Value) {
    let message = socket.message().await;
    assert_eq!(message["type"], "resumed", "{message:#}");
    (message["complete"].as_bool().unwrap(), message["reason"].clone())
}

#[tokio::test]
async fn whoever_was_away_gets_exactly_what_it_missed() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let id = account(&budi).await;
    write(&app, &app.signals, id, (1..=450).map(|n| json!({"n": n}))).await;
    for after in [0, 2, 449, 450] {
        let mut socket = open(&budi, &app.url, &format!("&after={after}")).await;
        assert_eq!(resumed(&mut socket).await, (true, Value::Null));
        for seq in after + 1..=450 {
            assert_eq!(socket.event().await["seq"], seq);
        }
        drop(socket);
    }
    let mut socket = open(&budi, &app.url, "&after=450").await;
    resumed(&mut socket).await;
    write(&app, &app.signals, id, [json!({})]).await;
    assert_eq!(socket.event().await["seq"], 451);
}

#[tokio::test]
async fn an_absence_that_cannot_be_made_up_for_is_told() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let id = account(&budi).await;
    write(&app, &app.signals, id, (1..=5).map(|n| json!({"n": n}))).await;
    app.advance(Duration::from_hours(8 * 24));
    write(&app, &app.signals, id, (6..=8).map(|n| json!({"n": n}))).await;
    while app.run("trim_events").await.done > 0 {}

    let budi = app.log_in("budi@example.com").await;
    let check = async |after: i64, reason: &str, seq: i64| {
        let mut socket = open(&budi, &app.url, &format!("&after={after}")).await;
        assert_eq!(resumed(&mut socket).await, (false, json!(reason)), "after {after}");
        assert_eq!(socket.snapshot().await["seq"], seq);
    };
    check(4, "trimmed", 8).await;
    check(9, "ahead", 8).await;
    let mut socket = open(&budi, &app.url, "&after=5").await;
    assert_eq!(
        resumed(&mut socket).await,
        (true, Value::Null),
        "what is left begins at 6"
    );
    assert_eq!(socket.event().await["seq"], 6);
    write(&app, &app.signals, id, (0..1001).map(|n| json!({"n": n}))).await;
    check(8, "too_many", 1009).await;
}

#[tokio::test]
async fn staff_resume_by_position() {
    let app = TestApp::start().await;
    let admin = app.admin("admin@example.com").await;
    let budi = account(&app.customer("budi@example.com").await).await;
    let mut socket = open(&admin, &app.url, "").await;
    let start = socket.snapshot().await["position"].as_i64().unwrap();
    for n in 0..3 {
        write(&app, &app.signals, budi, [json!({"n": n})]).await;
    }
    let mut positions = Vec::new();
    for _ in 0..3 {
        positions.push(socket.event().await["position"].as_i64().unwrap());
    }
    let mut again = open(&admin, &app.url, &format!("&after={}", positions[0])).await;
    assert_eq!(resumed(&mut again).await, (true, Value::Null));
    assert_eq!(again.event().await["position"], positions[1]);
    assert_eq!(again.event().await["position"], positions[2]);
    let mut ahead = open(&admin, &app.url, &format!("&after={}", positions[2] + 1000)).await;
    assert_eq!(resumed(&mut ahead).await, (false, json!("ahead")));
    ahead.snapshot().await;

    app.advance(Duration::from_hours(8 * 24));
    write(&app, &app.signals, budi, [json!({"n": 3})]).await;
    while app.run("trim_events").await.done > 0 {}
    let admin = app.log_in("admin@example.com").await;
    let mut trimmed = open(&admin, &app.url, &format!("&after={start}")).await;
    assert_eq!(resumed(&mut trimmed).await, (false, json!("trimmed")));
    trimmed.snapshot().await;
}

#[tokio::test]
async fn a_client_resumes_on_another_replica_and_each_hears_of_the_others_changes() {
    let app = TestApp::start().await;
    let other = app.replica().await;
    let budi = app.customer("budi@example.com").await;
    let id = account(&budi).await;
    let mut here = open(&budi, &app.url, "").await;
    let mut there = open(&budi, &other.url, "").await;
    assert_eq!(here.snapshot().await["seq"], 0);
    assert_eq!(there.snapshot().await["seq"], 0);
    write(&app, &app.signals, id, [json!({})]).await;
    write(&app, &other.signals, id, [json!({})]).await;
    for socket in [&mut here, &mut there] {
        assert_eq!(socket.event().await["seq"], 1);
        assert_eq!(socket.event().await["seq"], 2);
    }
    drop(here);
    write(&app, &app.signals, id, [json!({})]).await;
    let mut moved = Opening::query("after=2").bearer(&budi).open(&other.url).await;
    assert_eq!(resumed(&mut moved).await, (true, Value::Null));
    assert_eq!(moved.event().await["seq"], 3);
}

#[tokio::test]
async fn nothing_is_missed_or_repeated_by_those_who_join_while_it_happens() {
    let app = TestApp::start().await;
    let budi = app.customer("budi@example.com").await;
    let admin = app.admin("admin@example.com").await;
    let id = account(&budi).await;
    let writing = async {
        for n in 0..60 {
            write(&app, &app.signals, id, [json!({"n": n})]).await;
        }
    };
    let joining = async {
        let mut sockets = Vec::new();
        for _ in 0..6 {
            sockets.push((open(&budi, &app.url, "").await, "seq"));
            sockets.push((open(&admin, &app.url, "").await, "position"));
        }
        sockets
    };
    let ((), sockets) = tokio::join!(writing, joining);
    for (mut socket, place) in sockets {
        let first = socket.snapshot().await;
        let mut last = first[place].as_i64().unwrap();
        let mut seq = first["seq"].as_i64();
        while seq != Some(60) {
            let message = socket.event().await;
            let next = message["seq"].as_i64().unwrap();
            assert!(seq.is_none_or(|seq| next == seq + 1), "{next} after {seq:?}");
            assert!(message[place].as_i64().unwrap() > last);
            (seq, last) = (Some(next), message[place].as_i64().unwrap());
        }
    }
}
