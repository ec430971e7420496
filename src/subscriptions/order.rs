//! POST /api/v1/orders: from a wish to a subscription whose room is reserved, in one transaction.
//!
//! Under the placement lock the engine says yes or no; after a no nothing was written. After a yes everything that the
//! order needs is there at once: subscription, invoice, instance, placement, operation, events, and the stored answer.
//! Rp 0 is settled in the same transaction by the same functions as any payment; for a price the order is a hold that
//! expires.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::metrics::ORDERS;
use super::state::ordered;
use super::{Deps, Error, admission, payment, store};
use crate::billing::{self, NewInvoice, Payment, book::Book};
use crate::catalog::store::OrderPlan;
use crate::catalog::template::Inputs;
use crate::http::extract::{self, Validate};
use crate::http::idempotency::{Key, Stored};
use crate::http::problem::{FieldError, Kind, Problem, Result};
use crate::identity::Customer;
use crate::operations::{self, Operation};
use crate::scheduling::{self, Cause, Demand, Scheduler};
use crate::{catalog, crash, db, instances};

#[derive(Clone, Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OrderRequest {
    /// The service's slug, as in the catalogue.
    #[schema(max_length = 31, example = "n8n")]
    pub service: String,
    /// The plan's code, as in the catalogue.
    #[schema(max_length = 31, example = "small")]
    pub plan: String,
    /// Answers to the service's inputs, by key.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub inputs: Value,
}

impl Validate for OrderRequest {
    fn validate(&self) -> Vec<FieldError> {
        [("/service", &self.service), ("/plan", &self.plan)]
            .into_iter()
            .filter(|(_, text)| text.is_empty() || text.len() > 31)
            .map(|(pointer, _)| FieldError::new(pointer, "must have 1 to 31 characters"))
            .collect()
    }
}

/// An accepted order.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct OrderAccepted {
    pub subscription_id: Uuid,
    pub instance_id: Uuid,
    pub invoice_id: Uuid,
    /// Where the service will be reachable.
    pub host: String,
    pub operation: Operation,
    pub payment: Payment,
}

/// Order a service
///
/// Reserves room for the plan and, once it is paid, provisions the service; a price of Rp 0 is settled at once. Follow
/// the operation, or the live connection, until the service is ready: its first period begins then. Without room the
/// answer is `insufficient-capacity` and nothing was charged.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "subscriptions", operation_id = "create_order",
    params(("Idempotency-Key" = String, Header, description = "Makes a repeat return the first answer", max_length = 255)),
    request_body = OrderRequest, security(("bearer" = ["customer"])),
    responses((status = 202, body = OrderAccepted, headers(("Location" = String, description = "The operation"))))
)]
pub async fn create(State(deps): State<Deps>, Customer(caller): Customer, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let bytes = extract::body(Request::from_parts(parts.clone(), body), &()).await?;
    let key = Key::read(&parts, caller.user_id, &bytes)?;
    let wish = extract::parse(&bytes)?;
    let answer = place(&deps, caller.user_id, &key, &wish).await;
    let outcome = match &answer {
        Ok((_, true)) => "replayed",
        Ok((_, false)) => "accepted",
        Err(problem) => match problem.kind {
            Kind::InsufficientCapacity => "no_capacity",
            Kind::NotOrderable => "not_orderable",
            kind if kind.status().is_server_error() => "error",
            _ => "invalid",
        },
    };
    ORDERS.with_label_values(&[outcome]).inc();
    answer.map(|(stored, _)| stored.into_response())
}

/// The answer, and whether it is a replay.
async fn place(deps: &Deps, user_id: Uuid, key: &Key, wish: &OrderRequest) -> Result<(Stored, bool)> {
    let mut tx = deps.pool.begin().await?;
    let mut book = Book::default();
    let answer = match write(&mut tx, deps, &mut book, user_id, key, wish).await {
        Ok(answer) => answer,
        Err(problem) => {
            // Now, and not when the connection is next used: the key and the placement lock are still held.
            tx.rollback().await?;
            return Err(problem);
        }
    };
    let flushed = book.flush(&mut tx, &deps.ambient).await?;
    crash::point("order.before_commit");
    tx.commit().await?;
    crash::point("order.after_commit");
    flushed.done(&deps.signals);
    Ok(answer)
}

async fn write(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    user_id: Uuid,
    key: &Key,
    wish: &OrderRequest,
) -> Result<(Stored, bool)> {
    if let Some(stored) = key.claim(conn, &deps.ambient).await? {
        return Ok((stored, true));
    }
    let offer = offered(conn, wish).await?;
    catalog::orderable(&offer.template, &deps.settings.accept_licences)?;
    let inputs = catalog::validate_inputs(&offer.template, &wish.inputs).map_err(|errors| {
        let below = |error: FieldError| FieldError::new(format!("/inputs{}", error.pointer), error.detail);
        Problem::validation(errors.into_iter().map(below).collect())
    })?;
    let accepted = accept(conn, deps, book, user_id, &offer, &inputs).await?;
    let stored = Stored {
        status: StatusCode::ACCEPTED,
        location: Some(accepted.operation.location()),
        body: serde_json::to_value(&accepted).map_err(Problem::internal)?,
    };
    key.store(conn, &deps.ambient, &stored).await?;
    Ok((stored, false))
}

async fn offered(conn: &mut PgConnection, wish: &OrderRequest) -> Result<OrderPlan> {
    if let Some(offer) = catalog::store::plan_for_order(conn, &wish.service, &wish.plan).await? {
        return Ok(offer);
    }
    let known = catalog::store::published(conn, &wish.service).await?.is_some();
    Err(Problem::validation(vec![if known {
        FieldError::new("/plan", "this service is not offered in such a plan")
    } else {
        FieldError::new("/service", "no such service is offered")
    }]))
}

async fn accept(
    conn: &mut PgConnection,
    deps: &Deps,
    book: &mut Book,
    user_id: Uuid,
    offer: &OrderPlan,
    inputs: &Inputs,
) -> Result<OrderAccepted, Error> {
    let (ambient, terms) = (&deps.ambient, &deps.settings.terms);
    db::lock(conn, db::PLACEMENT_LOCK).await?;
    // Asked before anything is written, so that a refusal costs the lock's other waiters next to nothing.
    let demand = demand(&deps.scheduler, offer, ambient.new_id())?;
    let decision = admission::decide(conn, &deps.scheduler, &demand).await?;
    crash::point("order.admitted");
    let state = ordered(terms, ambient.now());
    let new = store::New {
        user_id,
        service_id: offer.service_id,
        plan_id: offer.plan_id,
        state: &state,
    };
    let subscription_id = store::insert(conn, ambient, new).await?;
    let handle = store::handle_of(conn, user_id).await?;
    let new = instances::New {
        user_id,
        handle: &handle,
        subscription_id,
        service_id: offer.service_id,
        plan_id: offer.plan_id,
        template: &offer.template,
        inputs,
        base_domain: &deps.settings.base_domain,
    };
    let created = instances::create(conn, ambient, &deps.keyring, new).await?;
    let demand = Demand {
        instance_id: created.instance_id,
        ..demand
    };
    let hold = scheduling::State::Hold;
    scheduling::assign(conn, ambient, &demand, &decision, hold, Cause::Order).await?;
    let payload = json!({
        "subscription_id": subscription_id, "instance_id": created.instance_id, "service": offer.template.slug,
        "plan": offer.plan.code, "host": created.host, "price_idr": offer.plan.price_idr,
    });
    book.outbox.push(user_id, "order.accepted", payload);
    let new = NewInvoice {
        user_id,
        subscription_id,
        period_no: 1,
        description: format!("{}, plan {}, period 1", offer.template.name, offer.plan.name),
        amount_idr: offer.plan.price_idr,
        due_at: ambient.now().plus(terms.hold),
    };
    let invoice = billing::open_invoice(conn, ambient, book, new).await?;
    let payment = payment::begin(conn, deps, book, &invoice).await?;
    let operation = follow(conn, deps, user_id, created.instance_id, operations::Kind::Provision).await?;
    Ok(OrderAccepted {
        subscription_id,
        instance_id: created.instance_id,
        invoice_id: invoice.id,
        host: created.host,
        operation,
        payment,
    })
}

/// Starts the operation that ends when the service runs. Before the payment it waits for the generation that the
/// payment brings about, so that no sight of the present one can end it.
pub(super) async fn follow(
    conn: &mut PgConnection,
    deps: &Deps,
    user_id: Uuid,
    instance_id: Uuid,
    kind: operations::Kind,
) -> Result<Operation, Error> {
    let instance = instances::store::get(conn, instance_id).await?.ok_or(Error::NotFound)?;
    let paid = instance.entitled == instances::Entitled::Yes;
    let terms = &deps.settings.terms;
    let new = operations::store::New {
        user_id: Some(user_id),
        kind,
        subject: operations::Subject::Instance,
        subject_id: instance_id,
        generation: instance.generation + i64::from(!paid),
        deadline: terms.ready + if paid { std::time::Duration::ZERO } else { terms.hold },
    };
    Ok(operations::store::start(conn, &deps.ambient, new).await?)
}

fn demand(scheduler: &Scheduler, offer: &OrderPlan, instance_id: Uuid) -> Result<Demand, Error> {
    let amount = |value: u32| i32::try_from(value).map_err(|_| Error::Inconsistent("a plan is beyond measure".into()));
    let disk_mib = amount(offer.plan.disk_mib)?;
    Ok(Demand {
        instance_id,
        cpu_request_milli: amount(offer.plan.cpu_request_milli)?,
        cpu_limit_milli: amount(offer.plan.cpu_limit_milli)?,
        mem_request_mib: amount(offer.plan.mem_request_mib)?,
        mem_limit_mib: amount(offer.plan.mem_limit_mib)?,
        disk_mib,
        volume_node: None,
        movable: scheduler.follows(disk_mib),
    })
}
