//! Plans as data: what would have to move to empty a node, or to make more places. Nothing is carried out.

use axum::Json as Answer;
use axum::extract::State;
use placement::{Budget, Cause, NodeKey, Plan, Step};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::Api;
use super::question::Asked;
use super::views::{CostView, Names, NodeName, RefusalView};
use crate::http::extract::{Path, Query};
use crate::http::problem::{FieldError, Problem, Result};
use crate::identity::Staff;
use crate::scheduling::aside;

/// Moves of one plan, at most: more would take hours.
const MOST_MOVES: u32 = 1000;

/// What would move, in order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementPlan)]
pub(super) struct PlanView {
    steps: Vec<StepView>,
    /// What finds no place, and why.
    stranded: Vec<Stranded>,
    /// Instances whose data cannot follow: they wait for the node, or come back from a backup.
    restore: Vec<Uuid>,
    cost: CostView,
    /// The allowed moves ended it: there would have been more to gain.
    cut: bool,
    policy_version: i32,
}

/// One move; from a node to itself nothing moves, and only the certificate changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementStep)]
struct StepView {
    instance_id: Uuid,
    from: NodeName,
    to: NodeName,
    /// Its certificate afterwards.
    backup: Option<NodeName>,
    #[schema(value_type = String, example = "drain")]
    reason: Cause,
    /// How long it is likely to be away.
    restart_seconds: i64,
    /// What is copied, at most.
    volume_mib: i64,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementStranded)]
struct Stranded {
    instance_id: Uuid,
    refusal: RefusalView,
}

impl StepView {
    fn new(step: &Step, names: Names<'_>) -> Self {
        Self {
            instance_id: Uuid::from_u128(step.workload.0),
            from: names.of(step.from),
            to: names.of(step.to),
            backup: step.backup.map(|backup| names.of(backup)),
            reason: step.reason,
            restart_seconds: step.restart_seconds,
            volume_mib: step.volume_mib,
        }
    }
}

impl PlanView {
    fn new(plan: Plan, policy_version: i32, names: Names<'_>) -> Self {
        let stranded = plan.stranded.into_iter().map(|refusal| Stranded {
            instance_id: Uuid::from_u128(refusal.workload.0),
            refusal: refusal.into(),
        });
        Self {
            steps: plan.steps.iter().map(|step| StepView::new(step, names)).collect(),
            stranded: stranded.collect(),
            restore: plan.restore.iter().map(|key| Uuid::from_u128(key.0)).collect(),
            cost: plan.cost.into(),
            cut: plan.cut,
            policy_version,
        }
    }
}

/// Plan to empty a node
///
/// Where everything on a worker node would go if it were emptied now. A plan is data: nothing is carried out.
#[utoipa::path(
    get, path = "/api/v1/admin/placements/drain/{node_id}", tag = "admin", operation_id = "plan_drain",
    params(("node_id" = Uuid, Path, description = "The worker node.")), security(("bearer" = ["support"])),
    responses((status = 200, body = PlanView))
)]
pub(super) async fn drain(State(api): State<Api>, _: Staff, Path(node_id): Path<Uuid>) -> Result<Answer<PlanView>> {
    let basis = api.basis().await?;
    let node = NodeKey(node_id.as_u128());
    if basis.cluster.node(node).is_none() {
        return Err(Problem::not_found());
    }
    let view = aside(move || {
        let plan = placement::drain(&basis.cluster, &basis.policy, node);
        plan.map(|plan| PlanView::new(plan, basis.policy_version, Names(&basis.cluster)))
    });
    view.await?.map(Answer).map_err(Problem::internal)
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// The plan of a service that more places are wanted for.
    plan_id: Uuid,
    /// So many moves at most; no limit but the gain, unless told.
    #[param(minimum = 1, maximum = 1000)]
    moves: Option<u32>,
}

/// More places, by few moves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementDefragmentation)]
pub(super) struct Defragmentation {
    /// Places for the plan, summed over the nodes, before and after; certificates for them are not counted in.
    before: i64,
    after: i64,
    plan: PlanView,
}

/// Plan to make more places
///
/// Which services would move so that more of one plan fit, by few moves. A plan is data: nothing is carried out.
#[utoipa::path(
    get, path = "/api/v1/admin/placements/defragment", tag = "admin", operation_id = "plan_defragmentation",
    params(Wanted), security(("bearer" = ["support"])), responses((status = 200, body = Defragmentation))
)]
pub(super) async fn defragment(
    State(api): State<Api>,
    _: Staff,
    Query(wanted): Query<Wanted>,
) -> Result<Answer<Defragmentation>> {
    if wanted.moves.is_some_and(|moves| !(1..=MOST_MOVES).contains(&moves)) {
        let detail = format!("must be between 1 and {MOST_MOVES}");
        return Err(Problem::validation(vec![FieldError::new("?moves", detail)]));
    }
    let asked = Asked {
        plan_id: Some(wanted.plan_id),
        ..Asked::default()
    };
    let (basis, demand) = api.asked(&asked, "?").await?;
    let view = aside(move || {
        let budget = Budget::moves(wanted.moves.unwrap_or(MOST_MOVES));
        let kind = basis.workload(&demand);
        let found = placement::defragment(&basis.cluster, &basis.policy, &kind, budget);
        Defragmentation {
            before: found.before,
            after: found.after,
            plan: PlanView::new(found.plan, basis.policy_version, Names(&basis.cluster)),
        }
    });
    Ok(Answer(view.await?))
}
