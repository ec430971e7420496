//! The stored form of an object: what a real server does not keep is not kept.
//!
//! Nulls, empty lists and empty maps are the same as absent; empty structs (`emptyDir: {}`) are not. Amounts may be sent
//! as numbers and are kept as text.

use serde_json::Value;

/// Fields that are maps from names to values. Everything else that is an object is a struct.
const MAPS: [&str; 17] = [
    "labels",
    "annotations",
    "data",
    "binaryData",
    "stringData",
    "nodeSelector",
    "matchLabels",
    "limits",
    "requests",
    "hard",
    "used",
    "capacity",
    "allocatable",
    "parameters",
    "allocatedResources",
    "min",
    "max",
];

/// Maps from a resource's name to an amount.
const AMOUNTS: [&str; 9] =
    ["limits", "requests", "hard", "capacity", "default", "defaultRequest", "max", "min", "allocatable"];

/// Brings an object into its stored form.
pub fn tidy(object: &mut Value) {
    amounts_to_text("", object);
    tidy_field(object);
}

/// Writes amounts that were sent as numbers as text.
pub fn amounts_to_text(name: &str, value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                if AMOUNTS.contains(&name) && value.is_number() {
                    *value = value.to_string().into();
                } else {
                    amounts_to_text(field, value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| amounts_to_text("", item)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn tidy_field(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for value in fields.values_mut() {
                tidy_field(value);
            }
            fields.retain(|name, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || !MAPS.contains(&name.as_str()),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            });
        }
        Value::Array(items) => {
            for item in items {
                tidy_field(item);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Removes fields by paths as `unknown_fields` writes them (`spec.containers[0].x`).
pub fn drop_paths(object: &mut Value, paths: &[String]) {
    for path in paths {
        let steps: Vec<&str> = path.split(['.', '[']).map(|step| step.trim_end_matches(']')).collect();
        let Some((last, parents)) = steps.split_last() else { continue };
        let parent = parents.iter().try_fold(&mut *object, |at, step| match at {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            other => other.get_mut(*step),
        });
        if let Some(fields) = parent.and_then(Value::as_object_mut) {
            fields.remove(*last);
        }
    }
}
