//! POST /api/v1/subscriptions/{id}/renew: buys the next period, named by its number.
//!
//! The number makes a repeat harmless: an invoice that stands for that period is the answer, whoever asks again. While
//! active, the period is appended, at most one ahead. In grace the engine admits first, under the placement lock, and a
//! refusal charges nothing; the period then begins with the restart.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use uuid::Uuid;

use super::http::may_change;
use super::state::{Status, Trigger};
use super::store::Subscription;
use super::{Deps, Error, admission, change, order, payment, store};
use crate::billing::{self, Invoice, NewInvoice, Payment, book::Book, read};
use crate::http::extract::{self, Path, Validate};
use crate::http::idempotency::{Key, Stored};
use crate::http::problem::{FieldError, Problem, Result};
use crate::identity::Customer;
use crate::operations::{self, Kind, Operation, Subject};
use crate::{catalog, crash, db, scheduling};

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenewRequest {
    /// The period to buy: the subscription's `renewable_period`.
    #[schema(minimum = 1)]
    pub period_no: i32,
}

impl Validate for RenewRequest {
    fn validate(&self) -> Vec<FieldError> {
        let bad = self.period_no < 1;
        bad.then(|| FieldError::new("/period_no", "must be 1 or more"))
            .into_iter()
            .collect()
    }
}

/// A renewal.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Renewal {
    pub subscription_id: Uuid,
    pub instance_id: Uuid,
    pub period_no: i32,
    pub invoice_id: Uuid,
    pub payment: Payment,
    /// The restart of a service whose subscription had expired; null when nothing has to be restarted.
    pub operation: Option<Operation>,
}

/// Renew a subscription
///
/// Buys the period named by its number; a repeat gives the same invoice. While the subscription is active the period is
/// appended (200). When it has expired, room is reserved first, and the service starts again once this is paid (202).
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{id}/renew", tag = "subscriptions", operation_id = "renew_subscription",
    params(
        ("id" = Uuid, Path),
        ("Idempotency-Key" = String, Header, description = "Makes a repeat return the first answer", max_length = 255),
    ),
    request_body = RenewRequest, security(("bearer" = ["customer"])),
    responses(
        (status = 200, body = Renewal, description = "The period is appended"),
        (status = 202, body = Renewal, description = "The service will be started again",
         headers(("Location" = String, description = "The operation"))),
    )
)]
pub async fn renew(
    State(deps): State<Deps>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let bytes = extract::body(Request::from_parts(parts.clone(), body), &()).await?;
    let key = Key::read(&parts, caller.user_id, &bytes)?;
    let RenewRequest { period_no } = extract::parse(&bytes)?;
    let mut tx = deps.pool.begin().await?;
    let owner = store::get(&mut tx, id).await?.ok_or_else(Problem::not_found)?.user_id;
    may_change(&caller, owner).map_err(Problem::new)?;
    let mut book = Book::default();
    let stored = match write(&mut tx, &deps, &mut book, &key, id, period_no).await {
        Ok(stored) => stored,
        Err(problem) => {
            // Now, and not when the connection is next used: the key and the placement lock are still held.
            tx.rollback().await?;
            return Err(problem);
        }
    };
    caller
        .trace(
            &mut tx,
            &deps.ambient,
            owner,
            "subscription.renew",
            ("subscription", id),
        )
        .await?;
    let flushed = book.flush(&mut tx, &deps.ambient).await?;
    crash::point("renew.before_commit");
    tx.commit().await?;
    crash::point("renew.after_commit");
    flushed.done(&deps.signals);
    Ok(stored.into_response())
}

async fn write(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    key: &Key,
    id: Uuid,
    period_no: i32,
) -> Result<Stored> {
    if let Some(stored) = key.claim(conn, &deps.ambient).await? {
        return Ok(stored);
    }
    let renewal = buy(conn, deps, book, id, period_no).await?;
    let location = renewal.operation.as_ref().map(Operation::location);
    let stored = Stored {
        status: if location.is_some() {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        },
        location,
        body: serde_json::to_value(&renewal).map_err(Problem::internal)?,
    };
    key.store(conn, &deps.ambient, &stored).await?;
    Ok(stored)
}

async fn buy(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    id: Uuid,
    period_no: i32,
) -> Result<Renewal, Error> {
    let (ambient, terms) = (&deps.ambient, &deps.settings.terms);
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    let subscription = store::lock(conn, id).await?.ok_or(Error::NotFound)?;
    let (subscription, _) = change::catch_up(conn, ambient, book, terms, subscription).await?;
    let running = operations::store::running(conn, Subject::Instance, subscription.instance_id).await?;
    if let Some(invoice) = read::standing(conn, id, period_no).await? {
        let operation = running.filter(|operation| operation.kind == Kind::Renew);
        return answer(conn, deps, book, &subscription, &invoice, operation).await;
    }
    let next = subscription.state.renewable();
    if next != Some(period_no) {
        return Err(Error::NotRenewable(next));
    }
    if subscription.state.status != Status::Expired {
        let invoice = open(conn, deps, book, &subscription, period_no).await?;
        return answer(conn, deps, book, &subscription, &invoice, None).await;
    }
    if let Some(running) = running {
        return Err(Error::Busy(running.kind.name()));
    }
    let hold = scheduling::State::Hold;
    admission::readmit(conn, ambient, &deps.scheduler, subscription.instance_id, hold).await?;
    let subscription = change::fire(conn, ambient, book, terms, &subscription, Trigger::RenewalHeld).await?;
    let invoice = open(conn, deps, book, &subscription, period_no).await?;
    let mut renewal = answer(conn, deps, book, &subscription, &invoice, None).await?;
    let operation = order::follow(conn, deps, subscription.user_id, subscription.instance_id, Kind::Renew).await?;
    renewal.operation = Some(operation);
    Ok(renewal)
}

async fn open(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    subscription: &Subscription,
    period_no: i32,
) -> Result<Invoice, Error> {
    let offer = catalog::store::plan_by_id(conn, subscription.plan_id).await?;
    let offer = offer.ok_or_else(|| Error::Inconsistent("a subscription has no plan".into()))?;
    let state = &subscription.state;
    let hold = || deps.ambient.now().plus(deps.settings.terms.hold);
    let new = NewInvoice {
        user_id: subscription.user_id,
        subscription_id: subscription.id,
        period_no,
        description: format!("{}, plan {}, period {period_no}", offer.template.name, offer.plan.name),
        amount_idr: offer.plan.price_idr,
        // Until the running period ends, or as long as the room is held.
        due_at: state
            .hold_expires_at
            .or(state
                .period
                .filter(|_| state.status == Status::Active)
                .map(|period| period.end))
            .unwrap_or_else(hold),
    };
    Ok(billing::open_invoice(conn, &deps.ambient, book, new).await?)
}

async fn answer(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    subscription: &Subscription,
    invoice: &Invoice,
    operation: Option<Operation>,
) -> Result<Renewal, Error> {
    Ok(Renewal {
        subscription_id: subscription.id,
        instance_id: subscription.instance_id,
        period_no: invoice.period_no,
        invoice_id: invoice.id,
        payment: payment::begin(conn, deps, book, invoice).await?,
        operation,
    })
}
