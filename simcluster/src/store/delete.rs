//! Deletion: preconditions, grace, finalizers, and what is left to the garbage collector.
//!
//! Background deletion removes the object; the garbage collector then removes what it owned. Foreground and orphan
//! deletion hold the object by a finalizer that the garbage collector takes off when it has done its part. A pod that
//! runs on a node is only marked; its kubelet deletes it with grace 0 when its containers have ended.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{Key, Object, State};
use crate::{
    clock,
    dig::Dig,
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
    Gone(Object),
    /// Finalizers or grace hold it; it carries a `deletionTimestamp`.
    Held(Object),
}

/// Whether nothing holds an object that is marked for deletion.
pub(crate) fn is_free(kind: &Kind, object: &Value) -> bool {
    let is_waiting = kind.is(&resource::POD) && object.int("metadata.deletionGracePeriodSeconds").unwrap_or(0) > 0;
    object.items("metadata.finalizers").is_empty() && !is_waiting && !kind.is(&resource::NAMESPACE)
}

impl State {
    pub(crate) fn delete(&mut self, kind: &'static Kind, key: &Key, how: &DeleteOptions) -> Result<Deleted, Status> {
        let old = self.object(kind, key).cloned().ok_or_else(|| Status::not_found(kind, &key.1))?;
        check_preconditions(kind, &key.1, &old, how)?;
        rules::may_delete(kind, &key.1)?;
        let (new, owners) = (self.marked(kind, &old, how), old.owners.clone());
        let (is_free, is_same) = (is_free(kind, &new), new == *old.value);
        if how.dry_run {
            return Ok(if is_free { Deleted::Gone(old) } else { Deleted::Held(Object { value: new.into(), owners }) });
        }
        // A pod is seen with grace 0 before it is seen to be gone.
        let is_shown = !is_same && (!is_free || kind.is(&resource::POD));
        let last = if is_shown { self.put(kind, key.clone(), new, owners) } else { old };
        if !is_free {
            return Ok(Deleted::Held(last));
        }
        self.remove(kind, key);
        Ok(Deleted::Gone(last))
    }

    /// The object as it is once its deletion has been asked for.
    fn marked(&self, kind: &'static Kind, old: &Value, how: &DeleteOptions) -> Value {
        let mut new = old.clone();
        let is_marked = old.has("metadata.deletionTimestamp");
        let grace = if kind.is(&resource::POD) { pod_grace(old, how.grace) } else { 0 };
        // Grace may be shortened, never lengthened.
        if is_marked && old.int("metadata.deletionGracePeriodSeconds").unwrap_or(0) <= grace {
            return new;
        }
        let finalizer = match how.propagation {
            Propagation::Foreground if !is_marked => Some(FOREGROUND),
            Propagation::Orphan if !is_marked => Some(ORPHAN),
            _ => None,
        };
        if let Some(finalizer) = finalizer.filter(|name| !old.items("metadata.finalizers").contains(&json!(name))) {
            new.push("metadata.finalizers", finalizer);
        }
        let end = self.now().checked_add(SignedDuration::from_secs(grace)).unwrap_or_else(|_| self.now());
        new.put("metadata.deletionTimestamp", clock::seconds(end));
        if kind.is(&resource::NAMESPACE) {
            new.put("status.phase", "Terminating");
        } else {
            new.put("metadata.deletionGracePeriodSeconds", grace);
        }
        if kind.has_generation && !is_marked {
            new.put("metadata.generation", old.int("metadata.generation").unwrap_or(0) + 1);
        }
        new
    }
}

/// The grace of a pod's deletion: none while it is on no node or has ended already.
fn pod_grace(pod: &Value, asked: Option<i64>) -> i64 {
    if pod.text("spec.nodeName").is_empty() || rules::has_ended(pod) {
        return 0;
    }
    asked.or(pod.int("spec.terminationGracePeriodSeconds")).unwrap_or(30).max(0)
}

fn check_preconditions(kind: &Kind, name: &str, old: &Value, how: &DeleteOptions) -> Result<(), Status> {
    let uid = ("UID", "deleted and then recreated", &how.uid, old.text("metadata.uid"));
    let version = ("ResourceVersion", "modified", &how.resource_version, old.text("metadata.resourceVersion"));
    for (what, fate, wanted, current) in [uid, version] {
        let Some(wanted) = wanted.as_ref().filter(|wanted| *wanted != current) else { continue };
        // Here, unlike elsewhere, the kind is named instead of the resource.
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the {what} in the precondition ({wanted}) does not match the \
             {what} in record ({current}). The object might have been {fate}",
            kind.qualified_kind(),
        );
        return Err(Status::new(409, "Conflict", message).about(kind, kind.kind, name));
    }
    Ok(())
}
