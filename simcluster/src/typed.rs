//! The schema check: whether an object has only fields that its kind has, of the types that they have.
//!
//! The generated API types are the schema: an object is read into its type and written again. What does not read has a
//! wrong type; what is not written again was not known. The object itself is kept as it was sent.

use k8s_openapi::api::{
    apps::v1 as apps, authorization::v1 as authorization, coordination::v1 as coordination, core::v1 as core,
    networking::v1 as networking, rbac::v1 as rbac, scheduling::v1 as scheduling, storage::v1 as storage,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::resource::Kind;

/// The paths of the fields that the kind does not have, or why the object cannot be read at all.
pub fn unknown_fields(kind: &Kind, object: &Value) -> Result<Vec<String>, String> {
    let again = match kind.kind {
        "ConfigMap" => again::<core::ConfigMap>(object),
        "Event" => again::<core::Event>(object),
        "LimitRange" => again::<core::LimitRange>(object),
        "Namespace" => again::<core::Namespace>(object),
        "Node" => again::<core::Node>(object),
        "PersistentVolumeClaim" => again::<core::PersistentVolumeClaim>(object),
        "PersistentVolume" => again::<core::PersistentVolume>(object),
        "Pod" => again::<core::Pod>(object),
        "ResourceQuota" => again::<core::ResourceQuota>(object),
        "Secret" => again::<core::Secret>(object),
        "ServiceAccount" => again::<core::ServiceAccount>(object),
        "Service" => again::<core::Service>(object),
        "StatefulSet" => again::<apps::StatefulSet>(object),
        "SelfSubjectAccessReview" => again::<authorization::SelfSubjectAccessReview>(object),
        "Lease" => again::<coordination::Lease>(object),
        "Ingress" => again::<networking::Ingress>(object),
        "NetworkPolicy" => again::<networking::NetworkPolicy>(object),
        "PriorityClass" => again::<scheduling::PriorityClass>(object),
        "ClusterRole" => again::<rbac::ClusterRole>(object),
        "ClusterRoleBinding" => again::<rbac::ClusterRoleBinding>(object),
        "Role" => again::<rbac::Role>(object),
        "RoleBinding" => again::<rbac::RoleBinding>(object),
        "StorageClass" => again::<storage::StorageClass>(object),
        "VolumeAttachment" => again::<storage::VolumeAttachment>(object),
        other => Err(format!("no schema for kind {other}")),
    }?;
    let mut unknown = Vec::new();
    lost(object, &again, "", &mut unknown);
    Ok(unknown)
}

fn again<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    let typed = T::deserialize(object).map_err(|error| error.to_string())?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

fn lost(sent: &Value, again: &Value, path: &str, unknown: &mut Vec<String>) {
    match (sent, again) {
        (Value::Object(sent), _) => {
            for (key, value) in sent.iter().filter(|(_, value)| !value.is_null()) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match again.get(key) {
                    Some(again) => lost(value, again, &path, unknown),
                    None if value.as_array().is_some_and(Vec::is_empty) => {}
                    None => unknown.push(path),
                }
            }
        }
        (Value::Array(sent), Value::Array(again)) => {
            for (at, (sent, again)) in sent.iter().zip(again).enumerate() {
                lost(sent, again, &format!("{path}[{at}]"), unknown);
            }
        }
        _ => {}
    }
}
