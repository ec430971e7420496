//! How the API's schema lets objects be merged: which lists are keyed, which are sets, which objects are one value.
//!
//! The rules are told by a field's name and its parent's, which is unambiguous over the kinds that are served.

use serde_json::Value;

use crate::normal;

/// How a field's value is owned and merged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Replaced and owned as a whole: scalars, most lists, selectors and references.
    Atomic,
    /// Field by field, or key by key.
    Granular,
    /// A list whose items are told apart by these fields.
    Keyed(&'static [&'static str]),
    /// A list of distinct scalars.
    Set,
}

/// Objects that are one value.
const ATOMIC: [&str; 23] = [
    "roleRef",
    "selector",
    "nodeSelector",
    "labelSelector",
    "podSelector",
    "namespaceSelector",
    "scopeSelector",
    "requiredDuringSchedulingIgnoredDuringExecution",
    "secretKeyRef",
    "configMapKeyRef",
    "fieldRef",
    "resourceFieldRef",
    "secretRef",
    "nodePublishSecretRef",
    "dataSource",
    "dataSourceRef",
    "involvedObject",
    "targetRef",
    "allowedTopologies",
    "related",
    "resource",
    "volumeNodeAffinity",
    "configMapRef",
];

/// The shape of the field `name` of the object that is called `parent` (both empty at the top).
pub fn shape(parent: &str, name: &str, value: &Value) -> Shape {
    match value {
        Value::Object(_) if ATOMIC.contains(&name) => Shape::Atomic,
        Value::Object(_) => Shape::Granular,
        Value::Array(_) => list(parent, name),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Shape::Atomic,
    }
}

fn list(parent: &str, name: &str) -> Shape {
    match (parent, name) {
        ("metadata", "ownerReferences") => Shape::Keyed(&["uid"]),
        ("metadata", "finalizers") | ("spec", "podCIDRs") => Shape::Set,
        (
            "spec",
            "containers"
            | "initContainers"
            | "ephemeralContainers"
            | "volumes"
            | "imagePullSecrets"
            | "schedulingGates",
        )
        | (_, "env")
        | ("resources", "claims")
        | ("status", "volumesAttached") => Shape::Keyed(&["name"]),
        ("spec", "hostAliases") | ("status", "podIPs" | "hostIPs") => Shape::Keyed(&["ip"]),
        ("spec", "topologySpreadConstraints") => Shape::Keyed(&["topologyKey", "whenUnsatisfiable"]),
        ("spec", "ports") => Shape::Keyed(&["port", "protocol"]),
        (_, "ports") if parent == ITEM => Shape::Keyed(&["containerPort", "protocol"]),
        (_, "volumeMounts") => Shape::Keyed(&["mountPath"]),
        (_, "volumeDevices") => Shape::Keyed(&["devicePath"]),
        ("status", "conditions" | "addresses") => Shape::Keyed(&["type"]),
        _ => Shape::Atomic,
    }
}

/// What an item of a keyed list is called as a parent.
pub const ITEM: &str = "[]";

/// The items' identity in a keyed list: its key fields with the schema's defaults, as JSON with sorted keys.
pub fn item_key(keys: &[&str], item: &Value) -> String {
    let mut key = serde_json::Map::new();
    for field in keys {
        let value = match (*field, item.get(*field)) {
            (_, Some(value)) => value.clone(),
            ("protocol", None) => "TCP".into(),
            (_, None) => continue,
        };
        key.insert((*field).to_owned(), value);
    }
    Value::Object(key).to_string()
}

/// Amounts may be sent as numbers; in an applied configuration only they are changed, since its empty maps are owned.
pub fn normalize_amounts(object: &mut Value) {
    normal::amounts_to_text("", object);
}
