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
    dig::Dig,
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

/// Namespace and name.
type Place = (String, String);

/// Where a page begins: the list's revision (0 is the present), and the last object of the page before.
struct Start {
    revision: u64,
    after: Option<Place>,
}

pub(super) fn list(ask: &Ask<'_>) -> Answer {
    let (kind, query, cluster) = (ask.at.kind, &ask.query, &ask.api.cluster);
    if query.has("sendInitialEvents") {
        let cause = Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        return Err(invalid_options("ListOptions", &[cause]));
    }
    let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let selector = query.selector(kind)?;
    let start = start(ask)?;
    let namespace = ask.at.namespace.as_deref();
    let (revision, objects) = match start.revision {
        0 => cluster.objects(kind, namespace),
        revision => {
            let objects = cluster.list_at(kind, namespace, revision);
            (revision, objects.map_err(|_| too_old(start.after.as_ref()))?)
        }
    };
    let after = |object: &Value| start.after.as_ref().is_none_or(|last| place(object) > *last);
    let mut objects = objects.into_iter().filter(|object| after(object) && selector.matches(object));
    let page: Vec<Object> = objects.by_ref().take(limit.unwrap_or(usize::MAX)).collect();
    let remaining = objects.count();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some(last), true) = (page.last(), remaining > 0) {
        metadata["continue"] = token(revision, &place(last)).into();
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
    if reply::form(ask.headers) == Form::MetadataOnly {
        let (kind, api_version) = ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned());
        let items = page.iter().map(reply::partial).collect();
        return reply::object(200, &List { kind, api_version, metadata, items });
    }
    let (kind, api_version) = (format!("{}List", kind.kind), kind.api_version());
    let items = page.iter().map(Object::item).collect();
    reply::object(200, &List { kind, api_version, metadata, items })
}

fn start(ask: &Ask<'_>) -> Result<Start, Status> {
    let query = &ask.query;
    let (version, matching) = (query.get("resourceVersion"), query.get("resourceVersionMatch"));
    if let Some(token) = query.get("continue") {
        if version.is_some_and(|version| version != "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        return parse_token(token).ok_or(Status::bad_request("invalid continue token: continue key is not valid"));
    }
    check_match(version, matching)?;
    let revision = parse_revision(version.unwrap_or("0"))
        .map_err(|why| Status::bad_request(format!("invalid resource version: {why}")))?;
    let current = ask.api.cluster.revision();
    if revision > current {
        let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
        let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
        let details = Some(json!({"causes": [cause], "retryAfterSeconds": 1}));
        return Err(Status { details, retry_after: Some(1), ..Status::new(504, "Timeout", message) });
    }
    Ok(Start { revision: if matching == Some("Exact") { revision } else { 0 }, after: None })
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

fn too_old(after: Option<&Place>) -> Status {
    let Some(last) = after else {
        return Status::expired("The resourceVersion for the provided list is too old.");
    };
    let message = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
                   without the continue parameter, or use the continue token in this response to retrieve the remainder of \
                   the results. Continuing with the provided token results in an inconsistent list - objects that were \
                   created, modified, or deleted between the time the first chunk was returned and now may show up in the \
                   list.";
    Status { continue_token: Some(token(0, last)), ..Status::expired(message) }
}

fn place(object: &Value) -> Place {
    (object.text("metadata.namespace").to_owned(), object.text("metadata.name").to_owned())
}

fn token(revision: u64, (ns, name): &Place) -> String {
    URL_SAFE_NO_PAD.encode(json!([revision, ns, name]).to_string())
}

fn parse_token(token: &str) -> Option<Start> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (revision, ns, name) = serde_json::from_slice::<(u64, String, String)>(&bytes).ok()?;
    Some(Start { revision, after: Some((ns, name)) })
}
