//! The `scale` subresource: a small object that shows and sets `spec.replicas`.

use serde_json::{Map, Value, json};

use super::{Answer, Ask, body, reply};
use crate::{
    resource::Kind,
    status::{Cause, Status},
    store::{Writer, key},
};

pub(super) fn serve(ask: &Ask<'_>, verb: &str) -> Answer {
    let kind = ask.at.kind;
    let found = ask.api.cluster.get(kind, ask.ns(), ask.name()).ok_or_else(|| Status::not_found(kind, ask.name()))?;
    let sent = match (verb, ask.media_type()) {
        ("get", _) => return Ok(reply::object(200, &shown(&found))),
        ("update", "application/json") => body::parse(&ask.body, "error decoding Scale")?,
        ("patch", "application/merge-patch+json") => {
            let patch = body::parse(&ask.body, "error decoding patch")?;
            let mut scale = shown(&found);
            super::patch::merge(&mut scale, &patch);
            if patch["metadata"]["resourceVersion"].is_null() {
                scale["metadata"]["resourceVersion"] = Value::Null;
            }
            scale
        }
        (verb, media) => return Err(Status::not_implemented(format_args!("{verb} of scale with {media}"))),
    };
    let replicas = wanted(ask.name(), &sent)?;
    let manager = ask.manager();
    let writer = Writer::update(&manager).on("scale").dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let version = sent["metadata"]["resourceVersion"].as_str();
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |object| {
            if version.is_some_and(|v| Some(v) != object["metadata"]["resourceVersion"].as_str()) {
                return Err(Status::modified(kind, ask.name()));
            }
            object["spec"]["replicas"] = replicas.into();
            Ok(())
        })
    })?;
    Ok(reply::object(200, &shown(&written)))
}

fn wanted(name: &str, scale: &Value) -> Result<i64, Status> {
    let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
    if replicas >= 0 {
        return Ok(replicas);
    }
    let kind = Kind {
        group: "autoscaling",
        version: "v1",
        kind: "Scale",
        plural: "scales",
        singular: "scale",
        short: &[],
        namespaced: true,
        has_generation: false,
        subresources: &[],
    };
    let cause = Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
    Err(Status::invalid(&kind, name, &[cause]))
}

/// The Scale of an object; zero replicas wanted is an absent field.
fn shown(object: &Value) -> Value {
    let metadata: Map<String, Value> = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"]
        .iter()
        .map(|field| ((*field).to_owned(), object["metadata"][field].clone()))
        .collect();
    let replicas = object["spec"]["replicas"].as_i64().unwrap_or(0);
    let spec = if replicas == 0 { json!({}) } else { json!({"replicas": replicas}) };
    let labels = object["spec"]["selector"]["matchLabels"].as_object();
    let selector: Vec<String> = labels
        .map(|labels| labels.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default())).collect())
        .unwrap_or_default();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec,
        "status": {"replicas": object["status"]["replicas"].as_i64().unwrap_or(0), "selector": selector.join(",")},
    })
}
