//! SQL of invoices and transactions: how they are read.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Invoice, InvoiceStatus, Transaction, TransactionKind, TransactionStatus};
use crate::clock::Time;
use crate::http::page::Window;

struct InvoiceRow {
    id: Uuid,
    number: i64,
    user_id: Uuid,
    subscription_id: Uuid,
    period_no: i32,
    description: String,
    amount_idr: i64,
    status: String,
    due_at: Time,
    paid_at: Option<Time>,
    closed_at: Option<Time>,
    period_start: Option<Time>,
    period_end: Option<Time>,
    created_at: Time,
}

impl TryFrom<InvoiceRow> for Invoice {
    type Error = sqlx::Error;

    fn try_from(row: InvoiceRow) -> sqlx::Result<Self> {
        let status = InvoiceStatus::parse(&row.status);
        Ok(Self {
            id: row.id,
            number: row.number,
            user_id: row.user_id,
            subscription_id: row.subscription_id,
            period_no: row.period_no,
            description: row.description,
            amount_idr: row.amount_idr,
            status: status.ok_or_else(|| sqlx::Error::Decode("unknown status of an invoice".into()))?,
            due_at: row.due_at,
            paid_at: row.paid_at,
            closed_at: row.closed_at,
            period_start: row.period_start,
            period_end: row.period_end,
            created_at: row.created_at,
        })
    }
}

struct TransactionRow {
    id: Uuid,
    billing_id: Uuid,
    user_id: Uuid,
    kind: String,
    gateway: String,
    gateway_ref: String,
    amount_idr: i64,
    status: String,
    payment_url: Option<String>,
    created_at: Time,
    updated_at: Time,
}

impl TryFrom<TransactionRow> for Transaction {
    type Error = sqlx::Error;

    fn try_from(row: TransactionRow) -> sqlx::Result<Self> {
        let unknown = || sqlx::Error::Decode("unknown kind or status of a transaction".into());
        Ok(Self {
            id: row.id,
            invoice_id: row.billing_id,
            user_id: row.user_id,
            kind: TransactionKind::parse(&row.kind).ok_or_else(unknown)?,
            gateway: row.gateway,
            reference: row.gateway_ref,
            amount_idr: row.amount_idr,
            status: TransactionStatus::parse(&row.status).ok_or_else(unknown)?,
            payment_url: row.payment_url,
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}

pub async fn invoice(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Invoice>> {
    let row = sqlx::query_as!(
        InvoiceRow,
        "SELECT id, number, user_id, subscription_id, period_no, description, amount_idr, status, due_at, paid_at,
                closed_at, period_start, period_end, created_at
           FROM billing WHERE id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The invoice that stands (open or paid) for a period of a subscription.
pub async fn standing(conn: &mut PgConnection, subscription: Uuid, period_no: i32) -> sqlx::Result<Option<Invoice>> {
    let row = sqlx::query_as!(
        InvoiceRow,
        "SELECT id, number, user_id, subscription_id, period_no, description, amount_idr, status, due_at, paid_at,
                closed_at, period_start, period_end, created_at
           FROM billing
          WHERE subscription_id = $1 AND period_no = $2 AND status IN ('open', 'paid')",
        subscription,
        period_no
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Newest first; of one account, or of all.
pub async fn invoices(
    conn: &mut PgConnection,
    user_id: Option<Uuid>,
    status: Option<InvoiceStatus>,
    window: &Window,
) -> sqlx::Result<Vec<Invoice>> {
    let (before_at, before_id) = window.bound();
    let rows = sqlx::query_as!(
        InvoiceRow,
        "SELECT id, number, user_id, subscription_id, period_no, description, amount_idr, status, due_at, paid_at,
                closed_at, period_start, period_end, created_at
           FROM billing
          WHERE ($1::uuid IS NULL OR user_id = $1) AND ($2::text IS NULL OR status = $2)
            AND (created_at, id) < ($3, $4)
          ORDER BY created_at DESC, id DESC
          LIMIT $5",
        user_id,
        status.map(InvoiceStatus::name),
        before_at as _,
        before_id,
        window.fetch()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn transaction(conn: &mut PgConnection, id: Uuid) -> sqlx::Result<Option<Transaction>> {
    let row = sqlx::query_as!(
        TransactionRow,
        "SELECT id, billing_id, user_id, kind, gateway, gateway_ref, amount_idr, status, payment_url, created_at, updated_at
           FROM transactions WHERE id = $1",
        id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The payment of an invoice; there is never more than one.
pub async fn payment_of(conn: &mut PgConnection, invoice_id: Uuid) -> sqlx::Result<Option<Transaction>> {
    let row = sqlx::query_as!(
        TransactionRow,
        "SELECT id, billing_id, user_id, kind, gateway, gateway_ref, amount_idr, status, payment_url, created_at, updated_at
           FROM transactions WHERE billing_id = $1 AND kind = 'payment'",
        invoice_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// Newest first; of one account.
pub async fn transactions(conn: &mut PgConnection, user_id: Uuid, window: &Window) -> sqlx::Result<Vec<Transaction>> {
    let (before_at, before_id) = window.bound();
    let rows = sqlx::query_as!(
        TransactionRow,
        "SELECT id, billing_id, user_id, kind, gateway, gateway_ref, amount_idr, status, payment_url, created_at, updated_at
           FROM transactions
          WHERE user_id = $1 AND (created_at, id) < ($2, $3)
          ORDER BY created_at DESC, id DESC
          LIMIT $4",
        user_id,
        before_at as _,
        before_id,
        window.fetch()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// Which subscription a transaction pays for.
pub async fn subscription_of(conn: &mut PgConnection, transaction_id: Uuid) -> sqlx::Result<Option<Uuid>> {
    sqlx::query_scalar!(
        "SELECT b.subscription_id FROM transactions t JOIN billing b ON b.id = t.billing_id WHERE t.id = $1",
        transaction_id
    )
    .fetch_optional(conn)
    .await
}
