//! Admission: what a namespace's limit ranges add to pods and refuse, quotas, and Pod Security.

pub(crate) mod quota;
mod security;

use serde_json::{Value, json};

use crate::{
    dig::Dig,
    quantity::Quantity,
    resource::{self, Kind},
    rules::{containers, each_container},
    status::Status,
    store::State,
};

/// Admission that may change a new object: containers without requests or limits get their namespace's.
pub(crate) fn mutate(state: &State, kind: &'static Kind, object: &mut Value) {
    if !kind.is(&resource::POD) {
        return;
    }
    for limit in container_limits(state, object) {
        each_container(&mut object["spec"], |container| {
            for (side, defaults) in [("limits", "default"), ("requests", "defaultRequest")] {
                for (name, amount) in limit.fields(defaults) {
                    container.default("resources", json!({}));
                    if container["resources"][side][name].is_null() {
                        container["resources"][side][name] = amount.clone();
                    }
                }
            }
        });
    }
}

/// Admission that may refuse a write.
pub(crate) fn validate(
    state: &mut State,
    kind: &'static Kind,
    old: Option<&Value>,
    new: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    if old.is_some_and(|old| old["spec"] == new["spec"]) {
        return Ok(());
    }
    if kind.is(&resource::POD) {
        let resources = |pod: &Value| containers(&pod["spec"]).map(|c| c["resources"].clone()).collect::<Vec<_>>();
        match old {
            None => security::check(state, new)?,
            Some(old) if resources(old) == resources(new) => return Ok(()),
            Some(_) => {}
        }
        within_limits(state, new)?;
    }
    if let Some(old) = old.filter(|_| kind.is(&resource::PERSISTENT_VOLUME_CLAIM)) {
        may_grow(state, old, new)?;
    }
    quota::charge(state, kind, old, new, dry_run)
}

fn container_limits(state: &State, pod: &Value) -> Vec<Value> {
    let ranges = state.list(&resource::LIMIT_RANGE, Some(pod.text("metadata.namespace")));
    let limits = ranges.iter().flat_map(|range| range.items("spec.limits"));
    limits.filter(|limit| limit["type"] == "Container").cloned().collect()
}

fn within_limits(state: &State, pod: &Value) -> Result<(), Status> {
    let mut broken = Vec::new();
    for limit in container_limits(state, pod) {
        for container in containers(&pod["spec"]) {
            for (list, word, used) in [("max", "maximum", "limit"), ("min", "minimum", "request")] {
                for (name, bound) in limit.fields(list) {
                    let shown = bound.as_str().unwrap_or_default();
                    let given = Quantity::of(&container["resources"][format!("{used}s")][name]);
                    let is_within = |given| {
                        let bound = Quantity::of(bound).unwrap_or_default();
                        if list == "max" { given <= bound } else { given >= bound }
                    };
                    let what = match given {
                        Some(given) if is_within(given) => continue,
                        Some(given) => format!(", but {used} is {given}"),
                        None => format!(".  No {used} is specified"),
                    };
                    broken.push(format!("{word} {name} usage per Container is {shown}{what}"));
                }
            }
        }
    }
    let why = match broken.as_slice() {
        [] => return Ok(()),
        [one] => one.clone(),
        many => format!("[{}]", many.join(", ")),
    };
    Err(Status::forbidden(&resource::POD, pod.text("metadata.name"), &why))
}

/// A claim may grow only if its storage class says so.
fn may_grow(state: &State, old: &Value, new: &Value) -> Result<(), Status> {
    let size = |claim: &Value| Quantity::of(claim.at("spec.resources.requests.storage"));
    let class = state.get(&resource::STORAGE_CLASS, &(String::new(), new.text("spec.storageClassName").to_owned()));
    if size(new) <= size(old) || class.is_some_and(|class| class.yes("allowVolumeExpansion")) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(Status::forbidden(&resource::PERSISTENT_VOLUME_CLAIM, new.text("metadata.name"), why))
}
