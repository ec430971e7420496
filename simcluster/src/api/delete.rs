//! `delete` and `deletecollection`.
//!
//! The answer is a Status when the object went at once, and the object when something holds it; a few kinds answer the
//! object in both cases.

use serde_json::{Value, json};

use super::{Answer, Ask, body, query, read, reply};
use crate::{
    resource::{self, Kind},
    status::Status,
    store::{DeleteOptions, Deleted, key},
};

pub(super) fn one(ask: &Ask<'_>) -> Answer {
    let (kind, options) = (ask.at.kind, options(ask)?);
    let key = key(kind, ask.ns(), ask.name());
    let deleted = ask.api.cluster.transact(|state| state.delete(kind, &key, &options))?;
    Ok(match deleted {
        Deleted::Held(object) => reply::object(200, &object),
        Deleted::Gone(object) if answers_object(kind) => reply::object(200, &object),
        Deleted::Gone(object) => reply::object(200, &success(kind, &object)),
    })
}

pub(super) fn collection(ask: &Ask<'_>) -> Answer {
    let (kind, options, selector) = (ask.at.kind, options(ask)?, ask.query.selector(ask.at.kind)?);
    let cluster = &ask.api.cluster;
    let (revision, objects) = cluster.objects(kind, ask.at.namespace.as_deref());
    let mut answered = Vec::new();
    for object in objects.into_iter().filter(|object| selector.matches(object)) {
        let part = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
        let key = key(kind, part("namespace"), part("name"));
        match cluster.transact(|state| state.delete(kind, &key, &options)) {
            Ok(Deleted::Gone(object) | Deleted::Held(object)) => answered.push(object),
            // Somebody else deleted it between the list and now.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(read::written(ask, &json!({"resourceVersion": revision.to_string()}), &answered))
}

fn answers_object(kind: &Kind) -> bool {
    [&resource::POD, &resource::SERVICE, &resource::SERVICE_ACCOUNT, &resource::RESOURCE_QUOTA]
        .iter()
        .any(|k| kind.is(k))
}

fn success(kind: &Kind, object: &Value) -> Value {
    let mut details = json!({
        "name": object["metadata"]["name"], "kind": kind.plural, "uid": object["metadata"]["uid"],
    });
    if !kind.group.is_empty() {
        details["group"] = kind.group.into();
    }
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})
}

/// Options come in the body (`DeleteOptions`) and as parameters; the body wins.
pub(super) fn options(ask: &Ask<'_>) -> Result<DeleteOptions, Status> {
    let sent = if ask.body.is_empty() { json!({}) } else { body::parse(&ask.body, "error decoding DeleteOptions")? };
    parse(ask, &sent)
}

pub(super) fn parse(ask: &Ask<'_>, sent: &Value) -> Result<DeleteOptions, Status> {
    const KNOWN: [&str; 7] = [
        "kind",
        "apiVersion",
        "gracePeriodSeconds",
        "preconditions",
        "propagationPolicy",
        "dryRun",
        "ignoreStoreReadErrorWithClusterBreakingPotential",
    ];
    let unknown = sent.as_object().and_then(|fields| fields.keys().find(|key| !KNOWN.contains(&key.as_str())));
    if let Some(field) = unknown {
        return Err(Status::not_implemented(format_args!("the delete option {field}")));
    }
    let propagation = match sent["propagationPolicy"].as_str() {
        Some(policy) => Some(query::propagation(policy)?),
        None => ask.query.propagation()?,
    };
    let grace =
        sent["gracePeriodSeconds"].as_i64().map_or_else(|| ask.query.number("gracePeriodSeconds"), |n| Ok(Some(n)))?;
    let precondition = |field: &str| sent["preconditions"][field].as_str().map(ToOwned::to_owned);
    Ok(DeleteOptions {
        propagation: propagation.unwrap_or_default(),
        grace,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: sent["dryRun"].as_array().is_some_and(|d| !d.is_empty()) || ask.dry_run()?,
    })
}
