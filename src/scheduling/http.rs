//! /api/v1/admin/placements: who is placed where, whether that is as it should be, and what would happen if.
//!
//! Everything here only reads, without the placement lock: an answer is true of one instant, and promises nothing.

mod question;

use axum::Json as Answer;
use axum::extract::State;
use placement::{Change, Purpose, Reason, Refusal, Score};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use self::question::Asked;
use super::check::{self, Violation};
use super::read::{self, View};
use super::{Error, Scheduler, snapshot};
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
        .with_state(api)
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
    /// What would be written into each pod.
    request: Amounts,
    count: i64,
    /// In the order in which they fill; nodes that take none are left out.
    nodes: Vec<NodeHeadroom>,
    /// Why not one more.
    refusal: RefusalView,
    policy_version: i32,
}

#[derive(Debug, Serialize, ToSchema)]
struct NodeHeadroom {
    node_id: Uuid,
    node: String,
    count: i64,
}

/// Why no node takes it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementRefusal)]
struct RefusalView {
    /// What stands in the way on the node that is closest to taking it.
    #[schema(value_type = String, example = "memory")]
    binding: Reason,
    rejected: Vec<Rejected>,
    /// The same in words, with the smallest change that would help.
    explanation: String,
    /// That change, for programs: `existing` (a node becomes ready or opens, room is freed) or `new_node`. Null when
    /// nothing helps, as the data is elsewhere.
    #[schema(value_type = Option<Object>)]
    smallest_change: Option<Change>,
}

impl From<Refusal> for RefusalView {
    fn from(refusal: Refusal) -> Self {
        Self {
            binding: refusal.binding,
            rejected: rejected(&refusal.rejected),
            explanation: refusal.to_string(),
            smallest_change: refusal.smallest_change.map(|change| *change),
        }
    }
}

/// How many nodes are out for one reason; each node is counted once.
#[derive(Debug, Serialize, ToSchema)]
struct Rejected {
    #[schema(value_type = String, example = "cordoned")]
    reason: Reason,
    nodes: u32,
}

fn rejected(counts: &placement::Counts) -> Vec<Rejected> {
    counts
        .iter()
        .map(|(&reason, &nodes)| Rejected { reason, nodes })
        .collect()
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
    let mut glance = snapshot::glance(&api.pool).await?;
    let basis = api.scheduler.basis(&mut glance).await?;
    let demand = asked.demand(&mut glance, "?").await?;
    glance.commit().await?;
    let workload = basis.workload(&demand);
    let found = placement::headroom(&basis.cluster, &basis.policy, &workload);
    let name = |key| {
        basis
            .cluster
            .node(key)
            .map(|node| node.name.clone())
            .unwrap_or_default()
    };
    let nodes = found.nodes.iter().map(|room| NodeHeadroom {
        node_id: Uuid::from_u128(room.node.0),
        node: name(room.node),
        count: room.count,
    });
    Ok(Answer(Headroom {
        request: workload.request.into(),
        count: found.count,
        nodes: nodes.collect(),
        refusal: found.refusal.into(),
        policy_version: basis.policy_version,
    }))
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
    /// The next best node, if another one would have done.
    runner_up: Option<Candidate>,
    rejected: Vec<Rejected>,
}

/// A node that would take it. Less is better, in the order of the fields; the lower id breaks ties.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementCandidate)]
struct Candidate {
    node_id: Uuid,
    node: String,
    /// PreferNoSchedule taints that are not tolerated.
    softness: u32,
    /// What would stay free there, each resource in parts per million of the largest node, added up.
    residual_ppm: i64,
}

/// Explain a placement
///
/// What the engine would decide for a hypothetical service, in full. Nothing is reserved.
#[utoipa::path(
    post, path = "/api/v1/admin/placements/explain", tag = "admin", operation_id = "explain_placement",
    request_body = Asked, security(("bearer" = ["support"])), responses((status = 200, body = Explanation))
)]
async fn explain(State(api): State<Api>, _: Staff, Json(asked): Json<Asked>) -> Result<Answer<Explanation>> {
    let mut glance = snapshot::glance(&api.pool).await?;
    let basis = api.scheduler.basis(&mut glance).await?;
    let demand = asked.demand(&mut glance, "/").await?;
    glance.commit().await?;
    let workload = basis.workload(&demand);
    let candidate = |score: Score| Candidate {
        node_id: Uuid::from_u128(score.node.0),
        node: basis
            .cluster
            .node(score.node)
            .map(|node| node.name.clone())
            .unwrap_or_default(),
        softness: score.softness,
        residual_ppm: score.residual_ppm,
    };
    let explained = placement::explain(&basis.cluster, &basis.policy, &workload, Purpose::Admission);
    let (decision, refusal) = match explained {
        Ok(explained) => {
            let view = DecisionView {
                chosen: candidate(explained.decision.score),
                runner_up: explained.runner_up.map(candidate),
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

impl From<placement::Resources> for Amounts {
    fn from(amount: placement::Resources) -> Self {
        Self {
            cpu_milli: amount.cpu_milli,
            mem_mib: amount.mem_mib,
            disk_mib: amount.disk_mib,
            pods: amount.pods,
        }
    }
}
