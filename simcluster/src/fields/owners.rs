//! The owners of an object's fields, and how writes change them.

use std::{cmp::Reverse, sync::Arc, sync::LazyLock};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    merge::{difference, fields_of},
    set::{Pool, Set, Shared},
};
use crate::clock;
use serde_json::Value;

/// Metadata that nobody owns, because the server alone writes it.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    let metadata = "name namespace uid resourceVersion generation creationTimestamp deletionTimestamp managedFields \
                    deletionGracePeriodSeconds selfLink clusterName";
    Set::of_paths(&format!("apiVersion kind metadata metadata.{}", metadata.replace(' ', " metadata.")))
});

/// Who makes a write, and through which part of the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    pub manager: Arc<str>,
    pub apply: bool,
    pub subresource: Arc<str>,
}

/// An actor and what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    actor: Actor,
    time: Option<Timestamp>,
    fields: Shared,
}

/// All owners of an object. Clones share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owners(Arc<Vec<Owner>>);

/// (owner as messages show it, field path)
pub type Conflict = (String, String);

impl Owners {
    fn set(&mut self, actor: &Actor, fields: Shared, time: Option<Timestamp>) {
        let owners = Arc::make_mut(&mut self.0);
        match owners.iter_mut().find(|owner| owner.actor == *actor) {
            Some(owner) => {
                owner.fields = fields;
                owner.time = time.or(owner.time);
            }
            None => owners.push(Owner { actor: actor.clone(), time, fields }),
        }
        owners.retain(|owner| !owner.fields.is_empty());
        owners.sort_by_key(|owner| (Reverse(owner.actor.apply), owner.time, Arc::clone(&owner.actor.manager)));
    }

    /// What this actor owns.
    pub fn of(&self, actor: &Actor) -> Set {
        self.0.iter().find(|owner| owner.actor == *actor).map(|owner| owner.fields.to_set()).unwrap_or_default()
    }

    /// Everything that anybody owns.
    pub fn all(&self) -> Set {
        let mut all = Set::default();
        self.0.iter().for_each(|owner| all.union(owner.fields.to_set()));
        all
    }

    /// The others lose what a write sets or takes away; the answer is what it set, what it took away, and which of the
    /// former was theirs.
    pub fn take(&mut self, pool: &mut Pool, actor: &Actor, old: &Value, new: &Value) -> (Set, Set, Vec<Conflict>) {
        let set = difference(old, new, true).without(&NOBODYS);
        let removed = difference(new, old, false).without(&NOBODYS);
        let touched =
            |owner: &Owner| owner.actor != *actor && (owner.fields.overlaps(&set) || owner.fields.overlaps(&removed));
        let mut conflicts = Vec::new();
        if self.0.iter().any(touched) {
            for owner in Arc::make_mut(&mut self.0).iter_mut().filter(|owner| touched(owner)) {
                let before = owner.fields.to_set();
                let kept = before.clone().without(&set);
                let lost = before.without(&kept).paths().into_iter();
                conflicts.extend(lost.map(|path| (owner.actor.shown(&new["apiVersion"]), path)));
                owner.fields = pool.share(&kept.without(&removed));
            }
        }
        (set, removed, conflicts)
    }

    /// An update owns what it changes, and takes it from everybody else. `old` is the kind's bare form for a new object.
    pub fn updated(&mut self, pool: &mut Pool, actor: &Actor, now: Timestamp, old: &Value, new: &Value) {
        let (set, removed, _) = self.take(pool, actor, old, new);
        // Writes to /scale are recorded without a time.
        let time = Some(now).filter(|_| !set.is_empty() && &*actor.subresource != "scale");
        let mut own = self.of(actor).without(&removed);
        own.union(set);
        self.set(actor, pool.share(&own), time);
    }

    /// The actor owns the fields of what it applies, and no others.
    pub fn applied(&mut self, pool: &mut Pool, actor: &Actor, now: Option<Timestamp>, applied: &Value) {
        self.set(actor, pool.share(&fields_of(applied).without(&NOBODYS)), now);
    }

    /// The entries of `managedFields`.
    pub fn entries<'a>(&'a self, api_version: &'a str) -> Vec<impl Serialize + 'a> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry<'a> {
            manager: &'a str,
            operation: &'static str,
            api_version: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            time: Option<String>,
            fields_type: &'static str,
            #[serde(rename = "fieldsV1")]
            fields: &'a Shared,
            #[serde(skip_serializing_if = "str::is_empty")]
            subresource: &'a str,
        }
        let entry = |owner: &'a Owner| Entry {
            manager: &owner.actor.manager,
            operation: if owner.actor.apply { "Apply" } else { "Update" },
            api_version,
            time: owner.time.map(clock::seconds),
            fields_type: "FieldsV1",
            fields: &owner.fields,
            subresource: &owner.actor.subresource,
        };
        self.0.iter().map(entry).collect()
    }
}

impl Actor {
    /// `"mgr"` for an applier; updaters are shown with how they write.
    fn shown(&self, api_version: &Value) -> String {
        let manager = Value::from(&*self.manager);
        let through = match &*self.subresource {
            "" => String::new(),
            subresource => format!(" with subresource \"{subresource}\""),
        };
        let version = if self.apply { "" } else { api_version.as_str().unwrap_or_default() };
        format!("{manager}{through}{}{version}", if self.apply { "" } else { " using " })
    }
}
