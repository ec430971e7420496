//! Deletion: preconditions, grace, finalizers, and what is left to the garbage collector.
//!
//! Background deletion removes the object; the garbage collector then removes what it owned. Foreground and orphan
//! deletion hold the object by a finalizer that the garbage collector takes off when it has done its part. A pod that
//! runs on a node is only marked; its kubelet deletes it with grace 0 when its containers have ended.

use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Key, State};
use crate::{
    clock,
    resource::{self, Kind},
    rules,
    status::Status,
};

pub const FOREGROUND: &str = "foregroundDeletion";
pub const ORPHAN: &str = "orphan";

/// What becomes of the objects that the deleted one owns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Propagation {
    /// The object goes first, its dependents after it.
    #[default]
    Background,
    /// The dependents go first; the object waits with the finalizer `foregroundDeletion`.
    Foreground,
    /// The dependents stay and lose their reference; the object waits with the finalizer `orphan`.
    Orphan,
}

/// How to delete. The default deletes in the background with the object's own grace and without preconditions.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub propagation: Propagation,
    /// Seconds; `None` is the pod's own `terminationGracePeriodSeconds`. Only pods have a grace period.
    pub grace: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Without grace: how a kubelet confirms that a pod has ended.
    pub fn now() -> Self {
        Self { grace: Some(0), ..Self::default() }
    }
}

/// What a deletion came to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// Finalizers or grace hold it; it carries a `deletionTimestamp`.
    Held(Arc<Value>),
}

/// Whether nothing holds an object that is marked for deletion.
pub(crate) fn is_free(kind: &Kind, object: &Value) -> bool {
    let finalizers = object["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
    let grace = kind.is(&resource::POD) && object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
    !finalizers && !grace && !kind.is(&resource::NAMESPACE)
}

impl State {
    pub(crate) fn delete(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let old = Arc::clone(self.get(kind, key).ok_or_else(|| Status::not_found(kind, &key.1))?);
        check_preconditions(kind, &key.1, &old, options)?;
        rules::may_delete(kind, &key.1)?;
        let new = self.marked(kind, &old, options);
        if options.dry_run {
            return Ok(if is_free(kind, &new) { Deleted::Gone(old) } else { Deleted::Held(Arc::new(new)) });
        }
        if !is_free(kind, &new) {
            return Ok(Deleted::Held(if new == *old { old } else { self.put(kind, key.clone(), new) }));
        }
        // A pod is seen with grace 0 before it is seen to be gone.
        let last = if kind.is(&resource::POD) && new != *old { self.put(kind, key.clone(), new) } else { old };
        self.remove(kind, key);
        if kind.is(&resource::POD) {
            self.forgotten.extend(last["metadata"]["uid"].as_str().map(ToOwned::to_owned));
        }
        Ok(Deleted::Gone(last))
    }

    /// The object as it is once its deletion has been asked for.
    fn marked(&self, kind: &'static Kind, old: &Value, options: &DeleteOptions) -> Value {
        let mut new = old.clone();
        if !old["metadata"]["deletionTimestamp"].is_string() {
            match options.propagation {
                Propagation::Background => {}
                Propagation::Foreground => add_finalizer(&mut new, FOREGROUND),
                Propagation::Orphan => add_finalizer(&mut new, ORPHAN),
            }
        }
        let grace = if kind.is(&resource::POD) { pod_grace(old, options.grace) } else { 0 };
        let current = old["metadata"]["deletionGracePeriodSeconds"].as_i64();
        let marked = old["metadata"]["deletionTimestamp"].is_string();
        // Grace may be shortened, never lengthened.
        if marked && current.unwrap_or(0) <= grace {
            return new;
        }
        let span = SignedDuration::from_secs(grace);
        let end = self.now().checked_add(span).unwrap_or_else(|_| self.now());
        new["metadata"]["deletionTimestamp"] = clock::seconds(end).into();
        if kind.is(&resource::NAMESPACE) {
            new["status"]["phase"] = "Terminating".into();
        } else {
            new["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        }
        if kind.has_generation && !marked {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        new
    }
}

/// The grace of a pod's deletion: none while it is on no node or has ended already.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let unscheduled = pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    let ended = matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    if unscheduled || ended { 0 } else { asked.unwrap_or(own).max(0) }
}

fn add_finalizer(object: &mut Value, finalizer: &str) {
    match object["metadata"]["finalizers"].as_array_mut() {
        Some(list) if list.iter().any(|f| f == finalizer) => {}
        Some(list) => list.push(finalizer.into()),
        None => object["metadata"]["finalizers"] = json!([finalizer]),
    }
}

fn check_preconditions(kind: &Kind, name: &str, old: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let current = |field: &str| old["metadata"][field].as_str().unwrap_or_default();
    let why = match (&options.uid, &options.resource_version) {
        (Some(uid), _) if uid != current("uid") => format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been \
             deleted and then recreated",
            current("uid")
        ),
        (_, Some(version)) if version != current("resourceVersion") => format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The \
             object might have been modified",
            current("resourceVersion")
        ),
        _ => return Ok(()),
    };
    // Here, unlike elsewhere, the kind is named instead of the resource.
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified_kind());
    let mut status = Status::new(409, "Conflict", message);
    let mut details = json!({"name": name, "kind": kind.kind});
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    status.details = Some(details);
    Err(status)
}
