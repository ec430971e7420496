//! Extractors whose rejections are problems: JSON bodies, path and query parameters, If-Match.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::{HeaderMap, header, request::Parts};
use serde::de::DeserializeOwned;

use super::problem::{FieldError, Kind, Problem};

/// A request body that knows its own rules.
pub trait Validate {
    /// Every broken rule, with a pointer to its field.
    fn validate(&self) -> Vec<FieldError>;
}

/// A JSON body, read and validated. Unknown fields are refused if `T` denies them, and it should.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Validate> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let bytes = body(request, state).await?;
        Ok(Self(parse(&bytes)?))
    }
}

/// The raw bytes of a JSON body: for handlers that also fingerprint it.
pub async fn body<S: Send + Sync>(request: Request, state: &S) -> Result<bytes::Bytes, Problem> {
    if !is_json(request.headers()) {
        return Err(Problem::new(Kind::UnsupportedMediaType).header(header::ACCEPT, "application/json"));
    }
    bytes::Bytes::from_request(request, state).await.map_err(|rejection| {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            Problem::new(Kind::PayloadTooLarge)
        } else {
            Problem::with(Kind::BadRequest, "The body could not be read")
        }
    })
}

/// Reads and validates a JSON document: 400 when it is no JSON, 422 with a pointer when it is not the right one.
pub fn parse<T: DeserializeOwned + Validate>(bytes: &[u8]) -> Result<T, Problem> {
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::with(Kind::BadRequest, format!("The body is not valid JSON: {error}")))?;
    let parsed: T = serde_path_to_error::deserialize(value).map_err(|error| {
        Problem::validation(vec![FieldError::new(pointer(error.path()), error.inner().to_string())])
    })?;
    let errors = parsed.validate();
    if errors.is_empty() {
        Ok(parsed)
    } else {
        Err(Problem::validation(errors))
    }
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", key.replace('~', "~0").replace('/', "~1")),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(media) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let media = media.split(';').next().unwrap_or_default().trim();
    media.eq_ignore_ascii_case("application/json") || media.eq_ignore_ascii_case("application/merge-patch+json")
}

/// Path parameters. One that is not of its form names nothing: 404.
#[derive(Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match <axum::extract::Path<T> as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(_) => Err(Problem::not_found()),
        }
    }
}

/// Query parameters; a bad one is 422 with pointer `?`.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::validation(vec![FieldError::new("?", rejection.body_text())]))
    }
}

/// The version that the client's If-Match names. Absent is 428; a weak or foreign one is 412, as it can never match.
#[derive(Clone, Copy, Debug)]
pub struct IfMatch(pub i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts
            .headers
            .get(header::IF_MATCH)
            .ok_or_else(|| Problem::new(Kind::PreconditionRequired))?;
        value
            .to_str()
            .ok()
            .and_then(|tag| tag.trim().strip_prefix("\"v")?.strip_suffix('"')?.parse().ok())
            .map(Self)
            .ok_or_else(|| Problem::new(Kind::PreconditionFailed))
    }
}

/// The strong ETag of a row's version.
pub fn etag(version: i64) -> String {
    format!("\"v{version}\"")
}

/// The caller's address, if the server knows it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub std::net::IpAddr);

impl<S: Send + Sync> OptionalFromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().copied())
    }
}
