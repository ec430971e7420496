//! Objects as the schema divides them: their fields, the difference of two, laying one over another, taking fields away.

use std::collections::BTreeMap;

use serde_json::Value;

use super::set::{Set, shown};
use crate::schema::{self, ITEM, Place, Shape};

/// The parts of a value that are owned apart from each other, by their edges.
fn children<'a>(place: Place<'a>, value: &'a Value) -> Vec<(String, Place<'a>, &'a Value)> {
    match (schema::shape(place, value), value) {
        (Shape::Granular, Value::Object(fields)) => {
            fields.iter().map(|(field, value)| (format!("f:{field}"), (place.1, field.as_str()), value)).collect()
        }
        (shape @ (Shape::Keyed(_) | Shape::Set), Value::Array(items)) => {
            items.iter().map(|item| (schema::edge(shape, item), (place.1, ITEM), item)).collect()
        }
        _ => Vec::new(),
    }
}

/// The fields that a configuration sets: its leaves, and the items of its keyed lists.
pub fn fields_of(object: &Value) -> Set {
    fields(("", ""), object, false)
}

/// With `all`, also what only leads to others.
fn fields(place: Place<'_>, value: &Value, all: bool) -> Set {
    let mut set = Set::default();
    for (edge, place, child) in children(place, value) {
        let mut below = fields(place, child, all);
        below.member |= edge.starts_with("k:");
        set.put(edge, below);
    }
    set.member = all || set.children.is_empty();
    set
}

/// The fields of `to` that `from` does not have; with `changes` also those that have another value there.
pub fn difference(from: &Value, to: &Value, changes: bool) -> Set {
    differing(("", ""), from, to, changes)
}

fn differing(place: Place<'_>, from: &Value, to: &Value, changes: bool) -> Set {
    let shape = schema::shape(place, to);
    if shape == Shape::Atomic || shape != schema::shape(place, from) {
        return Set { member: changes && from != to, ..Set::default() };
    }
    let below = |place, before: Option<&Value>, value: &Value| match before {
        Some(before) => differing(place, before, value, changes),
        None => fields(place, value, true),
    };
    let mut set = Set::default();
    if let (Value::Object(from), Value::Object(to)) = (from, to) {
        for (field, value) in to.iter().filter(|(field, value)| from.get(*field) != Some(value)) {
            set.put(format!("f:{field}"), below((place.1, field), from.get(field), value));
        }
        return set;
    }
    let before: BTreeMap<_, _> = children(place, from).into_iter().map(|(edge, _, value)| (edge, value)).collect();
    for (edge, place, value) in children(place, to) {
        let before = before.get(&edge).copied();
        if before != Some(value) {
            set.put(edge, below(place, before, value));
        }
    }
    set
}

/// Lays a configuration or a strategic merge patch over an object; a null takes its field away.
pub fn lay(live: &mut Value, applied: &Value) {
    lay_at(("", ""), live, applied);
}

fn lay_at(place: Place<'_>, live: &mut Value, applied: &Value) {
    let shape = schema::shape(place, applied);
    match (shape, applied) {
        (Shape::Granular, Value::Object(applied)) => {
            if !live.is_object() {
                *live = Value::Object(serde_json::Map::new());
            }
            let Value::Object(live) = live else { return };
            for (field, value) in applied {
                if value.is_null() {
                    live.remove(field);
                } else {
                    lay_at((place.1, field), live.entry(field).or_insert(Value::Null), value);
                }
            }
        }
        (Shape::Keyed(_) | Shape::Set, Value::Array(applied)) => {
            let live_items = live.as_array_mut().map(std::mem::take).unwrap_or_default();
            *live = merged(shape, place, live_items, applied).into();
        }
        _ => *live = applied.clone(),
    }
}

/// Applied items come in the applied order; items that only the live list has keep their place before the next shared one.
fn merged(shape: Shape, place: Place<'_>, live: Vec<Value>, applied: &[Value]) -> Vec<Value> {
    let wanted: Vec<String> = applied.iter().map(|item| schema::edge(shape, item)).collect();
    let mut waiting: Vec<_> = live.into_iter().map(|item| (schema::edge(shape, &item), item)).collect();
    let mut merged = Vec::new();
    for (item, edge) in applied.iter().zip(&wanted) {
        let mut both = Value::Null;
        if let Some(at) = waiting.iter().position(|(other, _)| other == edge) {
            let (before, shared) = (waiting.drain(..at).collect::<Vec<_>>(), waiting.remove(0));
            let (later, own): (Vec<_>, Vec<_>) = before.into_iter().partition(|(other, _)| wanted.contains(other));
            merged.extend(own.into_iter().map(|(_, item)| item));
            waiting.splice(0..0, later);
            both = shared.1;
        }
        lay_at((place.1, ITEM), &mut both, item);
        merged.push(both);
    }
    merged.extend(waiting.into_iter().map(|(_, item)| item));
    merged
}

/// Takes away the fields of `last` under which nothing is `owned` any more.
pub fn prune(object: &mut Value, last: &Set, owned: &Set) {
    prune_at(("", ""), object, last, owned);
}

fn prune_at(place: Place<'_>, value: &mut Value, last: &Set, owned: &Set) {
    let (shape, nothing) = (schema::shape(place, value), Set::default());
    // The parts of an object itself (metadata, spec) are never taken away whole.
    let is_top = place == ("", "");
    let keep =
        |edge: &str, place: Place<'_>, child: &mut Value| match (last.children.get(edge), owned.children.get(edge)) {
            (None, _) => true,
            (Some(last), None) if !is_top || last.children.is_empty() => false,
            (Some(last), owned) => {
                prune_at(place, child, last, owned.unwrap_or(&nothing));
                true
            }
        };
    match (shape, value) {
        (Shape::Granular, Value::Object(fields)) => {
            fields.retain(|field, child| keep(&format!("f:{field}"), (place.1, field), child));
        }
        (Shape::Keyed(_) | Shape::Set, Value::Array(items)) => {
            items.retain_mut(|item| keep(&schema::edge(shape, item), (place.1, ITEM), item));
        }
        _ => {}
    }
}

/// The first keyed list in which two items have the same key.
pub fn duplicate_item(object: &Value) -> Option<String> {
    duplicate("", ("", ""), object)
}

fn duplicate(path: &str, place: Place<'_>, value: &Value) -> Option<String> {
    let parts = children(place, value);
    let twice = |at: usize| parts[..at].iter().any(|(edge, ..)| *edge == parts[at].0);
    if let Some(at) = (0..parts.len()).find(|at| twice(*at)) {
        return Some(format!("{path}: duplicate entries for key {}", shown(&parts[at].0)));
    }
    parts.iter().find_map(|(edge, place, child)| duplicate(&format!("{path}{}", shown(edge)), *place, child))
}
