//! What wraps every request: its id, its log line, its metrics, and the promise that every failure is a problem.

use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use prometheus::{HistogramVec, IntCounterVec};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::problem::{Kind, Problem, REQUEST_ID};
use crate::clock::Ambient;
use crate::telemetry::{self, Stopwatch};

/// No request of ours is larger; templates, the largest, stay well below.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Longer than the pool and any statement may take.
const TIMEOUT: Duration = Duration::from_secs(25);
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_http_requests_total",
        "Requests by route and status.",
        &["method", "route", "status"],
    )
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
    telemetry::histogram(
        "lumbung_http_request_duration_seconds",
        "Time to answer by route.",
        &["method", "route"],
        &buckets,
    )
});

/// Wraps the finished router. Order, from the outside: id and log, CORS, problems, panics and time-outs.
pub fn wrap(router: Router, ambient: Ambient, origins: &[String]) -> Router {
    router
        .fallback(|| async { Problem::not_found() })
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(from_fn(measured))
        .layer(from_fn(guarded))
        .layer(from_fn(problems))
        .layer(cors(origins))
        .layer(from_fn_with_state(ambient, identified))
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let expose = [
        "location",
        "etag",
        "retry-after",
        "ratelimit",
        "ratelimit-policy",
        "x-request-id",
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::PUT, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            HeaderName::from_static("idempotency-key"),
            X_REQUEST_ID,
        ])
        .expose_headers(expose.map(HeaderName::from_static))
        .max_age(Duration::from_hours(1))
}

/// Gives the request its id (the caller's, when it is a sane one), logs the answer, returns the id.
async fn identified(State(ambient): State<Ambient>, request: Request, next: Next) -> Response {
    let given = request.headers().get(&X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let sane = |id: &&str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let id = given
        .filter(sane)
        .map_or_else(|| ambient.new_id().to_string(), str::to_owned);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let watch = Stopwatch::start();
    let mut response = REQUEST_ID.scope(id.clone(), next.run(request)).await;
    let millis = u64::try_from(watch.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(%method, path, status = response.status().as_u16(), duration_ms = millis, request_id = id, "request answered");
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(X_REQUEST_ID, id);
    }
    response
        .headers_mut()
        .insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Makes a problem of every failure that the framework made, keeping the headers that say more (Allow, Retry-After).
async fn problems(request: Request, next: Next) -> Response {
    let is_trace = request.method() == Method::TRACE;
    let response = if is_trace {
        StatusCode::METHOD_NOT_ALLOWED.into_response()
    } else {
        next.run(request).await
    };
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|media| media.as_bytes().starts_with(b"application/problem+json"));
    if is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let kind = match status {
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN => Kind::Forbidden,
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Kind::MethodNotAllowed,
        StatusCode::REQUEST_TIMEOUT => Kind::RequestTimeout,
        StatusCode::PAYLOAD_TOO_LARGE => Kind::PayloadTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Kind::UnsupportedMediaType,
        StatusCode::UNPROCESSABLE_ENTITY => Kind::Validation,
        StatusCode::UPGRADE_REQUIRED => Kind::UpgradeRequired,
        StatusCode::TOO_MANY_REQUESTS => Kind::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Kind::Timeout,
        _ if status.is_client_error() => Kind::BadRequest,
        _ => Kind::Internal,
    };
    let mut problem = Problem::new(kind).into_response();
    for name in [header::ALLOW, header::RETRY_AFTER] {
        if let Some(value) = response.headers().get(&name) {
            problem.headers_mut().insert(name, value.clone());
        }
    }
    if is_trace {
        problem
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST,PATCH,OPTIONS"));
    }
    problem
}

/// A panic or a hang costs its own request only.
async fn guarded(request: Request, next: Next) -> Response {
    let answer = std::panic::AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(TIMEOUT, answer).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => Problem::internal("the handler panicked").into_response(),
        Err(_) => Problem::new(Kind::Timeout).into_response(),
    }
}

async fn measured(matched: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let method = known(request.method());
    let watch = Stopwatch::start();
    let response = next.run(request).await;
    let route = matched.as_ref().map_or("unmatched", MatchedPath::as_str);
    REQUESTS
        .with_label_values(&[method, route, response.status().as_str()])
        .inc();
    SECONDS
        .with_label_values(&[method, route])
        .observe(watch.elapsed().as_secs_f64());
    response
}

/// Method names come from outside: only the known ones become label values.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
