//! How answers are written: JSON, Status, plain text, warnings, and the forms that `Accept` asks for.

use std::{convert::Infallible, io};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{status::Status, store::Object};

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        let mut response = object(status.code, &status.to_value());
        if let Some(seconds) = status.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub(crate) fn object(code: u16, object: &impl Serialize) -> Response {
    with_type(code, "application/json", Body::from(serde_json::to_vec(object).unwrap_or_default()))
}

pub(crate) fn text(code: u16, text: impl Into<Body>) -> Response {
    with_type(code, "text/plain; charset=utf-8", text.into())
}

pub(crate) fn with_type(code: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(crate) fn stream(
    content_type: &'static str,
    parts: impl stream::Stream<Item = Bytes> + Send + 'static,
) -> Response {
    with_type(200, content_type, Body::from_stream(parts.map(Ok::<_, Infallible>)))
}

/// A connection that ends instead of an answer.
pub(crate) fn broken() -> Response {
    let end = Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset));
    with_type(200, "application/json", Body::from_stream(stream::iter([end])))
}

/// Adds `Warning: 299` headers.
pub(crate) fn warn(mut response: Response, warnings: &[String]) -> Response {
    for warning in warnings {
        let text = format!("299 - \"{}\"", warning.replace('\\', "\\\\").replace('"', "\\\""));
        if let Ok(value) = HeaderValue::from_str(&text) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

/// A Status whose details are there but empty.
fn bare(code: u16, reason: &'static str, message: &str) -> Status {
    Status { details: Some(json!({})), ..Status::new(code, reason, message) }
}

pub(crate) fn method_not_allowed() -> Status {
    bare(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

pub(crate) fn unknown_resource() -> Status {
    bare(404, "NotFound", "the server could not find the requested resource")
}

/// The answer of an injected fault.
pub(crate) fn injected(code: u16) -> Status {
    let (reason, message) = match code {
        409 => {
            ("Conflict", "the object has been modified; please apply your changes to the latest version and try again")
        }
        410 => ("Expired", "The resourceVersion for the provided list is too old."),
        429 => ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
        500 => ("InternalError", "an error on the server (injected) has prevented the request from succeeding"),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => ("Timeout", "the server was unable to return a response in the time allotted"),
        _ => ("", "injected"),
    };
    Status { retry_after: (code == 429).then_some(1), ..Status::new(code, reason, message) }
}

fn accept(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or("*/*")
}

/// Whether the client wants no more of objects than their metadata.
pub(crate) fn metadata_only(headers: &HeaderMap) -> bool {
    accept(headers).split(',').next().unwrap_or_default().contains("as=PartialObjectMetadata")
}

/// Whether any of the accepted forms is one that is served: JSON, whole or metadata only. Tables are not.
pub(crate) fn acceptable(headers: &HeaderMap) -> Result<(), Status> {
    let served = |form: &str| {
        let media_type = form.split(';').next().unwrap_or_default().trim();
        let json = ["application/json", "*/*", "application/*", "text/plain", ""].contains(&media_type);
        json && !form.contains("as=Table")
    };
    if accept(headers).split(',').any(served) {
        return Ok(());
    }
    let known = "application/json, application/yaml, application/vnd.kubernetes.protobuf";
    Err(bare(406, "NotAcceptable", &format!("406: Not Acceptable\n\nAvailable representations: {known}")))
}

/// The metadata-only form of an object.
pub(crate) fn partial(object: &Object) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object.metadata()})
}
