//! The owners of an object's fields, and how writes change them.

use serde_json::{Map, Value, json};

use super::{
    compare::{compare, fields_of},
    set::Set,
};

/// One owner: a manager by its operation, version and subresource, and what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owner {
    manager: String,
    apply: bool,
    api_version: String,
    subresource: String,
    time: Option<String>,
    fields: Set,
}

/// All owners of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Managed(Vec<Owner>);

/// Who makes a write.
#[derive(Clone, Copy, Debug)]
pub struct Actor<'a> {
    pub manager: &'a str,
    pub apply: bool,
    pub api_version: &'a str,
    pub subresource: &'a str,
    pub now: &'a str,
}

/// (owner as messages show it, field path)
pub type Conflict = (String, String);

/// Metadata that nobody owns, because the server alone writes it.
const NOBODYS: [&[&str]; 14] = [
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "uid"],
    &["metadata", "resourceVersion"],
    &["metadata", "generation"],
    &["metadata", "creationTimestamp"],
    &["metadata", "deletionTimestamp"],
    &["metadata", "deletionGracePeriodSeconds"],
    &["metadata", "managedFields"],
    &["metadata", "selfLink"],
    &["metadata", "clusterName"],
];

fn without_nobodys(mut set: Set) -> Set {
    for path in NOBODYS {
        set.remove_path(path);
    }
    set
}

impl Managed {
    pub fn of(object: &Value) -> Self {
        let entries = object["metadata"]["managedFields"].as_array().map(Vec::as_slice).unwrap_or_default();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let owner = |entry: &Value| Owner {
            manager: text(entry, "manager"),
            apply: entry["operation"] == "Apply",
            api_version: text(entry, "apiVersion"),
            subresource: text(entry, "subresource"),
            time: entry["time"].as_str().map(ToOwned::to_owned),
            fields: Set::from_fields_v1(&entry["fieldsV1"]),
        };
        Self(entries.iter().map(owner).collect())
    }

    pub fn write(mut self, object: &mut Value) {
        self.0.retain(|owner| !owner.fields.is_empty());
        self.0.sort_by(|a, b| {
            let order = |owner: &Owner| (!owner.apply, owner.time.clone(), owner.manager.clone());
            order(a).cmp(&order(b))
        });
        let entries: Vec<Value> = self.0.iter().map(Owner::to_value).collect();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            if entries.is_empty() {
                metadata.remove("managedFields");
            } else {
                metadata.insert("managedFields".into(), entries.into());
            }
        }
    }

    fn place(&self, actor: &Actor<'_>) -> Option<usize> {
        self.0.iter().position(|owner| owner.is(actor))
    }

    /// An update owns what it changes, and takes it from everybody else. `old` is the kind's bare form for a new object.
    pub fn updated(&mut self, actor: &Actor<'_>, old: &Value, new: &Value) {
        let difference = compare(old, new);
        let (set, removed) = (without_nobodys(difference.set), without_nobodys(difference.removed));
        let mine = self.place(actor);
        for (at, owner) in self.0.iter_mut().enumerate() {
            if Some(at) != mine {
                owner.fields.subtract(&set);
            }
            owner.fields.subtract(&removed);
        }
        if set.is_empty() {
            return;
        }
        let at = mine.unwrap_or_else(|| self.add(actor));
        self.0[at].fields.union(&set);
        // Writes to /scale are recorded without a time.
        if actor.subresource != "scale" {
            self.0[at].time = Some(actor.now.to_owned());
        }
    }

    /// What this manager applied before.
    pub fn last_applied(&self, actor: &Actor<'_>) -> Set {
        self.place(actor).map(|at| self.0[at].fields.clone()).unwrap_or_default()
    }

    /// Everything that anybody owns.
    pub fn all(&self) -> Set {
        let mut all = Set::default();
        self.0.iter().for_each(|owner| all.union(&owner.fields));
        all
    }

    /// The manager owns the fields of what it applies, and no others.
    pub fn set_applied(&mut self, actor: &Actor<'_>, applied: &Value) {
        let fields = without_nobodys(fields_of(applied));
        let at = self.place(actor).unwrap_or_else(|| self.add(actor));
        self.0[at].fields = fields;
    }

    /// After an apply: fields that changed or went are lost to the others. With conflicts nothing is changed.
    pub fn applied(&mut self, actor: &Actor<'_>, old: &Value, new: &Value, force: bool) -> Result<(), Vec<Conflict>> {
        let difference = compare(old, new);
        let (set, removed) = (without_nobodys(difference.set), without_nobodys(difference.removed));
        let others = || self.0.iter().filter(|owner| !owner.is(actor));
        let mut conflicts = Vec::new();
        for owner in others() {
            let paths = owner.fields.intersection(&set).paths();
            conflicts.extend(paths.into_iter().map(|path| (owner.shown(), path)));
        }
        if !conflicts.is_empty() && !force {
            return Err(conflicts);
        }
        for owner in self.0.iter_mut().filter(|owner| !owner.is(actor)) {
            owner.fields.subtract(&set);
            owner.fields.subtract(&removed);
        }
        Ok(())
    }

    /// Notes the time of an actor's last effective write.
    pub fn touch(&mut self, actor: &Actor<'_>) {
        if let Some(at) = self.place(actor) {
            self.0[at].time = Some(actor.now.to_owned());
        }
    }

    fn add(&mut self, actor: &Actor<'_>) -> usize {
        self.0.push(Owner {
            manager: actor.manager.to_owned(),
            apply: actor.apply,
            api_version: actor.api_version.to_owned(),
            subresource: actor.subresource.to_owned(),
            time: None,
            fields: Set::default(),
        });
        self.0.len() - 1
    }
}

impl Owner {
    fn is(&self, actor: &Actor<'_>) -> bool {
        self.manager == actor.manager
            && self.apply == actor.apply
            && self.subresource == actor.subresource
            && self.api_version == actor.api_version
    }

    /// `"mgr"` for an applier; updaters are shown with how they write.
    fn shown(&self) -> String {
        let manager = Value::from(self.manager.as_str());
        match (self.apply, self.subresource.as_str()) {
            (true, "") => format!("{manager}"),
            (true, sub) => format!("{manager} with subresource \"{sub}\""),
            (false, "") => format!("{manager} using {}", self.api_version),
            (false, sub) => format!("{manager} with subresource \"{sub}\" using {}", self.api_version),
        }
    }

    fn to_value(&self) -> Value {
        let mut entry = Map::new();
        entry.insert("manager".into(), self.manager.as_str().into());
        entry.insert("operation".into(), if self.apply { "Apply" } else { "Update" }.into());
        entry.insert("apiVersion".into(), self.api_version.as_str().into());
        if let Some(time) = &self.time {
            entry.insert("time".into(), time.as_str().into());
        }
        entry.insert("fieldsType".into(), "FieldsV1".into());
        entry.insert("fieldsV1".into(), self.fields.to_fields_v1());
        if !self.subresource.is_empty() {
            entry.insert("subresource".into(), self.subresource.as_str().into());
        }
        json!(entry)
    }
}
