//! Claims and volumes: provisioning, binding, growth, protection and reclaim.
//!
//! `Immediate` classes get their volume at once, `WaitForFirstConsumer` ones when the scheduler has chosen a node. A
//! volume of a provisioner with `local` in its name lives on that node and is pinned to it; every other volume can be
//! attached anywhere. A claim that a pod uses stays until the pod is gone; a volume whose claim is gone is deleted if
//! its class says so.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    requests::quantity,
    scheduler::SELECTED_NODE,
    view::{claim_names, is_deleting, is_terminal, list, uid},
};
use crate::{
    resource::{self, Kind, PERSISTENT_VOLUME as VOLUME, PERSISTENT_VOLUME_CLAIM as CLAIM},
    store::{DeleteOptions, Key},
};

const WHO: &str = "persistentvolume-controller";
const CLAIM_PROTECTION: &str = "kubernetes.io/pvc-protection";
const VOLUME_PROTECTION: &str = "kubernetes.io/pv-protection";

#[derive(Default)]
pub(super) struct Claims {
    /// When the volume for a claim (by uid) will have been made.
    being_made: HashMap<String, Timestamp>,
}

impl Controller for Claims {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&CLAIM) {
            queue.add(seen.key.clone());
            if seen.new.is_none() {
                self.being_made.remove(uid(seen.latest()));
                if let Some(volume) = seen.latest()["spec"]["volumeName"].as_str() {
                    queue.add((String::new(), volume.to_owned()));
                }
            }
        } else if seen.is(&VOLUME) {
            queue.add(seen.key.clone());
        } else if seen.is(&resource::POD) {
            let used = |pod: &Arc<Value>| !is_terminal(pod);
            if seen.old.is_some_and(used) && !seen.new.is_some_and(used) {
                claim_names(seen.latest()).for_each(|claim| queue.add((seen.key.0.clone(), claim)));
            }
        } else if seen.is(&resource::STORAGE_CLASS) {
            let unbound = view.all(&CLAIM).filter(|(_, claim)| claim["status"]["phase"] != "Bound");
            unbound.for_each(|(key, _)| queue.add(key.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        if key.0.is_empty() {
            if let Some(volume) = ctx.view.get(&VOLUME, "", &key.1) {
                reclaim(ctx, volume);
            }
        } else if let Some(claim) = ctx.view.get(&CLAIM, &key.0, &key.1) {
            if is_deleting(claim) {
                unprotect(ctx, claim);
            } else if !claim["spec"]["volumeName"].is_string() {
                self.provision(ctx, claim, key, queue);
            } else {
                bind(ctx, claim);
                grow(ctx, claim);
            }
        }
    }
}

impl Claims {
    fn provision(&mut self, ctx: &Ctx<'_>, claim: &Value, key: &Key, queue: &mut Queue) {
        let class_name = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
        let Some(class) = ctx.view.get(&resource::STORAGE_CLASS, "", class_name) else {
            let (reason, message) = if class_name.is_empty() {
                (
                    "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set".to_owned(),
                )
            } else {
                ("ProvisioningFailed", format!("storageclass.storage.k8s.io \"{class_name}\" not found"))
            };
            if reason == "FailedBinding" {
                ctx.events(WHO).normal(claim, reason, &message);
            } else {
                ctx.events(WHO).warning(claim, reason, &message);
            }
            return;
        };
        let node = claim["metadata"]["annotations"][SELECTED_NODE].as_str();
        if class["volumeBindingMode"] == "WaitForFirstConsumer" && node.is_none() {
            let message = "waiting for first consumer to be created before binding";
            if ctx.view.pods_using_claim(&key.0, &key.1).next().is_none() {
                ctx.events(WHO).normal(claim, "WaitForFirstConsumer", message);
            }
            return;
        }
        let ready_at = *self.being_made.entry(uid(claim).to_owned()).or_insert_with(|| {
            announce(ctx, claim, class);
            ctx.now + ctx.delays.provision
        });
        if ready_at > ctx.now {
            queue.add_at(key.clone(), ready_at);
            return;
        }
        if make_volume(ctx, claim, class, node) {
            self.being_made.remove(uid(claim));
        } else {
            queue.add_at(key.clone(), ctx.now + ctx.delays.seconds(1));
        }
    }
}

/// Says on the claim who makes its volume.
fn announce(ctx: &Ctx<'_>, claim: &Value, class: &Value) {
    let provisioner = class["provisioner"].as_str().unwrap_or_default();
    let _ = ctx.cluster.update(&CLAIM, text(claim, "namespace"), text(claim, "name"), WHO, |claim| {
        let annotations = &mut claim["metadata"]["annotations"];
        annotations["volume.beta.kubernetes.io/storage-provisioner"] = json!(provisioner);
        annotations["volume.kubernetes.io/storage-provisioner"] = json!(provisioner);
    });
    let message = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered."
    );
    ctx.events(WHO).normal(claim, "ExternalProvisioning", &message);
}

/// Makes the volume and points the claim at it; `false` if the store refused.
fn make_volume(ctx: &Ctx<'_>, claim: &Value, class: &Value, node: Option<&str>) -> bool {
    let provisioner = class["provisioner"].as_str().unwrap_or_default();
    let name = format!("pvc-{}", uid(claim));
    let local = provisioner.contains("local");
    let mut spec = json!({
        "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
        "accessModes": claim["spec"]["accessModes"],
        "claimRef": {
            "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": claim["metadata"]["namespace"],
            "name": claim["metadata"]["name"], "uid": uid(claim),
            "resourceVersion": claim["metadata"]["resourceVersion"],
        },
        "persistentVolumeReclaimPolicy": class["reclaimPolicy"].as_str().unwrap_or("Delete"),
        "storageClassName": class["metadata"]["name"],
        "volumeMode": claim["spec"]["volumeMode"].as_str().unwrap_or("Filesystem"),
    });
    if local {
        let host = node
            .and_then(|node| ctx.view.get(&resource::NODE, "", node))
            .and_then(|node| node["metadata"]["labels"]["kubernetes.io/hostname"].as_str())
            .or(node);
        spec["hostPath"] = json!({"path": format!("/var/lib/rancher/k3s/storage/{name}"), "type": "DirectoryOrCreate"});
        let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [host]});
        spec["nodeAffinity"] = json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}});
    } else {
        spec["csi"] = json!({"driver": provisioner, "volumeHandle": name, "fsType": "ext4"});
    }
    let volume = json!({
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": provisioner}},
        "spec": spec,
    });
    let made = ctx.cluster.create(&VOLUME, "", volume, WHO);
    if made.is_err_and(|status| status.reason != "AlreadyExists") {
        return false;
    }
    let _ = ctx.cluster.update_status(&VOLUME, "", &name, WHO, |volume| {
        volume["status"]["phase"] = json!("Bound");
    });
    let (ns, claim_name) = (text(claim, "namespace"), text(claim, "name"));
    let message = format!("Successfully provisioned volume {name}");
    ctx.events(provisioner).normal(claim, "ProvisioningSucceeded", &message);
    let point = |claim: &mut Value| {
        claim["spec"]["volumeName"] = json!(name);
        let annotations = &mut claim["metadata"]["annotations"];
        annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
        annotations["pv.kubernetes.io/bound-by-controller"] = json!("yes");
    };
    ctx.cluster.update(&CLAIM, ns, claim_name, WHO, point).is_ok()
}

/// Completes the binding of a claim that names its volume.
fn bind(ctx: &Ctx<'_>, claim: &Value) {
    if claim["status"]["phase"] == "Bound" {
        return;
    }
    let Some(volume) = ctx.view.get(&VOLUME, "", claim["spec"]["volumeName"].as_str().unwrap_or_default()) else {
        return;
    };
    let (ns, name) = (text(claim, "namespace"), text(claim, "name"));
    let taken_by = &volume["spec"]["claimRef"];
    if taken_by.is_null() {
        let reference = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": ns, "name": name, "uid": uid(claim)});
        let take = |volume: &mut Value| volume["spec"]["claimRef"] = reference;
        let volume = text(volume, "name");
        let _ = ctx.cluster.update(&VOLUME, "", volume, WHO, take);
        let _ = ctx.cluster.update_status(&VOLUME, "", volume, WHO, |v| {
            v["status"]["phase"] = json!("Bound");
        });
    } else if taken_by["uid"] != uid(claim) {
        let message = format!("volume \"{}\" already bound to a different claim.", text(volume, "name"));
        ctx.events(WHO).warning(claim, "FailedBinding", &message);
        return;
    }
    let (modes, capacity) = (volume["spec"]["accessModes"].clone(), volume["spec"]["capacity"].clone());
    let _ = ctx.cluster.update_status(&CLAIM, ns, name, WHO, |claim| {
        claim["status"] = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
    });
}

/// Gives a bound claim the capacity that it asks for, if its class can grow volumes.
fn grow(ctx: &Ctx<'_>, claim: &Value) {
    let wanted = &claim["spec"]["resources"]["requests"]["storage"];
    let bound = claim["status"]["phase"] == "Bound";
    if !bound || quantity(wanted) <= quantity(&claim["status"]["capacity"]["storage"]) {
        return;
    }
    let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
    let class = ctx.view.get(&resource::STORAGE_CLASS, "", class);
    if class.is_none_or(|class| class["allowVolumeExpansion"] != true) {
        return;
    }
    let volume = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    let _ = ctx.cluster.update(&VOLUME, "", volume, WHO, |v| {
        v["spec"]["capacity"]["storage"] = wanted.clone();
    });
    let _ = ctx.cluster.update_status(&CLAIM, text(claim, "namespace"), text(claim, "name"), WHO, |claim| {
        claim["status"]["capacity"]["storage"] = wanted.clone();
    });
    ctx.events("volume_expand").normal(claim, "VolumeResizeSuccessful", "Resize volume succeeded");
}

/// Lets a claim that is being deleted go once no pod uses it.
fn unprotect(ctx: &Ctx<'_>, claim: &Value) {
    let (ns, name) = (text(claim, "namespace"), text(claim, "name"));
    if !ctx.view.pods_using_claim(ns, name).any(|(_, pod)| !is_terminal(pod)) {
        drop_finalizer(ctx, &CLAIM, claim, CLAIM_PROTECTION);
    }
}

fn drop_finalizer(ctx: &Ctx<'_>, kind: &'static Kind, object: &Value, finalizer: &str) {
    let has = |object: &Value| list(&object["metadata"]["finalizers"]).iter().any(|f| f == finalizer);
    if !has(object) {
        return;
    }
    let _ = ctx.cluster.update(kind, text(object, "namespace"), text(object, "name"), WHO, |object| {
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|f| f != finalizer);
        }
    });
}

/// Deletes or releases a volume whose claim is gone.
fn reclaim(ctx: &Ctx<'_>, volume: &Value) {
    let claim = &volume["spec"]["claimRef"];
    let text_of = |field: &str| claim[field].as_str().unwrap_or_default();
    let holder = ctx.view.get(&CLAIM, text_of("namespace"), text_of("name"));
    let was_claimed = claim["uid"].is_string();
    if was_claimed && holder.is_some_and(|holder| uid(holder) == text_of("uid")) {
        return;
    }
    let name = text(volume, "name");
    if is_deleting(volume) {
        drop_finalizer(ctx, &VOLUME, volume, VOLUME_PROTECTION);
    } else if !was_claimed {
        // Nobody's yet: it waits for a claim that names it.
    } else if volume["spec"]["persistentVolumeReclaimPolicy"] == "Delete" {
        let _ = ctx.cluster.delete(&VOLUME, "", name, &DeleteOptions::default());
    } else if volume["status"]["phase"] != "Released" {
        let release = |volume: &mut Value| volume["status"]["phase"] = json!("Released");
        let _ = ctx.cluster.update_status(&VOLUME, "", name, WHO, release);
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
