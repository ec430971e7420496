//! Claims and volumes: provisioning, binding, growth, protection and reclaim.
//!
//! `Immediate` classes get their volume at once, `WaitForFirstConsumer` ones when the scheduler has chosen a node. A
//! volume of a provisioner with `local` in its name lives on that node and is pinned to it; every other volume can be
//! attached anywhere. A claim that a pod uses stays until the pod is gone; a volume whose claim is gone is deleted if
//! its class says so. A claim is not matched with a volume that it does not name.

use super::{prelude::*, scheduler::SELECTED_NODE};
use crate::quantity::Quantity;

const WHO: &str = "persistentvolume-controller";

/// Keys are claims, and volumes where the namespace is empty.
pub(super) struct Claims;

impl Controller for Claims {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&PERSISTENT_VOLUME_CLAIM) {
            queue.add(seen.key.clone());
            if seen.new.is_none() {
                queue.add((String::new(), seen.latest().text("spec.volumeName").to_owned()));
            }
        } else if seen.is(&PERSISTENT_VOLUME) {
            queue.add(seen.key.clone());
            let claim = seen.latest().at("spec.claimRef");
            if claim.is_object() {
                queue.add((claim.text("namespace").to_owned(), claim.text("name").to_owned()));
            }
        } else if seen.is(&POD) {
            if seen.leaves_its_node() {
                claim_names(seen.latest()).for_each(|claim| queue.add((seen.key.0.clone(), claim)));
            }
        } else if seen.is(&STORAGE_CLASS) {
            let unbound = |(_, claim): &(&Key, &Arc<Value>)| claim.text("status.phase") != "Bound";
            queue.add_all(view.all(&PERSISTENT_VOLUME_CLAIM).filter(unbound));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        if key.0.is_empty() {
            if let Some(volume) = ctx.view.get(&PERSISTENT_VOLUME, "", &key.1) {
                reclaim(ctx, volume);
            }
        } else if let Some(claim) = ctx.view.get(&PERSISTENT_VOLUME_CLAIM, &key.0, &key.1) {
            if is_deleting(claim) {
                // A pod that is on no node yet holds nothing: no kubelet would start it.
                let mut users = ctx.view.pods_linked(Link::Claim(key.0.clone(), key.1.clone()));
                if !users.any(|(_, pod)| is_on_node(pod)) {
                    ctx.drop_finalizer(claim, WHO, "kubernetes.io/pvc-protection");
                }
            } else if !claim.has("spec.volumeName") {
                provision(ctx, claim, key, queue);
            } else if claim.text("status.phase") != "Bound" {
                bind(ctx, claim);
            } else {
                grow(ctx, claim);
            }
        }
    }
}

fn class_of<'a>(ctx: &'a Ctx<'_>, claim: &Value) -> Option<&'a Arc<Value>> {
    ctx.view.get(&STORAGE_CLASS, "", claim.text("spec.storageClassName"))
}

fn provision(ctx: &Ctx<'_>, claim: &Value, key: &Key, queue: &mut Queue) {
    let events = ctx.events(WHO);
    let Some(class) = class_of(ctx, claim) else {
        let class = claim.text("spec.storageClassName");
        if class.is_empty() {
            let message = "no persistent volumes available for this claim and no storage class is set";
            events.normal(claim, "FailedBinding", message);
        } else {
            let message = format!("storageclass.storage.k8s.io \"{class}\" not found");
            events.warning(claim, "ProvisioningFailed", &message);
        }
        return;
    };
    let node = claim["metadata"]["annotations"][SELECTED_NODE].as_str();
    if class["volumeBindingMode"] == "WaitForFirstConsumer" && node.is_none() {
        if ctx.view.linked(Link::Claim(key.0.clone(), key.1.clone())).next().is_none() {
            let message = "waiting for first consumer to be created before binding";
            events.normal(claim, "WaitForFirstConsumer", message);
        }
        return;
    }
    let provisioner = class.text("provisioner");
    if !claim["metadata"]["annotations"]["volume.kubernetes.io/storage-provisioner"].is_string() {
        ctx.edit(claim, WHO, |claim| {
            let annotations = &mut claim["metadata"]["annotations"];
            annotations["volume.beta.kubernetes.io/storage-provisioner"] = json!(provisioner);
            annotations["volume.kubernetes.io/storage-provisioner"] = json!(provisioner);
        });
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
             system administrator. If volume creation is delayed, please verify that the provisioner is running and \
             correctly registered."
        );
        events.normal(claim, "ExternalProvisioning", &message);
    }
    if let Some(until) = ctx.waits(claim, "provision", ctx.delays.provision) {
        return queue.add_at(key.clone(), until);
    }
    let name = format!("pvc-{}", uid(claim));
    let made = ctx.cluster.create(&PERSISTENT_VOLUME, "", volume(ctx, claim, class, node, &name), WHO);
    if made.is_err_and(|status| status.reason != "AlreadyExists") {
        queue.add_at(key.clone(), ctx.now + ctx.delays.seconds(1));
        return;
    }
    let message = format!("Successfully provisioned volume {name}");
    ctx.events(provisioner).normal(claim, "ProvisioningSucceeded", &message);
    ctx.edit(claim, WHO, |claim| {
        claim.put("spec.volumeName", name);
        let annotations = &mut claim["metadata"]["annotations"];
        annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
        annotations["pv.kubernetes.io/bound-by-controller"] = json!("yes");
    });
}

fn reference(claim: &Value) -> Value {
    let metadata = &claim["metadata"];
    json!({
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": metadata["namespace"],
        "name": metadata["name"], "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
    })
}

fn volume(ctx: &Ctx<'_>, claim: &Value, class: &Value, node: Option<&str>, name: &str) -> Value {
    let provisioner = class.text("provisioner");
    let mut volume = json!({
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": {
            "capacity": {"storage": claim.at("spec.resources.requests.storage")},
            "accessModes": claim.at("spec.accessModes"),
            "claimRef": reference(claim),
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
            "storageClassName": class.at("metadata.name"),
            "volumeMode": claim.at("spec.volumeMode").as_str().unwrap_or("Filesystem"),
        },
    });
    if provisioner.contains("local") {
        let object = node.and_then(|node| ctx.view.get(&NODE, "", node));
        let host = object.and_then(|node| node["metadata"]["labels"]["kubernetes.io/hostname"].as_str()).or(node);
        let path = format!("/var/lib/rancher/k3s/storage/{name}");
        volume.put("spec.hostPath", json!({"path": path, "type": "DirectoryOrCreate"}));
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
        volume.put("spec.nodeAffinity.required.nodeSelectorTerms", json!([{"matchExpressions": [here]}]));
    } else {
        volume.put("spec.csi", json!({"driver": provisioner, "volumeHandle": name, "fsType": "ext4"}));
    }
    volume
}

/// Completes the binding of a claim that names its volume.
fn bind(ctx: &Ctx<'_>, claim: &Value) {
    let Some(volume) = ctx.view.get(&PERSISTENT_VOLUME, "", claim.text("spec.volumeName")) else {
        return;
    };
    let taken_by = volume.text("spec.claimRef.uid");
    if !taken_by.is_empty() && taken_by != uid(claim) {
        let message = format!("volume \"{}\" already bound to a different claim.", volume.text("metadata.name"));
        return ctx.events(WHO).warning(claim, "FailedBinding", &message);
    }
    if taken_by.is_empty() {
        ctx.edit(volume, WHO, |volume| volume.put("spec.claimRef", reference(claim)));
    }
    ctx.edit_status(volume, WHO, |volume| volume.put("status.phase", "Bound"));
    let (modes, capacity) = (volume.at("spec.accessModes"), volume.at("spec.capacity"));
    let status = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
    ctx.edit_status(claim, WHO, |claim| claim["status"] = status);
}

/// Gives a bound claim the capacity that it asks for, if its class can grow volumes.
fn grow(ctx: &Ctx<'_>, claim: &Value) {
    let wanted = claim.at("spec.resources.requests.storage");
    let grows = Quantity::of(wanted) > Quantity::of(claim.at("status.capacity.storage"));
    if !grows || !class_of(ctx, claim).is_some_and(|class| class.yes("allowVolumeExpansion")) {
        return;
    }
    let Some(volume) = ctx.view.get(&PERSISTENT_VOLUME, "", claim.text("spec.volumeName")) else {
        return;
    };
    ctx.edit(volume, WHO, |volume| volume.put("spec.capacity.storage", wanted.clone()));
    ctx.edit_status(claim, WHO, |claim| claim.put("status.capacity.storage", wanted.clone()));
    ctx.events("volume_expand").normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded");
}

/// Deletes or releases a volume whose claim is gone.
fn reclaim(ctx: &Ctx<'_>, volume: &Value) {
    let of = volume.at("spec.claimRef");
    let holder = ctx.view.get(&PERSISTENT_VOLUME_CLAIM, of.text("namespace"), of.text("name"));
    // A volume that nobody has taken yet waits for a claim that names it.
    let lost = of.has("uid") && holder.is_none_or(|holder| uid(holder) != of.text("uid"));
    if is_deleting(volume) && (lost || !of.has("uid")) {
        ctx.drop_finalizer(volume, WHO, "kubernetes.io/pv-protection");
    } else if lost && volume.text("spec.persistentVolumeReclaimPolicy") == "Delete" {
        ctx.delete(volume, None);
    } else if lost && volume.text("status.phase") != "Released" {
        ctx.edit_status(volume, WHO, |volume| volume.put("status.phase", "Released"));
    }
}
