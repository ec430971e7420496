//! From a payment to what it grants, once.
//!
//! [`settle`] is the only way: the order's Rp 0, the operator's confirmation and every gateway's answer all pass here.
//! What can no longer be granted is credited in the same transaction, so that no payment is left without a counterpart.

use sqlx::PgConnection;
use uuid::Uuid;

use super::state::{Refusal, State, Status, Trigger};
use super::{Deps, Error, admission, change, store};
use crate::billing::attempt::{self, Attempt};
use crate::billing::gateway::Outcome;
use crate::billing::{self, Invoice, InvoiceStatus, Payment, Transaction, TransactionStatus, book::Book, read};
use crate::tasks::Report;
use crate::{crash, db, instances, scheduling};

/// How many gateway calls one run of the task makes at most.
const BATCH: u64 = 20;

/// Marks a transaction paid and grants what its invoice is for, or credits it. True the first time only.
pub async fn settle(conn: &mut PgConnection, deps: &Deps, book: &mut Book, transaction: Uuid) -> Result<bool, Error> {
    // A late renewal may need room again. The lock order puts this lock before every row.
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    let Some(subscription_id) = read::subscription_of(conn, transaction).await? else {
        return Err(Error::NotFound);
    };
    let subscription = store::lock(conn, subscription_id).await?.ok_or(Error::NotFound)?;
    let Some(invoice) = billing::mark_paid(conn, &deps.ambient, book, transaction).await? else {
        return Ok(false);
    };
    let (ambient, terms) = (&deps.ambient, &deps.settings.terms);
    let granted = if invoice.status == InvoiceStatus::Paid {
        let (subscription, _) = change::catch_up(conn, ambient, book, terms, subscription).await?;
        grant(conn, deps, book, &subscription, &invoice).await?
    } else {
        Err("the invoice was void already")
    };
    if let Err(reason) = granted {
        tracing::info!(
            invoice = invoice.number,
            reason,
            "payment credited: what it was for cannot be given"
        );
        billing::credit(conn, ambient, book, invoice.id).await?;
    }
    Ok(true)
}

/// The inner error is the reason why it cannot be granted; the outer one is ours.
async fn grant(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    subscription: &store::Subscription,
    invoice: &Invoice,
) -> Result<Result<(), &'static str>, Error> {
    if holds_renewal(&subscription.state) {
        match admission::readmit(
            conn,
            &deps.ambient,
            &deps.scheduler,
            subscription.instance_id,
            scheduling::State::Firm,
        )
        .await
        {
            Ok(()) => {}
            Err(Error::NoCapacity(_)) => return Ok(Err("there is no room any more")),
            Err(Error::Instance(instances::Error::Purged)) => return Ok(Err("the data is gone")),
            Err(error) => return Err(error),
        }
    }
    let trigger = Trigger::Paid {
        period_no: invoice.period_no,
    };
    match change::fire(conn, &deps.ambient, book, &deps.settings.terms, subscription, trigger).await {
        Ok(_) => Ok(Ok(())),
        Err(Error::Refused(Refusal::HoldOver)) => Ok(Err("the hold is over")),
        Err(Error::Refused(Refusal::Cancelled)) => Ok(Err("the subscription is cancelled")),
        Err(Error::Refused(_)) => Ok(Err("that period cannot be bought now")),
        Err(error) => Err(error),
    }
}

fn holds_renewal(state: &State) -> bool {
    state.status == Status::Expired && state.hold_expires_at.is_some()
}

/// The payment of an invoice, settled at once when its gateway needs nobody for that.
pub async fn begin(conn: &mut PgConnection, deps: &Deps, book: &mut Book, invoice: &Invoice) -> Result<Payment, Error> {
    let transaction = billing::pay(conn, &deps.ambient, &deps.gateways, invoice).await?;
    let gateway = deps.gateways.named(&transaction.gateway);
    let at_once = gateway.is_some_and(|gateway| gateway.settles_at_once(invoice.amount_idr));
    if at_once && transaction.status == TransactionStatus::Created {
        settle(conn, deps, book, transaction.id).await?;
    }
    let transaction = read::transaction(conn, transaction.id).await?.ok_or(Error::NotFound)?;
    Ok(describe(deps, transaction))
}

/// What the buyer is told.
pub fn describe(deps: &Deps, transaction: Transaction) -> Payment {
    let unpaid = matches!(
        transaction.status,
        TransactionStatus::Created | TransactionStatus::Pending
    );
    let gateway = deps.gateways.named(&transaction.gateway).filter(|_| unpaid);
    Payment {
        transaction_id: transaction.id,
        status: transaction.status,
        amount_idr: transaction.amount_idr,
        instructions: gateway.and_then(|it| it.instructions(&transaction.reference, transaction.amount_idr)),
        gateway: transaction.gateway,
        reference: transaction.reference,
        url: transaction.payment_url,
    }
}

/// The task: tells gateways about payments that are due, outside any transaction, and writes down what they say.
pub async fn settle_due(deps: &Deps) -> anyhow::Result<Report> {
    let mut done = 0;
    while done < BATCH {
        let claimed = attempt::claim(&mut *deps.pool.acquire().await?, deps.ambient.now()).await?;
        let Some(attempt) = claimed else {
            return Ok(Report::did(done));
        };
        crash::point("payment.claimed");
        call(deps, &attempt).await?;
        done += 1;
    }
    Ok(Report { done, more: true })
}

async fn call(deps: &Deps, attempt: &Attempt) -> anyhow::Result<()> {
    let Some(gateway) = deps.gateways.named(&attempt.gateway) else {
        tracing::error!(
            gateway = attempt.gateway,
            "a payment names a gateway that this server does not have"
        );
        attempt::retry(&mut *deps.pool.acquire().await?, &deps.ambient, attempt).await?;
        return Ok(());
    };
    let outcome = gateway.start(&attempt.order).await;
    crash::point("payment.gateway_called");
    let mut tx = deps.pool.begin().await?;
    let mut book = Book::default();
    match outcome {
        Ok(Outcome::Pending { url }) => {
            attempt::told(
                &mut tx,
                &deps.ambient,
                attempt,
                TransactionStatus::Pending,
                url.as_deref(),
            )
            .await?;
        }
        Ok(Outcome::Failed) => {
            attempt::told(&mut tx, &deps.ambient, attempt, TransactionStatus::Failed, None).await?;
        }
        // A fact, whoever holds the lease: the rank of the status makes it count once.
        Ok(Outcome::Paid) => {
            settle(&mut tx, deps, &mut book, attempt.order.transaction_id).await?;
        }
        Err(error) => {
            tracing::warn!(%error, attempts = attempt.attempts, "payment not started; it is tried again");
            attempt::retry(&mut tx, &deps.ambient, attempt).await?;
        }
    }
    let flushed = book.flush(&mut tx, &deps.ambient).await?;
    crash::point("payment.before_commit");
    tx.commit().await?;
    crash::point("payment.after_commit");
    flushed.done(&deps.signals);
    Ok(())
}
