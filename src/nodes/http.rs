//! /api/v1/admin/workers: the machines. Support may look; an admin says which of them take new workloads.
//!
//! Draining and removing a node move what runs there, which this does not do.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::read::{self, Occupant, Taint, Worker};
use super::{Admission, store};
use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::events::{self, Outbox};
use crate::http::extract::{IfMatch, Json, Path, Query, Validate, etag};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{self, FieldError, Kind, Problem, Result, request_id};
use crate::identity::{Admin, Principal, Staff};
use crate::{audit, db};

const LIST: &str = "workers";
/// A node has a few hundred pods at most; the list of placements has them all.
const MOST_OCCUPANTS: i64 = 500;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
}

pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show, update))
        .with_state(api)
}

/// A worker node with what is placed on it.
#[derive(Debug, Serialize, ToSchema)]
struct WorkerDetail {
    #[serde(flatten)]
    worker: Worker,
    labels: BTreeMap<String, String>,
    taints: Vec<Taint>,
    /// The largest 500 that are placed there; the list of placements, filtered by node, has them all.
    instances: Vec<Occupant>,
}

type DetailAnswer = ([(HeaderName, String); 1], Answer<WorkerDetail>);

/// List worker nodes
///
/// Newest first. A node that left the cluster stays in the list, as `unknown`.
#[utoipa::path(
    get, path = "/api/v1/admin/workers", tag = "admin", operation_id = "list_workers",
    params(PageQuery), security(("bearer" = ["support"])), responses((status = 200, body = Page<Worker>))
)]
async fn list(State(api): State<Api>, _: Staff, Query(query): Query<PageQuery>) -> Result<Answer<Page<Worker>>> {
    let window = query.window(LIST)?;
    let workers = read::page(&mut *api.pool.acquire().await?, &window).await?;
    Ok(Answer(Page::new(workers, &window, LIST, |worker| {
        (worker.created_at, worker.id)
    })))
}

/// Show a worker node
///
/// With its labels and taints, and the instances that are placed on it.
#[utoipa::path(
    get, path = "/api/v1/admin/workers/{id}", tag = "admin", operation_id = "get_worker",
    params(("id" = Uuid, Path)), security(("bearer" = ["support"])), responses((status = 200, body = WorkerDetail))
)]
async fn show(State(api): State<Api>, _: Staff, Path(id): Path<Uuid>) -> Result<DetailAnswer> {
    detail(&api, id).await
}

async fn detail(api: &Api, id: Uuid) -> Result<DetailAnswer> {
    let mut conn = api.pool.acquire().await?;
    let mut worker = read::get(&mut conn, id).await?.ok_or_else(Problem::not_found)?;
    let detail = WorkerDetail {
        labels: std::mem::take(&mut worker.labels),
        taints: std::mem::take(&mut worker.taints),
        instances: read::occupants(&mut conn, id, MOST_OCCUPANTS).await?,
        worker,
    };
    Ok(([(header::ETAG, etag(detail.worker.version))], Answer(detail)))
}

/// What an admin may change of a worker node.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateWorker {
    admission: Settable,
}

/// `open` takes new workloads, `standby` only what has to leave another node, `cordoned` nothing.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = SettableNodeAdmission)]
enum Settable {
    Open,
    Standby,
    Cordoned,
}

impl From<Settable> for Admission {
    fn from(settable: Settable) -> Self {
        match settable {
            Settable::Open => Self::Open,
            Settable::Standby => Self::Standby,
            Settable::Cordoned => Self::Cordoned,
        }
    }
}

impl Validate for UpdateWorker {
    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }
}

/// Open, cordon or set aside a worker node
///
/// What runs on the node stays there. Once this has answered, no new workload is placed against it. Needs the ETag of
/// the node as `If-Match`.
#[utoipa::path(
    patch, path = "/api/v1/admin/workers/{id}", tag = "admin", operation_id = "update_worker",
    params(
        ("id" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of what is to be changed"),
    ),
    request_body = UpdateWorker, security(("bearer" = ["admin"])),
    responses(
        (status = 200, body = WorkerDetail),
        (status = 409, body = problem::Body, content_type = "application/problem+json"),
        (status = 412, body = problem::Body, content_type = "application/problem+json"),
        (status = 428, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn update(
    State(api): State<Api>,
    Admin(caller): Admin,
    Path(id): Path<Uuid>,
    IfMatch(version): IfMatch,
    Json(body): Json<UpdateWorker>,
) -> Result<DetailAnswer> {
    admit(&api, &caller, id, version, body.admission.into()).await?;
    detail(&api, id).await
}

async fn admit(api: &Api, caller: &Principal, id: Uuid, version: i64, wanted: Admission) -> Result<()> {
    let mut tx = api.pool.begin().await?;
    // An order that has read the node as open must not commit after this has answered.
    db::lock(&mut tx, db::PLACEMENT_LOCK).await?;
    let node = store::lock(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    if node.version != version {
        return Err(Problem::new(Kind::PreconditionFailed));
    }
    match node.admission {
        before if before == wanted => return Ok(()),
        Admission::Draining => return Err(Problem::with(Kind::Conflict, "The node is being drained.")),
        Admission::Removed => return Err(Problem::with(Kind::Conflict, "The node was taken out of service.")),
        Admission::Open | Admission::Standby | Admission::Cordoned => {}
    }
    store::admit(&mut tx, id, wanted).await?;
    let change = json!({"from": node.admission, "to": wanted});
    let request_id = request_id();
    let entry = audit::Entry {
        actor: Some(caller.user_id),
        role: caller.role.name(),
        action: "node.admission.change",
        subject: "node",
        subject_id: Some(id),
        allowed: true,
        request_id: request_id.as_deref(),
        detail: change,
    };
    audit::record(&mut tx, &api.ambient, entry).await?;
    let mut outbox = Outbox::default();
    let payload = json!({"node_id": id, "node": node.name, "from": node.admission, "to": wanted});
    outbox.push(events::SYSTEM, "node.admission_changed", payload);
    outbox.flush(&mut tx, &api.ambient).await?;
    tx.commit().await?;
    api.signals.ring(Channel::Events);
    api.signals.ring(Channel::Placement);
    Ok(())
}
