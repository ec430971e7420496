//! Who is connected to this process, and what goes to whom.
//!
//! One lock covers the connections and the feed's cursor: whoever joins learns the cursor of that very moment, so that
//! what came before is for the snapshot and what comes after is for the queue, and nothing is for neither.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::close::Close;
use super::message;
use super::queue::{Item, Mailbox};
use crate::events::Event;
use crate::identity::{Principal, Role};

/// A portal in several tabs on several devices; more is a client that does not close what it opens.
pub const MAX_PER_ACCOUNT: usize = 16;

/// Why a connection cannot join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The feed has not read its first position yet, or the process is shutting down.
    Unavailable,
    TooMany,
}

/// One connection's place at the table.
#[derive(Debug)]
pub struct Seat {
    pub who: Principal,
    pub mailbox: Mailbox,
    /// Up to which position the feed had been read when it joined.
    pub cursor: i64,
}

/// Staff follow everything, customers their account.
pub fn follows_everything(who: &Principal) -> bool {
    who.role >= Role::Support
}

#[derive(Debug, Default)]
pub struct Registry {
    cursor: Option<i64>,
    closing: bool,
    customers: HashMap<Uuid, Vec<Arc<Seat>>>,
    staff: HashMap<Uuid, Vec<Arc<Seat>>>,
}

impl Registry {
    fn of(&mut self, who: &Principal) -> &mut HashMap<Uuid, Vec<Arc<Seat>>> {
        if follows_everything(who) {
            &mut self.staff
        } else {
            &mut self.customers
        }
    }

    /// The log has been read once, so that a seat's beginning is known.
    pub fn is_fed(&self) -> bool {
        self.cursor.is_some()
    }

    pub fn join(&mut self, who: Principal, queue_bytes: usize) -> Result<Arc<Seat>, Refusal> {
        let cursor = self.cursor.filter(|_| !self.closing).ok_or(Refusal::Unavailable)?;
        let seats = self.of(&who).entry(who.user_id).or_default();
        if seats.len() >= MAX_PER_ACCOUNT {
            return Err(Refusal::TooMany);
        }
        let mailbox = Mailbox::new(queue_bytes);
        let seat = Arc::new(Seat { who, mailbox, cursor });
        seats.push(seat.clone());
        Ok(seat)
    }

    pub fn leave(&mut self, seat: &Arc<Seat>) {
        let map = self.of(&seat.who);
        if let Some(seats) = map.get_mut(&seat.who.user_id) {
            seats.retain(|other| !Arc::ptr_eq(other, seat));
            if seats.is_empty() {
                map.remove(&seat.who.user_id);
            }
        }
    }

    pub fn cursor(&self) -> Option<i64> {
        self.cursor
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Seat>> {
        self.customers.values().chain(self.staff.values()).flatten()
    }

    /// With nobody to tell, the feed need not be read: the next one who joins starts here.
    pub fn skip_to(&mut self, settled: i64) -> bool {
        let idle = self.customers.is_empty() && self.staff.is_empty();
        if idle || self.cursor.is_none() {
            self.cursor = self.cursor.max(Some(settled));
            return true;
        }
        false
    }

    /// Puts each event into the queues that it concerns, written once per kind of reader, and moves the cursor.
    /// Returns how many queues overflowed.
    pub fn deliver(&mut self, events: &[Event], upto: i64) -> u64 {
        let mut overflows = 0;
        let mut put = |seats: &[Arc<Seat>], item: &Item| {
            let refused = seats.iter().filter(|seat| !seat.mailbox.push(item.clone()));
            overflows += u64::try_from(refused.count()).unwrap_or(u64::MAX);
        };
        for event in events {
            if let Some(seats) = self.customers.get(&event.stream) {
                let text = message::for_account(event);
                put(seats, &Item { place: event.seq, text });
            }
            if !self.staff.is_empty() {
                let text = message::for_staff(event);
                let item = Item {
                    place: event.position,
                    text,
                };
                self.staff.values().for_each(|seats| put(seats, &item));
            }
        }
        self.cursor = self.cursor.max(Some(upto));
        overflows
    }

    /// Nobody joins any more, and whoever is here is asked to leave.
    pub fn close(&mut self) {
        self.closing = true;
        self.all().for_each(|seat| seat.mailbox.end(Close::Shutdown));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Time;
    use serde_json::json;

    fn who(n: u128, role: Role) -> Principal {
        Principal {
            user_id: Uuid::from_u128(n),
            session_id: Uuid::from_u128(n),
            role,
        }
    }

    fn event(stream: u128, seq: i64, position: i64) -> Event {
        Event {
            stream: Uuid::from_u128(stream),
            seq,
            id: Uuid::from_u128(1),
            r#type: "order.accepted".into(),
            payload: json!({"filler": "x".repeat(100)}),
            occurred_at: Time::new("2026-01-01T00:00:00Z".parse().unwrap()),
            position,
        }
    }

    fn registry() -> Registry {
        let mut registry = Registry::default();
        assert!(registry.skip_to(100));
        registry
    }

    #[tokio::test]
    async fn events_go_to_their_account_and_to_staff() {
        let mut registry = registry();
        let budi = registry.join(who(1, Role::Customer), 10_000).unwrap();
        let siti = registry.join(who(2, Role::Customer), 10_000).unwrap();
        let admin = registry.join(who(3, Role::Admin), 10_000).unwrap();
        assert_eq!(registry.deliver(&[event(2, 8, 101), event(1, 5, 102)], 104), 0);
        assert_eq!(budi.mailbox.next().await.place, 5);
        assert_eq!(siti.mailbox.next().await.place, 8);
        assert_eq!(admin.mailbox.next().await.place, 101);
        assert_eq!(admin.mailbox.next().await.place, 102);
        assert_eq!(registry.cursor(), Some(104));
        assert_eq!(registry.join(who(1, Role::Customer), 1).unwrap().cursor, 104);
    }

    #[tokio::test]
    async fn an_overflow_is_its_own_connection_only() {
        let mut registry = registry();
        let small = registry.join(who(1, Role::Customer), 300).unwrap();
        let large = registry.join(who(1, Role::Customer), 10_000).unwrap();
        assert_eq!(
            registry.deliver(&[event(1, 1, 101), event(1, 2, 102), event(1, 3, 103)], 103),
            1
        );
        assert_eq!(small.mailbox.ending().await, Close::SlowConsumer);
        for seq in 1..=3 {
            assert_eq!(large.mailbox.next().await.place, seq);
        }
    }

    #[test]
    fn an_account_has_so_many_seats_and_gets_them_back() {
        let mut registry = registry();
        let join = |registry: &mut Registry| registry.join(who(1, Role::Customer), 1);
        let seats: Vec<_> = (0..MAX_PER_ACCOUNT).map(|_| join(&mut registry).unwrap()).collect();
        assert_eq!(join(&mut registry).unwrap_err(), Refusal::TooMany);
        assert!(registry.join(who(2, Role::Customer), 1).is_ok());
        registry.leave(&seats[3]);
        registry.leave(&seats[3]);
        assert!(join(&mut registry).is_ok());
        assert_eq!(join(&mut registry).unwrap_err(), Refusal::TooMany);
    }

    #[test]
    fn nobody_joins_before_the_feed_is_known_or_after_its_end() {
        let mut early = Registry::default();
        assert_eq!(early.join(who(1, Role::Admin), 1).unwrap_err(), Refusal::Unavailable);
        let mut late = registry();
        late.close();
        assert_eq!(late.join(who(1, Role::Admin), 1).unwrap_err(), Refusal::Unavailable);
    }

    #[test]
    fn the_cursor_is_skipped_ahead_only_while_nobody_listens() {
        let mut registry = registry();
        assert!(
            registry.skip_to(90),
            "an older answer is still true, and no reason to go back"
        );
        assert_eq!(registry.cursor(), Some(100));
        let seat = registry.join(who(1, Role::Customer), 1).unwrap();
        assert!(!registry.skip_to(200));
        registry.leave(&seat);
        assert!(registry.skip_to(200));
    }
}
