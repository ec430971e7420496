//! Strategic merge patch: like a merge patch, but keyed lists are merged by their keys.
//!
//! Lists that are keyed for apply are keyed here too, with the one difference of the container ports, whose patch key is
//! the port alone. Directives: `$patch: delete` and `$patch: replace` in items and objects, `$setElementOrder/…` and
//! `$retainKeys` as kubectl sends them (order hints, without effect on content). Others are answered 501.

use serde_json::{Map, Value};

use crate::{
    schema::{self, ITEM, Shape},
    status::Status,
};

pub(super) fn apply(object: &mut Value, patch: &Value) -> Result<(), Status> {
    merge("", "", object, patch)
}

fn merge(parent: &str, name: &str, target: &mut Value, patch: &Value) -> Result<(), Status> {
    match (schema::shape(parent, name, patch), patch) {
        (_, Value::Object(patch)) => merge_object(name, target, patch),
        (Shape::Keyed(keys), Value::Array(items)) => merge_list(name, keys, target, items),
        (_, other) => {
            *target = other.clone();
            Ok(())
        }
    }
}

fn merge_object(name: &str, target: &mut Value, patch: &Map<String, Value>) -> Result<(), Status> {
    if patch.get("$patch").is_some_and(|directive| directive == "replace") || !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return Ok(()) };
    for (field, value) in patch {
        if field.starts_with('$') {
            directive(field, value)?;
        } else if value.is_null() {
            fields.remove(field);
        } else {
            merge(name, field, fields.entry(field.clone()).or_insert(Value::Null), value)?;
        }
    }
    Ok(())
}

fn directive(field: &str, value: &Value) -> Result<(), Status> {
    let known = (field == "$patch" && (value == "replace" || value == "delete" || value == "merge"))
        || field.starts_with("$setElementOrder/")
        || field == "$retainKeys";
    if known { Ok(()) } else { Err(Status::not_implemented(format_args!("the patch directive {field}: {value}"))) }
}

fn merge_list(name: &str, keys: &'static [&'static str], target: &mut Value, patch: &[Value]) -> Result<(), Status> {
    let keys = if name == "ports" || name == "topologySpreadConstraints" { &keys[..1] } else { keys };
    let mut items = target.as_array_mut().map(std::mem::take).unwrap_or_default();
    let mut new = Vec::new();
    for change in patch {
        let key = schema::item_key(keys, change);
        let at = items.iter().position(|item| schema::item_key(keys, item) == key);
        match (change["$patch"].as_str(), at) {
            (Some("delete"), Some(at)) => {
                items.remove(at);
            }
            (Some("delete"), None) => {}
            (Some("replace"), None) if change.as_object().is_some_and(|fields| fields.len() == 1) => items.clear(),
            (_, Some(at)) => merge(name, ITEM, &mut items[at], change)?,
            (_, None) => {
                let mut item = Value::Null;
                merge(name, ITEM, &mut item, change)?;
                new.push(item);
            }
        }
    }
    // New items come first, as a real server puts them.
    new.extend(items);
    *target = Value::Array(new);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_merge_by_key_and_taints_do_not() {
        let mut node = json!({"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}]}, "status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "x"}]}});
        let patch = json!({"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}], "unschedulable": true},
            "status": {"$setElementOrder/conditions": [{"type": "Ready"}], "conditions": [{"type": "Ready", "status": "False"}]}});
        apply(&mut node, &patch).unwrap();
        assert_eq!(
            node,
            json!({"spec": {"taints": [{"key": "b", "effect": "NoSchedule"}], "unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "False", "reason": "x"}]}})
        );
    }

    #[test]
    fn directives() {
        let mut pod = json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "image": "x"}]}});
        apply(&mut pod, &json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}})).unwrap();
        assert_eq!(pod, json!({"spec": {"containers": [{"name": "b", "image": "x"}]}}));
        let unknown = json!({"spec": {"$deleteFromPrimitiveList/finalizers": ["x"]}});
        assert_eq!(apply(&mut pod, &unknown).unwrap_err().code, 501);
    }
}
