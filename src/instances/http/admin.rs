//! /api/v1/admin/instances: everybody's instances, and the operator's pause.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Api, page};
use crate::audit;
use crate::db::signal::Channel;
use crate::events::Outbox;
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{FieldError, Problem, Result, request_id};
use crate::identity::{Admin, Principal, Staff};
use crate::instances::desire;
use crate::instances::phase::Phase;
use crate::instances::store::{self, Filter};
use crate::instances::view::View;

/// What an admin's list shows.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct AdminQuery {
    /// How many at most (1 to 200; 50 unless told).
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Where the previous page ended: its `next_cursor`.
    #[param(max_length = 500)]
    cursor: Option<String>,
    /// Only this account's.
    user_id: Option<Uuid>,
    /// Only in this phase.
    #[param(max_length = 20)]
    phase: Option<String>,
    /// Deleted ones too.
    deleted: Option<bool>,
}

/// List all instances
///
/// Of every account, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/instances", tag = "admin", operation_id = "admin_list_instances",
    params(AdminQuery), security(("bearer" = ["support"])),
    responses((status = 200, body = Page<View>))
)]
pub(super) async fn list(
    State(api): State<Api>,
    Staff(_caller): Staff,
    Query(query): Query<AdminQuery>,
) -> Result<Json<Page<View>>> {
    let unknown = || Problem::validation(vec![FieldError::new("?phase", "is not the name of a phase")]);
    let phase = match &query.phase {
        Some(name) => Some(Phase::parse(name).ok_or_else(unknown)?),
        None => None,
    };
    let filter = Filter {
        user_id: query.user_id,
        phase,
        deleted: query.deleted.unwrap_or(false),
    };
    let list = format!("admin-instances:{filter:?}");
    let query = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    };
    page(&api, &query, &list, &filter).await
}

/// Hold an instance
///
/// Pauses it whatever its customer wants: the pod is stopped, the data and the place stay. Repeating it changes nothing.
#[utoipa::path(
    post, path = "/api/v1/admin/instances/{id}/hold", tag = "admin", operation_id = "admin_hold_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["admin"])),
    responses((status = 200, body = View))
)]
pub(super) async fn hold(State(api): State<Api>, Admin(caller): Admin, Path(id): Path<Uuid>) -> Result<Json<View>> {
    let mut outbox = Outbox::default();
    let mut tx = api.pool.begin().await?;
    desire::hold(&mut tx, &api.ambient, &mut outbox, id).await?;
    record(&mut tx, &api, &caller, "instance.hold", id).await?;
    let view = store::get(&mut tx, id).await?.ok_or_else(Problem::not_found)?.into();
    outbox.flush(&mut tx, &api.ambient).await?;
    tx.commit().await?;
    api.signals.ring(Channel::Work);
    api.signals.ring(Channel::Events);
    Ok(Json(view))
}

/// Release an instance
///
/// Ends the pause. Refused with `insufficient-capacity` when it is to run again and there is no room.
#[utoipa::path(
    post, path = "/api/v1/admin/instances/{id}/release", tag = "admin", operation_id = "admin_release_instance",
    params(("id" = Uuid, Path)), security(("bearer" = ["admin"])),
    responses((status = 200, body = View))
)]
pub(super) async fn release(State(api): State<Api>, Admin(caller): Admin, Path(id): Path<Uuid>) -> Result<Json<View>> {
    let mut tx = api.pool.begin().await?;
    desire::release(&mut tx, &api.ambient, &api.scheduler, id).await?;
    record(&mut tx, &api, &caller, "instance.release", id).await?;
    let view = store::get(&mut tx, id).await?.ok_or_else(Problem::not_found)?.into();
    tx.commit().await?;
    api.signals.ring(Channel::Work);
    Ok(Json(view))
}

async fn record(conn: &mut PgConnection, api: &Api, caller: &Principal, action: &str, id: Uuid) -> sqlx::Result<()> {
    let request_id = request_id();
    let entry = audit::Entry {
        actor: Some(caller.user_id),
        role: caller.role.name(),
        action,
        subject: "instance",
        subject_id: Some(id),
        allowed: true,
        request_id: request_id.as_deref(),
        detail: json!({}),
    };
    audit::record(conn, &api.ambient, entry).await
}
