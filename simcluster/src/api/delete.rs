//! `delete`, `deletecollection`, and the eviction of pods, which is a deletion since there are no disruption budgets here.
//!
//! The answer is a Status when the object went at once, and the object when something holds it; a few kinds answer the
//! object in both cases.

use serde_json::{Value, json};

use super::{Answer, Ask, body, query::propagation, read, reply};
use crate::{
    dig::Dig,
    resource::{self, Kind},
    status::Status,
    store::{DeleteOptions, Deleted, key},
};

const KNOWN: [&str; 6] = ["kind", "apiVersion", "gracePeriodSeconds", "preconditions", "propagationPolicy", "dryRun"];

pub(super) fn one(ask: &Ask<'_>) -> Answer {
    let (kind, options) = (ask.at.kind, options(ask, &sent(ask)?)?);
    let key = key(kind, ask.ns(), ask.name());
    Ok(match ask.api.cluster.transact(|state| state.delete(kind, &key, &options))? {
        Deleted::Gone(object) if !answers_object(kind) => {
            let mut details = json!({"name": ask.name(), "kind": kind.plural, "uid": object["metadata"]["uid"]});
            if !kind.group.is_empty() {
                details["group"] = kind.group.into();
            }
            reply::object(200, &success(json!({"details": details})))
        }
        Deleted::Held(object) | Deleted::Gone(object) => reply::object(200, &object),
    })
}

pub(super) fn collection(ask: &Ask<'_>) -> Answer {
    let (kind, options, selector) = (ask.at.kind, options(ask, &sent(ask)?)?, ask.query.selector(ask.at.kind)?);
    let cluster = &ask.api.cluster;
    let (revision, objects) = cluster.objects(kind, ask.at.namespace.as_deref());
    let mut answered = Vec::new();
    for object in objects.into_iter().filter(|object| selector.matches(object)) {
        match cluster.delete(kind, object.text("metadata.namespace"), object.text("metadata.name"), &options) {
            Ok(Deleted::Gone(object) | Deleted::Held(object)) => answered.push(object),
            // Somebody else deleted it between the list and now.
            Err(status) if status.code == 404 => {}
            Err(status) => return Err(status),
        }
    }
    Ok(read::written(ask, &json!({"resourceVersion": revision.to_string()}), &answered))
}

pub(super) fn evict(ask: &Ask<'_>) -> Answer {
    let eviction = body::parse(&ask.body, "error decoding Eviction")?;
    if eviction["kind"].as_str().is_some_and(|kind| kind != "Eviction") {
        return Err(Status::bad_request("the body of an eviction must be an Eviction"));
    }
    if eviction["metadata"]["name"].as_str().is_some_and(|name| name != ask.name()) {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let options = options(ask, &eviction["deleteOptions"])?;
    let key = key(&resource::POD, ask.ns(), ask.name());
    ask.api.cluster.transact(|state| state.delete(&resource::POD, &key, &options))?;
    Ok(reply::object(201, &success(json!({"code": 201}))))
}

fn answers_object(kind: &Kind) -> bool {
    let kinds = [&resource::POD, &resource::SERVICE, &resource::SERVICE_ACCOUNT, &resource::RESOURCE_QUOTA];
    kinds.iter().any(|k| kind.is(k))
}

fn success(with: Value) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"});
    with.fields("").for_each(|(field, value)| status[field] = value.clone());
    status
}

fn sent(ask: &Ask<'_>) -> Result<Value, Status> {
    if ask.body.is_empty() { Ok(Value::Null) } else { body::parse(&ask.body, "error decoding DeleteOptions") }
}

/// Options come in the body and as parameters; the body wins.
fn options(ask: &Ask<'_>, sent: &Value) -> Result<DeleteOptions, Status> {
    if let Some((field, _)) = sent.fields("").find(|(field, _)| !KNOWN.contains(&field.as_str())) {
        return Err(Status::not_implemented(format_args!("the delete option {field}")));
    }
    let policy = sent["propagationPolicy"].as_str().or_else(|| ask.query.get("propagationPolicy"));
    let grace =
        sent.int("gracePeriodSeconds").map_or_else(|| ask.query.number("gracePeriodSeconds"), |n| Ok(Some(n)))?;
    let precondition = |field: &str| sent["preconditions"][field].as_str().map(ToOwned::to_owned);
    Ok(DeleteOptions {
        propagation: policy.map(propagation).transpose()?.unwrap_or_default(),
        grace,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: !sent.items("dryRun").is_empty() || ask.dry_run()?,
    })
}
