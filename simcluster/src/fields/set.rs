//! Sets of field paths as trees, in the form of `fieldsV1`.
//!
//! An edge is `f:name` (a field or map key), `k:{...}` (an item of a keyed list) or `v:...` (an item of a set). A path is
//! in the set when its node is a member. Sets are kept as `Shared` trees, in which equal parts are there once for the
//! whole cluster: pods that were made alike differ by a few nodes.

use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::Value;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    pub member: bool,
    pub children: BTreeMap<String, Set>,
}

impl Set {
    /// The set of these dotted field paths.
    pub fn of_paths(paths: &str) -> Self {
        let mut set = Self::default();
        for path in paths.split(' ') {
            let node = path.split('.').fold(&mut set, |at, step| at.children.entry(format!("f:{step}")).or_default());
            node.member = true;
        }
        set
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Adds a child unless it is empty.
    pub fn put(&mut self, edge: String, child: Self) {
        if !child.is_empty() {
            self.children.insert(edge, child);
        }
    }

    pub fn union(&mut self, other: Self) {
        self.member |= other.member;
        if self.children.is_empty() {
            self.children = other.children;
            return;
        }
        for (edge, child) in other.children {
            self.children.entry(edge).or_default().union(child);
        }
    }

    pub fn without(mut self, other: &Self) -> Self {
        self.member &= !other.member;
        for (edge, theirs) in &other.children {
            if let Some(ours) = self.children.remove(edge) {
                self.put(edge.clone(), ours.without(theirs));
            }
        }
        self
    }

    /// The members as messages show them: `.spec.template.spec.containers[name="app"].image`.
    pub fn paths(&self) -> Vec<String> {
        let own = self.member.then(String::new);
        let below = self.children.iter().flat_map(|(edge, child)| {
            let step = shown(edge);
            child.paths().into_iter().map(move |path| format!("{step}{path}"))
        });
        own.into_iter().chain(below).collect()
    }
}

pub fn shown(edge: &str) -> String {
    let (kind, rest) = edge.split_at(2);
    match (kind, serde_json::from_str::<BTreeMap<String, Value>>(rest)) {
        ("k:", Ok(keys)) => {
            format!("[{}]", keys.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
        }
        ("v:", _) => format!("[={rest}]"),
        _ => format!(".{rest}"),
    }
}

/// A set in its kept form. Compared by address: equal sets of one `Pool` are the same one.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Node>);

#[derive(Debug, PartialEq, Eq, Hash)]
struct Node {
    member: bool,
    children: Box<[(Arc<str>, Shared)]>,
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl Shared {
    pub fn to_set(&self) -> Set {
        let children = self.0.children.iter().map(|(edge, child)| (edge.to_string(), child.to_set()));
        Set { member: self.0.member, children: children.collect() }
    }

    pub fn is_empty(&self) -> bool {
        !self.0.member && self.0.children.is_empty()
    }

    pub fn overlaps(&self, other: &Set) -> bool {
        let below = |(edge, ours): &(Arc<str>, Self)| other.children.get(&**edge).is_some_and(|set| ours.overlaps(set));
        self.0.member && other.member || !other.children.is_empty() && self.0.children.iter().any(below)
    }
}

/// As `fieldsV1`; the top is never a member.
impl Serialize for Shared {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.0.member && !self.0.children.is_empty() {
            map.serialize_entry(".", &BTreeMap::<String, ()>::new())?;
        }
        for (edge, child) in &self.0.children {
            map.serialize_entry(&**edge, child)?;
        }
        map.end()
    }
}

/// All nodes and texts in use, each once.
#[derive(Default)]
pub struct Pool {
    nodes: HashSet<Arc<Node>>,
    texts: HashSet<Arc<str>>,
    /// How many nodes there may be before those that nobody uses any more are let go.
    limit: usize,
}

impl Pool {
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    pub fn share(&mut self, set: &Set) -> Shared {
        if self.nodes.len() > self.limit {
            self.sweep();
        }
        self.node(set)
    }

    fn node(&mut self, set: &Set) -> Shared {
        let children = set.children.iter().map(|(edge, child)| (self.text(edge), self.node(child))).collect();
        let node = Node { member: set.member, children };
        if let Some(known) = self.nodes.get(&node) {
            return Shared(Arc::clone(known));
        }
        let new = Arc::new(node);
        self.nodes.insert(Arc::clone(&new));
        Shared(new)
    }

    fn sweep(&mut self) {
        // A node that goes lets go of its children, which go in the next round.
        self.nodes.retain(|node| Arc::strong_count(node) > 1);
        self.texts.retain(|text| Arc::strong_count(text) > 1);
        self.limit = 2 * self.nodes.len() + 4096;
    }
}
