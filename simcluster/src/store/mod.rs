//! The cluster's state: objects, one revision counter, and the recent changes that watches read.
//!
//! Promises. Every write takes one lock, so that writes are ordered by `resourceVersion`. A write that changes nothing
//! keeps the `resourceVersion` and appears in no watch. Objects are shared (`Arc`): a reader never sees a half-made
//! write, and what it holds never changes. Readers and watchers only clone `Arc`s under the lock.
//!
//! The same rules hold for everybody: controllers call the functions here, the HTTP layer calls the same ones with
//! preconditions; defaulting, validation, admission and field ownership are behind them.

mod delete;
mod object;
mod state;
mod write;

pub use delete::{DeleteOptions, Deleted, FOREGROUND, ORPHAN, Propagation};
pub use object::Object;
pub(crate) use state::State;
pub(crate) use write::Writer;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    clock::Clock,
    dig::Dig,
    logs::Logs,
    resource::{self, Kind},
    status::Status,
};

/// Namespace (empty for cluster-scoped kinds) and name.
pub type Key = (String, String);

/// What happened to an object in one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeType {
    Added,
    Modified,
    Deleted,
}

/// One write, as it is remembered for watches.
#[derive(Debug)]
pub struct Change {
    pub revision: u64,
    pub change: ChangeType,
    /// The object after the write; for `Deleted` its last state, with the deletion's own `resourceVersion`.
    pub object: Object,
    /// The object before the write.
    pub previous: Option<Object>,
}

/// The asked-for revision is older than what is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision from which changes can still be told.
    pub oldest: u64,
}

/// A part of a list that is true at one revision.
pub(crate) struct Page {
    pub revision: u64,
    pub objects: Vec<Object>,
    pub remaining: usize,
}

/// The changes of a kind or, where they are forgotten, all its objects.
pub(crate) type News = Result<Vec<Arc<Change>>, Vec<Object>>;

struct Inner {
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    clock: Clock,
    logs: Logs,
}

/// A handle on the cluster's state; clones share it.
#[derive(Clone)]
pub struct Cluster(Arc<Inner>);

impl Cluster {
    /// An empty cluster. `history` is how many changes per kind are remembered for watches.
    pub fn new(clock: Clock, seed: u64, history: usize) -> Self {
        let state = Mutex::new(State::new(clock.clone(), seed, history));
        Self(Arc::new(Inner { state, changed: watch::Sender::new(1), clock, logs: Logs::default() }))
    }

    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Container logs, written by the kubelets.
    pub fn logs(&self) -> &Logs {
        &self.0.logs
    }

    /// Moves with every write; its value is the newest revision.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    pub fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// `ns` is ignored for cluster-scoped kinds.
    pub fn get(&self, kind: &'static Kind, ns: &str, name: &str) -> Option<Arc<Value>> {
        self.object(kind, ns, name).map(|object| object.value)
    }

    /// The object as it is served.
    pub fn object(&self, kind: &'static Kind, ns: &str, name: &str) -> Option<Object> {
        self.lock().object(kind, &key(kind, ns, name)).cloned()
    }

    /// All objects of a kind, or those of one namespace, by namespace and name.
    pub fn list(&self, kind: &'static Kind, ns: Option<&str>) -> Vec<Arc<Value>> {
        self.lock().list(kind, ns)
    }

    /// A list as it is served, and the revision at which it was true.
    pub fn objects(&self, kind: &'static Kind, ns: Option<&str>) -> (u64, Vec<Object>) {
        let state = self.lock();
        (state.revision, state.objects(kind, ns).cloned().collect())
    }

    /// The changes of one kind after a revision, oldest first, and the newest revision of the cluster.
    pub fn since(&self, kind: &'static Kind, revision: u64) -> Result<(u64, Vec<Arc<Change>>), Compacted> {
        self.lock().since(kind, revision)
    }

    /// The news of all kinds since a revision, in the order of `resource::ALL`, and the revision at which they were true.
    pub(crate) fn since_all(&self, revision: u64) -> (u64, Vec<News>) {
        let state = self.lock();
        let of = |kind: &&'static Kind| match state.since(kind, revision) {
            Ok((_, changes)) => Ok(changes),
            Err(_) => Err(state.objects(kind, None).cloned().collect()),
        };
        (state.revision, resource::ALL.iter().map(of).collect())
    }

    /// One page of a list: so many matching objects after a key, and how many come after them, as it was at a revision
    /// (0 is the present).
    pub(crate) fn page(
        &self,
        (kind, ns): (&'static Kind, Option<&str>),
        (revision, after): (u64, Option<&Key>),
        limit: usize,
        matches: impl Fn(&Value) -> bool,
    ) -> Result<Page, Compacted> {
        let state = self.lock();
        let revision = if revision == 0 { state.revision } else { revision };
        // What changed since is taken as it was before its first change.
        let mut before: BTreeMap<Key, Option<Object>> = BTreeMap::new();
        for change in state.since(kind, revision)?.1 {
            let key = key_of(&change.object);
            if ns.is_none_or(|ns| !kind.namespaced || key.0 == ns) && after.is_none_or(|after| key > *after) {
                before.entry(key).or_insert_with(|| change.previous.clone());
            }
        }
        let present = state.objects_after(kind, ns, after).filter(|(key, _)| !before.contains_key(*key));
        let mut present = present.filter(|(_, object)| matches(object));
        let past = before.iter().filter_map(|(key, object)| Some((key, object.as_ref()?)));
        let mut page: Vec<(&Key, &Object)> = past.filter(|(_, object)| matches(object)).collect();
        page.extend(present.by_ref().take(limit));
        page.sort_unstable_by_key(|(key, _)| *key);
        let remaining = present.count() + page.len().saturating_sub(limit);
        let objects = page.into_iter().take(limit).map(|(_, object)| object.clone()).collect();
        Ok(Page { revision, objects, remaining })
    }

    /// Forgets all past changes: watches from older revisions, and pages of older lists, are answered 410.
    pub fn compact(&self) {
        self.lock().compact();
    }

    /// Runs one transaction and tells watchers if it wrote.
    pub(crate) fn transact<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let result = work(&mut state);
        let (newest, forgotten) = (state.revision, std::mem::take(&mut state.forgotten));
        drop(state);
        for uid in &forgotten {
            self.0.logs.forget(uid);
        }
        self.0.changed.send_if_modified(|seen| {
            let is_newer = newest > *seen;
            *seen = newest.max(*seen);
            is_newer
        });
        result
    }

    /// Removes a namespace whose contents are gone.
    pub(crate) fn finalize_namespace(&self, name: &str) {
        self.transact(|state| state.remove(&resource::NAMESPACE, &(String::new(), name.to_owned())));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes an object; the answer is as stored, with defaults. `who` is its field manager.
    pub fn create(&self, kind: &'static Kind, ns: &str, object: Value, who: &str) -> Result<Arc<Value>, Status> {
        let made = self.transact(|state| state.create(kind, ns, object, &Writer::component(who)));
        made.map(|object| object.value)
    }

    /// Changes metadata and spec; a change of `status` is dropped where the kind has a status subresource.
    /// `change` runs under the store's lock: it must not call the cluster.
    pub fn update(
        &self,
        kind: &'static Kind,
        ns: &str,
        name: &str,
        who: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Status> {
        self.write(kind, &key(kind, ns, name), &Writer::component(who), change)
    }

    /// Changes `status` only. `change` runs under the store's lock: it must not call the cluster.
    pub fn update_status(
        &self,
        kind: &'static Kind,
        ns: &str,
        name: &str,
        who: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Status> {
        self.write(kind, &key(kind, ns, name), &Writer::component(who).on("status"), change)
    }

    fn write(
        &self,
        kind: &'static Kind,
        key: &Key,
        writer: &Writer<'_>,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Status> {
        let change = |object: &mut Value| {
            change(object);
            Ok(())
        };
        self.transact(|state| state.update(kind, key, writer, change)).map(|object| object.value)
    }

    /// Deletes, or marks for deletion where finalizers or a grace period hold the object.
    pub fn delete(&self, kind: &'static Kind, ns: &str, name: &str, how: &DeleteOptions) -> Result<Deleted, Status> {
        self.transact(|state| state.delete(kind, &key(kind, ns, name), how))
    }
}

/// The key of an object; cluster-scoped kinds have an empty namespace.
pub fn key(kind: &Kind, ns: &str, name: &str) -> Key {
    (if kind.namespaced { ns.to_owned() } else { String::new() }, name.to_owned())
}

pub(crate) fn key_of(object: &Value) -> Key {
    (object.text("metadata.namespace").to_owned(), object.text("metadata.name").to_owned())
}
