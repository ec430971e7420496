//! The event log: what happened, per account and for the system, numbered without gaps.
//!
//! Any domain may append, in the transaction that makes the change. `seq` is taken by an UPDATE on the stream's row,
//! which holds it until commit; so [`Outbox::flush`] must be the last statement before the commit, and streams are
//! taken in id order. A reader of one stream can therefore trust: seq n+1 is never visible before n. A reader of all
//! streams has no such order for free; [`order`] gives it one. [`trim`] forgets what is old.

pub mod order;
pub mod store;
pub mod trim;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::clock::{Ambient, Time};

/// The stream of what concerns the platform, not one account.
pub const SYSTEM: Uuid = Uuid::nil();

/// An event as stored.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Event {
    /// The account, or the nil UUID for the system.
    pub stream: Uuid,
    /// Contiguous within the stream, from 1.
    pub seq: i64,
    pub id: Uuid,
    /// Dotted: `instance.phase_changed`, `subscription.activated`, …
    pub r#type: String,
    #[schema(value_type = Object)]
    pub payload: Value,
    pub occurred_at: Time,
    /// Orders all streams; what an admin resumes with.
    #[serde(skip)]
    pub position: i64,
}

#[derive(Clone, Debug)]
struct Draft {
    stream: Uuid,
    r#type: &'static str,
    payload: Value,
}

/// Collects a transaction's events, to be written by its last statement.
#[derive(Debug, Default)]
#[must_use = "events that are not flushed are lost"]
pub struct Outbox(Vec<Draft>);

impl Outbox {
    pub fn push(&mut self, stream: Uuid, r#type: &'static str, payload: Value) {
        self.0.push(Draft {
            stream,
            r#type,
            payload,
        });
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes everything. Call it last in the transaction, then commit, then ring [`crate::db::signal::Channel::Events`].
    pub async fn flush(mut self, conn: &mut PgConnection, ambient: &Ambient) -> sqlx::Result<()> {
        // Stable: events of one stream keep the order in which they were pushed.
        self.0.sort_by_key(|draft| draft.stream);
        if !self.0.is_empty() {
            order::announce(conn).await?;
        }
        for drafts in self.0.chunk_by(|a, b| a.stream == b.stream) {
            store::append(conn, ambient, drafts).await?;
        }
        Ok(())
    }
}
