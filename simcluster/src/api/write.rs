//! `create` and `update`, and the access review that always says yes.

use serde_json::{Value, json};

use super::{Answer, Ask, body, reply};
use crate::{
    resource,
    status::{Cause, Status},
    store::{Writer, key},
};

pub(super) fn create(ask: &Ask<'_>) -> Answer {
    let (kind, manager) = (ask.at.kind, ask.manager());
    if kind.namespaced && ask.at.namespace.is_none() {
        return Err(reply::method_not_allowed());
    }
    let (object, warnings) = ask.object()?;
    body::of_address(ask, &object)?;
    if !object["metadata"]["resourceVersion"].as_str().unwrap_or_default().is_empty() {
        return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
    }
    let writer = Writer::update(&manager).dry_run(ask.dry_run()?);
    let made = ask.api.cluster.transact(|state| state.create(kind, ask.ns(), object, &writer))?;
    Ok(reply::warn(reply::object(201, &made), &warnings))
}

pub(super) fn update(ask: &Ask<'_>) -> Answer {
    let (kind, manager) = (ask.at.kind, ask.manager());
    let (object, warnings) = ask.object()?;
    body::of_address(ask, &object)?;
    let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    if kind.is(&resource::LEASE) && version.is_empty() {
        let cause = Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
        return Err(Status::invalid_resource(kind, ask.name(), &[cause]));
    }
    let writer = Writer::update(&manager).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |current| {
            same_object(ask, current, &object)?;
            *current = object;
            Ok(())
        })
    })?;
    Ok(reply::warn(reply::object(200, &written), &warnings))
}

/// A sent uid or resourceVersion is a precondition.
fn same_object(ask: &Ask<'_>, current: &Value, sent: &Value) -> Result<(), Status> {
    let (kind, name) = (ask.at.kind, ask.name());
    let differs = |field: &str| {
        let sent = sent["metadata"][field].as_str().filter(|text| !text.is_empty());
        sent.filter(|sent| Some(*sent) != current["metadata"][field].as_str())
    };
    if differs("resourceVersion").is_some() {
        return Err(Status::modified(kind, name));
    }
    if let Some(uid) = differs("uid") {
        let place = if ask.ns().is_empty() { name.to_owned() } else { format!("{}/{name}", ask.ns()) };
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{place}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            kind.plural,
            current["metadata"]["uid"].as_str().unwrap_or_default(),
        );
        return Err(Status::conflict(kind, name, &why));
    }
    Ok(())
}

/// The one user of this cluster may do everything, and is told so.
pub(super) fn access_review(ask: &Ask<'_>) -> Answer {
    if ask.verb != "create" {
        return Err(reply::method_not_allowed());
    }
    let (mut review, warnings) = ask.object()?;
    review["apiVersion"] = ask.at.kind.api_version().into();
    review["kind"] = ask.at.kind.kind.into();
    review["status"] = json!({"allowed": true, "reason": "the simulated cluster has one user, who may do everything"});
    Ok(reply::warn(reply::object(201, &review), &warnings))
}
