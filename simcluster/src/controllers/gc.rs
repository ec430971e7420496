//! The garbage collector: objects whose owners are gone go too.
//!
//! - an object all of whose owners are gone is deleted in the background; a dangling reference beside a living owner is
//!   only removed
//! - foreground: the dependents of an object that waits with `foregroundDeletion` are deleted, and it goes when those that
//!   block it are gone
//! - orphan: the dependents of an object that waits with `orphan` lose their reference, then it goes
//!
//! Owners are told by uid alone: a new object of the same name is not the owner.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{Controller, Ctx, Queue, Seen, View, is_deleting, list, uid};
use crate::{
    resource::Kind,
    store::{DeleteOptions, FOREGROUND, Key, ORPHAN},
};

const WHO: &str = "kube-controller-manager";

/// Keys are uids of owners (in the name's place), whether they live or not.
#[derive(Default)]
pub(super) struct GarbageCollector {
    alive: HashMap<String, Place>,
    /// Dependents by the uid of an owner, each by its own uid.
    dependents: HashMap<String, BTreeSet<String>>,
}

/// Where an object is.
#[derive(Clone)]
struct Place {
    kind: &'static Kind,
    key: Key,
}

impl Controller for GarbageCollector {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        let own = uid(seen.latest()).to_owned();
        for owner in seen.old.map(|old| owners(old)).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(&owner) {
                dependents.remove(&own);
                if dependents.is_empty() {
                    self.dependents.remove(&owner);
                }
            }
            // Its deletion may be waiting for this dependent.
            queue.add(owner_key(&owner));
        }
        match seen.new {
            None => {
                self.alive.remove(&own);
                queue.add(owner_key(&own));
            }
            Some(new) => {
                for owner in owners(new) {
                    self.dependents.entry(owner.clone()).or_default().insert(own.clone());
                    queue.add(owner_key(&owner));
                }
                if is_deleting(new) {
                    queue.add(owner_key(&own));
                }
                self.alive.insert(own, Place { kind: seen.kind, key: seen.key.clone() });
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let owner = &key.1;
        match self
            .alive
            .get(owner)
            .and_then(|place| Some((place, ctx.view.get(place.kind, &place.key.0, &place.key.1)?)))
        {
            None => self.collect(owner, ctx),
            Some((place, object)) if is_deleting(object) => {
                if has_finalizer(object, ORPHAN) {
                    self.orphan(owner, place, ctx);
                } else if has_finalizer(object, FOREGROUND) {
                    self.delete_first(owner, place, ctx);
                }
            }
            Some(_) => {}
        }
    }
}

impl GarbageCollector {
    fn dependents_of<'a>(&'a self, owner: &str, ctx: &'a Ctx<'_>) -> Vec<(&'a Place, &'a Value)> {
        let uids = self.dependents.get(owner).into_iter().flatten();
        let places = uids.filter_map(|uid| self.alive.get(uid));
        places.filter_map(|p| Some((p, &**ctx.view.get(p.kind, &p.key.0, &p.key.1)?))).collect()
    }

    /// The owner is gone.
    fn collect(&self, owner: &str, ctx: &Ctx<'_>) {
        for (place, dependent) in self.dependents_of(owner, ctx) {
            if owners(dependent).iter().any(|owner| self.alive.contains_key(owner)) {
                unlink(place, owner, ctx);
            } else if !is_deleting(dependent) {
                delete(place, dependent, ctx);
            }
        }
    }

    fn delete_first(&self, owner: &str, place: &Place, ctx: &Ctx<'_>) {
        let dependents = self.dependents_of(owner, ctx);
        let blocks = |dependent: &Value| {
            list(&dependent["metadata"]["ownerReferences"])
                .iter()
                .any(|reference| reference["uid"] == *owner && reference["blockOwnerDeletion"] == true)
        };
        for (place, dependent) in &dependents {
            if !is_deleting(dependent) {
                delete(place, dependent, ctx);
            }
        }
        if !dependents.iter().any(|(_, dependent)| blocks(dependent)) {
            drop_finalizer(place, FOREGROUND, ctx);
        }
    }

    fn orphan(&self, owner: &str, place: &Place, ctx: &Ctx<'_>) {
        for (dependent, _) in self.dependents_of(owner, ctx) {
            unlink(dependent, owner, ctx);
        }
        drop_finalizer(place, ORPHAN, ctx);
    }
}

fn owner_key(uid: &str) -> Key {
    (String::new(), uid.to_owned())
}

fn owners(object: &Value) -> Vec<String> {
    let references = list(&object["metadata"]["ownerReferences"]).iter();
    references.filter_map(|reference| reference["uid"].as_str()).map(ToOwned::to_owned).collect()
}

fn has_finalizer(object: &Value, finalizer: &str) -> bool {
    list(&object["metadata"]["finalizers"]).iter().any(|present| present == finalizer)
}

/// What is gone meanwhile, or was changed, is looked at again when that change is seen.
fn delete(place: &Place, object: &Value, ctx: &Ctx<'_>) {
    let options = DeleteOptions { uid: Some(uid(object).to_owned()), ..DeleteOptions::default() };
    let _gone_already = ctx.cluster.delete(place.kind, &place.key.0, &place.key.1, &options);
}

fn unlink(place: &Place, owner: &str, ctx: &Ctx<'_>) {
    let _gone_already = ctx.cluster.update(place.kind, &place.key.0, &place.key.1, WHO, |object| {
        if let Some(references) = object["metadata"]["ownerReferences"].as_array_mut() {
            references.retain(|reference| reference["uid"] != *owner);
        }
    });
}

fn drop_finalizer(place: &Place, finalizer: &str, ctx: &Ctx<'_>) {
    let _gone_already = ctx.cluster.update(place.kind, &place.key.0, &place.key.1, WHO, |object| {
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|present| present != finalizer);
        }
    });
}
