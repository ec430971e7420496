//! Errors as RFC 9457 problem+json. Every non-2xx answer is one of these; the catalogue below is the whole list.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// Where the problem types are explained; relative, so that it resolves against whatever host serves the API.
const TYPE_BASE: &str = "/docs/problems#";

macro_rules! catalogue {
    ($($variant:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// The stable kinds of problem. `code` is the last part of `type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($variant),* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];
            pub fn status(self) -> StatusCode {
                let status = match self { $(Self::$variant => $status),* };
                StatusCode::from_u16(status).expect("the catalogue holds real statuses")
            }
            pub fn code(self) -> &'static str { match self { $(Self::$variant => $code),* } }
            pub fn title(self) -> &'static str { match self { $(Self::$variant => $title),* } }
        }
    };
}

catalogue! {
    BadRequest = 400, "bad-request", "The request cannot be understood";
    InvalidCursor = 400, "invalid-cursor", "The cursor does not belong to this list";
    IdempotencyKeyMissing = 400, "idempotency-key-missing", "This request needs an Idempotency-Key";
    Unauthenticated = 401, "unauthenticated", "Authentication is needed";
    InvalidCredentials = 401, "invalid-credentials", "The e-mail address or the password is wrong";
    InvalidToken = 401, "invalid-token", "The token is not valid any more";
    Forbidden = 403, "forbidden", "This role may not do that";
    OriginRefused = 403, "origin-refused", "This origin may not open a live connection";
    NotFound = 404, "not-found", "There is no such thing here";
    MethodNotAllowed = 405, "method-not-allowed", "The method is not allowed here";
    NotAcceptable = 406, "not-acceptable", "The answer cannot be given in an accepted form";
    RequestTimeout = 408, "request-timeout", "The request took too long to arrive";
    Conflict = 409, "conflict", "The request conflicts with the present state";
    InsufficientCapacity = 409, "insufficient-capacity", "There is no room for this at the moment";
    OperationInProgress = 409, "operation-in-progress", "Another operation is running on this";
    IdempotencyInFlight = 409, "idempotency-in-flight", "The first request with this key is still running";
    NotOrderable = 409, "not-orderable", "This service cannot be ordered at the moment";
    PreconditionFailed = 412, "precondition-failed", "It was changed in the meantime";
    PayloadTooLarge = 413, "payload-too-large", "The request body is too large";
    UnsupportedMediaType = 415, "unsupported-media-type", "The body must be application/json";
    UpgradeRequired = 426, "upgrade-required", "This address speaks WebSocket only";
    Validation = 422, "validation", "Some fields are not valid";
    IdempotencyMismatch = 422, "idempotency-mismatch", "This key was used for another request";
    PreconditionRequired = 428, "precondition-required", "This request needs an If-Match header";
    RateLimited = 429, "rate-limited", "Too many requests";
    Internal = 500, "internal", "Something went wrong on our side";
    Unavailable = 503, "unavailable", "The service is not available at the moment";
    Timeout = 504, "timeout", "The request took too long to answer";
}

/// One invalid field.
#[derive(Clone, Debug, Serialize, PartialEq, Eq, utoipa::ToSchema)]
pub struct FieldError {
    /// RFC 6901 pointer into the request body, or `?name` for a query parameter.
    pub pointer: String,
    pub detail: String,
}

impl FieldError {
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
        }
    }
}

/// The body of a problem+json answer.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct Body {
    /// Identifies the kind of problem; stable.
    pub r#type: String,
    pub title: &'static str,
    pub status: u16,
    /// The last part of `type`: what clients switch on.
    pub code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The request's id, as in the X-Request-Id header and in our logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// An answer that is not a success.
#[derive(Clone, Debug)]
pub struct Problem {
    pub kind: Kind,
    pub detail: Option<String>,
    pub errors: Vec<FieldError>,
    pub headers: HeaderMap,
}

pub type Result<T, E = Problem> = std::result::Result<T, E>;

impl Problem {
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            detail: None,
            errors: Vec::new(),
            headers: HeaderMap::new(),
        }
    }

    pub fn with(kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            detail: Some(detail.into()),
            ..Self::new(kind)
        }
    }

    pub fn validation(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Kind::Validation)
        }
    }

    pub fn not_found() -> Self {
        Self::new(Kind::NotFound)
    }

    #[must_use]
    pub fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
        self
    }

    /// A fault of ours: logged here, once, with its cause; the client learns only that it happened.
    pub fn internal(error: impl std::fmt::Display) -> Self {
        tracing::error!(%error, "request failed");
        Self::new(Kind::Internal)
    }

    /// The whole body, with the request's id.
    pub fn body(&self, request_id: Option<String>) -> Body {
        Body {
            r#type: format!("{TYPE_BASE}{}", self.kind.code()),
            title: self.kind.title(),
            status: self.kind.status().as_u16(),
            code: self.kind.code(),
            detail: self.detail.clone(),
            request_id,
            errors: self.errors.clone(),
        }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        if is_temporary(&error) {
            tracing::warn!(%error, "database not available");
            return Self::new(Kind::Unavailable);
        }
        Self::internal(error)
    }
}

/// Overload, a lost database, and rows that somebody else holds: nothing was done, and the client may retry.
fn is_temporary(error: &sqlx::Error) -> bool {
    // Classes: connection, rolled back for others' sake, out of resources, ended by an operator or a time-out; then a
    // lock that was not to be had, and a transaction that stood still for too long.
    const TEMPORARY: [&str; 6] = ["08", "40", "53", "57", "55P03", "25P03"];
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed => true,
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| TEMPORARY.iter().any(|class| code.starts_with(class))),
        _ => false,
    }
}

tokio::task_local! {
    /// The id of the request that this task answers, set by the outermost layer.
    pub static REQUEST_ID: String;
}

/// The id of the request being answered, if any.
pub fn request_id() -> Option<String> {
    REQUEST_ID.try_with(Clone::clone).ok()
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        let status = self.kind.status();
        if status == StatusCode::UNAUTHORIZED {
            self.headers
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE && !self.headers.contains_key(header::RETRY_AFTER) {
            self.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
        }
        let body = serde_json::to_vec(&self.body(request_id())).unwrap_or_default();
        let mut response = (status, body).into_response();
        response.headers_mut().extend(self.headers);
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_are_errors() {
        let mut codes: Vec<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|kind| !kind.status().is_success()));
    }
}
