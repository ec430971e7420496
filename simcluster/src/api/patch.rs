//! `patch`: server-side apply, JSON merge patch, strategic merge patch and JSON patch.
//!
//! A strategic merge is an apply's merge: lists are keyed alike, nulls delete. Its directives (`$patch` and the like) are
//! answered 501. JSON patch has the real server's one deviation: `replace` of a map member that is not there adds it.

pub(super) use json_patch::merge;
use json_patch::{AddOperation, PatchOperation};
use serde_json::{Value, json};

use super::{Answer, Ask, body, body::Validation, query::invalid_options, reply};
use crate::{
    dig::Dig,
    fields::merge::{duplicate_item, lay},
    normal,
    status::{Cause, Status},
    store::{Writer, key},
    typed,
};

pub(super) fn patch(ask: &Ask<'_>) -> Answer {
    const APPLY: &str = "application/apply-patch+yaml";
    if ask.media_type() == APPLY {
        return apply(ask);
    }
    if ask.query.has("force") {
        let cause = Cause::forbidden("force", "may not be specified for non-apply patch");
        return Err(invalid_options("PatchOptions", &[cause]));
    }
    let change = match ask.media_type() {
        "application/merge-patch+json" => |object: &mut Value, patch: &Value| {
            merge(object, patch);
            Ok(())
        },
        "application/strategic-merge-patch+json" => strategic,
        "application/json-patch+json" => operations,
        _ => {
            let status = Status::unsupported_media_type("415: Unsupported Media Type");
            return Err(Status { details: Some(json!({})), ..status });
        }
    };
    let patch = body::parse(&ask.body, "error decoding patch")?;
    write(ask, |object| change(object, &patch))
}

fn strategic(object: &mut Value, patch: &Value) -> Result<(), Status> {
    if let Some(directive) = directive(patch) {
        return Err(Status::not_implemented(format_args!("the patch directive {directive}")));
    }
    lay(object, patch);
    Ok(())
}

fn directive(patch: &Value) -> Option<&String> {
    let among = |(name, value)| if String::as_str(name).starts_with('$') { Some(name) } else { directive(value) };
    patch.fields("").find_map(among).or_else(|| patch.items("").iter().find_map(directive))
}

fn operations(object: &mut Value, patch: &Value) -> Result<(), Status> {
    if !patch.is_array() {
        let why = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        return Err(Status::bad_request(why));
    }
    let mut done = || {
        for operation in patch.items("") {
            let mut operation: PatchOperation = serde_json::from_value(operation.clone()).ok()?;
            if let PatchOperation::Replace(replace) = &operation
                && let Some((parent, _)) = replace.path.as_str().rsplit_once('/')
                && object.pointer(parent).is_some_and(Value::is_object)
            {
                let (path, value) = (replace.path.clone(), replace.value.clone());
                operation = PatchOperation::Add(AddOperation { path, value });
            }
            json_patch::patch(object, &[operation]).ok()?;
        }
        Some(())
    };
    done().ok_or_else(|| {
        let status = Status::new(422, "Invalid", "the server rejected our request due to an error in our request");
        Status { details: Some(json!({})), ..status }
    })
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
        let status = Status::new(422, "Invalid", format!(" \"\" is invalid: patch: {}", cause.message));
        status.with_causes([cause.to_value()])
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
