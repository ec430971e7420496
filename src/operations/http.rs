//! GET /api/v1/operations/{id}.

use axum::Json;
use axum::extract::State;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Operation, store};
use crate::http::extract::Path;
use crate::http::problem::{Problem, Result};
use crate::identity::{Customer, Role};

pub fn routes(pool: PgPool) -> OpenApiRouter {
    OpenApiRouter::new().routes(routes!(show)).with_state(pool)
}

/// Show an operation
///
/// How an asynchronous request is going: its steps so far and, in the end, its outcome.
#[utoipa::path(
    get, path = "/api/v1/operations/{id}", tag = "operations", operation_id = "get_operation",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = Operation))
)]
async fn show(State(pool): State<PgPool>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Json<Operation>> {
    let operation = store::get(&mut *pool.acquire().await?, id)
        .await?
        .ok_or_else(Problem::not_found)?;
    if caller.role < Role::Support && operation.user_id != Some(caller.user_id) {
        return Err(Problem::not_found());
    }
    Ok(Json(operation))
}
