//! LimitRange: defaults and bounds for containers; and which claims may grow.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{quantity::Quantity, resource, status::Status, store::State};

fn container_limits(state: &State, pod: &Value) -> Vec<Value> {
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let ranges: Vec<Arc<Value>> = state.list(&resource::LIMIT_RANGE, Some(ns));
    let limits = ranges.iter().filter_map(|range| range["spec"]["limits"].as_array()).flatten();
    limits.filter(|limit| limit["type"] == "Container").cloned().collect()
}

/// Containers without requests or limits get the range's; a limit that was given is the request before a default is.
pub(super) fn apply_defaults(state: &State, pod: &mut Value) {
    for limit in container_limits(state, pod) {
        for list in ["containers", "initContainers"] {
            // Indexing would leave a null where there are no init containers, and the pod could never be bound.
            for container in pod["spec"].get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                for (field, defaults) in [("limits", "default"), ("requests", "defaultRequest")] {
                    for (name, amount) in limit[defaults].as_object().into_iter().flatten() {
                        if !container["resources"].is_object() {
                            container["resources"] = json!({});
                        }
                        if container["resources"][field][name].is_null() {
                            container["resources"][field][name] = amount.clone();
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn check(state: &State, pod: &Value) -> Result<(), Status> {
    let mut broken = Vec::new();
    for limit in container_limits(state, pod) {
        let lists = ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][list].as_array());
        for container in lists.flatten() {
            bound(&limit, &container["resources"], &mut broken);
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let why = if let [one] = broken.as_slice() { one.clone() } else { format!("[{}]", broken.join(", ")) };
    Err(Status::forbidden(&resource::POD, name, &why))
}

fn amount(value: &Value) -> Option<Quantity> {
    value.as_str().and_then(|text| text.parse().ok())
}

fn bound(limit: &Value, resources: &Value, broken: &mut Vec<String>) {
    for (name, most) in limit["max"].as_object().into_iter().flatten() {
        let (Some(bound), given) = (amount(most), amount(&resources["limits"][name])) else {
            continue;
        };
        match given {
            None => broken.push(format!("maximum {name} usage per Container is {bound}.  No limit is specified")),
            Some(given) if given > bound => {
                broken.push(format!("maximum {name} usage per Container is {bound}, but limit is {given}"));
            }
            Some(_) => {}
        }
    }
    for (name, least) in limit["min"].as_object().into_iter().flatten() {
        let (Some(bound), given) = (amount(least), amount(&resources["requests"][name])) else {
            continue;
        };
        match given {
            None => broken.push(format!("minimum {name} usage per Container is {bound}.  No request is specified")),
            Some(given) if given < bound => {
                broken.push(format!("minimum {name} usage per Container is {bound}, but request is {given}"));
            }
            Some(_) => {}
        }
    }
}

/// A claim may grow only if its storage class says so.
pub(super) fn check_growth(state: &State, old: &Value, new: &Value) -> Result<(), Status> {
    let size = |claim: &Value| amount(&claim["spec"]["resources"]["requests"]["storage"]);
    if size(new) <= size(old) {
        return Ok(());
    }
    let class = new["spec"]["storageClassName"].as_str().unwrap_or_default();
    let found = state.get(&resource::STORAGE_CLASS, &(String::new(), class.to_owned()));
    if found.is_some_and(|class| class["allowVolumeExpansion"] == true) {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    Err(Status::forbidden(&resource::PERSISTENT_VOLUME_CLAIM, name, why))
}
