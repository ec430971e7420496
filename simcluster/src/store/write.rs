//! Creating, changing and applying objects: the order of steps, which is the real server's.
//!
//! Defaults, then field ownership, then admission that may change the object, then what the server itself fills in, then
//! validation and admission that may refuse. A write that comes out equal to what is stored is no write.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Key, State};
use crate::{
    admission, clock,
    fields::{
        managed::{Actor, Managed},
        merge,
    },
    normal,
    resource::{self, Kind},
    rules,
    status::{Cause, Status},
};

/// Who writes, and through which part of the API.
pub(crate) struct Writer<'a> {
    pub manager: &'a str,
    /// Empty for the main resource.
    pub subresource: &'a str,
    pub dry_run: bool,
    /// An apply's `force`; `None` is an update.
    apply: Option<bool>,
}

impl<'a> Writer<'a> {
    pub fn update(manager: &'a str) -> Self {
        Self { manager, subresource: "", dry_run: false, apply: None }
    }

    /// A component of the cluster: its controllers share one field manager, as they share one process.
    pub fn component(who: &'a str) -> Self {
        Self::update(if who.ends_with("-controller") { "kube-controller-manager" } else { who })
    }

    pub fn apply(manager: &'a str, force: bool) -> Self {
        Self { apply: Some(force), ..Self::update(manager) }
    }

    pub fn on(mut self, subresource: &'a str) -> Self {
        self.subresource = subresource;
        self
    }

    pub fn dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    fn actor<'b>(&'b self, api_version: &'b str, now: &'b str) -> Actor<'b> {
        let (manager, subresource) = (self.manager, self.subresource);
        Actor { manager, apply: self.apply.is_some(), api_version, subresource, now }
    }
}

/// Metadata that only the server writes.
const SERVER_OWNED: [&str; 7] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

impl State {
    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        ns: &str,
        mut object: Value,
        writer: &Writer<'_>,
    ) -> Result<Arc<Value>, Status> {
        let sent = writer.apply.is_some().then(|| object.clone());
        normal::tidy(&mut object);
        let name = self.name_new(kind, ns, &mut object)?;
        let key = super::key(kind, ns, &name);
        if let Some(existing) = self.get(kind, &key) {
            return Err(if existing["metadata"]["deletionTimestamp"].is_string() {
                Status::being_deleted(kind, &name)
            } else {
                Status::already_exists(kind, &name)
            });
        }
        self.check_home(kind, ns, &name)?;
        rules::defaults(kind, &mut object);
        let (version, now) = (kind.api_version(), clock::seconds(self.now()));
        let actor = writer.actor(&version, &now);
        let mut managed = Managed::default();
        match &sent {
            Some(applied) => {
                managed.set_applied(&actor, applied);
                managed.touch(&actor);
            }
            None => managed.updated(&actor, &rules::bare(kind), &rules::without_ignored(kind, "", &object)),
        }
        admission::mutate(self, kind, &mut object);
        rules::fill_in(self, kind, &mut object)?;
        refuse_invalid(kind, &name, &rules::validate(kind, "", None, &object))?;
        admission::validate(self, kind, None, &object, writer.dry_run)?;
        managed.write(&mut object);
        Ok(if writer.dry_run { Arc::new(object) } else { self.put(kind, key, object) })
    }

    fn check_home(&self, kind: &'static Kind, ns: &str, name: &str) -> Result<(), Status> {
        if !kind.namespaced {
            return Ok(());
        }
        let home = self.get(&resource::NAMESPACE, &(String::new(), ns.to_owned()));
        let home = home.ok_or_else(|| Status::not_found(&resource::NAMESPACE, ns))?;
        if home["metadata"]["deletionTimestamp"].is_string() {
            return Err(Status::namespace_terminating(kind, name, ns));
        }
        Ok(())
    }

    /// Gives a new object its server-owned metadata; the answer is its name.
    fn name_new(&mut self, kind: &'static Kind, ns: &str, object: &mut Value) -> Result<String, Status> {
        if !object["metadata"].is_object() {
            object["metadata"] = Value::Object(Map::new());
        }
        object["apiVersion"] = kind.api_version().into();
        object["kind"] = kind.kind.into();
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
            fields.remove("managedFields");
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
        keep_server_owned(&old, &mut new);
        normal::tidy(&mut new);
        rules::defaults(kind, &mut new);
        rules::keep_others_part(kind, writer.subresource, &old, &mut new);
        if new == *old {
            return Ok(old);
        }
        let (version, now) = (kind.api_version(), clock::seconds(self.now()));
        let mut managed = Managed::of(&old);
        managed.updated(&writer.actor(&version, &now), &old, &new);
        managed.write(&mut new);
        self.finish(kind, key, &old, new, writer)
    }

    /// Server-side apply; the answer says whether the object was created.
    pub(crate) fn apply(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        mut applied: Value,
        writer: &Writer<'_>,
    ) -> Result<(bool, Arc<Value>), Status> {
        let Some(old) = self.get(kind, key).cloned() else {
            if !writer.subresource.is_empty() {
                return Err(Status::not_found(kind, &key.1));
            }
            if let Some(uid) = applied["metadata"]["uid"].as_str() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(kind, &key.1, &why));
            }
            applied["metadata"]["name"] = key.1.as_str().into();
            return Ok((true, self.create(kind, &key.0, applied, writer)?));
        };
        let differs = |field: &str| {
            applied["metadata"][field].is_string() && applied["metadata"][field] != old["metadata"][field]
        };
        if differs("uid") || differs("resourceVersion") {
            return Err(Status::modified(kind, &key.1));
        }
        let (version, now) = (kind.api_version(), clock::seconds(self.now()));
        let actor = writer.actor(&version, &now);
        let applied = rules::without_ignored(kind, writer.subresource, &applied);
        let mut managed = Managed::of(&old);
        let last = managed.last_applied(&actor);
        managed.set_applied(&actor, &applied);
        let mut new = Value::clone(&old);
        merge::merge(&mut new, &applied);
        merge::prune(&mut new, &last, &managed.all());
        keep_server_owned(&old, &mut new);
        normal::tidy(&mut new);
        rules::defaults(kind, &mut new);
        rules::keep_others_part(kind, writer.subresource, &old, &mut new);
        let force = writer.apply.unwrap_or(false);
        managed.applied(&actor, &old, &new, force).map_err(|conflicts| Status::apply_conflict(&conflicts))?;
        if new != *old {
            managed.touch(&actor);
        }
        managed.write(&mut new);
        if new == *old {
            return Ok((false, old));
        }
        Ok((false, self.finish(kind, key, &old, new, writer)?))
    }

    /// The common end of every change of an object that exists.
    fn finish(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        old: &Value,
        mut new: Value,
        writer: &Writer<'_>,
    ) -> Result<Arc<Value>, Status> {
        rules::count_generation(kind, old, &mut new);
        rules::derive(kind, &mut new);
        refuse_invalid(kind, &key.1, &rules::validate(kind, writer.subresource, Some(old), &new))?;
        admission::validate(self, kind, Some(old), &new, writer.dry_run)?;
        if writer.dry_run {
            return Ok(Arc::new(new));
        }
        let freed = new["metadata"]["deletionTimestamp"].is_string() && super::delete::is_free(kind, &new);
        if freed {
            // The answer shows the object at its old revision: it is gone, not changed.
            self.remove(kind, key);
            return Ok(Arc::new(new));
        }
        Ok(self.put(kind, key.clone(), new))
    }
}

fn refuse_invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Result<(), Status> {
    if causes.is_empty() { Ok(()) } else { Err(Status::invalid(kind, name, causes)) }
}

fn keep_server_owned(old: &Value, new: &mut Value) {
    for field in ["apiVersion", "kind"] {
        new[field] = old[field].clone();
    }
    if !new["metadata"].is_object() {
        new["metadata"] = Value::Object(Map::new());
    }
    let kept = ["name", "namespace", "generateName", "managedFields"];
    for owned in SERVER_OWNED.iter().chain(&kept) {
        match old["metadata"].get(owned) {
            Some(value) => new["metadata"][owned] = value.clone(),
            None => {
                if let Some(metadata) = new["metadata"].as_object_mut() {
                    metadata.remove(*owned);
                }
            }
        }
    }
}
