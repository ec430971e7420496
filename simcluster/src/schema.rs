//! How the API's schema lets objects be merged: which lists are keyed, which are sets, which objects are one value.
//!
//! The rules are told by a field's name and its parent's, which is unambiguous over the kinds that are served.

use serde_json::{Map, Value};

/// A field's place: the name of the object that it is in, and its own; both empty at the top.
pub type Place<'a> = (&'a str, &'a str);

/// What an item of a list is called as a parent.
pub const ITEM: &str = "[]";

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
fn is_atomic(name: &str) -> bool {
    matches!(
        name,
        "selector"
            | "nodeSelector"
            | "labelSelector"
            | "podSelector"
            | "namespaceSelector"
            | "scopeSelector"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "fieldRef"
            | "resourceFieldRef"
            | "secretRef"
            | "configMapRef"
            | "nodePublishSecretRef"
            | "requiredDuringSchedulingIgnoredDuringExecution"
            | "dataSource"
            | "dataSourceRef"
            | "involvedObject"
            | "targetRef"
            | "related"
            | "resource"
            | "volumeNodeAffinity"
            | "roleRef"
    )
}

/// What tells the items of a list apart that is not one value; a set if nothing does.
fn keys(place: Place<'_>) -> Option<&'static [&'static str]> {
    Some(match place {
        ("metadata", "ownerReferences") => &["uid"],
        ("metadata", "finalizers") | ("spec", "podCIDRs") => &[],
        ("spec", "containers" | "initContainers" | "ephemeralContainers" | "volumes") => &["name"],
        ("spec", "imagePullSecrets" | "schedulingGates") | (_, "env" | "claims") => &["name"],
        ("spec", "hostAliases") | ("status", "podIPs" | "hostIPs") => &["ip"],
        ("spec", "topologySpreadConstraints") => &["topologyKey", "whenUnsatisfiable"],
        ("spec", "ports") => &["port", "protocol"],
        ("status", "volumesAttached") => &["name"],
        ("status", "conditions" | "addresses") => &["type"],
        (ITEM, "ports") => &["containerPort", "protocol"],
        (_, "volumeMounts") => &["mountPath"],
        (_, "volumeDevices") => &["devicePath"],
        _ => return None,
    })
}

pub fn shape(place: Place<'_>, value: &Value) -> Shape {
    match value {
        Value::Object(_) if !is_atomic(place.1) => Shape::Granular,
        Value::Array(_) => match keys(place) {
            Some([]) => Shape::Set,
            Some(keys) => Shape::Keyed(keys),
            None => Shape::Atomic,
        },
        _ => Shape::Atomic,
    }
}

/// An item's identity in its list, as the edge of a field path: its value in a set, else its key fields with the schema's
/// defaults, as JSON with sorted keys.
pub fn edge(shape: Shape, item: &Value) -> String {
    let Shape::Keyed(keys) = shape else { return format!("v:{item}") };
    let field = |key: &str| match item.get(key) {
        None if key == "protocol" => Some((key.to_owned(), "TCP".into())),
        value => value.map(|value| (key.to_owned(), value.clone())),
    };
    format!("k:{}", Value::Object(keys.iter().filter_map(|key| field(key)).collect::<Map<_, _>>()))
}
