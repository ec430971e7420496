//! Which fields an object has, and which fields two states of an object differ in.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::set::Set;
use crate::schema::{self, ITEM, Shape};

/// The fields that a configuration sets: its leaves, and the items of its keyed lists.
pub fn fields_of(object: &Value) -> Set {
    owned("", "", object)
}

fn owned(parent: &str, name: &str, value: &Value) -> Set {
    let mut set = Set::default();
    for (edge, child_parent, child_name, child) in children(parent, name, value) {
        let mut fields = owned(child_parent, child_name, child);
        fields.member |= edge.starts_with("k:");
        set.put(edge, fields);
    }
    set.member = set.children.is_empty();
    set
}

/// The differences between two states of an object.
#[derive(Debug, Default)]
pub struct Difference {
    /// Fields that are new or have another value.
    pub set: Set,
    /// Fields that are gone.
    pub removed: Set,
}

pub fn compare(old: &Value, new: &Value) -> Difference {
    let mut difference = Difference::default();
    walk("", "", old, new, &mut difference.set, &mut difference.removed);
    difference
}

fn walk(parent: &str, name: &str, old: &Value, new: &Value, set: &mut Set, removed: &mut Set) {
    let (old_shape, new_shape) = (schema::shape(parent, name, old), schema::shape(parent, name, new));
    if old_shape != new_shape || new_shape == Shape::Atomic {
        set.member = old != new;
        return;
    }
    let before: Vec<_> = children(parent, name, old);
    let after: Vec<_> = children(parent, name, new);
    let in_order = before.len() == after.len();
    for (at, (edge, child_parent, child_name, value)) in after.iter().enumerate() {
        // Both sides mostly have the same children in the same order, which makes the search short.
        let same = before.get(at).filter(|b| in_order && b.0 == *edge).or_else(|| before.iter().find(|b| b.0 == *edge));
        let (mut child_set, mut child_removed) = (Set::default(), Set::default());
        match same {
            Some((_, _, _, old)) if old == value => continue,
            Some((_, _, _, old)) => walk(child_parent, child_name, old, value, &mut child_set, &mut child_removed),
            None => child_set = everything(child_parent, child_name, value),
        }
        set.put(edge.clone(), child_set);
        removed.put(edge.clone(), child_removed);
    }
    for (edge, child_parent, child_name, value) in &before {
        if !after.iter().any(|a| a.0 == *edge) {
            removed.put(edge.clone(), everything(child_parent, child_name, value));
        }
    }
}

/// A value and all that is in it.
fn everything(parent: &str, name: &str, value: &Value) -> Set {
    let mut set = Set::leaf();
    for (edge, child_parent, child_name, child) in children(parent, name, value) {
        set.put(edge, everything(child_parent, child_name, child));
    }
    set
}

/// The first keyed list in which two items have the same key.
pub fn duplicate_item(object: &Value) -> Option<String> {
    duplicate("", "", "", object)
}

fn duplicate(path: &str, parent: &str, name: &str, value: &Value) -> Option<String> {
    let parts = children(parent, name, value);
    let mut seen = BTreeSet::new();
    if let Some((edge, ..)) = parts.iter().find(|(edge, ..)| !edge.starts_with("f:") && !seen.insert(edge)) {
        let twice = Set { member: false, children: [(edge.clone(), Set::leaf())].into() };
        return Some(format!("{path}: duplicate entries for key {}", twice.paths().concat()));
    }
    parts.iter().find_map(|(edge, child_parent, child_name, child)| {
        let here = Set { member: false, children: [(edge.clone(), Set::leaf())].into() }.paths().concat();
        duplicate(&format!("{path}{here}"), child_parent, child_name, child)
    })
}

type Child<'a> = (String, &'a str, &'a str, &'a Value);

/// The parts of a value that are owned apart from each other: edge, parent's name and own name, value.
fn children<'a>(parent: &'a str, name: &'a str, value: &'a Value) -> Vec<Child<'a>> {
    match (schema::shape(parent, name, value), value) {
        (Shape::Granular, Value::Object(fields)) => named(name, fields),
        (Shape::Keyed(keys), Value::Array(items)) => {
            items.iter().map(|item| (format!("k:{}", schema::item_key(keys, item)), name, ITEM, item)).collect()
        }
        (Shape::Set, Value::Array(items)) => items.iter().map(|item| (format!("v:{item}"), name, ITEM, item)).collect(),
        _ => Vec::new(),
    }
}

fn named<'a>(name: &'a str, fields: &'a Map<String, Value>) -> Vec<Child<'a>> {
    fields.iter().map(|(field, value)| (format!("f:{field}"), name, field.as_str(), value)).collect()
}
