//! What a container needs from the cluster before it can run: its environment, and what its pod mounts.
//!
//! A missing thing is told as the kubelet tells it, and the pod is woken when that very thing changes.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::prelude::*;

/// The variables of a container; an error is what the kubelet shows as `CreateContainerConfigError`. References to other
/// variables are left as they are: no scripted application reads one.
pub(super) fn environment(container: &Value, scene: &mut Scene<'_>) -> Result<BTreeMap<String, String>, String> {
    let mut env = BTreeMap::new();
    for source in container.items("envFrom") {
        let data = secret(source.text("secretRef.name"), scene)?.fields("data");
        env.extend(data.map(|(key, value)| (key.clone(), decoded(value.text("")))));
    }
    for variable in container.items("env") {
        let source = variable.at("valueFrom");
        let value = match source.at("secretKeyRef") {
            Value::Null if source.is_null() => variable.text("value").to_owned(),
            Value::Null => return Err("the simulated kubelet reads variables from Secrets only".to_owned()),
            reference => of_secret(reference.text("name"), reference.text("key"), scene)?,
        };
        env.insert(variable.text("name").to_owned(), value);
    }
    Ok(env)
}

fn secret<'a>(name: &str, scene: &mut Scene<'a>) -> Result<&'a Value, String> {
    let found = scene.need(&resource::SECRET, scene.namespace(), name, |_| true);
    found.ok_or_else(|| format!("secret \"{name}\" not found"))
}

fn of_secret(name: &str, key: &str, scene: &mut Scene<'_>) -> Result<String, String> {
    let ns = scene.namespace();
    let Some(value) = secret(name, scene)?.at("data")[key].as_str() else {
        scene.wait_for(resource::SECRET.plural, ns, name);
        return Err(format!("couldn't find key {key} in Secret {ns}/{name}"));
    };
    Ok(decoded(value))
}

fn decoded(value: &str) -> String {
    String::from_utf8_lossy(&STANDARD.decode(value).unwrap_or_default()).into_owned()
}

/// The volumes behind the pod's claims, in their order, once all that it mounts is there; until then `None`.
pub(super) fn mounts(scene: &mut Scene<'_>) -> Option<Vec<String>> {
    let (pod, ns) = (scene.pod, scene.namespace());
    let sources = [("secret", "secretName", &resource::SECRET), ("configMap", "name", &resource::CONFIG_MAP)];
    let mut volumes = Vec::new();
    for volume in pod.items("spec.volumes") {
        if volume.has("persistentVolumeClaim") {
            volumes.push(attached_volume(volume.text("persistentVolumeClaim.claimName"), scene)?);
        }
        for (source, field, kind) in sources {
            let name = volume.at(source).text(field);
            if !name.is_empty() && scene.need(kind, ns, name, |_| true).is_none() {
                let (volume, word) = (volume.text("name"), kind.singular);
                let why = format!("MountVolume.SetUp failed for volume \"{volume}\" : {word} \"{name}\" not found");
                scene.tell("Warning", "FailedMount", &why);
                return None;
            }
        }
    }
    Some(volumes)
}

/// The volume of a claim once it is bound and, if it can move, attached to this node: others are at work on that.
fn attached_volume(claim: &str, scene: &mut Scene<'_>) -> Option<String> {
    let bound = |claim: &Value| claim.text("status.phase") == "Bound";
    let name = scene.need(&PERSISTENT_VOLUME_CLAIM, scene.namespace(), claim, bound)?.text("spec.volumeName");
    if scene.need(&PERSISTENT_VOLUME, "", name, |_| true)?.has("spec.csi") {
        let attachment = attachment_name(name, scene.node);
        scene.need(&VOLUME_ATTACHMENT, "", &attachment, |attachment| attachment.yes("status.attached"))?;
    }
    Some(name.to_owned())
}
