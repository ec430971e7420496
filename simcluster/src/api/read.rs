//! `get` and `list`: single objects, and lists that are true at one revision, whole or in pages.
//!
//! A continue token names the revision of its first page and the key to go on from; every page is cut from the state at
//! that revision, told back from the remembered changes. When those are forgotten the answer is 410.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Answer, Ask, query::invalid_options, reply};
use crate::{
    status::{Cause, Status},
    store::{Key, Object, Page, key_of},
};

pub(super) fn get(ask: &Ask<'_>) -> Answer {
    let found = ask.api.cluster.object(ask.at.kind, ask.ns(), ask.name());
    let object = found.ok_or_else(|| Status::not_found(ask.at.kind, ask.name()))?;
    let metadata_only = reply::metadata_only(ask.headers);
    Ok(if metadata_only { reply::object(200, &reply::partial(&object)) } else { reply::object(200, &object) })
}

/// Where a page begins: the list's revision (0 is the present), and the last object of the page before.
type Start = (u64, Option<Key>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct List<T> {
    kind: String,
    api_version: String,
    metadata: Value,
    items: Vec<T>,
}

pub(super) fn list(ask: &Ask<'_>) -> Answer {
    let (kind, query, cluster) = (ask.at.kind, &ask.query, &ask.api.cluster);
    if query.has("sendInitialEvents") {
        let cause = Cause::forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list");
        return Err(invalid_options("ListOptions", &[cause]));
    }
    let limit = query.number("limit")?.and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
    let selector = query.selector(kind)?;
    let (revision, last) = start(ask)?;
    let (of, from) = ((kind, ask.at.namespace.as_deref()), (revision, last.as_ref()));
    let page = cluster.page(of, from, limit.unwrap_or(usize::MAX), |object| selector.matches(object));
    let too_old = |_| Status::expired("The resourceVersion for the provided list is too old.");
    let Page { revision, objects: page, remaining } = page.map_err(too_old)?;
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some(last), true) = (page.last(), remaining > 0) {
        let (ns, name) = key_of(last);
        metadata["continue"] = URL_SAFE_NO_PAD.encode(json!([revision, ns, name]).to_string()).into();
        if selector.is_empty() {
            metadata["remainingItemCount"] = remaining.into();
        }
    }
    if reply::metadata_only(ask.headers) {
        let (kind, api_version) = ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned());
        let items = page.iter().map(reply::partial).collect();
        return Ok(reply::object(200, &List { kind, api_version, metadata, items }));
    }
    let (kind, api_version) = (format!("{}List", kind.kind), kind.api_version());
    let items = page.iter().map(Object::item).collect();
    Ok(reply::object(200, &List { kind, api_version, metadata, items }))
}

fn start(ask: &Ask<'_>) -> Result<Start, Status> {
    let (query, field) = (&ask.query, "resourceVersionMatch");
    let (version, matching) = (query.get("resourceVersion"), query.get(field));
    if let Some(token) = query.get("continue") {
        if version.is_some_and(|version| version != "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        return parse_token(token).ok_or(Status::bad_request("invalid continue token: continue key is not valid"));
    }
    let cause = match matching {
        Some(_) if version.is_none() => {
            Cause::forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        }
        None | Some("Exact" | "NotOlderThan") => {
            let revision = revision_asked(ask, version.unwrap_or("0"))?;
            return Ok((if matching == Some("Exact") { revision } else { 0 }, None));
        }
        Some(other) => Cause::unsupported(field, &other.into(), &["Exact", "NotOlderThan", ""]),
    };
    Err(invalid_options("ListOptions", &[cause]))
}

fn revision_asked(ask: &Ask<'_>, text: &str) -> Result<u64, Status> {
    let malformed = |why| Status::bad_request(format!("invalid resource version: {why}"));
    let (revision, current) = (parse_revision(text).map_err(malformed)?, ask.api.cluster.revision());
    if revision <= current {
        return Ok(revision);
    }
    let message = format!("Timeout: Too large resource version: {revision}, current: {current}");
    let cause = json!({"reason": "ResourceVersionTooLarge", "message": "Too large resource version"});
    let details = Some(json!({"causes": [cause], "retryAfterSeconds": 1}));
    Err(Status { details, retry_after: Some(1), ..Status::new(504, "Timeout", message) })
}

pub(super) fn parse_revision(text: &str) -> Result<u64, String> {
    let why = format!("resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax");
    text.parse().map_err(|_| why)
}

fn parse_token(token: &str) -> Option<Start> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (revision, ns, name) = serde_json::from_slice(&bytes).ok()?;
    Some((revision, Some((ns, name))))
}
