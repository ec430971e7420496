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

macro_rules! schema {
    ($kind:expr, $object:expr; $($group:ident: $($name:ident)*;)*) => {
        match $kind {
            $($(stringify!($name) => again::<$group::$name>($object),)*)*
            other => Err(format!("no schema for kind {other}")),
        }
    };
}

/// The paths of the fields that the kind does not have, or why the object cannot be read at all.
pub fn unknown_fields(kind: &Kind, object: &Value) -> Result<Vec<String>, String> {
    let again = schema! { kind.kind, object;
        core: ConfigMap Event LimitRange Namespace Node PersistentVolume PersistentVolumeClaim Pod ResourceQuota Secret
            Service ServiceAccount;
        apps: StatefulSet;
        authorization: SelfSubjectAccessReview;
        coordination: Lease;
        networking: Ingress NetworkPolicy;
        rbac: ClusterRole ClusterRoleBinding Role RoleBinding;
        scheduling: PriorityClass;
        storage: StorageClass VolumeAttachment;
    }?;
    let mut unknown = Vec::new();
    lost(object, &again, "", &mut unknown);
    Ok(unknown)
}

fn again<T: DeserializeOwned + Serialize>(object: &Value) -> Result<Value, String> {
    T::deserialize(object).and_then(serde_json::to_value).map_err(|error| error.to_string())
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn lost(sent: &Value, again: &Value, path: &str, unknown: &mut Vec<String>) {
    match (sent, again) {
        (Value::Object(sent), _) => {
            for (key, value) in sent.iter().filter(|(_, value)| !value.is_null()) {
                match again.get(key) {
                    Some(again) => lost(value, again, &below(path, key), unknown),
                    None if value.as_array().is_some_and(Vec::is_empty) => {}
                    None => unknown.push(below(path, key)),
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
