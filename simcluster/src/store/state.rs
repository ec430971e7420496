//! The tables behind the lock: objects by key, revisions, and the recent changes of each kind.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use jiff::Timestamp;
use rand::{Rng, rngs::StdRng};
use serde_json::Value;

use super::{Change, ChangeType, Compacted, Key};
use crate::{
    clock::Clock,
    resource::{self, Kind},
};

#[derive(Default)]
pub(super) struct Table {
    pub(super) objects: BTreeMap<Key, Arc<Value>>,
    pub(super) history: VecDeque<Change>,
    /// Changes at or before this revision are forgotten.
    pub(super) compacted: u64,
}

pub(crate) struct State {
    /// By the kind's place in `resource::ALL`.
    pub(super) tables: Vec<Table>,
    pub(super) revision: u64,
    pub(super) history: usize,
    pub(super) rng: StdRng,
    pub(super) clock: Clock,
    /// Uids of pods that went in this transaction, whose logs go with them.
    pub(super) forgotten: Vec<String>,
    /// How many addresses have been given to services.
    pub(super) addresses: u32,
}

impl State {
    pub(super) fn table(&self, kind: &'static Kind) -> &Table {
        &self.tables[place(kind)]
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn get(&self, kind: &'static Kind, key: &Key) -> Option<&Arc<Value>> {
        self.table(kind).objects.get(key)
    }

    pub(crate) fn list(&self, kind: &'static Kind, ns: Option<&str>) -> Vec<Arc<Value>> {
        let objects = &self.table(kind).objects;
        match ns.filter(|_| kind.namespaced) {
            None => objects.values().cloned().collect(),
            Some(ns) => objects
                .range((ns.to_owned(), String::new())..)
                .take_while(|(key, _)| key.0 == ns)
                .map(|(_, object)| Arc::clone(object))
                .collect(),
        }
    }

    pub(super) fn since(&self, kind: &'static Kind, revision: u64) -> Result<(u64, Vec<Change>), Compacted> {
        let Table { history, compacted, .. } = self.table(kind);
        if revision < *compacted {
            return Err(Compacted { oldest: *compacted });
        }
        let from = history.partition_point(|change| change.revision <= revision);
        Ok((self.revision, history.range(from..).cloned().collect()))
    }

    /// Stores `object` under a new revision and remembers the change. The one place where objects change.
    pub(crate) fn put(&mut self, kind: &'static Kind, key: Key, mut object: Value) -> Arc<Value> {
        self.revision += 1;
        object["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let object = Arc::new(object);
        let table = &mut self.tables[place(kind)];
        let previous = table.objects.insert(key, Arc::clone(&object));
        let change = if previous.is_some() { ChangeType::Modified } else { ChangeType::Added };
        self.remember(kind, Change { revision: self.revision, change, object: Arc::clone(&object), previous });
        object
    }

    /// Removes an object under a new revision.
    pub(crate) fn remove(&mut self, kind: &'static Kind, key: &Key) {
        let Some(previous) = self.tables[place(kind)].objects.remove(key) else {
            return;
        };
        self.revision += 1;
        let mut last = Value::clone(&previous);
        last["metadata"]["resourceVersion"] = self.revision.to_string().into();
        let (revision, object) = (self.revision, Arc::new(last));
        self.remember(kind, Change { revision, change: ChangeType::Deleted, object, previous: Some(previous) });
    }

    fn remember(&mut self, kind: &'static Kind, change: Change) {
        let limit = self.history;
        let Table { history, compacted, .. } = &mut self.tables[place(kind)];
        history.push_back(change);
        if history.len() > limit
            && let Some(oldest) = history.pop_front()
        {
            *compacted = oldest.revision;
        }
    }

    /// The next free address for a service, in the range that K3s uses. Addresses are not used again.
    pub(crate) fn service_address(&mut self) -> String {
        self.addresses += 1;
        // 10.43.0.1 and 10.43.0.10 are the API's and the DNS server's.
        let host = self.addresses + 10;
        format!("10.43.{}.{}", host / 256 % 256, host % 256)
    }

    /// Five characters of the alphabet that `generateName` draws from.
    pub(crate) fn suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let draw = |rng: &mut StdRng| char::from(ALPHABET[(rng.next_u32() % 27) as usize]);
        (0..5).map(|_| draw(&mut self.rng)).collect()
    }

    pub(crate) fn uid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

fn place(kind: &'static Kind) -> usize {
    resource::ALL.iter().position(|k| k.is(kind)).unwrap_or_default()
}
