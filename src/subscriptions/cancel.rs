//! Cancelling at once or at the period's end, and taking the latter back.
//!
//! At once: the service and its data are deleted for good, what is paid and not begun is credited. At the period's end:
//! everything runs on until then, and a period that was bought beyond it is credited when the end comes.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::http::may_change;
use super::state::{Refusal, Trigger};
use super::view::{self, SubscriptionView};
use super::{Deps, Error, change, store};
use crate::billing::book::Book;
use crate::crash;
use crate::http::extract::{self, Path, Validate};
use crate::http::problem::{FieldError, Problem, Result};
use crate::identity::Customer;
use crate::operations::{self, Kind, Operation, Subject};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    Now,
    PeriodEnd,
}

#[derive(Clone, Copy, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelRequest {
    pub when: When,
}

impl Validate for CancelRequest {
    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }
}

/// What became of a request to cancel.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Cancellation {
    pub subscription: SubscriptionView,
    /// The deletion of service and data; null when nothing is being deleted.
    pub operation: Option<Operation>,
}

impl Cancellation {
    pub(super) fn into_answer(self) -> Response {
        let Some(location) = self.operation.as_ref().map(Operation::location) else {
            return (StatusCode::OK, Json(self)).into_response();
        };
        (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(self)).into_response()
    }
}

/// Cancel a subscription
///
/// `now` deletes the service and its data for good (202, with the operation); `period_end` lets it run until the period
/// is over and can be undone (200). A repeat changes nothing.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{id}/cancel", tag = "subscriptions", operation_id = "cancel_subscription",
    params(("id" = Uuid, Path)), request_body = CancelRequest, security(("bearer" = ["customer"])),
    responses(
        (status = 200, body = Cancellation, description = "Scheduled, or already gone"),
        (status = 202, body = Cancellation, description = "Being deleted",
         headers(("Location" = String, description = "The operation"))),
    )
)]
pub async fn cancel(
    State(deps): State<Deps>,
    Customer(caller): Customer,
    Path(id): Path<Uuid>,
    extract::Json(CancelRequest { when }): extract::Json<CancelRequest>,
) -> Result<Response> {
    let mut tx = deps.pool.begin().await?;
    let subscription = store::lock(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    may_change(&caller, subscription.user_id).map_err(Problem::new)?;
    caller
        .trace(
            &mut tx,
            &deps.ambient,
            subscription.user_id,
            "subscription.cancel",
            ("subscription", id),
        )
        .await?;
    let trigger = match when {
        When::Now => Trigger::CancelNow {
            by_admin: caller.user_id != subscription.user_id,
        },
        When::PeriodEnd => Trigger::CancelAtPeriodEnd,
    };
    Ok(finish(&deps, tx, id, trigger).await?.into_answer())
}

/// Take a cancellation back
///
/// Undoes a cancellation that was to come at the period's end. Without one it changes nothing.
#[utoipa::path(
    post, path = "/api/v1/subscriptions/{id}/cancel/undo", tag = "subscriptions", operation_id = "undo_cancel_subscription",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = Cancellation))
)]
pub async fn undo(State(deps): State<Deps>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Response> {
    let mut tx = deps.pool.begin().await?;
    let subscription = store::lock(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    may_change(&caller, subscription.user_id).map_err(Problem::new)?;
    caller
        .trace(
            &mut tx,
            &deps.ambient,
            subscription.user_id,
            "subscription.undo_cancel",
            ("subscription", id),
        )
        .await?;
    Ok(finish(&deps, tx, id, Trigger::UndoCancel).await?.into_answer())
}

/// Fires the trigger, unless what it asks for is so already, and commits.
pub(super) async fn finish(
    deps: &Deps,
    mut tx: sqlx::Transaction<'_, sqlx::Postgres>,
    id: Uuid,
    trigger: Trigger,
) -> Result<Cancellation, Error> {
    let (ambient, terms) = (&deps.ambient, &deps.settings.terms);
    let mut book = Book::default();
    let subscription = store::lock(&mut tx, id).await?.ok_or(Error::NotFound)?;
    let (subscription, _) = change::catch_up(&mut tx, ambient, &mut book, terms, subscription).await?;
    let scheduled = subscription.state.cancel_at_period_end;
    if !(trigger == Trigger::CancelAtPeriodEnd && scheduled) {
        match change::fire(&mut tx, ambient, &mut book, terms, &subscription, trigger).await {
            Ok(_) | Err(Error::Refused(Refusal::NotScheduled)) => {}
            Err(Error::Refused(Refusal::Cancelled)) if matches!(trigger, Trigger::CancelNow { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    let operation = operations::store::running(&mut tx, Subject::Instance, subscription.instance_id).await?;
    let cancellation = Cancellation {
        subscription: view::get(&mut tx, id).await?.ok_or(Error::NotFound)?,
        operation: operation.filter(|operation| operation.kind == Kind::Delete),
    };
    let flushed = book.flush(&mut tx, ambient).await?;
    crash::point("cancel.before_commit");
    tx.commit().await?;
    crash::point("cancel.after_commit");
    flushed.done(&deps.signals);
    Ok(cancellation)
}
