//! A controller's work queue: keys due now, first come first served, and keys due later.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};

use jiff::Timestamp;

use crate::store::Key;

/// Each key is in the queue at most once, and has at most one timer: the earliest that was asked for.
#[derive(Default)]
pub(crate) struct Queue {
    due: VecDeque<Key>,
    queued: HashSet<Key>,
    timers: BTreeSet<(Timestamp, Key)>,
    timer_of: BTreeMap<Key, Timestamp>,
}

impl Queue {
    pub fn add(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    pub fn add_at(&mut self, key: Key, at: Timestamp) {
        match self.timer_of.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(_) => self.drop_timer(&key),
            None => {}
        }
        self.timer_of.insert(key.clone(), at);
        self.timers.insert((at, key));
    }

    /// The next key to handle; its timer, if it has one, is gone with it.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        while let Some((at, _)) = self.timers.first()
            && *at <= now
            && let Some((_, key)) = self.timers.pop_first()
        {
            self.timer_of.remove(&key);
            self.add(key);
        }
        let key = self.due.pop_front()?;
        self.queued.remove(&key);
        self.drop_timer(&key);
        Some(key)
    }

    /// When the earliest timer is due.
    pub fn next(&self) -> Option<Timestamp> {
        self.timers.first().map(|(at, _)| *at)
    }

    fn drop_timer(&mut self, key: &Key) {
        if let Some(at) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        (String::new(), name.to_owned())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a valid second")
    }

    #[test]
    fn keys_come_once_in_order_and_timers_when_due() {
        let mut queue = Queue::default();
        queue.add(key("b"));
        queue.add(key("a"));
        queue.add(key("b"));
        queue.add_at(key("c"), at(20));
        queue.add_at(key("c"), at(10));
        queue.add_at(key("c"), at(30));
        assert_eq!(queue.pop(at(0)), Some(key("b")));
        assert_eq!(queue.pop(at(0)), Some(key("a")));
        assert_eq!(queue.pop(at(9)), None);
        assert_eq!(queue.next(), Some(at(10)));
        assert_eq!(queue.pop(at(10)), Some(key("c")));
        assert_eq!((queue.pop(at(99)), queue.next()), (None, None));
    }
}
