//! `create`, `update` and `scale`; access reviews and token requests, which make nothing that is kept.

use serde_json::{Value, json};

use super::{
    Answer, Ask, body,
    query::unserved,
    reply::{method_not_allowed, object, warn},
};
use crate::{
    access,
    dig::Dig,
    resource,
    status::{Cause, Status},
    store::{Writer, key},
};

pub(super) fn create(ask: &Ask<'_>) -> Answer {
    let (kind, manager) = (ask.at.kind, ask.manager());
    if kind.namespaced && ask.at.namespace.is_none() {
        return Err(method_not_allowed());
    }
    let (sent, warnings) = ask.object()?;
    body::of_address(ask, &sent)?;
    if !sent.text("metadata.resourceVersion").is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let writer = Writer::update(&manager).dry_run(ask.dry_run()?);
    let made = ask.api.cluster.transact(|state| state.create(kind, ask.ns(), sent, &writer))?;
    Ok(warn(object(201, &made), &warnings))
}

pub(super) fn update(ask: &Ask<'_>) -> Answer {
    let (kind, manager) = (ask.at.kind, ask.manager());
    let (sent, warnings) = ask.object()?;
    body::of_address(ask, &sent)?;
    if kind.is(&resource::LEASE) && sent.text("metadata.resourceVersion").is_empty() {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Status::invalid_resource(kind, ask.name(), &[cause]));
    }
    let writer = Writer::update(&manager).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |current| {
            same_object(ask, current, &sent)?;
            *current = sent;
            Ok(())
        })
    })?;
    Ok(warn(object(200, &written), &warnings))
}

/// A sent uid or resourceVersion is a precondition.
fn same_object(ask: &Ask<'_>, current: &Value, sent: &Value) -> Result<(), Status> {
    let (kind, name) = (ask.at.kind, ask.name());
    let differs = |field: &str| !sent.text(field).is_empty() && sent.text(field) != current.text(field);
    if differs("metadata.resourceVersion") {
        return Err(Status::modified(kind, name));
    }
    if differs("metadata.uid") {
        let place = if ask.ns().is_empty() { name.to_owned() } else { format!("{}/{name}", ask.ns()) };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {}, UID in object meta: {}",
            kind.plural,
            sent.text("metadata.uid"),
            current.text("metadata.uid"),
        );
        return Err(Status::conflict(kind, name, &why));
    }
    Ok(())
}

pub(super) fn access_review(ask: &Ask<'_>) -> Answer {
    let (sent, warnings) = ask.object()?;
    Ok(warn(object(201, &access::review(&ask.api.cluster, &ask.user, sent)?), &warnings))
}

pub(super) fn token(ask: &Ask<'_>) -> Answer {
    let sent = body::parse(&ask.body, "error decoding TokenRequest")?;
    let (cluster, secret) = (&ask.api.cluster, &ask.api.token);
    Ok(object(201, &access::request_token(cluster, secret, ask.ns(), ask.name(), &sent)?))
}

/// The `scale` subresource: a small object that shows and sets `spec.replicas`.
pub(super) fn scale(ask: &Ask<'_>) -> Answer {
    let kind = ask.at.kind;
    let found = ask.api.cluster.get(kind, ask.ns(), ask.name()).ok_or_else(|| Status::not_found(kind, ask.name()))?;
    let sent = match (ask.verb, ask.media_type()) {
        ("get", _) => return Ok(object(200, &shown(&found))),
        ("update", "application/json") => body::parse(&ask.body, "error decoding Scale")?,
        ("patch", "application/merge-patch+json") => {
            let patch = body::parse(&ask.body, "error decoding patch")?;
            let mut scale = shown(&found);
            scale.remove("metadata.resourceVersion");
            super::patch::merge(&mut scale, &patch);
            scale
        }
        (verb, media) => return Err(Status::not_implemented(format_args!("{verb} of scale with {media}"))),
    };
    let replicas = sent.int("spec.replicas").unwrap_or(0);
    if replicas < 0 {
        let cause = Cause::invalid("spec.replicas", &replicas.into(), "must be greater than or equal to 0");
        return Err(Status::invalid(&unserved("autoscaling", "Scale", "scales"), ask.name(), &[cause]));
    }
    let manager = ask.manager();
    let writer = Writer::update(&manager).on("scale").dry_run(ask.dry_run()?);
    let (key, version) = (key(kind, ask.ns(), ask.name()), sent.text("metadata.resourceVersion"));
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |object| {
            if !version.is_empty() && version != object.text("metadata.resourceVersion") {
                return Err(Status::modified(kind, ask.name()));
            }
            object.put("spec.replicas", replicas);
            Ok(())
        })
    })?;
    Ok(object(200, &shown(&written)))
}

/// The Scale of an object; zero replicas wanted is an absent field.
fn shown(object: &Value) -> Value {
    let shown = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: Value = shown.into_iter().map(|field| (field, object["metadata"][field].clone())).collect();
    let replicas = object.int("spec.replicas").filter(|replicas| *replicas != 0);
    let spec = replicas.map_or_else(|| json!({}), |replicas| json!({"replicas": replicas}));
    let labels = object.fields("spec.selector.matchLabels");
    let selector: Vec<String> = labels.map(|(k, v)| format!("{k}={}", v.text(""))).collect();
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec,
        "status": {"replicas": object.int("status.replicas").unwrap_or(0), "selector": selector.join(",")},
    })
}
