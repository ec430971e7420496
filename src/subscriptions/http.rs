//! Routes of subscriptions: lists and details here, what changes something beside its rules in the sibling files.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode, header};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::view::{self, SubscriptionView};
use super::{Deps, admin, cancel, order, renew};
use crate::http::extract::{Path, Query, etag};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Kind, Problem, Result};
use crate::identity::{Customer, Principal, Role};

pub fn routes(deps: Deps) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(order::create))
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(renew::renew))
        .routes(routes!(cancel::cancel))
        .routes(routes!(cancel::undo))
        .routes(routes!(admin::list))
        .routes(routes!(admin::cancel))
        .routes(routes!(admin::confirm_payment))
        .with_state(deps)
}

/// The owner and admins change things; support may look and not touch; others do not learn that it exists.
pub(super) fn may_change(caller: &Principal, owner: Uuid) -> std::result::Result<(), Kind> {
    match caller.role {
        _ if caller.user_id == owner => Ok(()),
        Role::Admin => Ok(()),
        Role::Support => Err(Kind::Forbidden),
        Role::Customer => Err(Kind::NotFound),
    }
}

/// List my subscriptions
///
/// Newest first, cancelled ones included.
#[utoipa::path(
    get, path = "/api/v1/subscriptions", tag = "subscriptions", operation_id = "list_subscriptions",
    params(PageQuery), security(("bearer" = ["customer"])),
    responses((status = 200, body = Page<SubscriptionView>))
)]
async fn list(
    State(deps): State<Deps>,
    Customer(caller): Customer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<SubscriptionView>>> {
    let list = format!("subscriptions:{}", caller.user_id);
    let window = query.window(&list)?;
    let rows = view::page(&mut *deps.pool.acquire().await?, Some(caller.user_id), None, &window).await?;
    Ok(Json(Page::new(rows, &window, &list, |row| (row.created_at, row.id))))
}

/// Show a subscription
///
/// How it stands, until when, and what can be bought next. The ETag changes with every transition.
#[utoipa::path(
    get, path = "/api/v1/subscriptions/{id}", tag = "subscriptions", operation_id = "get_subscription",
    params(("id" = Uuid, Path), ("If-None-Match" = Option<String>, Header, description = "An ETag that you have")),
    security(("bearer" = ["customer"])),
    responses(
        (status = 200, body = SubscriptionView, headers(("ETag" = String))),
        (status = 304, description = "Unchanged since that ETag"),
    )
)]
async fn show(
    State(deps): State<Deps>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response> {
    let subscription = view::get(&mut *deps.pool.acquire().await?, id)
        .await?
        .filter(|row| row.user_id == caller.user_id || caller.role >= Role::Support)
        .ok_or_else(Problem::not_found)?;
    let tag = etag(subscription.version);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    if known.is_some_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    Ok(([(header::ETAG, tag)], Json(subscription)).into_response())
}
