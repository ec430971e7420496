//! What the controllers see: the store's objects, kept up to date from its changes, with the indexes they need.
//!
//! The view is brought up to date before every key that a controller handles, so a controller never acts on a state
//! from before its own last write. Objects are shared with the store, not copied.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use serde_json::Value;

use super::requests::Requests;
use crate::{
    resource::{self, Kind},
    store::{ChangeType, Cluster, Key},
};

/// One change, as controllers are told of it.
pub(crate) struct Seen<'a> {
    pub kind: &'static Kind,
    pub key: &'a Key,
    /// The object after the change; `None` when it is gone.
    pub new: Option<&'a Arc<Value>>,
    /// The object before the change.
    pub old: Option<&'a Arc<Value>>,
}

impl Seen<'_> {
    pub fn is(&self, kind: &Kind) -> bool {
        self.kind.is(kind)
    }

    /// The newest state there is: after the change, or before it when the object is gone.
    pub fn latest(&self) -> &Value {
        self.new.or(self.old).map_or(&Value::Null, |object| object)
    }
}

struct Table {
    kind: &'static Kind,
    seen: u64,
    objects: BTreeMap<Key, Arc<Value>>,
}

#[derive(Default)]
pub(crate) struct View {
    revision: u64,
    tables: Vec<Table>,
    pods_by_node: HashMap<String, BTreeSet<Key>>,
    pods_by_owner: HashMap<String, BTreeSet<Key>>,
    pods_by_claim: HashMap<Key, BTreeSet<Key>>,
    /// Requests of the pods that count against their node.
    counted: HashMap<Key, (String, Requests)>,
    used: HashMap<String, Requests>,
}

impl View {
    /// Takes over all changes since the last call; `tell` hears of each after it was taken over.
    pub fn catch_up(&mut self, cluster: &Cluster, mut tell: impl FnMut(&Seen<'_>, &Self)) {
        if self.tables.is_empty() {
            let table = |kind: &&'static Kind| Table { kind, seen: 0, objects: BTreeMap::new() };
            self.tables = resource::ALL.iter().filter(|kind| !kind.is(&resource::EVENT)).map(table).collect();
        }
        let revision = cluster.revision();
        if revision == self.revision {
            return;
        }
        self.revision = revision;
        for at in 0..self.tables.len() {
            let (kind, seen) = (self.tables[at].kind, self.tables[at].seen);
            if let Ok((newest, changes)) = cluster.since(kind, seen) {
                self.tables[at].seen = newest;
                for change in changes {
                    let gone = change.change == ChangeType::Deleted;
                    self.apply(at, key_of(&change.object), Some(change.object).filter(|_| !gone), &mut tell);
                }
            } else {
                self.relist(at, cluster, &mut tell);
            }
        }
    }

    /// The changes since the last look are forgotten: compare everything.
    fn relist(&mut self, at: usize, cluster: &Cluster, tell: &mut impl FnMut(&Seen<'_>, &Self)) {
        let (newest, objects) = cluster.snapshot(self.tables[at].kind, None);
        self.tables[at].seen = newest;
        let objects: BTreeMap<Key, Arc<Value>> = objects.into_iter().map(|o| (key_of(&o), o)).collect();
        let gone = self.tables[at].objects.keys().filter(|key| !objects.contains_key(*key)).cloned();
        for key in gone.collect::<Vec<_>>() {
            self.apply(at, key, None, tell);
        }
        for (key, object) in objects {
            let known = self.tables[at].objects.get(&key);
            let is_new = |old: &Arc<Value>| old["metadata"]["uid"] != object["metadata"]["uid"];
            if known.is_some_and(is_new) {
                self.apply(at, key.clone(), None, tell);
            }
            let known = self.tables[at].objects.get(&key);
            if known.is_none_or(|old| old["metadata"]["resourceVersion"] != object["metadata"]["resourceVersion"]) {
                self.apply(at, key, Some(object), tell);
            }
        }
    }

    fn apply(&mut self, at: usize, key: Key, new: Option<Arc<Value>>, tell: &mut impl FnMut(&Seen<'_>, &Self)) {
        let kind = self.tables[at].kind;
        let objects = &mut self.tables[at].objects;
        let old = match &new {
            Some(object) => objects.insert(key.clone(), Arc::clone(object)),
            None => objects.remove(&key),
        };
        if kind.is(&resource::POD) {
            if let Some(old) = &old {
                self.unindex(&key, old);
            }
            if let Some(new) = &new {
                self.index(&key, new);
            }
        }
        tell(&Seen { kind, key: &key, new: new.as_ref(), old: old.as_ref() }, self);
    }

    fn index(&mut self, key: &Key, pod: &Value) {
        if let Some(node) = node_of(pod) {
            self.pods_by_node.entry(node.to_owned()).or_default().insert(key.clone());
            if !is_terminal(pod) {
                let requests = Requests::of_pod(pod);
                self.used.entry(node.to_owned()).or_default().add(&requests);
                self.counted.insert(key.clone(), (node.to_owned(), requests));
            }
        }
        for owner in owner_uids(pod) {
            self.pods_by_owner.entry(owner.to_owned()).or_default().insert(key.clone());
        }
        for claim in claim_names(pod) {
            self.pods_by_claim.entry((key.0.clone(), claim)).or_default().insert(key.clone());
        }
    }

    fn unindex(&mut self, key: &Key, pod: &Value) {
        if let Some(node) = node_of(pod) {
            remove(&mut self.pods_by_node, &node.to_owned(), key);
        }
        if let Some((node, requests)) = self.counted.remove(key)
            && let Some(used) = self.used.get_mut(&node)
        {
            used.subtract(&requests);
        }
        for owner in owner_uids(pod) {
            remove(&mut self.pods_by_owner, &owner.to_owned(), key);
        }
        for claim in claim_names(pod) {
            remove(&mut self.pods_by_claim, &(key.0.clone(), claim), key);
        }
    }

    fn table(&self, kind: &Kind) -> Option<&BTreeMap<Key, Arc<Value>>> {
        self.tables.iter().find(|table| table.kind.is(kind)).map(|table| &table.objects)
    }

    pub fn get(&self, kind: &Kind, ns: &str, name: &str) -> Option<&Arc<Value>> {
        self.table(kind)?.get(&crate::store::key(kind, ns, name))
    }

    pub fn all(&self, kind: &Kind) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.table(kind).into_iter().flatten()
    }

    pub fn in_namespace<'a>(&'a self, kind: &Kind, ns: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = (ns.to_owned(), String::new());
        self.table(kind).into_iter().flat_map(move |t| t.range(from.clone()..)).take_while(move |(key, _)| key.0 == ns)
    }

    fn listed<'a>(
        &'a self,
        kind: &Kind,
        keys: Option<&'a BTreeSet<Key>>,
    ) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let table = self.table(kind);
        keys.into_iter().flatten().filter_map(move |key| Some((key, table?.get(key)?)))
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.listed(&resource::POD, self.pods_by_node.get(node))
    }

    pub fn pods_owned_by(&self, uid: &str) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.listed(&resource::POD, self.pods_by_owner.get(uid))
    }

    pub fn pods_using_claim(&self, ns: &str, claim: &str) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.listed(&resource::POD, self.pods_by_claim.get(&(ns.to_owned(), claim.to_owned())))
    }

    /// What the pods on a node request together; pods that have ended no longer count.
    pub fn used_on(&self, node: &str) -> Requests {
        self.used.get(node).copied().unwrap_or_default()
    }
}

fn remove<K: std::hash::Hash + Eq>(map: &mut HashMap<K, BTreeSet<Key>>, of: &K, key: &Key) {
    if let Some(set) = map.get_mut(of) {
        set.remove(key);
        if set.is_empty() {
            map.remove(of);
        }
    }
}

fn key_of(object: &Value) -> Key {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    (text("namespace"), text("name"))
}

pub(crate) fn node_of(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// Whether all containers have ended for good.
pub(crate) fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether the condition of this type is `True`.
pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    list(&object["status"]["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True")
}

/// The items of an array; none for anything else.
pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn owner_uids(object: &Value) -> impl Iterator<Item = &str> {
    list(&object["metadata"]["ownerReferences"]).iter().filter_map(|owner| owner["uid"].as_str())
}

/// The names of the claims that a pod mounts, in the order of its volumes.
pub(crate) fn claim_names(pod: &Value) -> impl Iterator<Item = String> {
    list(&pod["spec"]["volumes"])
        .iter()
        .filter_map(|volume| volume["persistentVolumeClaim"]["claimName"].as_str().map(str::to_owned))
}
