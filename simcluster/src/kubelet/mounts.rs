//! Whether what a pod mounts is there: bound and attached claims, Secrets and ConfigMaps.

use serde_json::Value;

use super::Scene;
use crate::{
    controllers::{attachment_name, list},
    resource,
};

enum Mount {
    Ready,
    /// Somebody is at it: the provisioner, or attach and detach.
    Coming,
    Missing(String),
}

/// A missing mount is told as an event, as the real kubelet does; the pod waits with `ContainerCreating`.
pub(super) fn are_ready(scene: &Scene<'_>) -> bool {
    list(&scene.pod["spec"]["volumes"]).iter().all(|volume| match look(volume, scene) {
        Mount::Ready => true,
        Mount::Coming => false,
        Mount::Missing(why) => {
            scene.warning("FailedMount", &why);
            false
        }
    })
}

fn look(volume: &Value, scene: &Scene<'_>) -> Mount {
    let (view, ns) = (scene.ctx.view, scene.namespace());
    if let Some(claim) = volume["persistentVolumeClaim"]["claimName"].as_str() {
        return look_at_claim(claim, scene);
    }
    let sources = [("secret", "secretName", &resource::SECRET), ("configMap", "name", &resource::CONFIG_MAP)];
    for (source, field, kind) in sources {
        let reference = &volume[source];
        let Some(name) = reference[field].as_str() else {
            continue;
        };
        if reference["optional"] != true && view.get(kind, ns, name).is_none() {
            let (volume, word) = (volume["name"].as_str().unwrap_or_default(), source.to_lowercase());
            let why = format!("MountVolume.SetUp failed for volume \"{volume}\" : {word} \"{name}\" not found");
            return Mount::Missing(why);
        }
    }
    Mount::Ready
}

fn look_at_claim(claim: &str, scene: &Scene<'_>) -> Mount {
    let view = scene.ctx.view;
    let claim = view.get(&resource::PERSISTENT_VOLUME_CLAIM, scene.namespace(), claim);
    let Some(claim) = claim.filter(|claim| claim["status"]["phase"] == "Bound") else {
        return Mount::Coming;
    };
    let name = claim["spec"]["volumeName"].as_str().unwrap_or_default();
    match view.get(&resource::PERSISTENT_VOLUME, "", name) {
        Some(volume) if volume["spec"]["csi"].is_null() || is_attached(name, scene) => Mount::Ready,
        Some(_) | None => Mount::Coming,
    }
}

fn is_attached(volume: &str, scene: &Scene<'_>) -> bool {
    let attachment = scene.ctx.view.get(&resource::VOLUME_ATTACHMENT, "", &attachment_name(volume, scene.node));
    attachment.is_some_and(|attachment| attachment["status"]["attached"] == true)
}
