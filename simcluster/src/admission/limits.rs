//! LimitRange: defaults and bounds for containers; and which claims may grow.

use serde_json::{Value, json};

use crate::{
    dig::Dig,
    quantity::Quantity,
    resource,
    rules::{containers, each_container},
    status::Status,
    store::State,
};

fn container_limits(state: &State, pod: &Value) -> Vec<Value> {
    let ranges = state.list(&resource::LIMIT_RANGE, Some(pod.text("metadata.namespace")));
    let limits = ranges.iter().flat_map(|range| range.items("spec.limits"));
    limits.filter(|limit| limit["type"] == "Container").cloned().collect()
}

/// Containers without requests or limits get the range's; a limit that was given is the request before a default is.
pub(super) fn apply_defaults(state: &State, pod: &mut Value) {
    for limit in container_limits(state, pod) {
        each_container(&mut pod["spec"], |container| {
            for (side, defaults) in [("limits", "default"), ("requests", "defaultRequest")] {
                for (name, amount) in limit.fields(defaults) {
                    container.default("resources", json!({}));
                    let given = &mut container["resources"][side][name];
                    if given.is_null() {
                        *given = amount.clone();
                    }
                }
            }
        });
    }
}

pub(super) fn check(state: &State, pod: &Value) -> Result<(), Status> {
    let mut broken = Vec::new();
    for limit in container_limits(state, pod) {
        for container in containers(&pod["spec"]) {
            for (list, word, side, used) in
                [("max", "maximum", "limits", "limit"), ("min", "minimum", "requests", "request")]
            {
                for (name, bound) in limit.fields(list) {
                    let given = amount(&container["resources"][side][name]);
                    let rule = format!("{word} {name} usage per Container is {}", bound.as_str().unwrap_or_default());
                    match (given, amount(bound)) {
                        (None, _) => broken.push(format!("{rule}.  No {used} is specified")),
                        (Some(given), Some(bound)) if if list == "max" { given > bound } else { given < bound } => {
                            broken.push(format!("{rule}, but {used} is {given}"));
                        }
                        (Some(_), _) => {}
                    }
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

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(|text| text.parse().ok())
}

/// A claim may grow only if its storage class says so.
pub(super) fn check_growth(state: &State, old: &Value, new: &Value) -> Result<(), Status> {
    let size = |claim: &Value| amount(claim.at("spec.resources.requests.storage"));
    let class = state.get(&resource::STORAGE_CLASS, &(String::new(), new.text("spec.storageClassName").to_owned()));
    if size(new) <= size(old) || class.is_some_and(|class| class.yes("allowVolumeExpansion")) {
        return Ok(());
    }
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(Status::forbidden(&resource::PERSISTENT_VOLUME_CLAIM, new.text("metadata.name"), why))
}
