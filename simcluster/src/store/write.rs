//! Creating, changing and applying objects: the order of steps, which is the real server's.
//!
//! Defaults, then field ownership, then admission that may change the object, then what the server itself fills in, then
//! validation and admission that may refuse. A write that comes out equal to what is stored is no write.

use serde_json::{Value, json};

use super::{Key, Object, State};
use crate::{
    admission, clock,
    dig::Dig,
    fields::{
        merge,
        owners::{Actor, Owners},
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
    /// Whether what is written is taken as it is: a component changes only what is its own, in the stored form.
    is_trusted: bool,
    /// An apply's `force`; `None` is an update.
    apply: Option<bool>,
}

impl<'a> Writer<'a> {
    pub fn update(manager: &'a str) -> Self {
        Self { manager, subresource: "", dry_run: false, is_trusted: false, apply: None }
    }

    /// A component of the cluster: its controllers share one field manager, as they share one process.
    pub fn component(who: &'a str) -> Self {
        let manager = if who.ends_with("-controller") { "kube-controller-manager" } else { who };
        Self { is_trusted: true, ..Self::update(manager) }
    }

    pub fn apply(manager: &'a str, force: bool) -> Self {
        Self { apply: Some(force), ..Self::update(manager) }
    }

    pub fn on(self, subresource: &'a str) -> Self {
        Self { subresource, ..self }
    }

    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }
}

/// Metadata that only the server writes.
const SERVER_OWNED: [&str; 8] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
];

impl State {
    fn actor(&mut self, writer: &Writer<'_>) -> Actor {
        let (manager, subresource) = (self.pool.text(writer.manager), self.pool.text(writer.subresource));
        Actor { manager, apply: writer.apply.is_some(), subresource }
    }

    pub(crate) fn create(
        &mut self,
        kind: &'static Kind,
        ns: &str,
        mut object: Value,
        writer: &Writer<'_>,
    ) -> Result<Object, Status> {
        let sent = writer.apply.is_some().then(|| object.clone());
        normal::tidy(&mut object);
        let name = self.name_new(kind, ns, &mut object)?;
        let key = super::key(kind, ns, &name);
        self.check_home(kind, ns, &name)?;
        rules::defaults(kind, &mut object);
        let (actor, now, mut owners) = (self.actor(writer), self.now(), Owners::default());
        if let Some(sent) = sent {
            owners.applied(&mut self.pool, &actor, Some(now), &sent);
        } else {
            let content = object.as_object_mut().filter(|_| kind.has_status());
            let status = content.and_then(|content| content.remove("status"));
            owners.updated(&mut self.pool, &actor, now, &rules::bare(kind), &object);
            if let Some(status) = status {
                object.put("status", status);
            }
        }
        admission::mutate(self, kind, &mut object);
        rules::fill_in(self, kind, &mut object)?;
        // What is refused is refused also where the name is taken; then nothing is counted.
        let existing = self.get(kind, &key).map(|object| object.has("metadata.deletionTimestamp"));
        self.admit(kind, &name, None, &object, &Writer { dry_run: writer.dry_run || existing.is_some(), ..*writer })?;
        if let Some(is_going) = existing {
            return Err(Status::already_exists(kind, &name, is_going));
        }
        if writer.dry_run {
            return Ok(Object { value: object.into(), owners });
        }
        Ok(self.put(kind, key, object, owners))
    }

    fn admit(
        &mut self,
        kind: &'static Kind,
        name: &str,
        old: Option<&Value>,
        new: &Value,
        writer: &Writer<'_>,
    ) -> Result<(), Status> {
        if writer.is_trusted && (old.is_some() || kind.is(&resource::EVENT)) {
            return Ok(());
        }
        let causes = rules::validate(kind, writer.subresource, old, new);
        if !causes.is_empty() {
            return Err(Status::invalid(kind, name, &causes));
        }
        rules::served(kind, new)?;
        admission::validate(self, kind, old, new, writer.dry_run)
    }

    fn check_home(&self, kind: &'static Kind, ns: &str, name: &str) -> Result<(), Status> {
        if !kind.namespaced {
            return Ok(());
        }
        let home = self.get(&resource::NAMESPACE, &(String::new(), ns.to_owned()));
        let home = home.ok_or_else(|| Status::not_found(&resource::NAMESPACE, ns))?;
        if !home.has("metadata.deletionTimestamp") {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {ns} because it is being terminated");
        let message = format!("namespace {ns} is being terminated");
        let cause = json!({"reason": "NamespaceTerminating", "message": message, "field": "metadata.namespace"});
        Err(Status::forbidden(kind, name, &why).with_causes([cause]))
    }

    /// Gives a new object its server-owned metadata; the answer is its name.
    fn name_new(&mut self, kind: &'static Kind, ns: &str, object: &mut Value) -> Result<String, Status> {
        object.put("apiVersion", kind.api_version());
        object.put("kind", kind.kind);
        object.default("metadata", json!({}));
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.retain(|field, _| !SERVER_OWNED.contains(&field.as_str()));
        }
        object.put("metadata.uid", self.uid());
        object.put("metadata.creationTimestamp", clock::seconds(self.now()));
        if kind.namespaced {
            object.put("metadata.namespace", ns);
        }
        if kind.has_generation {
            object.put("metadata.generation", 1);
        }
        let stem = object.text("metadata.generateName").to_owned();
        if object.text("metadata.name").is_empty() && stem.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(Status::invalid(kind, "", &[cause]));
        }
        while object.text("metadata.name").is_empty() {
            let name = format!("{stem}{}", self.suffix());
            // A drawn name that is taken is drawn again.
            if self.get(kind, &super::key(kind, ns, &name)).is_none() {
                object.put("metadata.name", name);
            }
        }
        Ok(object.text("metadata.name").to_owned())
    }

    pub(crate) fn update(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        writer: &Writer<'_>,
        change: impl FnOnce(&mut Value) -> Result<(), Status>,
    ) -> Result<Object, Status> {
        let old = self.object(kind, key).cloned().ok_or_else(|| Status::not_found(kind, &key.1))?;
        let mut new = Value::clone(&old);
        change(&mut new)?;
        if !writer.is_trusted {
            settle(kind, writer, &old, &mut new);
        }
        if new == *old.value {
            return Ok(old);
        }
        let (actor, now, mut owners) = (self.actor(writer), self.now(), old.owners.clone());
        owners.updated(&mut self.pool, &actor, now, &old, &new);
        self.finish(kind, key, &old, new, owners, writer)
    }

    /// Server-side apply; the answer says whether the object was created.
    pub(crate) fn apply(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        mut applied: Value,
        writer: &Writer<'_>,
    ) -> Result<(bool, Object), Status> {
        let uid = applied.text("metadata.uid");
        let Some(old) = self.object(kind, key).cloned() else {
            if !writer.subresource.is_empty() {
                return Err(Status::not_found(kind, &key.1));
            }
            if !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(kind, &key.1, &why));
            }
            applied.put("metadata.name", key.1.as_str());
            return Ok((true, self.create(kind, &key.0, applied, writer)?));
        };
        let differs = |path: &str| applied.has(path) && applied.at(path) != old.at(path);
        if differs("metadata.uid") || differs("metadata.resourceVersion") {
            return Err(Status::modified(kind, &key.1));
        }
        let applied = rules::without_ignored(kind, writer.subresource, &applied);
        let (actor, mut owners) = (self.actor(writer), old.owners.clone());
        let last = owners.of(&actor);
        owners.applied(&mut self.pool, &actor, None, &applied);
        let mut new = Value::clone(&old);
        merge::lay(&mut new, &applied);
        merge::prune(&mut new, &last, &owners.all());
        settle(kind, writer, &old, &mut new);
        let (.., conflicts) = owners.take(&mut self.pool, &actor, &old, &new);
        if writer.apply == Some(false) && !conflicts.is_empty() {
            return Err(Status::apply_conflict(&conflicts));
        }
        if new != *old.value {
            let now = self.now();
            owners.applied(&mut self.pool, &actor, Some(now), &applied);
        } else if owners == old.owners {
            return Ok((false, old));
        }
        Ok((false, self.finish(kind, key, &old, new, owners, writer)?))
    }

    /// The common end of every change of an object that exists.
    fn finish(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        old: &Value,
        mut new: Value,
        owners: Owners,
        writer: &Writer<'_>,
    ) -> Result<Object, Status> {
        rules::count_generation(kind, old, &mut new);
        rules::derive(kind, &mut new);
        self.admit(kind, &key.1, Some(old), &new, writer)?;
        if writer.dry_run {
            return Ok(Object { value: new.into(), owners });
        }
        if new.has("metadata.deletionTimestamp") && super::delete::is_free(kind, &new) {
            // The answer shows the object at its old revision: it is gone, not changed.
            self.remove(kind, key);
            return Ok(Object { value: new.into(), owners });
        }
        Ok(self.put(kind, key.clone(), new, owners))
    }
}

/// Brings a changed object into the form in which it is stored; what this writer cannot change is as it was.
fn settle(kind: &'static Kind, writer: &Writer<'_>, old: &Value, new: &mut Value) {
    new.default("metadata", json!({}));
    let names = ["name", "namespace", "generateName"];
    let metadata = SERVER_OWNED.iter().chain(&names).map(|field| format!("metadata.{field}"));
    for path in metadata.chain(["apiVersion".to_owned(), "kind".to_owned()]) {
        new.put_or_remove(&path, old.at(&path).clone());
    }
    normal::tidy(new);
    rules::defaults(kind, new);
    rules::keep_others_part(kind, writer.subresource, old, new);
}
