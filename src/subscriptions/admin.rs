//! What staff see and admins do: every subscription, cancelling one, and confirming that a bank transfer arrived.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::state::{Status, Trigger};
use super::view::{self, SubscriptionView};
use super::{Deps, cancel, payment, store};
use crate::audit;
use crate::billing::{Invoice, Transaction, book::Book, read};
use crate::crash;
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Kind, Problem, Result, request_id};
use crate::identity::{Admin, Principal, Staff};

/// The gateway whose payments an operator confirms.
const MANUAL: &str = "manual";

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only subscriptions in this status.
    status: Option<Status>,
}

/// List all subscriptions
///
/// Of every account, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/subscriptions", tag = "admin", operation_id = "list_all_subscriptions",
    params(PageQuery, Filter), security(("bearer" = ["support"])),
    responses((status = 200, body = Page<SubscriptionView>))
)]
pub async fn list(
    State(deps): State<Deps>,
    _staff: Staff,
    Query(query): Query<PageQuery>,
    Query(filter): Query<Filter>,
) -> Result<Json<Page<SubscriptionView>>> {
    let list = format!("all-subscriptions:{}", filter.status.map_or("", Status::name));
    let window = query.window(&list)?;
    let rows = view::page(&mut *deps.pool.acquire().await?, None, filter.status, &window).await?;
    Ok(Json(Page::new(rows, &window, &list, |row| (row.created_at, row.id))))
}

fn entry<'a>(
    admin: &Principal,
    action: &'a str,
    subject: &'a str,
    id: Uuid,
    request: Option<&'a str>,
) -> audit::Entry<'a> {
    audit::Entry {
        actor: Some(admin.user_id),
        role: admin.role.name(),
        action,
        subject,
        subject_id: Some(id),
        allowed: true,
        request_id: request,
        detail: json!({}),
    }
}

/// Cancel a customer's subscription
///
/// At once: service and data are deleted for good, what is paid and not begun is credited. It is audited.
#[utoipa::path(
    post, path = "/api/v1/admin/subscriptions/{id}/cancel", tag = "admin", operation_id = "admin_cancel_subscription",
    params(("id" = Uuid, Path)), security(("bearer" = ["admin"])),
    responses(
        (status = 200, body = cancel::Cancellation, description = "Already gone"),
        (status = 202, body = cancel::Cancellation, description = "Being deleted",
         headers(("Location" = String, description = "The operation"))),
    )
)]
pub async fn cancel(State(deps): State<Deps>, Admin(admin): Admin, Path(id): Path<Uuid>) -> Result<Response> {
    let mut tx = deps.pool.begin().await?;
    store::get(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let request = request_id();
    let entry = entry(&admin, "subscription.cancel", "subscription", id, request.as_deref());
    audit::record(&mut tx, &deps.ambient, entry).await?;
    let cancellation = cancel::finish(&deps, tx, id, Trigger::CancelNow { by_admin: true }).await?;
    Ok(cancellation.into_answer())
}

/// A confirmed payment.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Confirmed {
    /// `paid`, or `credited` when what it was for cannot be given any more.
    pub invoice: Invoice,
    pub transaction: Transaction,
}

/// Confirm a bank transfer
///
/// The operator has seen the money of this invoice. What it buys is granted at once; money that comes after the hold is
/// over is credited. A repeat changes nothing. It is audited.
#[utoipa::path(
    post, path = "/api/v1/admin/invoices/{id}/confirm-payment", tag = "admin", operation_id = "confirm_payment",
    params(("id" = Uuid, Path)), security(("bearer" = ["admin"])),
    responses((status = 200, body = Confirmed))
)]
pub async fn confirm_payment(
    State(deps): State<Deps>,
    Admin(admin): Admin,
    Path(id): Path<Uuid>,
) -> Result<Json<Confirmed>> {
    let mut tx = deps.pool.begin().await?;
    read::invoice(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let transaction = read::payment_of(&mut tx, id)
        .await?
        .filter(|payment| payment.gateway == MANUAL);
    let transaction = transaction
        .ok_or_else(|| Problem::with(Kind::Conflict, "This invoice is not paid by bank transfer."))?
        .id;
    let mut book = Book::default();
    let first = payment::settle(&mut tx, &deps, &mut book, transaction).await?;
    let request = request_id();
    let mut entry = entry(&admin, "invoice.payment.confirm", "invoice", id, request.as_deref());
    entry.detail = json!({"transaction_id": transaction, "first": first});
    audit::record(&mut tx, &deps.ambient, entry).await?;
    let confirmed = Confirmed {
        invoice: read::invoice(&mut tx, id).await?.ok_or_else(Problem::not_found)?,
        transaction: read::transaction(&mut tx, transaction)
            .await?
            .ok_or_else(Problem::not_found)?,
    };
    let flushed = book.flush(&mut tx, &deps.ambient).await?;
    crash::point("payment.before_commit");
    tx.commit().await?;
    crash::point("payment.after_commit");
    flushed.done(&deps.signals);
    Ok(Json(confirmed))
}
