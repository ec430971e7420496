//! What waits to be sent on one connection, bounded in bytes.
//!
//! The hub puts events in and never waits. When they are more than [`LIMIT`], the queue is emptied and the connection
//! ends as a slow consumer: it costs its own reader a resume, and nobody else anything.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::Utf8Bytes;
use tokio::sync::Notify;

use super::close::Close;

/// A few thousand events; a reader that far behind is better served by a resume.
pub const LIMIT: usize = 1024 * 1024;
/// What an entry costs beside its text. The text is shared by connections, but each pays for all of it.
const OVERHEAD: usize = 64;

/// An event ready to be sent.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place in the order that this connection follows: `seq` for an account, `position` for staff.
    pub place: i64,
    pub text: Utf8Bytes,
}

impl Item {
    fn cost(&self) -> usize {
        self.text.len() + OVERHEAD
    }
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Item>,
    bytes: usize,
    /// Set once; nothing is taken in or given out afterwards.
    end: Option<Close>,
}

impl Queue {
    /// False when this was too much, and ended it.
    fn push(&mut self, item: Item, limit: usize) -> bool {
        if self.end.is_some() {
            return true;
        }
        self.bytes += item.cost();
        self.items.push_back(item);
        if self.bytes > limit {
            self.finish(Close::SlowConsumer);
            return false;
        }
        true
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.cost();
        if self.items.is_empty() {
            // A burst's memory is given back: thousands of connections are idle most of the time.
            self.items = VecDeque::new();
        }
        Some(item)
    }

    fn finish(&mut self, close: Close) {
        self.end.get_or_insert(close);
        self.items = VecDeque::new();
        self.bytes = 0;
    }
}

/// A queue between the hub and the one task that serves the connection.
#[derive(Debug)]
pub struct Mailbox {
    queue: Mutex<Queue>,
    limit: usize,
    filled: Notify,
    ended: Notify,
}

impl Mailbox {
    pub fn new(limit: usize) -> Self {
        Self {
            queue: Mutex::default(),
            limit,
            filled: Notify::new(),
            ended: Notify::new(),
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False when it overflowed, which ends the connection.
    pub fn push(&self, item: Item) -> bool {
        let fits = self.queue().push(item, self.limit);
        if fits {
            self.filled.notify_one();
        } else {
            self.ended.notify_one();
        }
        fits
    }

    /// Ends the connection with this code, unless it is ending already.
    pub fn end(&self, close: Close) {
        self.queue().finish(close);
        self.ended.notify_one();
    }

    /// The next item. Safe to drop and call again.
    pub async fn next(&self) -> Item {
        loop {
            if let Some(item) = self.queue().pop() {
                return item;
            }
            self.filled.notified().await;
        }
    }

    /// Resolves when the connection is to end. Safe to drop and call again.
    pub async fn ending(&self) -> Close {
        loop {
            if let Some(close) = self.queue().end {
                return close;
            }
            self.ended.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(place: i64, bytes: usize) -> Item {
        let text = "x".repeat(bytes - OVERHEAD).into();
        Item { place, text }
    }

    #[test]
    fn bytes_are_counted_in_and_out() {
        let mut queue = Queue::default();
        for place in 0..10 {
            assert!(queue.push(item(place, 100), 1000), "exactly the limit fits");
        }
        assert_eq!(queue.bytes, 1000);
        for place in 0..5 {
            assert_eq!(queue.pop().unwrap().place, place);
        }
        assert_eq!(queue.bytes, 500);
        assert!(queue.push(item(10, 500), 1000));
        while queue.pop().is_some() {}
        assert_eq!((queue.bytes, queue.items.capacity()), (0, 0));
    }

    #[test]
    fn one_byte_too_many_ends_it_and_frees_its_memory() {
        let mut queue = Queue::default();
        assert!(queue.push(item(1, 1000), 1000));
        assert!(!queue.push(item(2, 100), 1000));
        assert_eq!(queue.end, Some(Close::SlowConsumer));
        assert!(queue.pop().is_none(), "nothing is sent after a gap");
        assert!(queue.push(item(3, 100), 1000), "an overflow is told once");
        assert_eq!((queue.bytes, queue.items.capacity()), (0, 0));
    }

    #[test]
    fn the_first_reason_stays() {
        let mailbox = Mailbox::new(1000);
        mailbox.end(Close::SessionOver);
        mailbox.end(Close::Shutdown);
        assert_eq!(mailbox.queue().end, Some(Close::SessionOver));
    }

    #[tokio::test]
    async fn whoever_waits_is_woken() {
        let mailbox = Mailbox::new(1000);
        let (item, ()) = tokio::join!(mailbox.next(), async { assert!(mailbox.push(item(7, 100))) });
        assert_eq!(item.place, 7);
        let (close, ()) = tokio::join!(mailbox.ending(), async { mailbox.end(Close::Shutdown) });
        assert_eq!(close, Close::Shutdown);
    }
}
