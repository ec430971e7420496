//! What each kind makes of an object: defaults, fields that the server fills in, and validation.
//!
//! Only what Lumbung sends, and what a mistake in it would look like, is covered; a field without a rule here is stored
//! as it was sent.

mod defaults;
mod fill;
mod names;
mod validate;

use serde_json::{Value, json};

pub(crate) use defaults::defaults;
pub(crate) use fill::{derive, fill_in, served};
pub(crate) use validate::validate;

use crate::{dig::Dig, resource::Kind, status::Status};

/// Whether all containers of a pod have ended for good.
pub(crate) fn has_ended(pod: &Value) -> bool {
    matches!(pod.text("status.phase"), "Succeeded" | "Failed")
}

/// Where a pod's spec has containers.
pub(crate) const POD_LISTS: [&str; 2] = ["containers", "initContainers"];

pub(crate) fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    POD_LISTS.iter().flat_map(|list| spec.items(list))
}

/// What a pod needs at once, made of what its containers need: its containers and sidecars together or, if that is more, one
/// of its other init containers beside the sidecars that were started before it. `raise` makes the first the larger of both.
pub(crate) fn effective<T: Clone + Default>(
    spec: &Value,
    need: impl Fn(&Value) -> T,
    add: impl Fn(&mut T, &T),
    raise: impl Fn(&mut T, &T),
) -> T {
    let (mut running, mut starting) = (T::default(), T::default());
    for container in spec.items("initContainers") {
        let mut at_once = running.clone();
        add(&mut at_once, &need(container));
        raise(&mut starting, &at_once);
        if container.text("restartPolicy") == "Always" {
            running = at_once;
        }
    }
    spec.items("containers").iter().for_each(|container| add(&mut running, &need(container)));
    raise(&mut running, &starting);
    running
}

pub(crate) fn each_container(spec: &mut Value, mut change: impl FnMut(&mut Value)) {
    for list in POD_LISTS {
        spec.items_mut(list).iter_mut().for_each(&mut change);
    }
}

/// The kind's object before anything is set: against it, a new object's owned fields are told.
pub(crate) fn bare(kind: &Kind) -> Value {
    let mut object = json!({"metadata": {}});
    match kind.kind {
        "StatefulSet" => {
            object.put("spec", json!({"template": {"metadata": {}, "spec": {"containers": []}}, "updateStrategy": {}}));
        }
        "Pod" => object.put("spec", json!({"containers": []})),
        "PersistentVolumeClaim" => object.put("spec", json!({"resources": {}})),
        "NetworkPolicy" => object.put("spec", json!({})),
        "Event" => object = json!({"metadata": {}, "involvedObject": {}, "source": {}}),
        other if kind.has_status() || ["Lease", "LimitRange"].contains(&other) => {
            object = json!({"metadata": {}, "spec": {}, "status": {}});
        }
        _ => {}
    }
    object
}

/// What a writer through this part of the API cannot set is not looked at.
pub(crate) fn without_ignored(kind: &Kind, subresource: &str, object: &Value) -> Value {
    if subresource == "status" {
        let (version, kind, status) = (&object["apiVersion"], &object["kind"], &object["status"]);
        return json!({"apiVersion": version, "kind": kind, "metadata": {}, "status": status});
    }
    let mut object = object.clone();
    if kind.has_status() {
        object.remove("status");
    }
    object
}

/// Gives back the part of an object that this part of the API does not write: status here, containers' resources there,
/// everything else elsewhere. Binding writes both: a pod is given its node and told so in one step.
pub(crate) fn keep_others_part(kind: &Kind, subresource: &str, old: &Value, new: &mut Value) {
    match subresource {
        "status" => {
            let status = new["status"].take();
            *new = old.clone();
            new.put_or_remove("status", status);
        }
        "resize" => {
            let sent = std::mem::replace(new, old.clone());
            each_container(&mut new["spec"], |container| {
                let same = containers(&sent["spec"]).find(|sent| sent["name"] == container["name"]);
                container["resources"] = same.map(|sent| sent["resources"].clone()).unwrap_or_default();
            });
        }
        "" | "scale" if kind.has_status() => new.put_or_remove("status", old["status"].clone()),
        _ => {}
    }
}

/// `generation` counts changes of what is desired: everything but metadata, status, and the node that a pod is given.
pub(crate) fn count_generation(kind: &Kind, old: &Value, new: &mut Value) {
    let is_binding = kind.kind == "Pod" && !old.has("spec.nodeName") && new.has("spec.nodeName");
    if kind.has_generation && old["spec"] != new["spec"] && !is_binding {
        new.put("metadata.generation", old.int("metadata.generation").unwrap_or(0) + 1);
    }
}

/// The namespaces that the cluster itself lives in stay.
pub(crate) fn may_delete(kind: &Kind, name: &str) -> Result<(), Status> {
    if kind.kind == "Namespace" && ["default", "kube-system", "kube-public"].contains(&name) {
        return Err(Status::forbidden(kind, name, "this namespace may not be deleted"));
    }
    Ok(())
}
