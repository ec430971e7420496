//! Carries a transition out: the row, the money, the instance's entitlement, the event; all in the caller's transaction.

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::machine::transition;
use super::state::{Cause, Change, Facts, Refusal, State, Status, Terms, Trigger};
use super::store::{self, Subscription};
use super::{Error, metrics};
use crate::billing::{self, book::Book};
use crate::clock::Ambient;
use crate::instances::{self, Entitled, Phase};
use crate::{operations, scheduling};

/// A period is never so short that a row could fall this many transitions behind; it bounds [`catch_up`].
const MOST_STEPS: usize = 1000;

/// Asks the machine and, if it agrees, does what it says. The caller holds the row.
pub async fn fire(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    terms: &Terms,
    subscription: &Subscription,
    trigger: Trigger,
) -> Result<Subscription, Error> {
    let facts = Facts {
        state: subscription.state.clone(),
        seen: subscription.seen,
        terms: *terms,
        now: ambient.now(),
    };
    let Change { state, cause } = transition(&facts, trigger)?;
    if !store::save(conn, ambient, subscription, &state).await? {
        return Err(Error::Raced);
    }
    carry_out(conn, ambient, book, subscription, &state, cause).await?;
    tell(book, subscription, &state, cause);
    store::get(conn, subscription.id).await?.ok_or(Error::NotFound)
}

/// Does everything that is due, so that a customer's request never meets a state that time has overtaken.
/// Returns how many transitions that were.
pub async fn catch_up(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    terms: &Terms,
    mut subscription: Subscription,
) -> Result<(Subscription, u64), Error> {
    let mut steps = 0;
    for _ in 0..MOST_STEPS {
        match fire(conn, ambient, book, terms, &subscription, Trigger::Tick).await {
            Ok(next) => subscription = next,
            Err(Error::Refused(Refusal::NothingDue | Refusal::Cancelled)) => break,
            Err(error) => return Err(error),
        }
        steps += 1;
    }
    Ok((subscription, steps))
}

async fn carry_out(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    before: &Subscription,
    after: &State,
    cause: Cause,
) -> Result<(), Error> {
    match cause {
        Cause::Paid | Cause::RenewedInGrace => {
            scheduling::firm(conn, before.instance_id).await?;
            entitle(conn, ambient, book, before.instance_id, Entitled::Yes).await
        }
        Cause::FirstReady | Cause::Restarted | Cause::NextPeriod => {
            let period = after.period.ok_or(Error::Raced)?;
            billing::begin_period(conn, before.id, after.period_no, period.start, period.end).await?;
            Ok(())
        }
        Cause::PeriodOver => {
            billing::void(conn, ambient, book, before.id).await?;
            entitle(conn, ambient, book, before.instance_id, Entitled::Suspended).await
        }
        Cause::RenewalUnpaid => {
            billing::void(conn, ambient, book, before.id).await?;
            end_operation(conn, ambient, book, before, cause).await?;
            give_hold_back(conn, ambient, before.instance_id).await
        }
        Cause::Unpaid
        | Cause::NeverReady
        | Cause::GraceOver
        | Cause::CancelledAtPeriodEnd
        | Cause::CancelledByCustomer
        | Cause::CancelledByAdmin => end(conn, ambient, book, before, cause).await,
        Cause::RenewedAhead | Cause::RenewalHeld | Cause::CancelScheduled | Cause::CancelUndone => Ok(()),
    }
}

/// Over for good: nothing stays open, what was not delivered is credited, pod and data go.
async fn end(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    before: &Subscription,
    cause: Cause,
) -> Result<(), Error> {
    billing::void(conn, ambient, book, before.id).await?;
    billing::credit_undelivered(conn, ambient, book, before.id, before.state.begun()).await?;
    if before.state.status == Status::Pending {
        // Never entitled, so nothing of it was ever in the cluster: the room is free at once.
        scheduling::release(conn, ambient, before.instance_id).await?;
    }
    end_operation(conn, ambient, book, before, cause).await?;
    if matches!(cause, Cause::CancelledByCustomer | Cause::CancelledByAdmin) {
        // Somebody asked and is waiting for it: the deletion is an operation.
        match instances::desire::delete(conn, ambient, &mut book.outbox, before.instance_id).await {
            Ok(_) | Err(instances::Error::Purged) => Ok(()),
            Err(error) => Err(error.into()),
        }
    } else {
        entitle(conn, ambient, book, before.instance_id, Entitled::Purge).await
    }
}

async fn entitle(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    instance_id: Uuid,
    entitled: Entitled,
) -> Result<(), Error> {
    // What the clock takes away supersedes whatever runs; what payment gives is what the running operation waits for.
    let supersede = entitled != Entitled::Yes;
    match instances::set_entitlement(conn, ambient, &mut book.outbox, instance_id, entitled, supersede).await {
        Ok(_) => Ok(()),
        // Already on its way out: there is nothing left to suspend or to purge.
        Err(instances::Error::Purged) if entitled != Entitled::Yes => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// An unpaid renewal's reservation. Before the pod is seen to be gone it stays: the reconciler parks it then.
async fn give_hold_back(conn: &mut PgConnection, ambient: &Ambient, instance_id: Uuid) -> Result<(), Error> {
    let instance = instances::store::lock(conn, instance_id).await?;
    if instance.is_some_and(|instance| instance.phase == Phase::Stopped) {
        scheduling::park(conn, ambient, instance_id).await?;
    } else {
        scheduling::firm(conn, instance_id).await?;
    }
    Ok(())
}

/// Ends the operation that waits for what will not come, and says why. Others are left to whoever supersedes them.
async fn end_operation(
    conn: &mut PgConnection,
    ambient: &Ambient,
    book: &mut Book,
    subscription: &Subscription,
    cause: Cause,
) -> Result<(), Error> {
    use operations::Status as Outcome;
    let (status, reason, message) = match cause {
        Cause::Unpaid | Cause::RenewalUnpaid => (Outcome::Cancelled, "unpaid", "It was not paid in time."),
        Cause::NeverReady => (
            Outcome::Failed,
            "never_ready",
            "The service did not become ready in time; what was paid for it is credited.",
        ),
        _ => return Ok(()),
    };
    let id = subscription.instance_id;
    let subject = operations::Subject::Instance;
    let Some(running) = operations::store::running(conn, subject, id).await? else {
        return Ok(());
    };
    let ended = operations::store::finish(conn, ambient, (subject, id), i64::MAX, status, reason, message).await?;
    if ended.is_some() {
        let payload = json!({
            "operation_id": running.id, "kind": running.kind, "subject": subject, "subject_id": id,
            "status": status, "reason": reason,
        });
        book.outbox.push(subscription.user_id, "operation.finished", payload);
    }
    Ok(())
}

/// Every transition is an event, with its cause. A renewal that is only held, or was not paid, is its invoice's event.
fn tell(book: &mut Book, subscription: &Subscription, state: &State, cause: Cause) {
    book.after_commit(move || metrics::TRANSITIONS.with_label_values(&[cause.name()]).inc());
    let r#type = match cause {
        Cause::Paid => "subscription.activated",
        Cause::FirstReady | Cause::NextPeriod | Cause::Restarted => "subscription.period_begun",
        Cause::RenewedAhead | Cause::RenewedInGrace => "subscription.renewed",
        Cause::PeriodOver => "subscription.expired",
        Cause::CancelScheduled => "subscription.cancel_scheduled",
        Cause::CancelUndone => "subscription.cancel_undone",
        Cause::Unpaid
        | Cause::NeverReady
        | Cause::GraceOver
        | Cause::CancelledAtPeriodEnd
        | Cause::CancelledByCustomer
        | Cause::CancelledByAdmin => "subscription.cancelled",
        Cause::RenewalHeld | Cause::RenewalUnpaid => return,
    };
    let payload = json!({
        "subscription_id": subscription.id,
        "instance_id": subscription.instance_id,
        "cause": cause,
        "status": state.status,
        "period_no": state.period_no,
        "period_start": state.period.map(|period| period.start),
        "period_end": state.period.map(|period| period.end),
        "grace_until": state.grace_until,
        "cancel_reason": state.cancelled.map(|(_, reason)| reason),
    });
    book.outbox.push(subscription.user_id, r#type, payload);
}
