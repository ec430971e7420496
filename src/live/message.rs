//! The messages, as they stand on the wire. docs/live.md explains them to clients.

use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::resume::Incomplete;
use crate::events::Event;

/// The present state of one instance, as far as a live view needs it.
#[derive(Clone, Debug, Serialize)]
pub struct InstanceState {
    pub id: Uuid,
    pub user_id: Uuid,
    pub name: String,
    /// The service's slug.
    pub service: String,
    pub phase: String,
    pub reason: String,
    pub message: String,
    pub host: String,
    pub generation: i64,
    pub observed_generation: i64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outgoing<'a> {
    /// The state, read after the position that it names: events after that position may be in it already, and applying
    /// them again changes nothing.
    Snapshot {
        #[serde(flatten)]
        at: At,
        /// Another part follows.
        more: bool,
        data: SnapshotData<'a>,
    },
    /// The answer to `after`.
    Resumed {
        from: i64,
        complete: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<Incomplete>,
    },
    Event {
        seq: i64,
        /// For staff only: it would tell customers how busy the platform is.
        #[serde(skip_serializing_if = "Option::is_none")]
        position: Option<i64>,
        event: &'a Event,
    },
    Pong,
}

#[derive(Debug, Serialize)]
pub struct SnapshotData<'a> {
    pub instances: &'a [InstanceState],
}

/// The place in the log that a snapshot belongs to, and that the client resumes after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum At {
    Account { stream: Uuid, seq: i64 },
    Everything { position: i64 },
}

impl Outgoing<'_> {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Snapshot { .. } => "snapshot",
            Self::Resumed { .. } => "resumed",
            Self::Event { .. } => "event",
            Self::Pong => "pong",
        }
    }

    pub fn text(&self) -> Utf8Bytes {
        serde_json::to_string(self)
            .expect("strings, numbers and JSON values can be written")
            .into()
    }
}

/// An event as an account's own connections get it.
pub fn for_account(event: &Event) -> Utf8Bytes {
    let (seq, position) = (event.seq, None);
    Outgoing::Event { seq, position, event }.text()
}

/// An event as staff get it.
pub fn for_staff(event: &Event) -> Utf8Bytes {
    let (seq, position) = (event.seq, Some(event.position));
    Outgoing::Event { seq, position, event }.text()
}

/// What a client may say. Browsers cannot send WebSocket pings, so they have one of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Incoming {
    Ping,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(text: &Utf8Bytes) -> Value {
        serde_json::from_str(text.as_str()).unwrap()
    }

    #[test]
    fn the_shapes_are_the_documented_ones() {
        let stream = Uuid::from_u128(7);
        let snapshot = |at| {
            let data = SnapshotData { instances: &[] };
            read(&Outgoing::Snapshot { at, more: false, data }.text())
        };
        assert_eq!(
            snapshot(At::Account { stream, seq: 4 }),
            json!({"type": "snapshot", "stream": stream, "seq": 4, "more": false, "data": {"instances": []}})
        );
        assert_eq!(
            snapshot(At::Everything { position: 9 }),
            json!({"type": "snapshot", "position": 9, "more": false, "data": {"instances": []}})
        );
        let resumed = |reason: Option<Incomplete>| {
            let complete = reason.is_none();
            read(
                &Outgoing::Resumed {
                    from: 3,
                    complete,
                    reason,
                }
                .text(),
            )
        };
        assert_eq!(resumed(None), json!({"type": "resumed", "from": 3, "complete": true}));
        assert_eq!(
            resumed(Some(Incomplete::TooMany)),
            json!({"type": "resumed", "from": 3, "complete": false, "reason": "too_many"})
        );
        assert_eq!(read(&Outgoing::Pong.text()), json!({"type": "pong"}));
    }

    #[test]
    fn only_staff_see_the_global_position() {
        let event = Event {
            stream: Uuid::from_u128(1),
            seq: 5,
            id: Uuid::from_u128(2),
            r#type: "order.accepted".into(),
            payload: json!({"a": 1}),
            occurred_at: crate::clock::Time::new("2026-01-01T00:00:00Z".parse().unwrap()),
            position: 70,
        };
        let (account, staff) = (read(&for_account(&event)), read(&for_staff(&event)));
        assert_eq!((&account["type"], &account["seq"]), (&json!("event"), &json!(5)));
        assert_eq!(account["event"]["payload"], json!({"a": 1}));
        assert!(!for_account(&event).as_str().contains("position"));
        assert_eq!(staff["position"], 70);
        assert_eq!(staff["event"], account["event"]);
    }

    #[test]
    fn a_client_can_say_ping_and_nothing_else() {
        let parse = |text: &str| serde_json::from_str::<Incoming>(text).ok();
        assert_eq!(parse(r#"{"type":"ping"}"#), Some(Incoming::Ping));
        for bad in ["", "ping", "{}", r#"{"type":"subscribe"}"#, "[]"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
