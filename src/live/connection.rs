//! What is said on a connection, in its order: the answer to `after`, or the state; then event after event.
//!
//! The seat was taken before anything is read here, so whatever happens meanwhile waits in the queue; what the snapshot
//! or the resume covers already is then left out by its number. No database connection is held while sending.

use sqlx::PgPool;
use uuid::Uuid;

use super::close::Close;
use super::hub::Hub;
use super::message::{self, At, InstanceState, Outgoing, SnapshotData};
use super::registry::{Seat, follows_everything};
use super::resume::{Fit, Kept, decide, fit};
use super::store;
use super::wire::{End, Transport, Wire};
use crate::events::{self, Event, order};

/// Events per read of a resume: a few hundred KiB.
const EVENTS: i64 = 200;
/// Instances per snapshot message.
const INSTANCES: i64 = 500;

/// Which order a connection follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Account(Uuid),
    /// Everything, up to this position when the seat was taken.
    Everything {
        cursor: i64,
    },
}

/// A database error ends the connection with [`Close::Failed`], and the client comes again.
fn failed(error: sqlx::Error) -> End {
    tracing::warn!(%error, "a live connection could not be served from the log");
    End::Close(Close::Failed)
}

/// Serves a connection until it ends.
pub async fn converse<T: Transport>(wire: &mut Wire<'_, T>, hub: &Hub, seat: &Seat, after: Option<i64>) -> End {
    let scope = if follows_everything(&seat.who) {
        Scope::Everything { cursor: seat.cursor }
    } else {
        Scope::Account(seat.who.user_id)
    };
    let mut conversation = Conversation {
        wire,
        pool: hub.pool(),
        scope,
        sent: 0,
    };
    match conversation.run(after).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

struct Conversation<'a, 'w, T> {
    wire: &'a mut Wire<'w, T>,
    pool: &'a PgPool,
    scope: Scope,
    /// The last number that the client knows: a seq or a position, as the scope has it.
    sent: i64,
}

impl<T: Transport> Conversation<'_, '_, T> {
    async fn run(&mut self, after: Option<i64>) -> Result<std::convert::Infallible, End> {
        match after {
            Some(after) => self.resume(after).await?,
            None => self.snapshot().await?,
        }
        loop {
            let item = self.wire.next().await?;
            match (self.scope, fit(self.sent, item.place)) {
                (_, Fit::Old) => continue,
                // Positions have gaps of their own.
                (Scope::Account(_), Fit::Next) | (Scope::Everything { .. }, Fit::Next | Fit::Gap) => {}
                (Scope::Account(_), Fit::Gap) => self.replay(item.place - 1).await?,
            }
            self.wire.event(item.text).await?;
            self.sent = item.place;
        }
    }

    async fn resume(&mut self, after: i64) -> Result<(), End> {
        let kept = self.kept().await.map_err(failed)?;
        let verdict = decide(after, kept);
        let (complete, reason) = (verdict.is_ok(), verdict.err());
        self.wire
            .send(&Outgoing::Resumed {
                from: after,
                complete,
                reason,
            })
            .await?;
        if !complete {
            return self.snapshot().await;
        }
        self.sent = after;
        match self.scope {
            Scope::Account(_) => self.replay(kept.last).await,
            // Only up to where the seat's queue begins: beyond it the order may not be final yet. A client that comes
            // from another replica may be further already.
            Scope::Everything { cursor } => self.replay(cursor).await,
        }
    }

    /// What the log has, in this scope's numbers.
    async fn kept(&mut self) -> sqlx::Result<Kept> {
        let mut conn = self.pool.acquire().await?;
        match self.scope {
            Scope::Account(stream) => {
                let (first, last) = events::store::bounds(&mut conn, stream).await?.unwrap_or((1, 0));
                Ok(Kept { first, last })
            }
            Scope::Everything { .. } => {
                let last = order::drawn(&mut conn).await?;
                let first = order::oldest(&mut conn).await?.unwrap_or(last + 1);
                Ok(Kept { first, last })
            }
        }
    }

    /// Sends what is missing up to `upto` from the log.
    async fn replay(&mut self, upto: i64) -> Result<(), End> {
        while self.sent < upto {
            let events = self.page(upto).await.map_err(failed)?;
            for event in &events {
                let (place, text) = match self.scope {
                    Scope::Account(_) => (event.seq, message::for_account(event)),
                    Scope::Everything { .. } => (event.position, message::for_staff(event)),
                };
                if matches!(self.scope, Scope::Account(_)) && fit(self.sent, place) != Fit::Next {
                    // Trimmed at this very moment: coming again, the client is told so.
                    return Err(End::Close(Close::Failed));
                }
                self.wire.event(text).await?;
                self.sent = place;
            }
            if events.is_empty() {
                match self.scope {
                    Scope::Account(_) => return Err(End::Close(Close::Failed)),
                    // The last positions may belong to transactions that were rolled back.
                    Scope::Everything { .. } => break,
                }
            }
        }
        Ok(())
    }

    async fn page(&mut self, upto: i64) -> sqlx::Result<Vec<Event>> {
        let mut conn = self.pool.acquire().await?;
        match self.scope {
            Scope::Account(stream) => events::store::after(&mut conn, stream, self.sent, EVENTS).await,
            Scope::Everything { .. } => order::between(&mut conn, self.sent, upto, EVENTS).await,
        }
    }

    /// First the position, then the state: what happens between the two is told again, and never missing.
    async fn snapshot(&mut self) -> Result<(), End> {
        let at = match self.scope {
            Scope::Account(stream) => {
                let seq = self.kept().await.map_err(failed)?.last;
                self.sent = seq;
                At::Account { stream, seq }
            }
            Scope::Everything { cursor } => {
                self.sent = cursor;
                At::Everything { position: cursor }
            }
        };
        let mut last = Uuid::nil();
        loop {
            let instances = self.instances(last).await.map_err(failed)?;
            let more = i64::try_from(instances.len()).is_ok_and(|count| count == INSTANCES);
            last = instances.last().map_or(last, |instance| instance.id);
            let data = SnapshotData { instances: &instances };
            self.wire.send(&Outgoing::Snapshot { at, more, data }).await?;
            if !more {
                return Ok(());
            }
        }
    }

    async fn instances(&mut self, after: Uuid) -> sqlx::Result<Vec<InstanceState>> {
        let mut conn = self.pool.acquire().await?;
        match self.scope {
            Scope::Account(account) => store::instances_of(&mut conn, account, after, INSTANCES).await,
            Scope::Everything { .. } => store::all_instances(&mut conn, after, INSTANCES).await,
        }
    }
}
