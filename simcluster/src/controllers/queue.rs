//! A controller's work queue: keys due now, first come first served, and keys due later.
//!
//! Each key is due at most once, and has at most one timer and one beat: the earliest that was asked for. A beat is a
//! timer for which a manual clock does not stop (heartbeats): it is due at the next stop after its time.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use crate::store::Key;

#[derive(Default)]
pub(crate) struct Queue {
    due: VecDeque<Key>,
    queued: HashSet<Key>,
    timers: Timers,
    beats: Timers,
}

impl Queue {
    pub fn add(&mut self, key: Key) {
        if self.queued.insert(key.clone()) {
            self.due.push_back(key);
        }
    }

    pub fn add_all<'a, T>(&mut self, entries: impl Iterator<Item = (&'a Key, T)>) {
        entries.for_each(|(key, _)| self.add(key.clone()));
    }

    pub fn add_at(&mut self, key: Key, at: Timestamp) {
        self.timers.add(key, at);
    }

    pub fn add_beat(&mut self, key: Key, at: Timestamp) {
        self.beats.add(key, at);
    }

    /// The next key to handle; whatever it still waited for is forgotten.
    pub fn pop(&mut self, now: Timestamp) -> Option<Key> {
        while let Some(key) = self.timers.pop(now).or_else(|| self.beats.pop(now)) {
            self.add(key);
        }
        let key = self.due.pop_front()?;
        self.queued.remove(&key);
        self.timers.drop(&key);
        self.beats.drop(&key);
        Some(key)
    }

    /// When the earliest timer is due, and with beats the earliest of either.
    pub fn next(&self, with_beats: bool) -> Option<Timestamp> {
        let beat = self.beats.next().filter(|_| with_beats);
        self.timers.next().into_iter().chain(beat).min()
    }
}

#[derive(Default)]
struct Timers {
    by_time: BTreeSet<(Timestamp, Key)>,
    by_key: HashMap<Key, Timestamp>,
}

impl Timers {
    fn add(&mut self, key: Key, at: Timestamp) {
        if self.by_key.get(&key).is_some_and(|earlier| *earlier <= at) {
            return;
        }
        self.drop(&key);
        self.by_key.insert(key.clone(), at);
        self.by_time.insert((at, key));
    }

    fn pop(&mut self, now: Timestamp) -> Option<Key> {
        self.next().filter(|at| *at <= now)?;
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    fn drop(&mut self, key: &Key) {
        if let Some(at) = self.by_key.remove(key) {
            self.by_time.remove(&(at, key.clone()));
        }
    }
}
