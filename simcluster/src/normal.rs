//! The stored form of an object: what a real server does not keep is not kept.
//!
//! Nulls, empty lists and empty maps are the same as absent; empty structs (`emptyDir: {}`) are not. Amounts may be sent
//! as numbers and are kept as text.

use serde_json::Value;

use crate::{
    dig::Dig,
    quantity::{self, Quantity},
};

/// Maps from a resource's name to an amount.
fn holds_amounts(name: &str) -> bool {
    matches!(
        name,
        "limits"
            | "requests"
            | "hard"
            | "used"
            | "capacity"
            | "default"
            | "defaultRequest"
            | "max"
            | "min"
            | "allocatable"
            | "allocatedResources"
    )
}

/// Maps from names to values. Everything else that is an object is a struct.
fn is_map(name: &str) -> bool {
    let others = matches!(
        name,
        "labels" | "annotations" | "data" | "binaryData" | "stringData" | "nodeSelector" | "matchLabels" | "parameters"
    );
    others || holds_amounts(name)
}

/// Brings an object into its stored form.
pub fn tidy(object: &mut Value) {
    amounts_to_text(object);
    tidy_field(object);
}

fn tidy_field(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(tidy_field);
            fields.retain(|name, value| match value {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(fields) => !fields.is_empty() || !is_map(name),
                _ => true,
            });
        }
        Value::Array(items) => items.iter_mut().for_each(tidy_field),
        _ => {}
    }
}

/// Writes amounts in their one stored form, also those that were sent as numbers.
pub fn amounts_to_text(object: &mut Value) {
    each_amount("", object, &mut |amount| match amount {
        Value::Number(number) => *amount = quantity::canonical(&number.to_string()).into(),
        Value::String(text) => *amount = quantity::canonical(text).into(),
        _ => {}
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
        Value::Object(fields) if holds_amounts(name) => fields.values_mut().for_each(see),
        Value::Object(fields) => fields.iter_mut().for_each(|(field, value)| each_amount(field, value, see)),
        Value::Array(items) => items.iter_mut().for_each(|item| each_amount("", item, see)),
        amount if name == "sizeLimit" => see(amount),
        _ => {}
    }
}

/// Removes fields by paths as `unknown_fields` writes them (`spec.containers[0].x`).
pub fn drop_paths(object: &mut Value, paths: &[String]) {
    for path in paths {
        object.remove(&path.replace('[', ".").replace(']', ""));
    }
}
