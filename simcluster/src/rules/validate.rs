//! What is refused with 422: names, required fields, fields that may not change.
//!
//! The common mistakes in what Lumbung sends, in the words of the real server; not every rule that it has. A part that a
//! write leaves as it was is not checked again.

mod pod;
mod small;
mod stateful_set;
mod storage;

use serde_json::Value;

use super::names;
use crate::{resource::Kind, status::Cause};

pub(crate) fn validate(kind: &Kind, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let changed = |field: &str| old.is_none_or(|old| old[field] != new[field]);
    if changed("metadata") {
        metadata(kind, old, &new["metadata"], &mut causes);
    }
    if old.is_some_and(|old| !changed_beside_metadata(old, new)) {
        return causes;
    }
    match kind.kind {
        "Pod" if changed("spec") => pod::check(old, new, &mut causes),
        "StatefulSet" if changed("spec") => stateful_set::check(old, new, &mut causes),
        "PersistentVolumeClaim" if changed("spec") => storage::claim(old, new, &mut causes),
        "Service" if changed("spec") => small::service(old, new, &mut causes),
        "Ingress" if changed("spec") => small::ingress(&new["spec"], &mut causes),
        "NetworkPolicy" if changed("spec") => small::network_policy(&new["spec"], &mut causes),
        "ResourceQuota" if changed("spec") => storage::quota(&new["spec"], &mut causes),
        "ConfigMap" => small::config_map(old, new, &mut causes),
        "Secret" => small::secret(old, new, &mut causes),
        _ => {}
    }
    causes
}

fn changed_beside_metadata(old: &Value, new: &Value) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else {
        return true;
    };
    old.len() != new.len() || new.iter().any(|(field, value)| field != "metadata" && old.get(field) != Some(value))
}

fn metadata(kind: &Kind, old: Option<&Value>, metadata: &Value, causes: &mut Vec<Cause>) {
    if old.is_none() {
        causes.extend(name(kind, metadata["name"].as_str().unwrap_or_default()));
    }
    names::labels("metadata.labels", &metadata["labels"], causes);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    for (at, finalizer) in list(&metadata["finalizers"]).iter().enumerate() {
        let standard = ["foregroundDeletion", "orphan", "kubernetes"];
        let text = finalizer.as_str().unwrap_or_default();
        let qualified = text.contains('/') && names::is_qualified(text);
        if !qualified && !standard.contains(&text) {
            let why = "name is neither a standard finalizer name nor is it fully qualified";
            causes.push(Cause::invalid(format!("metadata.finalizers[{at}]"), finalizer, why));
        }
    }
    for (at, owner) in list(&metadata["ownerReferences"]).iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(format!("metadata.ownerReferences[{at}].{field}"), "must not be empty"));
            }
        }
    }
    if let Some(old) = old.filter(|old| old["metadata"]["deletionTimestamp"].is_string()) {
        let before = list(&old["metadata"]["finalizers"]);
        let new: Vec<String> =
            list(&metadata["finalizers"]).iter().filter(|f| !before.contains(f)).map(ToString::to_string).collect();
        if !new.is_empty() {
            let why = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                new.join(", ")
            );
            let cause = Cause::forbidden("metadata.finalizers", &why);
            causes.extend([cause.clone(), cause]);
        }
    }
}

fn name(kind: &Kind, name: &str) -> Option<Cause> {
    let field = "metadata.name";
    if name.len() > 253 {
        return Some(Cause::invalid(field, &name.into(), "must be no more than 253 characters"));
    }
    match kind.kind {
        "Namespace" if name.contains('.') => Some(Cause::invalid(field, &name.into(), "must not contain dots")),
        "Namespace" | "Service" => names::label(field, name),
        _ if kind.group == "rbac.authorization.k8s.io" => {
            let bad = name.contains(['/', '%']) || name == "." || name == "..";
            bad.then(|| Cause::invalid(field, &name.into(), "may not contain '/' or '%'"))
        }
        _ => names::subdomain(field, name),
    }
}

/// A list that may be absent.
fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn port(field: String, number: &Value, causes: &mut Vec<Cause>) {
    if !number.as_i64().is_some_and(|n| (1..=65_535).contains(&n)) {
        causes.push(Cause::invalid(field, number, "must be between 1 and 65535, inclusive"));
    }
}
