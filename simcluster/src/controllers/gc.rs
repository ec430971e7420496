//! The garbage collector: objects whose owners are gone go too.
//!
//! - an object all of whose owners are gone is deleted in the background; a dangling reference beside a living owner is
//!   only removed
//! - foreground: the dependents of an object that waits with `foregroundDeletion` are deleted, and it goes when those that
//!   block it are gone
//! - orphan: the dependents of an object that waits with `orphan` lose their reference, then it goes
//!
//! An owner lives if there is an object where the reference points, with its uid: a new one of the same name does not count.

use std::collections::BTreeMap;

use super::prelude::*;
use crate::store::{FOREGROUND, ORPHAN};

const WHO: &str = "kube-controller-manager";

/// Keys are uids of owners (in the name's place), whether they live or not.
#[derive(Default)]
pub(super) struct GarbageCollector {
    /// Owners, by uid, that wait for their dependents to go or to be let go.
    waiting: BTreeMap<String, (&'static Kind, Key)>,
}

impl Controller for GarbageCollector {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        let own = uid(seen.latest());
        let mut look_at = |uid: &str| queue.add((String::new(), uid.to_owned()));
        match seen.new {
            Some(new) if is_deleting(new) && (has_finalizer(new, FOREGROUND) || has_finalizer(new, ORPHAN)) => {
                self.waiting.insert(own.to_owned(), (seen.kind, seen.key.clone()));
                look_at(own);
            }
            Some(_) => {}
            None => {
                self.waiting.remove(own);
                if view.linked(Link::Owner(own.to_owned())).next().is_some() {
                    look_at(own);
                }
            }
        }
        for owner in [seen.old, seen.new].into_iter().flatten().flat_map(|object| owners(object)) {
            let uid = owner.text("uid");
            if self.waiting.contains_key(uid) || seen.old.is_none() && !lives(view, owner, &seen.key.0) {
                look_at(uid);
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let dependents: Vec<Entry<'_>> = ctx.view.linked(Link::Owner(key.1.clone())).collect();
        let is_owner = |reference: &&Value| reference["uid"] == key.1.as_str();
        let unlink = |dependent: &Value| {
            ctx.edit(dependent, WHO, |object| {
                retain(object, "metadata.ownerReferences", |reference| !is_owner(&reference));
            });
        };
        let waiting = self.waiting.get(&key.1);
        if let Some(owner) = waiting.and_then(|(kind, key)| ctx.view.get(kind, &key.0, &key.1)) {
            let orphans = has_finalizer(owner, ORPHAN);
            let mut blocked = false;
            for (.., dependent) in dependents {
                if orphans {
                    unlink(dependent);
                } else if !is_deleting(dependent) {
                    ctx.delete(dependent, None);
                }
                let blocks = |reference: &Value| reference.yes("blockOwnerDeletion");
                blocked |= !orphans && owners(dependent).filter(is_owner).any(blocks);
            }
            if !blocked {
                ctx.drop_finalizer(owner, WHO, if orphans { ORPHAN } else { FOREGROUND });
            }
            return;
        }
        for (_, (ns, _), dependent) in dependents {
            let mut references = owners(dependent);
            if references.by_ref().filter(is_owner).any(|owner| lives(ctx.view, owner, ns)) {
                continue;
            }
            if owners(dependent).any(|owner| lives(ctx.view, owner, ns)) {
                unlink(dependent);
            } else if !is_deleting(dependent) {
                ctx.delete(dependent, None);
            }
        }
    }
}

/// Whether there is an object where a reference points.
fn lives(view: &View, owner: &Value, ns: &str) -> bool {
    let kind = find_kind(owner.text("apiVersion"), owner.text("kind"));
    let object = kind.and_then(|kind| view.get(kind, ns, owner.text("name")));
    object.is_some_and(|object| object["metadata"]["uid"] == owner["uid"])
}
