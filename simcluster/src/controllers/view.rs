//! What the controllers see: the store's objects, kept up to date from its changes, with the indexes they need.
//!
//! The view is brought up to date before every key that a controller handles, so a controller never acts on a state
//! from before its own last write. Objects are shared with the store, not copied. Events are told of, but not kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    sync::Arc,
};

use serde_json::Value;

use super::requests::Requests;
use crate::{
    dig::Dig,
    resource::{self, Kind},
    store::{ChangeType, Cluster, Key, Object, key_of},
};
// The controllers' word for it.
pub(crate) use crate::rules::has_ended as is_terminal;

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

    /// Whether a pod was on a node, and no longer is.
    pub fn leaves_its_node(&self) -> bool {
        self.old.is_some_and(|pod| is_on_node(pod)) && !self.new.is_some_and(|pod| is_on_node(pod))
    }

    /// Whether something is not what it was.
    pub fn changes<T: PartialEq>(&self, what: impl Fn(&Value) -> T) -> bool {
        self.old.map(|old| what(old)) != self.new.map(|new| what(new))
    }
}

/// What an object points to, as far as somebody asks the other way round.
#[derive(PartialEq, Eq, Hash)]
pub(crate) enum Link {
    /// The uid of an owner.
    Owner(String),
    /// The node of a pod or an attachment.
    Node(String),
    /// Namespace and name of a claim that a pod mounts.
    Claim(String, String),
    /// The volume of an attachment.
    Volume(String),
}

/// A node with what its pods request together; pods that have ended no longer count.
#[derive(Default)]
pub(crate) struct NodeInfo {
    /// Null while pods are bound to a node that is not there.
    pub object: Arc<Value>,
    /// Neither cordoned nor tainted.
    pub open: bool,
    pub allocatable: Requests,
    pub used: Requests,
}

/// One thing in the view.
pub(crate) type Entry<'a> = (&'static Kind, &'a Key, &'a Arc<Value>);

struct Table {
    kind: &'static Kind,
    objects: BTreeMap<Key, Arc<Value>>,
}

pub(crate) struct View {
    /// Everything until then was taken over.
    revision: u64,
    /// By the kind's place.
    tables: Vec<Table>,
    /// Who points there: the place of the table, and the key.
    links: HashMap<Link, BTreeSet<(usize, Key)>>,
    nodes: BTreeMap<String, NodeInfo>,
}

impl Default for View {
    fn default() -> Self {
        let tables = resource::ALL.iter().map(|kind| Table { kind, objects: BTreeMap::new() }).collect();
        Self { revision: 0, tables, links: HashMap::new(), nodes: BTreeMap::new() }
    }
}

impl View {
    /// Takes over all changes since the last call; `tell` hears of each after it was taken over.
    pub fn catch_up(&mut self, cluster: &Cluster, mut tell: impl FnMut(&Seen<'_>, &Self)) {
        if cluster.revision() == self.revision {
            return;
        }
        let (revision, news) = cluster.since_all(self.revision);
        self.revision = revision;
        for (at, news) in news.into_iter().enumerate() {
            match news {
                Ok(changes) => {
                    for change in changes {
                        let gone = change.change == ChangeType::Deleted;
                        let new = (!gone).then(|| Arc::clone(&change.object.value));
                        self.apply(at, key_of(&change.object), new, &mut tell);
                    }
                }
                Err(objects) => self.compare(at, objects, &mut tell),
            }
        }
    }

    /// The changes since the last look are forgotten: these are all objects now.
    fn compare(&mut self, at: usize, objects: Vec<Object>, tell: &mut impl FnMut(&Seen<'_>, &Self)) {
        let objects: BTreeMap<Key, Arc<Value>> = objects.into_iter().map(|o| (key_of(&o), o.value)).collect();
        let same = |key: &Key, old: &Arc<Value>| objects.get(key).is_some_and(|new| uid(new) == uid(old));
        let known = &self.tables[at].objects;
        let gone: Vec<Key> = known.iter().filter(|(key, old)| !same(key, old)).map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.apply(at, key, None, tell);
        }
        for (key, object) in objects {
            if self.tables[at].objects.get(&key).is_none_or(|old| !Arc::ptr_eq(old, &object)) {
                self.apply(at, key, Some(object), tell);
            }
        }
    }

    fn apply(&mut self, at: usize, key: Key, new: Option<Arc<Value>>, tell: &mut impl FnMut(&Seen<'_>, &Self)) {
        let Table { kind, objects, .. } = &mut self.tables[at];
        let kind = *kind;
        let old = match &new {
            Some(_) if kind.is(&resource::EVENT) => None,
            Some(object) => objects.insert(key.clone(), Arc::clone(object)),
            None => objects.remove(&key),
        };
        self.index(at, &key, old.as_ref(), new.as_ref());
        tell(&Seen { kind, key: &key, new: new.as_ref(), old: old.as_ref() }, self);
    }

    fn index(&mut self, at: usize, key: &Key, old: Option<&Arc<Value>>, new: Option<&Arc<Value>>) {
        let kind = self.tables[at].kind;
        let links = |object: Option<&Arc<Value>>| object.map(|object| links(kind, object)).unwrap_or_default();
        let (before, after) = (links(old), links(new));
        if before != after {
            let entry = (at, key.clone());
            for link in before {
                if let Some(entries) = self.links.get_mut(&link) {
                    entries.remove(&entry);
                    if entries.is_empty() {
                        self.links.remove(&link);
                    }
                }
            }
            for link in after {
                self.links.entry(link).or_default().insert(entry.clone());
            }
        }
        if kind.is(&resource::NODE) {
            let node = self.nodes.entry(key.1.clone()).or_default();
            node.object = new.cloned().unwrap_or_default();
            node.open = !node.object.yes("spec.unschedulable") && node.object.items("spec.taints").is_empty();
            node.allocatable = Requests::of_list(node.object.at("status.allocatable"));
        } else if kind.is(&resource::POD) {
            for (pod, sign) in [(old, -1), (new, 1)] {
                if let Some(pod) = pod.filter(|pod| is_on_node(pod)) {
                    let node = self.nodes.entry(node_of(pod).unwrap_or_default().to_owned()).or_default();
                    node.used.add(&Requests::of_pod(pod), sign);
                }
            }
        }
    }

    fn table(&self, kind: &Kind) -> &BTreeMap<Key, Arc<Value>> {
        &self.tables[kind.place()].objects
    }

    pub fn get(&self, kind: &Kind, ns: &str, name: &str) -> Option<&Arc<Value>> {
        self.table(kind).get(&crate::store::key(kind, ns, name))
    }

    pub fn count(&self, kind: &Kind) -> usize {
        self.table(kind).len()
    }

    pub fn all(&self, kind: &Kind) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.table(kind).iter()
    }

    pub fn in_namespace<'a>(&'a self, kind: &Kind, ns: &'a str) -> impl Iterator<Item = (&'a Key, &'a Arc<Value>)> {
        let from = (ns.to_owned(), String::new());
        self.table(kind).range(from..).take_while(move |(key, _)| key.0 == ns)
    }

    /// Everything that points there.
    pub fn linked(&self, link: Link) -> impl Iterator<Item = Entry<'_>> {
        self.links.get(&link).into_iter().flatten().filter_map(|(at, key)| {
            let Table { kind, objects, .. } = &self.tables[*at];
            Some((*kind, key, objects.get(key)?))
        })
    }

    pub fn pods_linked(&self, link: Link) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.linked(link).filter(|(kind, ..)| kind.is(&resource::POD)).map(|(_, key, pod)| (key, pod))
    }

    pub fn pods_on(&self, node: &str) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.pods_linked(Link::Node(node.to_owned()))
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|node| node.object.is_object())
    }

    /// All nodes, beginning after the one of this name and coming round to it.
    pub fn nodes_after<'a>(&'a self, last: &'a str) -> impl Iterator<Item = (&'a String, &'a NodeInfo)> {
        let later = self.nodes.range::<str, _>((Bound::Excluded(last), Bound::Unbounded));
        let earlier = self.nodes.range::<str, _>((Bound::Unbounded, Bound::Included(last)));
        later.chain(earlier).filter(|(_, node)| node.object.is_object())
    }
}

fn links(kind: &Kind, object: &Value) -> Vec<Link> {
    let mut links: Vec<Link> = owners(object).map(|owner| Link::Owner(owner.text("uid").to_owned())).collect();
    if kind.is(&resource::POD) {
        links.extend(node_of(object).map(|node| Link::Node(node.to_owned())));
        let ns = object.text("metadata.namespace");
        links.extend(claim_names(object).map(|claim| Link::Claim(ns.to_owned(), claim)));
    } else if kind.is(&resource::VOLUME_ATTACHMENT) {
        links.push(Link::Node(object.text("spec.nodeName").to_owned()));
        links.push(Link::Volume(object.text("spec.source.persistentVolumeName").to_owned()));
    }
    links
}

pub(crate) fn node_of(pod: &Value) -> Option<&str> {
    Some(pod.text("spec.nodeName")).filter(|name| !name.is_empty())
}

/// Whether a pod takes room on a node and holds what it mounts: bound, and not ended.
pub(crate) fn is_on_node(pod: &Value) -> bool {
    node_of(pod).is_some() && !is_terminal(pod)
}

pub(crate) fn is_deleting(object: &Value) -> bool {
    object.has("metadata.deletionTimestamp")
}

pub(crate) fn uid(object: &Value) -> &str {
    object.text("metadata.uid")
}

/// The status of a condition; empty if there is none.
pub(crate) fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let found = object.items("status.conditions").iter().find(|condition| condition["type"] == kind);
    found.map_or("", |condition| condition.text("status"))
}

pub(crate) fn condition_is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind) == "True"
}

pub(crate) fn owners(object: &Value) -> impl Iterator<Item = &Value> {
    object.items("metadata.ownerReferences").iter()
}

/// The names of the claims that a pod mounts, in the order of its volumes.
pub(crate) fn claim_names(pod: &Value) -> impl Iterator<Item = String> {
    let claims = pod.items("spec.volumes").iter().map(|volume| volume.text("persistentVolumeClaim.claimName"));
    claims.filter(|name| !name.is_empty()).map(str::to_owned)
}
