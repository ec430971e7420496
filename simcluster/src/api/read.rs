//! `get` and `list`: single objects, and lists that are true at one revision, whole or in pages.
//!
//! A continue token names the revision of its first page and the key to go on from; every page is cut from the state at
//! that revision, told back from the remembered changes. When those are forgotten the answer is 410.

use axum::response::Response;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    Answer, Ask,
    query::invalid_options,
    reply::{self, Form},
};
use crate::{
    status::{Cause, Status},
    store::Object,
};

pub(super) fn get(ask: &Ask<'_>) -> Answer {
    let found = ask.api.cluster.object(ask.at.kind, ask.ns(), ask.name());
    let object = found.ok_or_else(|| Status::not_found(ask.at.kind, ask.name()))?;
    Ok(match reply::form(ask.headers) {
        Form::Whole => reply::object(200, &object),
        Form::MetadataOnly => reply::object(200, &reply::partial(&object)),
    })
}

/// Where a page begins: the list's revision, and the last key of the page before.
struct Start {
    revision: u64,
    after: Option<(String, String)>,
}

pub(super) fn list(ask: &Ask<'_>) -> Answer {
    let (kind, query) = (ask.at.kind, &ask.query);
    if query.has("sendInitialEvents") {
        let cause = Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        return Err(invalid_options("ListOptions", &[cause]));
    }
    let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let selector = query.selector(kind)?;
    let start = start(ask)?;
    let cluster = &ask.api.cluster;
    let (revision, objects) = match start.revision {
        0 => cluster.objects(kind, ask.at.namespace.as_deref()),
        revision => match cluster.list_at(kind, ask.at.namespace.as_deref(), revision) {
            Ok(objects) => (revision, objects),
            Err(_) => return Err(too_old(start.after.as_ref())),
        },
    };
    let after = |object: &Value| start.after.as_ref().is_none_or(|last| key(object) > *last);
    let mut objects = objects.into_iter().filter(|object| after(object) && selector.matches(object));
    let page: Vec<Object> = objects.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    let remaining = objects.count();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if remaining > 0
        && let Some(last) = page.last()
    {
        metadata["continue"] = token(revision, &key(last)).into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    Ok(written(ask, &metadata, &page))
}

/// A list as it goes over the wire.
pub(super) fn written(ask: &Ask<'_>, metadata: &Value, page: &[Object]) -> Response {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct List<'a, T> {
        kind: String,
        api_version: String,
        metadata: &'a Value,
        items: Vec<T>,
    }
    let kind = ask.at.kind;
    let bytes = match reply::form(ask.headers) {
        Form::Whole => serde_json::to_vec(&List {
            kind: format!("{}List", kind.kind),
            api_version: kind.api_version(),
            metadata,
            items: page.iter().map(Object::item).collect(),
        }),
        Form::MetadataOnly => serde_json::to_vec(&List {
            kind: "PartialObjectMetadataList".to_owned(),
            api_version: "meta.k8s.io/v1".to_owned(),
            metadata,
            items: page.iter().map(reply::partial).collect(),
        }),
    };
    reply::json_bytes(200, bytes.unwrap_or_default())
}

/// The page's start; revision 0 is the present.
fn start(ask: &Ask<'_>) -> Result<Start, Status> {
    let query = &ask.query;
    let version = query.get("resourceVersion");
    let matching = query.get("resourceVersionMatch");
    if let Some(token) = query.get("continue") {
        if version.is_some_and(|v| v != "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        return parse_token(token);
    }
    check_match(version, matching)?;
    let revision = match version {
        None => 0,
        Some(text) => {
            parse_revision(text).map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?
        }
    };
    let current = ask.api.cluster.revision();
    if revision > current {
        return Err(too_large(revision, current));
    }
    let exact = matching == Some("Exact");
    Ok(Start { revision: if exact { revision } else { 0 }, after: None })
}

pub(super) fn parse_revision(text: &str) -> Result<u64, String> {
    let why = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
    text.parse().map_err(|_| why)
}

fn check_match(version: Option<&str>, matching: Option<&str>) -> Result<(), Status> {
    let field = "resourceVersionMatch";
    let cause = match matching {
        Some(_) if version.is_none() => {
            Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        Some("Exact") if version == Some("0") => {
            Cause::forbidden(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
        }
        None | Some("Exact" | "NotOlderThan") => return Ok(()),
        Some(other) => Cause::unsupported(field, &other.into(), &["Exact", "NotOlderThan", ""]),
    };
    Err(invalid_options("ListOptions", &[cause]))
}

fn too_large(asked: u64, current: u64) -> Status {
    let message = format!("Timeout: Too large resource version: {asked}, current: {current}");
    let mut status = Status::new(504, "Timeout", message);
    status.details = Some(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }));
    status.retry_after = Some(1);
    status
}

fn too_old(after: Option<&(String, String)>) -> Status {
    let Some(last) = after else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.continue_token = Some(token(0, last));
    status
}

fn key(object: &Value) -> (String, String) {
    let part = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    (part("namespace"), part("name"))
}

fn token(revision: u64, last: &(String, String)) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, last.0, last.1]).to_string())
}

fn parse_token(token: &str) -> Result<Start, Status> {
    let invalid = || Status::bad_request("invalid continue token: continue key is not valid");
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
    let (revision, ns, name): (u64, String, String) = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
    Ok(Start { revision, after: Some((ns, name)) })
}
