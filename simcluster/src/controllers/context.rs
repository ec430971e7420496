//! What a controller works with: the view, the time, waits, and short forms of the writes that controllers make.
//!
//! A write that comes too late (the object is gone, or was changed so that the write is refused) is not an error: the
//! change that came first is seen next, and the key is looked at again.

use std::{
    cell::RefCell,
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::{Recorder, View, uid};
use crate::{
    delays::Delays,
    dig::Dig,
    faults::Faults,
    resource::{self, Kind},
    store::{Cluster, DeleteOptions},
};

pub(crate) struct Ctx<'a> {
    pub cluster: &'a Cluster,
    pub view: &'a View,
    pub delays: &'a Delays,
    pub faults: &'a Faults,
    pub now: Timestamp,
    pub(super) waits: &'a Waits,
}

/// Since when objects (by uid) wait for something; forgotten with the object.
#[derive(Default)]
pub(super) struct Waits(RefCell<HashMap<String, BTreeMap<&'static str, Timestamp>>>);

impl Waits {
    pub fn forget_all(&mut self, uid: &str) {
        self.0.get_mut().remove(uid);
    }
}

impl Ctx<'_> {
    /// When this was first asked about the object since it was last forgotten.
    pub fn since(&self, object: &Value, what: &'static str) -> Timestamp {
        let mut waits = self.waits.0.borrow_mut();
        *waits.entry(uid(object).to_owned()).or_default().entry(what).or_insert(self.now)
    }

    /// Whether a wait goes on: until when. It begins when it is first asked for.
    pub fn waits(&self, object: &Value, what: &'static str, span: Duration) -> Option<Timestamp> {
        self.since(object, what).checked_add(span).ok().filter(|until| *until > self.now)
    }

    /// Ends a wait; `false` if there was none.
    pub fn forget(&self, object: &Value, what: &'static str) -> bool {
        self.waits.0.borrow_mut().get_mut(uid(object)).and_then(|waits| waits.remove(what)).is_some()
    }

    /// Records events in the name of a component.
    pub fn events<'b>(&'b self, component: &'b str) -> Recorder<'b> {
        Recorder::new(self, component)
    }

    /// Changes metadata and spec.
    pub fn edit(&self, object: &Value, who: &str, change: impl FnOnce(&mut Value)) -> bool {
        let (kind, ns, name) = place(object);
        self.cluster.update(kind, ns, name, who, change).is_ok()
    }

    pub fn edit_status(&self, object: &Value, who: &str, change: impl FnOnce(&mut Value)) -> bool {
        let (kind, ns, name) = place(object);
        self.cluster.update_status(kind, ns, name, who, change).is_ok()
    }

    /// Deletes this very object, with its own grace unless told otherwise.
    pub fn delete(&self, object: &Value, grace: Option<i64>) -> bool {
        let (kind, ns, name) = place(object);
        let options = DeleteOptions { grace, uid: Some(uid(object).to_owned()), ..DeleteOptions::default() };
        self.cluster.delete(kind, ns, name, &options).is_ok()
    }

    pub fn drop_finalizer(&self, object: &Value, who: &str, finalizer: &str) {
        if has_finalizer(object, finalizer) {
            self.edit(object, who, |object| retain(object, "metadata.finalizers", |present| present != finalizer));
        }
    }
}

fn place(object: &Value) -> (&'static Kind, &str, &str) {
    // Whatever is in the view is of a served kind.
    let kind = resource::find_kind(object.text("apiVersion"), object.text("kind")).unwrap_or(&resource::POD);
    (kind, object.text("metadata.namespace"), object.text("metadata.name"))
}

pub(super) fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    object.items("metadata.finalizers").iter().any(|present| present == finalizer)
}

/// Keeps some items of a list; a list that becomes empty goes.
pub(super) fn retain(object: &mut Value, path: &str, keep: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(items)) = object.at_mut(path) {
        items.retain(keep);
        if items.is_empty() {
            object.remove(path);
        }
    }
}

/// Puts a condition in the place of the one of its type, which keeps its transition time if the status is the same.
pub(crate) fn set_condition(object: &mut Value, mut condition: Value) {
    let same = |old: &&mut Value| old["type"] == condition["type"];
    match object.items_mut("status.conditions").iter_mut().find(same) {
        Some(old) => {
            if old["status"] == condition["status"] && old["lastTransitionTime"].is_string() {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => object.push("status.conditions", condition),
    }
}
