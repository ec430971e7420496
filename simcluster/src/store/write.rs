//! Creating and changing objects: metadata that the server owns, generation, defaults, and the no-op rule.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Key, State};
use crate::{
    clock,
    resource::{self, Kind},
    status::{Cause, Status},
};

/// Who writes, and through which part of the API.
pub(crate) struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    pub dry_run: bool,
}

impl<'a> Writer<'a> {
    pub fn update(manager: &'a str) -> Self {
        Self { manager, subresource: "", dry_run: false }
    }

    pub fn on(mut self, subresource: &'a str) -> Self {
        self.subresource = subresource;
        self
    }
}

/// Metadata that only the server writes.
const SERVER_OWNED: [&str; 6] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

impl State {
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        ns: &str,
        mut object: Value,
        writer: &Writer<'_>,
    ) -> Result<Arc<Value>, Status> {
        let name = self.name_new(kind, ns, &mut object)?;
        let key = super::key(kind, ns, &name);
        if let Some(existing) = self.get(kind, &key) {
            return Err(if existing["metadata"]["deletionTimestamp"].is_string() {
                Status::being_deleted(kind, &name)
            } else {
                Status::already_exists(kind, &name)
            });
        }
        if kind.namespaced {
            let home = self.get(&resource::NAMESPACE, &(String::new(), ns.to_owned()));
            let home = home.ok_or_else(|| Status::not_found(&resource::NAMESPACE, ns))?;
            if home["metadata"]["deletionTimestamp"].is_string() {
                return Err(Status::namespace_terminating(kind, &name, ns));
            }
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
        Ok(if writer.dry_run { Arc::new(object) } else { self.put(kind, key, object) })
    }

    /// Gives a new object its server-owned metadata; the answer is its name.
    fn name_new(&mut self, kind: &'static Kind, ns: &str, object: &mut Value) -> Result<String, Status> {
        if !object["metadata"].is_object() {
            object["metadata"] = Value::Object(Map::new());
        }
        let (uid, suffix, now) = (self.uid(), self.suffix(), clock::seconds(self.now()));
        let metadata = &mut object["metadata"];
        if metadata["name"].as_str().unwrap_or_default().is_empty() {
            let Some(stem) = metadata["generateName"].as_str().filter(|s| !s.is_empty()) else {
                let cause = Cause::required("metadata.name", "name or generateName is required");
                return Err(Status::invalid(kind, "", &[cause]));
            };
            metadata["name"] = format!("{stem}{suffix}").into();
        }
        if let Some(fields) = metadata.as_object_mut() {
            for owned in SERVER_OWNED {
                fields.remove(owned);
            }
        }
        if kind.namespaced {
            metadata["namespace"] = ns.into();
        }
        metadata["uid"] = uid.into();
        metadata["creationTimestamp"] = now.into();
        if kind.has_generation {
            metadata["generation"] = json!(1);
        }
        Ok(metadata["name"].as_str().unwrap_or_default().to_owned())
    }

    pub(crate) fn update(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        writer: &Writer<'_>,
        change: impl FnOnce(&mut Value) -> Result<(), Status>,
    ) -> Result<Arc<Value>, Status> {
        let old = Arc::clone(self.get(kind, key).ok_or_else(|| Status::not_found(kind, &key.1))?);
        let mut new = Value::clone(&old);
        change(&mut new)?;
        keep_server_owned(kind, &old, &mut new);
        if new == *old {
            return Ok(old);
        }
        Ok(if writer.dry_run { Arc::new(new) } else { self.put(kind, key.clone(), new) })
    }
}

fn keep_server_owned(kind: &Kind, old: &Value, new: &mut Value) {
    for owned in SERVER_OWNED {
        match old["metadata"].get(owned) {
            Some(value) => new["metadata"][owned] = value.clone(),
            None => {
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove(owned);
                }
            }
        }
    }
    if kind.has_generation && old["spec"] != new["spec"] {
        new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
    }
}
