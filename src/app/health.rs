//! /healthz, /readyz, /metrics: for the kubelet, the load balancer and Prometheus.

use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use sqlx::PgPool;

use crate::telemetry;

/// A database that needs longer than this serves nobody well.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn routes(pool: PgPool) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(pool)
}

/// Ready when the database answers. The cluster's API is no condition: without it customers can still see and order,
/// and taking every replica out of service would help nobody.
async fn ready(State(pool): State<PgPool>) -> Response {
    let answer = tokio::time::timeout(PATIENCE, sqlx::query_scalar!(r#"SELECT 1 AS "one!""#).fetch_one(&pool)).await;
    let ok = matches!(answer, Ok(Ok(_)));
    let status = if ok {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let word = |ok| if ok { "ok" } else { "failed" };
    if ok {
        return (
            status,
            Json(json!({"status": word(ok), "checks": {"database": word(ok)}})),
        )
            .into_response();
    }
    let detail = "The database does not answer";
    crate::http::problem::Problem::with(crate::http::problem::Kind::Unavailable, detail).into_response()
}

async fn metrics() -> Response {
    (
        [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        telemetry::render(),
    )
        .into_response()
}
