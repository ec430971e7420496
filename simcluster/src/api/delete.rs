//! `delete`, and the eviction of pods, which is a deletion since there are no disruption budgets here.
//!
//! The answer is a Status when the object went at once, and the object when something holds it; a few kinds answer the
//! object in both cases.

use serde_json::{Value, json};

use super::{Answer, Ask, body, query::invalid_options, reply};
use crate::{
    dig::Dig,
    resource,
    status::{Cause, Status},
    store::{DeleteOptions, Deleted, Propagation},
};

const KNOWN: [&str; 6] = ["kind", "apiVersion", "gracePeriodSeconds", "preconditions", "propagationPolicy", "dryRun"];

pub(super) fn one(ask: &Ask<'_>) -> Answer {
    let kind = ask.at.kind;
    let sent = if ask.body.is_empty() { Value::Null } else { body::parse(&ask.body, "error decoding DeleteOptions")? };
    let answers_object = ["pods", "services", "serviceaccounts", "resourcequotas"].contains(&kind.plural);
    Ok(match ask.api.cluster.delete(kind, ask.ns(), ask.name(), &options(ask, &sent)?)? {
        Deleted::Gone(object) if !answers_object => {
            let mut details = json!({"name": ask.name(), "kind": kind.plural, "uid": object["metadata"]["uid"]});
            if !kind.group.is_empty() {
                details["group"] = kind.group.into();
            }
            reply::object(200, &success("details", details))
        }
        Deleted::Held(object) | Deleted::Gone(object) => reply::object(200, &object),
    })
}

pub(super) fn evict(ask: &Ask<'_>) -> Answer {
    let eviction = body::parse(&ask.body, "error decoding Eviction")?;
    body::of_address(ask, &eviction)?;
    let options = options(ask, &eviction["deleteOptions"])?;
    ask.api.cluster.delete(&resource::POD, ask.ns(), ask.name(), &options)?;
    Ok(reply::object(201, &success("code", 201.into())))
}

fn success(field: &str, value: Value) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", field: value})
}

/// Options come in the body and as parameters; the body wins.
fn options(ask: &Ask<'_>, sent: &Value) -> Result<DeleteOptions, Status> {
    if let Some((field, _)) = sent.fields("").find(|(field, _)| !KNOWN.contains(&field.as_str())) {
        return Err(Status::not_implemented(format_args!("the delete option {field}")));
    }
    let propagation = match sent["propagationPolicy"].as_str().or_else(|| ask.query.get("propagationPolicy")) {
        None => Propagation::default(),
        Some("Background") => Propagation::Background,
        Some("Foreground") => Propagation::Foreground,
        Some("Orphan") => Propagation::Orphan,
        Some(other) => {
            let known = ["Foreground", "Background", "Orphan", "nil"];
            let cause = Cause::unsupported("propagationPolicy", &other.into(), &known);
            return Err(invalid_options("DeleteOptions", &[cause]));
        }
    };
    let grace =
        sent.int("gracePeriodSeconds").map_or_else(|| ask.query.number("gracePeriodSeconds"), |n| Ok(Some(n)))?;
    let precondition = |field: &str| sent["preconditions"][field].as_str().map(ToOwned::to_owned);
    Ok(DeleteOptions {
        propagation,
        grace,
        uid: precondition("uid"),
        resource_version: precondition("resourceVersion"),
        dry_run: !sent.items("dryRun").is_empty() || ask.dry_run()?,
    })
}
