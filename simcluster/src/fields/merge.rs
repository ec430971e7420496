//! Laying an applied configuration over an object, and taking away what its manager has given up.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::set::Set;
use crate::schema::{self, ITEM, Shape};

/// `live` with every field of `applied` set.
pub fn merge(live: &mut Value, applied: &Value) {
    lay("", "", live, applied);
}

fn lay(parent: &str, name: &str, live: &mut Value, applied: &Value) {
    let shape = schema::shape(parent, name, applied);
    if schema::shape(parent, name, live) != shape {
        *live = applied.clone();
        return;
    }
    match (shape, live, applied) {
        (Shape::Granular, Value::Object(live), Value::Object(applied)) => {
            for (field, value) in applied {
                match live.get_mut(field) {
                    Some(present) => lay(name, field, present, value),
                    None => {
                        live.insert(field.clone(), value.clone());
                    }
                }
            }
        }
        (Shape::Keyed(keys), Value::Array(live), Value::Array(applied)) => {
            *live = keyed(name, keys, std::mem::take(live), applied);
        }
        (Shape::Set, Value::Array(live), Value::Array(applied)) => {
            let new: Vec<Value> = applied.iter().filter(|item| !live.contains(item)).cloned().collect();
            live.extend(new);
        }
        (_, live, applied) => *live = applied.clone(),
    }
}

/// Applied items come in the applied order; items that only the live list has keep their place before the next shared one.
fn keyed(name: &str, keys: &[&str], live: Vec<Value>, applied: &[Value]) -> Vec<Value> {
    let wanted: Vec<String> = applied.iter().map(|item| schema::item_key(keys, item)).collect();
    let present: HashSet<String> = live.iter().map(|item| schema::item_key(keys, item)).collect();
    let mut merged = Vec::new();
    let mut waiting = live.into_iter().map(|item| (schema::item_key(keys, &item), item)).collect::<Vec<_>>();
    for (item, key) in applied.iter().zip(&wanted) {
        if present.contains(key) {
            while waiting.first().is_some_and(|(first, _)| !wanted.contains(first)) {
                merged.push(waiting.remove(0).1);
            }
        }
        match waiting.iter().position(|(other, _)| other == key) {
            Some(at) => {
                let mut both = waiting.remove(at).1;
                lay(name, ITEM, &mut both, item);
                merged.push(both);
            }
            None => merged.push(item.clone()),
        }
    }
    merged.extend(waiting.into_iter().map(|(_, item)| item));
    merged
}

/// Takes away the fields of `last` under which nothing is `owned` any more.
pub fn prune(object: &mut Value, last: &Set, owned: &Set) {
    let nothing = Set::default();
    let Value::Object(top) = object else { return };
    // The parts of an object itself (metadata, spec) are never taken away whole.
    for (edge, last) in &last.children {
        let field = edge.trim_start_matches("f:");
        let owned = owned.children.get(edge).unwrap_or(&nothing);
        match top.get_mut(field) {
            Some(value) if !last.children.is_empty() && ["metadata", "spec", "status"].contains(&field) => {
                cut("", field, value, last, owned);
            }
            Some(value) if owned.is_empty() => {
                *value = Value::Null;
            }
            Some(value) => cut("", field, value, last, owned),
            None => {}
        }
    }
}

fn cut(parent: &str, name: &str, value: &mut Value, last: &Set, owned: &Set) {
    match (schema::shape(parent, name, value), value) {
        (Shape::Granular, Value::Object(fields)) => cut_fields(name, fields, last, owned),
        (Shape::Keyed(keys), Value::Array(items)) => {
            items.retain_mut(|item| {
                let edge = format!("k:{}", schema::item_key(keys, item));
                match (last.children.get(&edge), owned.children.get(&edge)) {
                    (Some(_), None) => false,
                    (Some(last), Some(owned)) => {
                        cut(name, ITEM, item, last, owned);
                        true
                    }
                    (None, _) => true,
                }
            });
        }
        (Shape::Set, Value::Array(items)) => {
            let gone = |edge: &String| last.children.contains_key(edge) && !owned.children.contains_key(edge);
            items.retain(|item| !gone(&format!("v:{item}")));
        }
        _ => {}
    }
}

fn cut_fields(name: &str, fields: &mut Map<String, Value>, last: &Set, owned: &Set) {
    for (edge, last) in &last.children {
        let field = edge.trim_start_matches("f:");
        match (owned.children.get(edge), fields.get_mut(field)) {
            (None, _) => {
                fields.remove(field);
            }
            (Some(owned), Some(value)) => cut(name, field, value, last, owned),
            (Some(_), None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fields::compare::fields_of;

    #[test]
    fn keyed_items_merge_in_the_applied_order_and_others_keep_their_place() {
        let mut live = json!({"spec": {"containers": [
            {"name": "own", "image": "x"}, {"name": "a", "image": "1", "tty": true}, {"name": "b", "image": "1"}]}});
        let applied = json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "a"}, {"name": "new"}]}});
        merge(&mut live, &applied);
        let containers = json!([
            {"name": "own", "image": "x"}, {"name": "b", "image": "2"},
            {"name": "a", "image": "1", "tty": true}, {"name": "new"}]);
        assert_eq!(live, json!({"spec": {"containers": containers}}));
    }

    #[test]
    fn what_was_given_up_goes_with_its_defaults_unless_somebody_owns_it() {
        let probe = json!({"httpGet": {"port": 80}});
        let last = fields_of(&json!({"metadata": {"labels": {"a": "1", "b": "1"}}, "spec": {"containers": [
            {"name": "app", "image": "i", "readinessProbe": probe}, {"name": "side", "image": "i"}]}}));
        let owned = fields_of(&json!({"metadata": {"labels": {"b": "1"}}, "spec": {"containers": [
            {"name": "app", "image": "i"}]}}));
        let mut object = json!({"metadata": {"name": "x", "labels": {"a": "1", "b": "1", "c": "1"}}, "spec": {
            "containers": [{"name": "app", "image": "i", "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 10}},
                {"name": "side", "image": "i"}, {"name": "other", "image": "i"}]}});
        prune(&mut object, &last, &owned);
        assert_eq!(
            object,
            json!({"metadata": {"name": "x", "labels": {"b": "1", "c": "1"}}, "spec": {"containers": [
                {"name": "app", "image": "i"}, {"name": "other", "image": "i"}]}})
        );
    }

    #[test]
    fn atomic_values_are_replaced_whole() {
        let mut live = json!({"spec": {"tolerations": [{"key": "a"}, {"key": "b"}], "nodeSelector": {"x": "1"}}});
        merge(&mut live, &json!({"spec": {"tolerations": [{"key": "c"}], "nodeSelector": {"y": "1"}}}));
        assert_eq!(live, json!({"spec": {"tolerations": [{"key": "c"}], "nodeSelector": {"y": "1"}}}));
    }
}
