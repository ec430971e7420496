//! Which node may fail now, and what the loss of each would mean.

use axum::Json as Answer;
use axum::extract::State;
use placement::{Loss, Reserve, Resilience};
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::views::{Names, NodeName};
use crate::http::problem::Result;
use crate::identity::Staff;
use crate::nodes::read::Amounts;
use crate::scheduling::{aside, resilience};

/// Which node may fail now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementResilience)]
pub(super) struct View {
    /// The policy keeps what the loss of any one node takes. Without that nothing is certain, and no node that carries
    /// movable services may fail.
    n_plus_one: bool,
    /// Every ready node may fail, one at a time.
    all_may_fail: bool,
    /// The ready nodes; others have failed already.
    nodes: Vec<LossView>,
    /// What a second loss would cost after each of the heaviest first ones, once everything has been done about those.
    /// First losses that leave nobody in danger are left out.
    second: Vec<Second>,
    control_plane: ControlPlaneView,
    policy_version: i32,
}

/// The loss of one node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementLoss)]
struct LossView {
    #[serde(flatten)]
    node: NodeName,
    may_fail: bool,
    /// Nothing can be placed anew until it returns.
    stops_placement: bool,
    /// How many their certificates bring elsewhere, and what they ask for.
    replaced: u32,
    inflow: Amounts,
    /// How many go where.
    targets: Vec<Target>,
    /// How many could follow and have no certain place; what they ask for is what is missing.
    exposed: u32,
    missing: Amounts,
    /// How many have their data there only, and come back with the node or from a backup.
    pinned: u32,
    /// The same in words.
    explanation: String,
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementLossTarget)]
struct Target {
    #[serde(flatten)]
    node: NodeName,
    count: u32,
}

/// The worst loss after another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementSecondLoss)]
struct Second {
    first: NodeName,
    second: NodeName,
    /// How many would be left without a certain place: at most, since nobody has searched for one.
    exposed: u32,
}

/// The machines that decide, known by the label `node-role.kubernetes.io/control-plane` (or `master`).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlacementControlPlane)]
struct ControlPlaneView {
    servers: Vec<NodeName>,
    /// How many of them may be gone at once.
    may_lose: u32,
    /// What that means, in words.
    explanation: String,
}

impl LossView {
    fn new(loss: Loss, names: Names<'_>) -> Self {
        let explanation = format!("{loss}.");
        let targets = loss.targets.into_iter().map(|(node, count)| Target {
            node: names.of(node),
            count,
        });
        Self {
            node: names.of(loss.node),
            may_fail: loss.may_fail,
            stops_placement: loss.stops_placement,
            replaced: loss.replaced,
            inflow: loss.inflow.into(),
            targets: targets.collect(),
            exposed: loss.exposed,
            missing: loss.missing.into(),
            pinned: loss.pinned,
            explanation,
        }
    }
}

impl View {
    fn new(found: Resilience, n_plus_one: bool, policy_version: i32, names: Names<'_>) -> Self {
        let second = found.second.iter().map(|second| Second {
            first: names.of(second.first),
            second: names.of(second.second),
            exposed: second.exposed,
        });
        // The engine knows keys only, and says the key of the one machine that everything hangs on.
        let mut explanation = found.control_plane.to_string();
        for &server in &found.control_plane.servers {
            explanation = explanation.replace(&server.to_string(), &names.text(server));
        }
        Self {
            n_plus_one,
            all_may_fail: found.losses.iter().all(|loss| loss.may_fail),
            second: second.collect(),
            control_plane: ControlPlaneView {
                servers: found.control_plane.servers.iter().map(|&key| names.of(key)).collect(),
                may_lose: found.control_plane.may_lose,
                explanation,
            },
            nodes: found
                .losses
                .into_iter()
                .map(|loss| LossView::new(loss, names))
                .collect(),
            policy_version,
        }
    }
}

/// Show which node may fail
///
/// For each ready node, whether all that runs there would be taken over for certain if it died now, by whom, and what is
/// missing if not; what a second loss would cost; and what the loss of a control-plane machine means.
#[utoipa::path(
    get, path = "/api/v1/admin/placements/resilience", tag = "admin", operation_id = "get_resilience",
    security(("bearer" = ["support"])), responses((status = 200, body = View))
)]
pub(super) async fn show(State(api): State<Api>, _: Staff) -> Result<Answer<View>> {
    let basis = api.basis().await?;
    let view = aside(move || {
        let n_plus_one = basis.policy.reserve() == Reserve::NPlusOne;
        let found = resilience::of(&basis);
        View::new(found, n_plus_one, basis.policy_version, Names(&basis.cluster))
    });
    Ok(Answer(view.await?))
}
