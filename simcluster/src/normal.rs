//! The stored form of an object: what a real server does not keep is not kept.
//!
//! Nulls, empty lists and empty maps are the same as absent; empty structs (`emptyDir: {}`) are not. Amounts may be sent
//! as numbers and are kept as text.

use serde_json::Value;

use crate::quantity::{self, Quantity};

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
const AMOUNTS: [&str; 11] = [
    "limits",
    "requests",
    "hard",
    "used",
    "capacity",
    "default",
    "defaultRequest",
    "max",
    "min",
    "allocatable",
    "allocatedResources",
];

/// Brings an object into its stored form.
pub fn tidy(object: &mut Value) {
    amounts_to_text("", object);
    tidy_field(object);
}

/// Writes amounts in their one stored form, also those that were sent as numbers.
pub fn amounts_to_text(name: &str, value: &mut Value) {
    each_amount(name, value, &mut |amount| match amount {
        Value::Number(number) => *amount = quantity::canonical(&number.to_string()).into(),
        Value::String(text) => *amount = quantity::canonical(text).into(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {}
    });
}

/// Whether an amount in an object is none.
pub fn has_malformed_amount(object: &Value) -> bool {
    let mut malformed = false;
    each_amount("", &mut object.clone(), &mut |amount| {
        malformed |= amount.as_str().is_some_and(|text| text.parse::<Quantity>().is_err());
    });
    malformed
}

fn each_amount(name: &str, value: &mut Value, see: &mut impl FnMut(&mut Value)) {
    match value {
        Value::Object(fields) if AMOUNTS.contains(&name) => fields.values_mut().for_each(see),
        Value::Object(fields) => {
            for (field, value) in fields.iter_mut() {
                if field == "sizeLimit" {
                    see(value);
                } else {
                    each_amount(field, value, see);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| each_amount("", item, see)),
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
        let Some((last, parents)) = steps.split_last() else {
            continue;
        };
        let parent = parents.iter().try_fold(&mut *object, |at, step| match at {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            other => other.get_mut(*step),
        });
        if let Some(fields) = parent.and_then(Value::as_object_mut) {
            fields.remove(*last);
        }
    }
}
