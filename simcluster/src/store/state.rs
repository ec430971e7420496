//! The tables behind the lock: objects by key, revisions, and the recent changes of each kind.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    sync::Arc,
};

use jiff::Timestamp;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{Change, ChangeType, Compacted, Key, Object};
use crate::{
    clock::Clock,
    dig::Dig,
    fields::{owners::Owners, set::Pool},
    resource::{self, Kind},
};

#[derive(Default)]
struct Table {
    objects: BTreeMap<Key, Object>,
    history: VecDeque<Arc<Change>>,
    /// Changes at or before this revision are forgotten.
    compacted: u64,
}

pub(crate) struct State {
    /// By the kind's place in `resource::ALL`.
    tables: Vec<Table>,
    pub(super) revision: u64,
    history: usize,
    pub(super) rng: StdRng,
    clock: Clock,
    /// The parts of field ownership that objects share.
    pub(super) pool: Pool,
    /// Uids of pods that went in this transaction, whose logs go with them.
    pub(super) forgotten: Vec<String>,
    /// How many addresses have been given to services.
    addresses: u32,
}

impl State {
    pub(super) fn new(clock: Clock, seed: u64, history: usize) -> Self {
        Self {
            tables: resource::ALL.iter().map(|_| Table { compacted: 1, ..Table::default() }).collect(),
            revision: 1,
            history,
            rng: StdRng::seed_from_u64(seed),
            clock,
            pool: Pool::default(),
            forgotten: Vec::new(),
            addresses: 0,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn object(&self, kind: &'static Kind, key: &Key) -> Option<&Object> {
        self.tables[kind.place()].objects.get(key)
    }

    pub(crate) fn get(&self, kind: &'static Kind, key: &Key) -> Option<&Arc<Value>> {
        self.object(kind, key).map(|object| &object.value)
    }

    pub(super) fn objects(&self, kind: &'static Kind, ns: Option<&str>) -> impl Iterator<Item = &Object> {
        self.objects_after(kind, ns, None).map(|(_, object)| object)
    }

    /// All objects of a kind, or of one namespace, that come after a key.
    pub(super) fn objects_after(
        &self,
        kind: &'static Kind,
        ns: Option<&str>,
        after: Option<&Key>,
    ) -> impl Iterator<Item = (&Key, &Object)> {
        let ns = ns.filter(|_| kind.namespaced);
        let first = Bound::Included((ns.unwrap_or_default().to_owned(), String::new()));
        let start = after.map_or(first, |after| Bound::Excluded(after.clone()));
        let here = self.tables[kind.place()].objects.range((start, Bound::Unbounded));
        here.take_while(move |(key, _)| ns.is_none_or(|ns| key.0 == ns))
    }

    pub(crate) fn list(&self, kind: &'static Kind, ns: Option<&str>) -> Vec<Arc<Value>> {
        self.objects(kind, ns).map(|object| Arc::clone(&object.value)).collect()
    }

    pub(super) fn since(&self, kind: &'static Kind, revision: u64) -> Result<(u64, Vec<Arc<Change>>), Compacted> {
        let Table { history, compacted, .. } = &self.tables[kind.place()];
        if revision < *compacted {
            return Err(Compacted { oldest: *compacted });
        }
        let from = history.partition_point(|change| change.revision <= revision);
        Ok((self.revision, history.range(from..).cloned().collect()))
    }

    pub(super) fn compact(&mut self) {
        for table in &mut self.tables {
            table.compacted = self.revision;
            table.history.clear();
        }
    }

    /// Stores `object` under a new revision and remembers the change. The one place where objects change.
    pub(crate) fn put(&mut self, kind: &'static Kind, key: Key, mut value: Value, owners: Owners) -> Object {
        self.revision += 1;
        value.put("metadata.resourceVersion", self.revision.to_string());
        let object = Object { value: Arc::new(value), owners };
        let previous = self.tables[kind.place()].objects.insert(key, object.clone());
        let change = if previous.is_some() { ChangeType::Modified } else { ChangeType::Added };
        self.remember(kind, Change { revision: self.revision, change, object: object.clone(), previous });
        object
    }

    /// Removes an object under a new revision.
    pub(crate) fn remove(&mut self, kind: &'static Kind, key: &Key) {
        let Some(previous) = self.tables[kind.place()].objects.remove(key) else { return };
        self.revision += 1;
        if kind.is(&resource::POD) {
            self.forgotten.push(previous.text("metadata.uid").to_owned());
        }
        let (revision, object) = (self.revision, previous.at_revision(self.revision));
        self.remember(kind, Change { revision, change: ChangeType::Deleted, object, previous: Some(previous) });
    }

    fn remember(&mut self, kind: &'static Kind, change: Change) {
        let Table { history, compacted, .. } = &mut self.tables[kind.place()];
        history.push_back(Arc::new(change));
        if history.len() > self.history {
            *compacted = history.pop_front().map_or(0, |oldest| oldest.revision);
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
        (0..5).map(|_| char::from(ALPHABET[(self.rng.next_u32() % 27) as usize])).collect()
    }

    pub(crate) fn uid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}
