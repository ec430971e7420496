//! Claims and quotas.

use serde_json::{Value, json};

use super::list;
use crate::{quantity::Quantity, status::Cause};

fn storage(claim: &Value) -> Option<Quantity> {
    claim["spec"]["resources"]["requests"]["storage"].as_str().and_then(|text| text.parse().ok())
}

pub(super) fn claim(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let Some(old) = old else {
        if list(&new["spec"], "accessModes").is_empty() {
            causes.push(Cause::required("spec.accessModes", "at least 1 access mode is required"));
        }
        match storage(new) {
            None => causes.push(Cause::required("spec.resources[storage]", "")),
            Some(size) if size.is_negative() || size.is_zero() => {
                let size = &new["spec"]["resources"]["requests"]["storage"];
                causes.push(Cause::invalid("spec.resources[storage]", size, "must be greater than zero"));
            }
            Some(_) => {}
        }
        return;
    };
    let bound = old["status"]["phase"] == "Bound";
    let mut others = new["spec"].clone();
    if bound {
        others["resources"] = old["spec"]["resources"].clone();
    }
    // The binder names the volume once.
    if old["spec"]["volumeName"].as_str().unwrap_or_default().is_empty()
        && let Some(fields) = others.as_object_mut()
    {
        fields.remove("volumeName");
    }
    if others != old["spec"] {
        let why =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        causes.push(Cause::forbidden("spec", why));
        return;
    }
    let capacity = old["status"]["capacity"]["storage"].as_str().and_then(|text| text.parse().ok());
    if storage(new) < storage(old) && storage(new) < capacity {
        let why = "field can not be less than status.capacity";
        causes.push(Cause::forbidden("spec.resources.requests.storage", why));
    }
}

/// Resources that a quota can count; each is a whole number or an amount.
const COUNTED: [&str; 10] = [
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
    "ephemeral-storage",
];

pub(super) fn quota(spec: &Value, causes: &mut Vec<Cause>) {
    for (name, value) in spec["hard"].as_object().into_iter().flatten() {
        let field = format!("spec.hard[{name}]");
        let amount =
            name.starts_with("requests.") || name.starts_with("limits.") || ["cpu", "memory"].contains(&name.as_str());
        let known = amount || COUNTED.contains(&name.as_str()) || name.starts_with("count/") || name.contains('/');
        match value.as_str().and_then(|text| text.parse::<Quantity>().ok()) {
            Some(quantity) if quantity.is_negative() => {
                causes.push(Cause::invalid(&field, value, "must be greater than or equal to 0"));
            }
            Some(quantity) if known && !amount && !quantity.is_whole() => {
                causes.push(Cause::invalid(&field, value, "must be an integer"));
            }
            Some(_) | None => {}
        }
        if !known {
            let name = json!(name);
            causes.push(Cause::invalid(&field, &name, "must be a standard resource type or fully qualified"));
            causes.push(Cause::invalid(&field, &name, "must be a standard resource for quota"));
        }
    }
}
