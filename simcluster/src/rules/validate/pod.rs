//! Pods and templates of pods.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{list, names, port};
use crate::{quantity::Quantity, status::Cause};

pub(super) fn check(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    if let Some(old) = old {
        unchanged(&old["spec"], &new["spec"], causes);
    } else {
        spec("spec", &new["spec"], &[], causes);
    }
}

/// A pod stays what it is, except for its images, more tolerations, and the node that the scheduler gives it.
fn unchanged(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let mut allowed = new.clone();
    for field in ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds"] {
        restore(&mut allowed, old, field);
    }
    if old["nodeName"].as_str().unwrap_or_default().is_empty() {
        restore(&mut allowed, old, "nodeName");
    }
    for field in ["containers", "initContainers"] {
        let images = list(old, field).iter().map(|c| c["image"].clone()).collect::<Vec<_>>();
        let containers = allowed.get_mut(field).and_then(Value::as_array_mut).into_iter().flatten();
        containers.zip(images).for_each(|(container, image)| container["image"] = image);
    }
    let dropped = list(old, "tolerations").iter().any(|toleration| !list(new, "tolerations").contains(toleration));
    if allowed != *old || dropped {
        let why = "pod updates may not change fields other than \
                   `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,\
                   `spec.tolerations` (only additions to existing tolerations),\
                   `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
        causes.push(Cause::forbidden("spec", why));
    }
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => {
            if let Some(fields) = new.as_object_mut() {
                fields.remove(field);
            }
        }
    }
}

/// A pod's spec at `path`; `claims` are volumes that come from a StatefulSet's claim templates.
pub(super) fn spec(path: &str, spec: &Value, claims: &[&str], causes: &mut Vec<Cause>) {
    let mut volumes: BTreeSet<&str> = claims.iter().copied().collect();
    for (at, volume) in list(spec, "volumes").iter().enumerate() {
        let field = format!("{path}.volumes[{at}].name");
        let name = volume["name"].as_str().unwrap_or_default();
        causes.extend(if name.is_empty() { Some(Cause::required(field, "")) } else { names::label(&field, name) });
        volumes.insert(name);
    }
    if list(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for field in ["containers", "initContainers"] {
        for (at, container) in list(spec, field).iter().enumerate() {
            let here = format!("{path}.{field}[{at}]");
            let name = container["name"].as_str().unwrap_or_default();
            if !name.is_empty() && !seen.insert(name) {
                causes.push(Cause::duplicate(format!("{here}.name"), &container["name"]));
            }
            self::container(&here, container, &volumes, causes);
        }
    }
}

fn container(path: &str, container: &Value, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let field = format!("{path}.name");
    match container["name"].as_str().filter(|name| !name.is_empty()) {
        None => causes.push(Cause::required(field, "")),
        Some(name) => causes.extend(names::label(&field, name)),
    }
    if container["image"].as_str().unwrap_or_default().is_empty() {
        causes.push(Cause::required(format!("{path}.image"), ""));
    }
    for (at, entry) in list(container, "ports").iter().enumerate() {
        port(format!("{path}.ports[{at}].containerPort"), &entry["containerPort"], causes);
    }
    for (at, variable) in list(container, "env").iter().enumerate() {
        if variable["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.env[{at}].name"), ""));
        }
    }
    for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
        let name = mount["name"].as_str().unwrap_or_default();
        if !volumes.contains(name) {
            let field = format!("{path}.volumeMounts[{at}].name");
            causes.push(Cause { reason: "FieldValueNotFound", field, message: format!("Not found: \"{name}\"") });
        }
        if mount["mountPath"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{path}.volumeMounts[{at}].mountPath"), ""));
        }
    }
    resources(&format!("{path}.resources"), &container["resources"], causes);
}

fn resources(path: &str, resources: &Value, causes: &mut Vec<Cause>) {
    let amount = |value: &Value| value.as_str().and_then(|text| text.parse::<Quantity>().ok());
    for field in ["limits", "requests"] {
        for (name, value) in resources[field].as_object().into_iter().flatten() {
            if amount(value).is_some_and(Quantity::is_negative) {
                let why = "must be greater than or equal to 0";
                causes.push(Cause::invalid(format!("{path}.{field}[{name}]"), value, why));
            }
        }
    }
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][name];
        if let (Some(asked), Some(most)) = (amount(request), amount(limit))
            && asked > most
        {
            let why = format!("must be less than or equal to {name} limit of {most}");
            causes.push(Cause::invalid(format!("{path}.requests"), request, &why));
        }
    }
}
