//! `patch`: server-side apply, JSON merge patch, strategic merge patch and JSON patch.

use serde_json::{Map, Value, json};

use super::{Answer, Ask, body, body::Validation, jsonpatch, query::invalid_options, reply, strategic};
use crate::{
    fields::compare::duplicate_item,
    normal, schema,
    status::{Cause, Status},
    store::{Writer, key},
    typed,
};

pub(super) fn patch(ask: &Ask<'_>) -> Answer {
    let media = ask.media_type();
    if media != "application/apply-patch+yaml" && ask.query.has("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", &[cause]));
    }
    let json = || body::parse(&ask.body, "error decoding patch");
    match media {
        "application/apply-patch+yaml" => apply(ask),
        "application/merge-patch+json" => {
            let patch = json()?;
            write(ask, |object| {
                merge(object, &patch);
                Ok(())
            })
        }
        "application/strategic-merge-patch+json" => {
            let patch = json()?;
            write(ask, |object| strategic::apply(object, &patch))
        }
        "application/json-patch+json" => {
            let patch = json()?;
            if !patch.is_array() {
                let why =
                    "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
                return Err(Status::bad_request(why));
            }
            write(ask, |object| jsonpatch::apply(object, &patch))
        }
        _ => {
            let mut status = Status::unsupported_media_type("415: Unsupported Media Type");
            status.details = Some(json!({}));
            Err(status)
        }
    }
}

fn write(ask: &Ask<'_>, change: impl FnOnce(&mut Value) -> Result<(), Status>) -> Answer {
    let (kind, manager, validation) = (ask.at.kind, ask.manager(), ask.validation()?);
    let writer = Writer::update(&manager).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let mut warnings = Vec::new();
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |object| {
            let before = object["metadata"].clone();
            change(object)?;
            body::of_address(ask, object)?;
            same_identity(ask, &before, &object["metadata"])?;
            normal::tidy(object);
            warnings = checked(ask, object, validation)?;
            Ok(())
        })
    })?;
    Ok(reply::warn(reply::object(200, &written), &warnings))
}

/// The patched object must still be one of its kind; the answer is the warnings about unknown fields, which are dropped.
fn checked(ask: &Ask<'_>, object: &mut Value, validation: Validation) -> Result<Vec<String>, Status> {
    let refuse = |object: &Value, why: &str| {
        let cause = Cause::invalid("patch", &object.to_string().into(), why);
        let mut status = Status::new(422, "Invalid", format!(" \"\" is invalid: patch: {}", cause.message));
        status.details =
            Some(json!({"causes": [{"reason": cause.reason, "message": cause.message, "field": cause.field}]}));
        status
    };
    let unknown = typed::unknown_fields(ask.at.kind, object).map_err(|why| refuse(object, &why))?;
    let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
    if validation == Validation::Strict && !warnings.is_empty() {
        return Err(refuse(object, &format!("strict decoding error: {}", warnings.join(", "))));
    }
    normal::drop_paths(object, &unknown);
    Ok(if validation == Validation::Ignore { Vec::new() } else { warnings })
}

/// A patch that names a resourceVersion holds only for that one; a patch cannot make another object of it.
fn same_identity(ask: &Ask<'_>, before: &Value, after: &Value) -> Result<(), Status> {
    let changed = |field: &str| after[field].is_string() && before[field] != after[field];
    if changed("uid") {
        let cause = Cause::invalid("metadata.uid", &after["uid"], "field is immutable");
        return Err(Status::invalid(ask.at.kind, ask.name(), &[cause.clone(), cause]));
    }
    if changed("resourceVersion") {
        return Err(Status::modified(ask.at.kind, ask.name()));
    }
    Ok(())
}

fn apply(ask: &Ask<'_>) -> Answer {
    let Some(manager) = ask.query.get("fieldManager") else {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(invalid_options("PatchOptions", &[cause]));
    };
    let mut applied = body::yaml(&ask.body)?;
    let kind = ask.at.kind;
    let (version, name) = (applied["apiVersion"].as_str(), applied["kind"].as_str());
    if version != Some(&kind.api_version()) || name != Some(kind.kind) {
        let (group, version) =
            version.unwrap_or_default().rsplit_once('/').unwrap_or(("", version.unwrap_or_default()));
        let message = format!("invalid object type: {group}/{version}, Kind={}", name.unwrap_or_default());
        return Err(Status::bad_request(message));
    }
    if !applied["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    body::of_address(ask, &applied)?;
    let namespace = applied["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
    let untyped = |why: String| {
        let place = format!("{namespace}/{}; {}", ask.name(), kind.api_version());
        Status::new(500, "", format!("failed to create typed patch object ({place}, Kind={}): {why}", kind.kind))
    };
    schema::normalize_amounts(&mut applied);
    let unknown = typed::unknown_fields(kind, &applied).map_err(untyped)?;
    if !unknown.is_empty() {
        let all: Vec<String> = unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
        return Err(untyped(if let [one] = all.as_slice() {
            one.clone()
        } else {
            format!("errors:\n  {}", all.join("\n  "))
        }));
    }
    if let Some(why) = duplicate_item(&applied) {
        return Err(untyped(why));
    }
    let writer = Writer::apply(manager, ask.query.flag("force")).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let (created, object) = ask.api.cluster.transact(|state| state.apply(kind, &key, applied, &writer))?;
    Ok(reply::object(if created { 201 } else { 200 }, &object))
}

/// RFC 7396.
pub(super) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
