//! /api/v1/instances and /api/v1/admin/instances. Owners act on their own, staff sees everything, admins may act on
//! everything. Deleting goes through the subscription: an instance that is paid for is not lost by one request.

mod admin;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::{PgConnection, PgPool};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::store::templates::Templates;
use super::store::{self, Filter, Instance};
use super::view::View;
use super::{Error, credentials, desire};
use crate::clock::Ambient;
use crate::crash;
use crate::crypto::Keyring;
use crate::db::signal::{Channel, Signals};
use crate::events::{self, Event};
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Kind, Problem, Result};
use crate::identity::{Customer, Principal, Role};
use crate::operations::{self, Operation, Subject};
use crate::scheduling::Scheduler;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    pub keyring: Arc<Keyring>,
    pub templates: Templates,
    pub scheduler: Arc<Scheduler>,
}

pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(restart))
        .routes(routes!(list_operations))
        .routes(routes!(list_events))
        .routes(routes!(credentials::show))
        .routes(routes!(admin::list))
        .routes(routes!(admin::hold))
        .routes(routes!(admin::release))
        .with_state(api)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound => Self::not_found(),
            Error::Purged | Error::NotEntitled | Error::Held | Error::NotRunning => {
                Self::with(Kind::Conflict, sentence(&error))
            }
            Error::Busy(ref operation) => {
                let location = operation.location();
                Self::with(Kind::OperationInProgress, sentence(&error)).header(header::LOCATION, location)
            }
            Error::Refused(ref refusal) => {
                tracing::info!(%refusal, "a start was refused for want of room");
                Self::new(Kind::InsufficientCapacity)
            }
            Error::NoRegion | Error::Secrets(_) | Error::Inconsistent(_) => Self::internal(error),
            Error::Sql(error) => error.into(),
        }
    }
}

fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The instance, if the caller may see it; strangers learn nothing.
async fn visible(conn: &mut PgConnection, caller: &Principal, id: Uuid) -> Result<Instance> {
    let instance = store::get(conn, id).await?.ok_or_else(Problem::not_found)?;
    if instance.user_id != caller.user_id && caller.role < Role::Support {
        return Err(Problem::not_found());
    }
    Ok(instance)
}

/// The same for a change: the owner's, or an admin's.
async fn changeable(conn: &mut PgConnection, caller: &Principal, id: Uuid) -> Result<Instance> {
    let instance = visible(conn, caller, id).await?;
    if instance.user_id != caller.user_id && caller.role < Role::Admin {
        return Err(Problem::new(Kind::Forbidden));
    }
    Ok(instance)
}

/// List instances
///
/// The caller's own, newest first; deleted ones are left out.
#[utoipa::path(
    get, path = "/api/v1/instances", tag = "instances", operation_id = "list_instances",
    params(PageQuery), security(("bearer" = ["customer"])),
    responses((status = 200, body = Page<View>))
)]
async fn list(
    State(api): State<Api>,
    Customer(caller): Customer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<View>>> {
    let filter = Filter {
        user_id: Some(caller.user_id),
        ..Filter::default()
    };
    page(&api, &query, "instances", &filter).await
}

async fn page(api: &Api, query: &PageQuery, list: &str, filter: &Filter) -> Result<Json<Page<View>>> {
    let window = query.window(list)?;
    let rows = store::page(&mut *api.pool.acquire().await?, filter, &window).await?;
    Ok(Json(
        Page::new(rows, &window, list, |row| (row.created_at, row.id)).map(View::from),
    ))
}

/// Show an instance
///
/// What is wanted, what is seen, how old that sight is, what is in the way and when the next try is.
#[utoipa::path(
    get, path = "/api/v1/instances/{id}", tag = "instances", operation_id = "get_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = View))
)]
async fn show(State(api): State<Api>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Json<View>> {
    Ok(Json(
        visible(&mut *api.pool.acquire().await?, &caller, id).await?.into(),
    ))
}

/// 202 with the operation and where it can be watched.
fn accepted(operation: Operation) -> Response {
    let location = [(header::LOCATION, operation.location())];
    (StatusCode::ACCEPTED, location, Json(operation)).into_response()
}

/// Start an instance
///
/// Refused with `insufficient-capacity` when its reservation is gone and there is no room; nothing is changed then.
#[utoipa::path(
    post, path = "/api/v1/instances/{id}/start", tag = "instances", operation_id = "start_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 202, body = Operation, headers(("location" = String, description = "The operation"))))
)]
async fn start(State(api): State<Api>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Response> {
    let seen = changeable(&mut *api.pool.acquire().await?, &caller, id).await?;
    let mut tx = api.pool.begin().await?;
    let operation = desire::start(&mut tx, &api.ambient, &api.scheduler, id).await?;
    caller
        .trace(&mut tx, &api.ambient, seen.user_id, "instance.start", ("instance", id))
        .await?;
    tx.commit().await?;
    api.signals.ring(Channel::Work);
    Ok(accepted(operation))
}

/// Stop an instance
///
/// Its data, its address and its place in the cluster stay.
#[utoipa::path(
    post, path = "/api/v1/instances/{id}/stop", tag = "instances", operation_id = "stop_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 202, body = Operation, headers(("location" = String, description = "The operation"))))
)]
async fn stop(State(api): State<Api>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Response> {
    let mut tx = api.pool.begin().await?;
    let seen = changeable(&mut tx, &caller, id).await?;
    let operation = desire::stop(&mut tx, &api.ambient, id).await?;
    caller
        .trace(&mut tx, &api.ambient, seen.user_id, "instance.stop", ("instance", id))
        .await?;
    crash::point("stop.before_commit");
    tx.commit().await?;
    crash::point("stop.after_commit");
    api.signals.ring(Channel::Work);
    Ok(accepted(operation))
}

/// Restart an instance
///
/// Its pod is replaced by a new one of the same kind.
#[utoipa::path(
    post, path = "/api/v1/instances/{id}/restart", tag = "instances", operation_id = "restart_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 202, body = Operation, headers(("location" = String, description = "The operation"))))
)]
async fn restart(State(api): State<Api>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Response> {
    let mut tx = api.pool.begin().await?;
    let seen = changeable(&mut tx, &caller, id).await?;
    let operation = desire::restart(&mut tx, &api.ambient, id).await?;
    caller
        .trace(
            &mut tx,
            &api.ambient,
            seen.user_id,
            "instance.restart",
            ("instance", id),
        )
        .await?;
    tx.commit().await?;
    api.signals.ring(Channel::Work);
    Ok(accepted(operation))
}

/// How many operations and events one answer holds.
const RECENT: i64 = 100;

/// The latest operations on an instance.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InstanceOperations {
    #[schema(max_items = 100)]
    pub items: Vec<Operation>,
}

/// List an instance's operations
///
/// The latest hundred, newest first.
#[utoipa::path(
    get, path = "/api/v1/instances/{id}/operations", tag = "instances", operation_id = "list_instance_operations",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = InstanceOperations))
)]
async fn list_operations(
    State(api): State<Api>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
) -> Result<Json<InstanceOperations>> {
    let mut conn = api.pool.acquire().await?;
    visible(&mut conn, &caller, id).await?;
    let items = operations::store::recent(&mut conn, Subject::Instance, id, RECENT).await?;
    Ok(Json(InstanceOperations { items }))
}

/// The latest events of an instance.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct InstanceEvents {
    #[schema(max_items = 100)]
    pub items: Vec<Event>,
}

/// List an instance's events
///
/// The latest hundred from the event log of its owner, newest first.
#[utoipa::path(
    get, path = "/api/v1/instances/{id}/events", tag = "instances", operation_id = "list_instance_events",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = InstanceEvents))
)]
async fn list_events(
    State(api): State<Api>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
) -> Result<Json<InstanceEvents>> {
    let mut conn = api.pool.acquire().await?;
    let instance = visible(&mut conn, &caller, id).await?;
    let items = events::store::about(&mut conn, instance.user_id, ("instance_id", "subject_id"), id, RECENT).await?;
    Ok(Json(InstanceEvents { items }))
}
