//! What each kind makes of an object: defaults, fields that the server fills in, and validation.
//!
//! Only what Lumbung sends, and what a mistake in it would look like, is covered; a field without a rule here is stored
//! as it was sent.

mod containers;
mod defaults;
mod fill;
mod names;
mod validate;
mod workload;

use serde_json::{Map, Value, json};

pub(crate) use defaults::defaults;
pub(crate) use fill::{derive, fill_in};
pub(crate) use validate::validate;

use crate::{resource::Kind, status::Status};

/// The kind's object before anything is set: against it, a new object's owned fields are told.
pub(crate) fn bare(kind: &Kind) -> Value {
    match kind.kind {
        "StatefulSet" => {
            json!({"metadata": {}, "spec": {"template": {"metadata": {}, "spec": {"containers": []}}, "updateStrategy": {}}})
        }
        "Pod" => json!({"metadata": {}, "spec": {"containers": []}}),
        "PersistentVolumeClaim" => json!({"metadata": {}, "spec": {"resources": {}}}),
        "NetworkPolicy" => json!({"metadata": {}, "spec": {}}),
        "Secret" | "ConfigMap" | "ServiceAccount" | "StorageClass" | "PriorityClass" => json!({"metadata": {}}),
        "Event" => json!({"metadata": {}, "involvedObject": {}, "source": {}}),
        _ => json!({"metadata": {}, "spec": {}, "status": {}}),
    }
}

/// What a writer through this part of the API cannot set is not looked at.
pub(crate) fn without_ignored(kind: &Kind, subresource: &str, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        if subresource == "status" {
            fields.retain(|field, _| ["apiVersion", "kind", "metadata", "status"].contains(&field.as_str()));
            fields.insert("metadata".into(), json!({}));
        } else if kind.has_status() {
            fields.remove("status");
        }
    }
    object
}

/// Gives back the part of an object that this part of the API does not write: status here, everything else there.
/// Binding writes both: a pod is given its node and told so in one step.
pub(crate) fn keep_others_part(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    if subresource == "status" {
        let status = new["status"].take();
        *new = old.clone();
        set_or_remove(new, "status", status);
    } else if kind.has_status() && subresource != "binding" {
        set_or_remove(new, "status", old["status"].clone());
    }
}

fn set_or_remove(object: &mut Value, field: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        if value.is_null() {
            fields.remove(field);
        } else {
            fields.insert(field.to_owned(), value);
        }
    }
}

/// `generation` counts changes of what is desired: everything but metadata, status, and the node that a pod is given.
pub(crate) fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    let is_binding = kind.kind == "Pod" && old["spec"]["nodeName"].is_null() && !new["spec"]["nodeName"].is_null();
    if kind.has_generation && old["spec"] != new["spec"] && !is_binding {
        new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
    }
}

/// The namespaces that the cluster itself lives in stay.
pub(crate) fn may_delete(kind: &Kind, name: &str) -> Result<(), Status> {
    if kind.kind == "Namespace" && ["default", "kube-system", "kube-public"].contains(&name) {
        return Err(Status::forbidden(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}

/// Sets a field that is absent.
fn default(fields: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    fields.entry(field).or_insert_with(|| value.into());
}

/// The object at a field, made if absent.
fn object<'a>(parent: &'a mut Map<String, Value>, field: &str) -> &'a mut Map<String, Value> {
    let value = parent.entry(field).or_insert_with(|| json!({}));
    if !value.is_object() {
        *value = json!({});
    }
    match value {
        Value::Object(fields) => fields,
        _ => unreachable!("it was just made an object"),
    }
}

/// The items of a list that are objects.
fn items<'a>(parent: &'a mut Map<String, Value>, field: &str) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    parent.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}
