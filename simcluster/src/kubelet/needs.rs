//! What a container needs from the cluster before it can run: its environment, and what its pod mounts.
//!
//! A missing thing is told as the kubelet tells it, and the pod is woken when that very thing changes.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::prelude::*;

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
    let name = reference.text("name");
    let Some(object) = scene.need(kind, scene.namespace(), name, |_| true) else {
        let missing = format!("{} \"{name}\" not found", kind.singular);
        return if reference.yes("optional") { Ok(None) } else { Err(missing) };
    };
    let decode =
        |text: &str| if kind.is(&resource::SECRET) { STANDARD.decode(text).unwrap_or_default() } else { text.into() };
    let text = |value: &Value| String::from_utf8_lossy(&decode(value.text(""))).into_owned();
    Ok(Some(object.fields("data").map(|(key, value)| (key.clone(), text(value))).collect()))
}

fn key_of(reference: &Value, kind: &'static Kind, scene: &mut Scene<'_>) -> Result<Option<String>, String> {
    let found = data_of(reference, kind, scene)?.and_then(|mut data| data.remove(reference.text("key")));
    if found.is_some() || reference.yes("optional") {
        return Ok(found);
    }
    let (ns, name, key) = (scene.namespace(), reference.text("name"), reference.text("key"));
    scene.wait_for(kind.plural, ns, name);
    Err(format!("couldn't find key {key} in {} {ns}/{name}", kind.kind))
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
    let sources = [("secret", "secretName", &resource::SECRET), ("configMap", "name", &resource::CONFIG_MAP)];
    let mut volumes = Vec::new();
    for volume in pod.items("spec.volumes") {
        if volume.has("persistentVolumeClaim") {
            volumes.push(attached_volume(volume.text("persistentVolumeClaim.claimName"), scene)?);
        }
        for (source, field, kind) in sources.iter().filter(|source| !volume.at(source.0).yes("optional")) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_earlier_variables_are_expanded() {
        let env = Environment::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(expand("x$(A)y$(B)z$$(A)$", &env), "x1y$(B)z$(A)$");
    }
}
