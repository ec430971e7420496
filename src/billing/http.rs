//! Invoices and transactions, for those who paid them and those who look after the money.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Invoice, InvoiceStatus, Transaction, read};
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Problem, Result};
use crate::identity::{Customer, Principal, Role, Staff};

pub fn routes(pool: PgPool) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list_invoices))
        .routes(routes!(show_invoice))
        .routes(routes!(list_transactions))
        .routes(routes!(show_transaction))
        .routes(routes!(list_all_invoices))
        .with_state(pool)
}

/// Whose it is not, does not learn that it exists; staff may see everything.
fn may_see(caller: &Principal, owner: Uuid) -> bool {
    caller.user_id == owner || caller.role >= Role::Support
}

/// List my invoices
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/invoices", tag = "billing", operation_id = "list_invoices",
    params(PageQuery), security(("bearer" = ["customer"])),
    responses((status = 200, body = Page<Invoice>))
)]
async fn list_invoices(
    State(pool): State<PgPool>,
    Customer(caller): Customer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Invoice>>> {
    let list = format!("invoices:{}", caller.user_id);
    let window = query.window(&list)?;
    let rows = read::invoices(&mut *pool.acquire().await?, Some(caller.user_id), None, &window).await?;
    Ok(Json(Page::new(rows, &window, &list, |row| (row.created_at, row.id))))
}

/// Show an invoice
///
/// What was bought, and whether it is paid.
#[utoipa::path(
    get, path = "/api/v1/invoices/{id}", tag = "billing", operation_id = "get_invoice",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = Invoice))
)]
async fn show_invoice(
    State(pool): State<PgPool>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
) -> Result<Json<Invoice>> {
    let invoice = read::invoice(&mut *pool.acquire().await?, id).await?;
    let invoice = invoice.filter(|invoice| may_see(&caller, invoice.user_id));
    Ok(Json(invoice.ok_or_else(Problem::not_found)?))
}

/// List my transactions
///
/// Payments and credits, newest first.
#[utoipa::path(
    get, path = "/api/v1/transactions", tag = "billing", operation_id = "list_transactions",
    params(PageQuery), security(("bearer" = ["customer"])),
    responses((status = 200, body = Page<Transaction>))
)]
async fn list_transactions(
    State(pool): State<PgPool>,
    Customer(caller): Customer,
    Query(query): Query<PageQuery>,
) -> Result<Json<Page<Transaction>>> {
    let list = format!("transactions:{}", caller.user_id);
    let window = query.window(&list)?;
    let rows = read::transactions(&mut *pool.acquire().await?, caller.user_id, &window).await?;
    Ok(Json(Page::new(rows, &window, &list, |row| (row.created_at, row.id))))
}

/// Show a transaction
///
/// One payment at one gateway, or one credit.
#[utoipa::path(
    get, path = "/api/v1/transactions/{id}", tag = "billing", operation_id = "get_transaction",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = Transaction))
)]
async fn show_transaction(
    State(pool): State<PgPool>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
) -> Result<Json<Transaction>> {
    let transaction = read::transaction(&mut *pool.acquire().await?, id).await?;
    let transaction = transaction.filter(|transaction| may_see(&caller, transaction.user_id));
    Ok(Json(transaction.ok_or_else(Problem::not_found)?))
}

#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct InvoiceFilter {
    /// Only invoices in this status.
    status: Option<InvoiceStatus>,
}

/// List all invoices
///
/// Of every account, newest first; `status=open` is what waits for money.
#[utoipa::path(
    get, path = "/api/v1/admin/invoices", tag = "admin", operation_id = "list_all_invoices",
    params(PageQuery, InvoiceFilter), security(("bearer" = ["support"])),
    responses((status = 200, body = Page<Invoice>))
)]
async fn list_all_invoices(
    State(pool): State<PgPool>,
    _staff: Staff,
    Query(query): Query<PageQuery>,
    Query(filter): Query<InvoiceFilter>,
) -> Result<Json<Page<Invoice>>> {
    let list = format!("all-invoices:{}", filter.status.map_or("", InvoiceStatus::name));
    let window = query.window(&list)?;
    let rows = read::invoices(&mut *pool.acquire().await?, None, filter.status, &window).await?;
    Ok(Json(Page::new(rows, &window, &list, |row| (row.created_at, row.id))))
}
