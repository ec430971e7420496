//! Deletion: preconditions, grace, finalizers, and what is left to the garbage collector.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Key, State};
use crate::{clock, resource::Kind, status::Status};

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

/// What a deletion came to.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object is gone; this was its last state.
    Gone(Arc<Value>),
    /// Finalizers or grace hold it; it carries a `deletionTimestamp`.
    Held(Arc<Value>),
}

impl State {
    pub(crate) fn delete(
        &mut self,
        kind: &'static Kind,
        key: &Key,
        _options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        let old = Arc::clone(self.get(kind, key).ok_or_else(|| Status::not_found(kind, &key.1))?);
        let held = old["metadata"]["finalizers"].as_array().is_some_and(|f| !f.is_empty());
        if !held {
            self.remove(kind, key);
            return Ok(Deleted::Gone(old));
        }
        let mut new = Value::clone(&old);
        new["metadata"]["deletionTimestamp"] = clock::seconds(self.now()).into();
        new["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        Ok(Deleted::Held(self.put(kind, key.clone(), new)))
    }
}
