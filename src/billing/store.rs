//! SQL of invoices and transactions: how they change. Reading them is [`super::read`]'s.
//!
//! Whoever calls holds the row of the subscription, so changes to one subscription's money come one after the other.

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::book::Book;
use super::gateway::Gateways;
use super::{Invoice, NewInvoice, Transaction, TransactionStatus, read};
use crate::clock::{Ambient, Time};

fn tell(book: &mut Book, r#type: &'static str, invoice: &Invoice) {
    let payload = json!({
        "invoice_id": invoice.id,
        "number": invoice.number,
        "subscription_id": invoice.subscription_id,
        "period_no": invoice.period_no,
        "amount_idr": invoice.amount_idr,
        "status": invoice.status,
    });
    book.outbox.push(invoice.user_id, r#type, payload);
}

/// Opens an invoice. One that stands for the same period already is an error: look with [`read::standing`] first.
pub async fn open_invoice(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    new: NewInvoice,
) -> sqlx::Result<Invoice> {
    let id = ambient.new_id();
    sqlx::query!(
        "INSERT INTO billing (id, user_id, subscription_id, period_no, description, amount_idr, status, due_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, 'open', $7, $8)",
        id,
        new.user_id,
        new.subscription_id,
        new.period_no,
        new.description,
        new.amount_idr,
        new.due_at as _,
        ambient.now() as _,
    )
    .execute(&mut *conn)
    .await?;
    let invoice = read::invoice(conn, id).await?.ok_or(sqlx::Error::RowNotFound)?;
    tell(book, "invoice.opened", &invoice);
    Ok(invoice)
}

/// The payment of an invoice: the one that there is, or a new one, due for its gateway after the commit. One that
/// [settles at once](super::gateway::PaymentGateway::settles_at_once) is not due: the caller marks it paid right here.
pub async fn pay(
    conn: &mut PgConnection,
    ambient: &Ambient,
    gateways: &Gateways,
    invoice: &Invoice,
) -> sqlx::Result<Transaction> {
    if let Some(transaction) = read::payment_of(conn, invoice.id).await? {
        return Ok(transaction);
    }
    let gateway = gateways.for_amount(invoice.amount_idr);
    let due = (!gateway.settles_at_once(invoice.amount_idr)).then(|| ambient.now());
    let id = ambient.new_id();
    sqlx::query!(
        "INSERT INTO transactions (id, billing_id, user_id, kind, gateway, gateway_ref, amount_idr, status,
                                   next_attempt_at, created_at, updated_at)
         VALUES ($1, $2, $3, 'payment', $4, $5, $6, 'created', $7, $8, $8)",
        id,
        invoice.id,
        invoice.user_id,
        gateway.name(),
        gateway.reference(invoice.number),
        invoice.amount_idr,
        due as Option<Time>,
        ambient.now() as _,
    )
    .execute(&mut *conn)
    .await?;
    read::transaction(conn, id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Marks a payment paid. `Some` the first time, and only then: the caller grants what the invoice is for, or credits
/// it. The invoice comes back as it now stands: `paid`, or still `void` when the money came too late.
pub async fn mark_paid(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    transaction_id: Uuid,
) -> sqlx::Result<Option<Invoice>> {
    let now = ambient.now();
    let paid = sqlx::query!(
        "UPDATE transactions
            SET status = 'paid', next_attempt_at = NULL, lease_until = NULL, updated_at = $2
          WHERE id = $1 AND kind = 'payment' AND status = ANY($3)
         RETURNING billing_id, gateway, amount_idr",
        transaction_id,
        now as _,
        &TransactionStatus::before(TransactionStatus::Paid),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(paid) = paid else { return Ok(None) };
    book.received(&paid.gateway, paid.amount_idr);
    let opened = sqlx::query!(
        "UPDATE billing SET status = 'paid', paid_at = $2, closed_at = $2 WHERE id = $1 AND status = 'open'",
        paid.billing_id,
        now as _
    )
    .execute(&mut *conn)
    .await?;
    let invoice = read::invoice(conn, paid.billing_id)
        .await?
        .ok_or(sqlx::Error::RowNotFound)?;
    if opened.rows_affected() > 0 {
        tell(book, "invoice.paid", &invoice);
    }
    Ok(Some(invoice))
}

/// Credits a paid invoice, or a void one whose money came late. Once: its reference is the invoice's.
pub async fn credit(conn: &mut PgConnection, ambient: &Ambient, book: &mut Book, invoice_id: Uuid) -> sqlx::Result<()> {
    let now = ambient.now();
    let credited = sqlx::query!(
        "UPDATE billing SET status = 'credited', paid_at = coalesce(paid_at, $2), closed_at = $2
          WHERE id = $1 AND status IN ('paid', 'void')",
        invoice_id,
        now as _
    )
    .execute(&mut *conn)
    .await?;
    if credited.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO transactions (id, billing_id, user_id, kind, gateway, gateway_ref, amount_idr, status, created_at, updated_at)
         SELECT $1, id, user_id, 'credit', 'internal', 'credit-' || number, amount_idr, 'paid', $3, $3
           FROM billing WHERE id = $2",
        ambient.new_id(),
        invoice_id,
        now as _
    )
    .execute(&mut *conn)
    .await?;
    let invoice = read::invoice(conn, invoice_id).await?.ok_or(sqlx::Error::RowNotFound)?;
    book.credited(invoice.amount_idr);
    tell(book, "invoice.credited", &invoice);
    Ok(())
}

/// Credits every paid invoice of a period after `begun`: what was paid and will not be delivered.
pub async fn credit_undelivered(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    subscription_id: Uuid,
    begun: i32,
) -> sqlx::Result<()> {
    let undelivered = sqlx::query_scalar!(
        "SELECT id FROM billing WHERE subscription_id = $1 AND status = 'paid' AND period_no > $2 ORDER BY period_no",
        subscription_id,
        begun
    )
    .fetch_all(&mut *conn)
    .await?;
    for invoice_id in undelivered {
        credit(conn, ambient, book, invoice_id).await?;
    }
    Ok(())
}

/// Voids what is open on a subscription; payments under way expire, and money that still arrives is credited.
pub async fn void(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    subscription_id: Uuid,
) -> sqlx::Result<()> {
    let now = ambient.now();
    let voided = sqlx::query_scalar!(
        "UPDATE billing SET status = 'void', closed_at = $2 WHERE subscription_id = $1 AND status = 'open' RETURNING id",
        subscription_id,
        now as _
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "UPDATE transactions
            SET status = 'expired', next_attempt_at = NULL, updated_at = $2
          WHERE billing_id = ANY($1) AND kind = 'payment' AND status = ANY($3)",
        &voided,
        now as _,
        &TransactionStatus::before(TransactionStatus::Expired),
    )
    .execute(&mut *conn)
    .await?;
    for id in voided {
        let invoice = read::invoice(conn, id).await?.ok_or(sqlx::Error::RowNotFound)?;
        tell(book, "invoice.void", &invoice);
    }
    Ok(())
}

/// Writes on the paid invoice of a period when that period runs.
pub async fn begin_period(
    conn: &mut PgConnection,
    subscription_id: Uuid,
    period_no: i32,
    start: Time,
    end: Time,
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE billing SET period_start = $3, period_end = $4
          WHERE subscription_id = $1 AND period_no = $2 AND status = 'paid'",
        subscription_id,
        period_no,
        start as _,
        end as _
    )
    .execute(conn)
    .await?;
    Ok(())
}
