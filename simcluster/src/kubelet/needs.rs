//! What a container needs from the cluster before it can run: its environment, and what its pod mounts.
//!
//! A missing thing is told as the kubelet tells it, and the pod is woken when that very thing changes.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Scene;
use crate::{
    controllers::attachment_name,
    dig::Dig,
    resource::{self, Kind},
};

type Environment = BTreeMap<String, String>;

/// The variables of a container; an error is what the kubelet shows as `CreateContainerConfigError`.
pub(super) fn environment(container: &Value, scene: &mut Scene<'_>) -> Result<Environment, String> {
    let mut env = Environment::new();
    for source in container.items("envFrom") {
        let data = match source.at("secretRef") {
            Value::Null => data_of(source.at("configMapRef"), &resource::CONFIG_MAP, scene)?,
            secret => data_of(secret, &resource::SECRET, scene)?,
        };
        let prefix = source.text("prefix");
        env.extend(data.unwrap_or_default().into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
    }
    for variable in container.items("env") {
        let from = variable.at("valueFrom");
        let value = if from.has("secretKeyRef") {
            key_of(from.at("secretKeyRef"), &resource::SECRET, scene)?
        } else if from.has("configMapKeyRef") {
            key_of(from.at("configMapKeyRef"), &resource::CONFIG_MAP, scene)?
        } else if from.has("fieldRef") {
            Some(field(from.text("fieldRef.fieldPath"), scene.pod))
        } else {
            Some(expand(variable.text("value"), &env))
        };
        env.insert(variable.text("name").to_owned(), value.unwrap_or_default());
    }
    Ok(env)
}

/// The data of a Secret or ConfigMap; `None` if it is missing and may be.
fn data_of(reference: &Value, kind: &'static Kind, scene: &mut Scene<'_>) -> Result<Option<Environment>, String> {
    let (ns, name) = (scene.namespace(), reference.text("name"));
    let Some(object) = scene.ctx.view.get(kind, ns, name) else {
        if reference.yes("optional") {
            return Ok(None);
        }
        scene.wait_for(kind.plural, ns, name);
        return Err(format!("{} \"{name}\" not found", kind.singular));
    };
    let decoded = object.fields("data").map(|(key, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = match kind.is(&resource::SECRET) {
            true => STANDARD.decode(text).unwrap_or_default(),
            false => text.as_bytes().to_vec(),
        };
        (key.clone(), String::from_utf8_lossy(&bytes).into_owned())
    });
    Ok(Some(decoded.collect()))
}

fn key_of(reference: &Value, kind: &'static Kind, scene: &mut Scene<'_>) -> Result<Option<String>, String> {
    let found = data_of(reference, kind, scene)?.map(|mut data| data.remove(reference.text("key")));
    if matches!(found, Some(None)) && !reference.yes("optional") {
        let (ns, name) = (scene.namespace(), reference.text("name"));
        scene.wait_for(kind.plural, ns, name);
        return Err(format!("couldn't find key {} in {} {ns}/{name}", reference.text("key"), kind.kind));
    }
    Ok(found.flatten())
}

/// A field of the pod: `status.podIP`, `metadata.labels['app']`.
fn field(path: &str, pod: &Value) -> String {
    match path.split_once('[') {
        Some((map, key)) => pod.at(map)[key.trim_matches(['\'', '"', ']'])].as_str().unwrap_or_default().to_owned(),
        None => pod.text(path).to_owned(),
    }
}

/// Replaces `$(NAME)` by variables that were defined before; `$$` is a dollar sign.
fn expand(text: &str, env: &Environment) -> String {
    let Some((before, rest)) = text.split_once('$') else {
        return text.to_owned();
    };
    let reference = rest.strip_prefix('(').and_then(|tail| tail.split_once(')'));
    let (put, rest) = match reference.and_then(|(name, rest)| Some((env.get(name)?.as_str(), rest))) {
        Some(found) => found,
        None => ("$", rest.strip_prefix('$').unwrap_or(rest)),
    };
    format!("{before}{put}{}", expand(rest, env))
}

/// The volumes behind the pod's claims, in their order, once all that it mounts is there; until then `None`.
pub(super) fn mounts(scene: &mut Scene<'_>) -> Option<Vec<String>> {
    let (pod, ns) = (scene.pod, scene.namespace());
    let mut volumes = Vec::new();
    for volume in pod.items("spec.volumes") {
        if volume.has("persistentVolumeClaim") {
            volumes.push(attached_volume(volume.text("persistentVolumeClaim.claimName"), scene)?);
        }
        for (source, field, kind) in
            [("secret", "secretName", &resource::SECRET), ("configMap", "name", &resource::CONFIG_MAP)]
        {
            let name = volume.at(source).text(field);
            let optional = name.is_empty() || volume.at(source).yes("optional");
            if !optional && scene.ctx.view.get(kind, ns, name).is_none() {
                let (volume, word) = (volume.text("name"), kind.singular);
                let why = format!("MountVolume.SetUp failed for volume \"{volume}\" : {word} \"{name}\" not found");
                scene.warning("FailedMount", &why);
                scene.wait_for(kind.plural, ns, name);
                return None;
            }
        }
    }
    Some(volumes)
}

/// The volume of a claim once it is bound and, if it can move, attached to this node: others are at work on that.
fn attached_volume(claim: &str, scene: &mut Scene<'_>) -> Option<String> {
    let (view, ns) = (scene.ctx.view, scene.namespace());
    let kind = &resource::PERSISTENT_VOLUME_CLAIM;
    let bound = view.get(kind, ns, claim).filter(|claim| claim.text("status.phase") == "Bound");
    let Some(name) = bound.map(|claim| claim.text("spec.volumeName")) else {
        scene.wait_for(kind.plural, ns, claim);
        return None;
    };
    let Some(volume) = view.get(&resource::PERSISTENT_VOLUME, "", name) else {
        scene.wait_for(resource::PERSISTENT_VOLUME.plural, "", name);
        return None;
    };
    let attachment = attachment_name(name, scene.node);
    let attached = view.get(&resource::VOLUME_ATTACHMENT, "", &attachment);
    if volume.has("spec.csi") && !attached.is_some_and(|attached| attached.yes("status.attached")) {
        scene.wait_for(resource::VOLUME_ATTACHMENT.plural, "", &attachment);
        return None;
    }
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_earlier_variables_are_expanded() {
        let env = Environment::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x$(A)y$(B)z$$(A)$", &env), "x1y$(B)z$(A)$");
    }
}
