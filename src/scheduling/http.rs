//! /api/v1/admin/placements: who is placed where, whether that is as it should be, and what would happen if.
//!
//! Everything here only reads, without the placement lock: an answer is true of one instant, and promises nothing.

mod plans;
mod question;
mod resilience;
mod views;
mod what_if;

use axum::Json as Answer;
use axum::extract::State;
use placement::Purpose;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::question::Asked;
use self::views::{Candidate, Names, NodeName, RefusalView, Rejected, Room, rejected};
use super::basis::Basis;
use super::check::{self, Violation};
use super::read::{self, View};
use super::{Demand, Error, Scheduler, snapshot};
use crate::clock::{Ambient, Time};
use crate::http::extract::{Json, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{Kind, Problem, Result};
use crate::identity::Staff;
use crate::nodes::read::Amounts;

/// What the handlers need.
#[derive(Clone)]
pub struct Api {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub scheduler: Scheduler,
}

pub fn routes(api: Api) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(headroom))
        .routes(routes!(explain))
        .routes(routes!(check_now))
        .routes(routes!(what_if::ask))
        .routes(routes!(resilience::show))
        .routes(routes!(plans::defragment))
        .routes(routes!(plans::drain))
        .with_state(api)
}

impl Api {
    /// What is decided on now.
    async fn basis(&self) -> Result<Basis> {
        let mut glance = snapshot::glance(&self.pool).await?;
        let basis = self.scheduler.basis(&mut glance).await?;
        glance.commit().await?;
        Ok(basis)
    }

    /// The same, and what a hypothetical service asks for as of the same instant. `at` comes before a field's name.
    async fn asked(&self, asked: &Asked, at: &str) -> Result<(Basis, Demand)> {
        let mut glance = snapshot::glance(&self.pool).await?;
        let basis = self.scheduler.basis(&mut glance).await?;
        let demand = asked.demand(&mut glance, &self.scheduler, at).await?;
        glance.commit().await?;
        Ok((basis, demand))
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(_) => Self::new(Kind::InsufficientCapacity),
            Error::Inconsistent(_) => Self::internal(error),
            Error::Sql(error) => error.into(),
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct FilterQuery {
    /// Only what is placed on this worker node.
    node_id: Option<Uuid>,
}

/// List placements
///
/// Who is placed where now, newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/placements", tag = "admin", operation_id = "list_placements",
    params(PageQuery, FilterQuery), security(("bearer" = ["support"])), responses((status = 200, body = Page<View>))
)]
async fn list(
    State(api): State<Api>,
    _: Staff,
    Query(page): Query<PageQuery>,
    Query(filter): Query<FilterQuery>,
) -> Result<Answer<Page<View>>> {
    let name = format!(
        "placements:{}",
        filter.node_id.map(|id| id.to_string()).unwrap_or_default()
    );
    let window = page.window(&name)?;
    let rows = read::page(&mut *api.pool.acquire().await?, filter.node_id, &window).await?;
    Ok(Answer(Page::new(rows, &window, &name, |row| (row.created_at, row.id))))
}

/// How many more fit.
#[derive(Debug, Serialize, ToSchema)]
struct Headroom {
    #[serde(flatten)]
    room: Room,
    policy_version: i32,
}

/// Show the head-room
///
/// How many more services of one size would be accepted, ordered one by one: either of a plan (`plan_id`), or of a size
/// (`cpu_request_milli` and `mem_request_mib`, the rest optional).
#[utoipa::path(
    get, path = "/api/v1/admin/placements/headroom", tag = "admin", operation_id = "get_headroom",
    params(Asked), security(("bearer" = ["support"])), responses((status = 200, body = Headroom))
)]
async fn headroom(State(api): State<Api>, _: Staff, Query(asked): Query<Asked>) -> Result<Answer<Headroom>> {
    let (basis, demand) = api.asked(&asked, "?").await?;
    let answer = super::aside(move || {
        let workload = basis.workload(&demand);
        let found = placement::what_if::room(&basis.cluster, &basis.policy, &Basis::plain(&demand));
        Headroom {
            room: Room::new(found, workload.request, Names(&basis.cluster)),
            policy_version: basis.policy_version,
        }
    });
    Ok(Answer(answer.await?))
}

/// What the engine would answer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementExplanation)]
struct Explanation {
    admitted: bool,
    /// What would be written into the pod.
    request: Amounts,
    /// Where it would go; null when refused.
    decision: Option<DecisionView>,
    /// Null when admitted.
    refusal: Option<RefusalView>,
    policy_version: i32,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementDecision)]
struct DecisionView {
    chosen: Candidate,
    /// Its certificate: the node that takes it if the chosen one dies. Null when none is promised.
    backup: Option<NodeName>,
    /// The next best node, if another one would have done.
    runner_up: Option<Candidate>,
    rejected: Vec<Rejected>,
}

/// Explain a placement
///
/// What the engine would decide for a hypothetical service, in full. Nothing is reserved.
#[utoipa::path(
    post, path = "/api/v1/admin/placements/explain", tag = "admin", operation_id = "explain_placement",
    request_body = Asked, security(("bearer" = ["support"])), responses((status = 200, body = Explanation))
)]
async fn explain(State(api): State<Api>, _: Staff, Json(asked): Json<Asked>) -> Result<Answer<Explanation>> {
    let (basis, demand) = api.asked(&asked, "/").await?;
    let workload = basis.workload(&demand);
    let names = Names(&basis.cluster);
    let explained = placement::explain(&basis.cluster, &basis.policy, &workload, Purpose::Admission);
    let (decision, refusal) = match explained {
        Ok(explained) => {
            let view = DecisionView {
                chosen: Candidate::new(explained.decision.score, names),
                backup: explained.decision.backup.map(|backup| names.of(backup)),
                runner_up: explained.runner_up.map(|score| Candidate::new(score, names)),
                rejected: rejected(&explained.rejected),
            };
            (Some(view), None)
        }
        Err(refusal) => (None, Some(refusal.into())),
    };
    Ok(Answer(Explanation {
        admitted: decision.is_some(),
        request: workload.request.into(),
        decision,
        refusal,
        policy_version: basis.policy_version,
    }))
}

/// What the independent check found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementCheck)]
struct Check {
    checked_at: Time,
    /// How many worker nodes and instances were looked at.
    nodes: usize,
    instances: usize,
    /// Empty when everything is as it should be.
    violations: Vec<Violation>,
}

/// Check the placements
///
/// Runs the independent check now: is what is placed what may be placed, and does the ledger fit the instances?
#[utoipa::path(
    get, path = "/api/v1/admin/placements/check", tag = "admin", operation_id = "check_placements",
    security(("bearer" = ["support"])), responses((status = 200, body = Check))
)]
async fn check_now(State(api): State<Api>, _: Staff) -> Result<Answer<Check>> {
    let found = check::run(&api.pool).await?;
    Ok(Answer(Check {
        checked_at: api.ambient.now(),
        nodes: found.nodes,
        instances: found.instances,
        violations: found.violations,
    }))
}
