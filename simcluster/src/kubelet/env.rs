//! A container's environment: literal values, references to Secrets and ConfigMaps, and the pod's own fields.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::Scene;
use crate::{controllers::list, resource};

pub(super) type Environment = BTreeMap<String, String>;

/// The variables of a container; an error is what the kubelet shows as `CreateContainerConfigError`.
pub(super) fn resolve(container: &Value, scene: &Scene<'_>) -> Result<Environment, String> {
    let mut env = Environment::new();
    for source in list(&container["envFrom"]) {
        let prefix = source["prefix"].as_str().unwrap_or_default();
        let (reference, is_secret) =
            if source["secretRef"].is_null() { (&source["configMapRef"], false) } else { (&source["secretRef"], true) };
        if let Some(data) = data_of(reference, is_secret, scene)? {
            env.extend(data.into_iter().map(|(key, value)| (format!("{prefix}{key}"), value)));
        }
    }
    for variable in list(&container["env"]) {
        let Some(name) = variable["name"].as_str() else {
            continue;
        };
        let from = &variable["valueFrom"];
        let value = if let Some(text) = variable["value"].as_str() {
            Some(expand(text, &env))
        } else if !from["secretKeyRef"].is_null() {
            key_of(&from["secretKeyRef"], true, scene)?
        } else if !from["configMapKeyRef"].is_null() {
            key_of(&from["configMapKeyRef"], false, scene)?
        } else {
            from["fieldRef"]["fieldPath"].as_str().map(|path| field(path, scene))
        };
        env.insert(name.to_owned(), value.unwrap_or_default());
    }
    Ok(env)
}

/// The data of a Secret or ConfigMap; `None` if it is missing and may be.
fn data_of(reference: &Value, is_secret: bool, scene: &Scene<'_>) -> Result<Option<Environment>, String> {
    let name = reference["name"].as_str().unwrap_or_default();
    let (kind, word) = if is_secret { (&resource::SECRET, "secret") } else { (&resource::CONFIG_MAP, "configmap") };
    let Some(object) = scene.ctx.view.get(kind, scene.namespace(), name) else {
        let missing = format!("{word} \"{name}\" not found");
        return if reference["optional"] == true { Ok(None) } else { Err(missing) };
    };
    let decoded = object["data"].as_object().into_iter().flatten().map(|(key, value)| {
        let text = value.as_str().unwrap_or_default();
        let bytes = if is_secret { STANDARD.decode(text).unwrap_or_default() } else { text.as_bytes().to_vec() };
        (key.clone(), String::from_utf8_lossy(&bytes).into_owned())
    });
    Ok(Some(decoded.collect()))
}

fn key_of(reference: &Value, is_secret: bool, scene: &Scene<'_>) -> Result<Option<String>, String> {
    let (name, key) = (&reference["name"], reference["key"].as_str().unwrap_or_default());
    let Some(mut data) = data_of(reference, is_secret, scene)? else {
        return Ok(None);
    };
    match data.remove(key) {
        None if reference["optional"] != true => {
            let word = if is_secret { "Secret" } else { "ConfigMap" };
            let (ns, name) = (scene.namespace(), name.as_str().unwrap_or_default());
            Err(format!("couldn't find key {key} in {word} {ns}/{name}"))
        }
        found => Ok(found),
    }
}

fn field(path: &str, scene: &Scene<'_>) -> String {
    let value = match path.split_once('[') {
        Some((parent, key)) => &step(scene.pod, parent)[key.trim_end_matches(']').trim_matches(['\'', '"'])],
        None => step(scene.pod, path),
    };
    value.as_str().unwrap_or_default().to_owned()
}

fn step<'a>(object: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(object, |at, name| &at[name])
}

/// Replaces `$(NAME)` by variables that were defined before; `$$` is a dollar sign.
fn expand(text: &str, env: &Environment) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let tail = &rest[at..];
        let name = tail.strip_prefix("$(").and_then(|t| t.split_once(')')).map(|(name, _)| name);
        if let Some(value) = name.and_then(|name| env.get(name)) {
            out.push_str(value);
            rest = &tail[name.map_or(0, str::len) + 3..];
        } else if let Some(after) = tail.strip_prefix("$$") {
            out.push('$');
            rest = after;
        } else {
            out.push('$');
            rest = &tail[1..];
        }
    }
    out.push_str(rest);
    out
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
