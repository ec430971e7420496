//! `patch`: server-side apply, JSON merge patch and strategic merge patch.
//!
//! A strategic merge is an apply's merge: lists are keyed alike, nulls delete. Its directives (`$patch` and the like) and
//! JSON patch are answered 501.

use serde_json::{Value, json};

use super::{Answer, Ask, body, query::invalid_options, reply};
use crate::{
    dig::Dig,
    fields::merge::{duplicate_item, lay},
    normal,
    status::{Cause, Status},
    store::{Writer, key},
    typed,
};

pub(super) const APPLY: &str = "application/apply-patch+yaml";

pub(super) fn patch(ask: &Ask<'_>) -> Answer {
    let media_type = ask.media_type();
    if media_type == APPLY {
        return apply(ask);
    }
    if ask.query.has("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", &[cause]));
    }
    let change = match media_type {
        "application/merge-patch+json" => merge,
        "application/strategic-merge-patch+json" => lay,
        "application/json-patch+json" => return Err(Status::not_implemented("JSON patch")),
        _ => {
            let status = Status::new(415, "UnsupportedMediaType", "415: Unsupported Media Type");
            return Err(Status { details: Some(json!({})), ..status });
        }
    };
    let patch = body::parse(&ask.body, "error decoding patch")?;
    if media_type.contains("strategic")
        && let Some(directive) = directive(&patch)
    {
        return Err(Status::not_implemented(format_args!("the patch directive {directive}")));
    }
    write(ask, |object| change(object, &patch))
}

/// As RFC 7396 has it.
pub(super) fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (field, value) in patch {
        if value.is_null() {
            object.remove(field);
        } else {
            merge(&mut object[field], value);
        }
    }
}

fn directive(patch: &Value) -> Option<&String> {
    let among = |(name, value)| if String::as_str(name).starts_with('$') { Some(name) } else { directive(value) };
    patch.fields("").find_map(among).or_else(|| patch.items("").iter().find_map(directive))
}

fn write(ask: &Ask<'_>, change: impl FnOnce(&mut Value)) -> Answer {
    let (kind, manager) = (ask.at.kind, ask.manager());
    let writer = Writer::update(&manager).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let mut warnings = Vec::new();
    let written = ask.api.cluster.transact(|state| {
        state.update(kind, &key, &writer, |object| {
            let before = object["metadata"].clone();
            change(object);
            body::of_address(ask, object)?;
            same_identity(ask, &before, &object["metadata"])?;
            normal::tidy(object);
            warnings = body::drop_unknown(ask, object, refusal)?;
            Ok(())
        })
    })?;
    Ok(reply::warn(reply::object(200, &written), &warnings))
}

/// The patched object is none of its kind.
fn refusal(object: &Value, why: &str) -> Status {
    let cause = Cause::invalid("patch", &object.to_string().into(), why);
    let status = Status::new(422, "Invalid", format!(" \"\" is invalid: patch: {}", cause.message));
    status.with_causes([cause.to_value()])
}

/// A patch that names a resourceVersion holds only for that one; a patch cannot make another object of it.
fn same_identity(ask: &Ask<'_>, before: &Value, after: &Value) -> Result<(), Status> {
    let changed = |field: &str| after[field].is_string() && before[field] != after[field];
    if changed("uid") {
        let cause = Cause::invalid("metadata.uid", &after["uid"], "field is immutable");
        return Err(Status::invalid(ask.at.kind, ask.name(), &[cause.clone(), cause]));
    }
    if changed("resourceVersion") { Err(Status::modified(ask.at.kind, ask.name())) } else { Ok(()) }
}

fn apply(ask: &Ask<'_>) -> Answer {
    let Some(manager) = ask.query.get("fieldManager") else {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(invalid_options("PatchOptions", &[cause]));
    };
    let mut applied = body::yaml(&ask.body)?;
    let kind = ask.at.kind;
    let (version, name) = (applied.text("apiVersion"), applied.text("kind"));
    if version != kind.api_version() || name != kind.kind {
        let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
        return Err(Status::bad_request(format!("invalid object type: {group}/{version}, Kind={name}")));
    }
    if applied.has("metadata.managedFields") {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    body::of_address(ask, &applied)?;
    let place = format!("{}/{}; {version}, Kind={name}", applied.text("metadata.namespace"), ask.name());
    let untyped = |why| Status::new(500, "", format!("failed to create typed patch object ({place}): {why}"));
    normal::amounts_to_text(&mut applied);
    let unknown = typed::unknown_fields(kind, &applied).map_err(untyped)?;
    let unknown: Vec<_> = unknown.iter().map(|path| format!(".{path}: field not declared in schema")).collect();
    match unknown.as_slice() {
        [] => duplicate_item(&applied).map_or(Ok(()), |why| Err(untyped(why)))?,
        [one] => return Err(untyped(one.clone())),
        many => return Err(untyped(format!("errors:\n  {}", many.join("\n  ")))),
    }
    let writer = Writer::apply(manager, ask.query.flag("force")).on(&ask.at.subresource).dry_run(ask.dry_run()?);
    let key = key(kind, ask.ns(), ask.name());
    let (created, object) = ask.api.cluster.transact(|state| state.apply(kind, &key, applied, &writer))?;
    Ok(reply::object(if created { 201 } else { 200 }, &object))
}
