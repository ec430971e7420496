//! The OpenAPI document: assembled from the handlers, completed with what every operation shares.

use std::sync::Arc;

use axum::http::header;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use utoipa::OpenApi;

use crate::http::problem::{Body, FieldError, Kind};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Lumbung",
        description = "Running services as monthly subscriptions. Errors are RFC 9457 problems; lists are keyset pages; \
                       asynchronous work answers 202 with an operation.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    components(schemas(Body, FieldError))
)]
struct Base;

/// The empty document that the domains' routes are merged into.
pub fn base(public_url: &str) -> utoipa::openapi::OpenApi {
    let mut document = Base::openapi();
    document.servers = Some(vec![utoipa::openapi::Server::new(public_url)]);
    document
}

/// Adds the security scheme and, to every operation, the problems that any request may meet.
pub fn finish(document: utoipa::openapi::OpenApi) -> anyhow::Result<Value> {
    let mut document = serde_json::to_value(document)?;
    document["components"]["securitySchemes"] = json!({"bearer": {
        "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
        "description": "An access token from POST /api/v1/auth/login (EdDSA, RFC 8725). The scope named by an operation \
                        is the lowest role that may call it: customer, support, admin."
    }});
    let problem = |kind: Kind| {
        json!({"description": kind.title(),
               "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}})
    };
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    for (path, item) in paths {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            let shared = shared(path, method, operation);
            let Some(responses) = operation["responses"].as_object_mut() else {
                continue;
            };
            for kind in shared {
                responses.entry(kind.status().as_str()).or_insert_with(|| problem(kind));
            }
        }
    }
    Ok(document)
}

/// The problems that an operation may meet before or beside its own.
fn shared(path: &str, method: &str, operation: &Value) -> Vec<Kind> {
    // An empty requirement asks for nothing: such an operation is public.
    let requirements = operation["security"].as_array().map(Vec::as_slice).unwrap_or_default();
    let secured = !requirements.is_empty() && !requirements.contains(&json!({}));
    let parameters = operation["parameters"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let asks = |name: &str| parameters.iter().any(|parameter| parameter["name"] == name);
    let mut shared = vec![Kind::RateLimited, Kind::Internal, Kind::Unavailable, Kind::Timeout];
    if secured {
        shared.extend([Kind::Unauthenticated, Kind::Forbidden]);
    }
    if path.contains('{') {
        shared.push(Kind::NotFound);
        if method != "get" {
            shared.push(Kind::Conflict);
        }
    }
    if asks("If-Match") {
        shared.extend([Kind::PreconditionFailed, Kind::PreconditionRequired]);
    }
    if asks("Idempotency-Key") {
        shared.extend([Kind::IdempotencyKeyMissing, Kind::Conflict, Kind::IdempotencyMismatch]);
    }
    if operation.get("requestBody").is_some() {
        shared.extend([
            Kind::BadRequest,
            Kind::PayloadTooLarge,
            Kind::UnsupportedMediaType,
            Kind::Validation,
        ]);
    } else if method == "get" {
        shared.push(Kind::Validation);
    }
    shared
}

/// /openapi.json.
pub fn routes(document: Arc<Value>) -> Router {
    let answer = move || {
        let document = document.clone();
        async move {
            (
                [(header::CACHE_CONTROL, "public, max-age=300")],
                Json((*document).clone()),
            )
        }
    };
    Router::new().route("/openapi.json", get(answer))
}
