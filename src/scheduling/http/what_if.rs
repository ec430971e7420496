//! What would be if: nodes join, leave or die, the policy changes, and how many more services fit before and after.

mod changes;

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use self::changes::{ChangeBody, Reading, too_many_join};
use super::Api;
use super::question::Asked;
use super::views::{CostView, Names, Room};
use crate::http::extract::{Json, Validate};
use crate::http::problem::{FieldError, Problem, Result};
use crate::identity::Staff;
use crate::scheduling::aside;
use crate::scheduling::basis::Basis;

/// Changes of one question, at most.
const MOST_CHANGES: usize = 20;

/// Changes, made in order, and the kind of service whose head-room is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhatIfQuestion)]
pub(super) struct Question {
    #[schema(max_items = 20)]
    changes: Vec<ChangeBody>,
    service: Asked,
}

impl Validate for Question {
    fn validate(&self) -> Vec<FieldError> {
        let mut errors = self.service.errors("/service/");
        if self.changes.len() > MOST_CHANGES {
            errors.push(FieldError::new("/changes", format!("must be {MOST_CHANGES} at most")));
        }
        errors.extend(too_many_join(&self.changes));
        for (at, change) in self.changes.iter().enumerate() {
            errors.extend(change.errors(&format!("/changes/{at}")));
        }
        errors
    }
}

/// What would be.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhatIfAnswer)]
pub(super) struct View {
    before: Room,
    after: Room,
    /// Of all drains and failures together.
    cost: CostView,
    /// Instances that would find no place.
    stranded: Vec<Uuid>,
    /// Instances that would have to leave for others.
    evicted: Vec<Uuid>,
    /// Instances whose data is on a lost node only: they wait for it, or come back from a backup.
    restore: Vec<Uuid>,
    /// Instances whose data is on a drained node: they run there until they are restored elsewhere.
    stays: Vec<Uuid>,
    /// How many no node would be certain to take over afterwards if one more died; 0 unless N+1 is promised.
    exposed: u32,
    /// The policy in force.
    policy_version: i32,
}

/// Ask what would be if
///
/// Makes a list of changes on a copy, in order, and says how many more services of one size would fit before and after, what
/// stops the next one, and what the drains and failures would cost. Nothing is carried out.
#[utoipa::path(
    post, path = "/api/v1/admin/placements/what-if", tag = "admin", operation_id = "ask_what_if",
    request_body = Question, security(("bearer" = ["support"])), responses((status = 200, body = View))
)]
pub(super) async fn ask(State(api): State<Api>, _: Staff, Json(question): Json<Question>) -> Result<Answer<View>> {
    let (basis, demand) = api.asked(&question.service, "/service/").await?;
    let mut reading = Reading::new(&basis);
    let changes = reading.all(&question.changes).map_err(Problem::validation)?;
    let policy = reading.policy();
    let view = aside(move || {
        let kind = Basis::plain(&demand);
        let found = placement::what_if(&basis.cluster, &basis.policy, &changes, &kind)?;
        let names = Names(&basis.cluster);
        let ids = |keys: Vec<placement::WorkloadKey>| keys.into_iter().map(|key| Uuid::from_u128(key.0)).collect();
        let written = |policy: &placement::Policy| policy.written_request(kind.request, kind.limit);
        Ok::<_, placement::WhatIfError>(View {
            before: Room::new(found.before, written(&basis.policy), names),
            after: Room::new(found.after, written(&policy), names),
            cost: found.cost.into(),
            stranded: ids(found.stranded),
            evicted: ids(found.evicted),
            restore: ids(found.restore),
            stays: ids(found.stays),
            exposed: found.exposed,
            policy_version: basis.policy_version,
        })
    });
    view.await?.map(Answer).map_err(Problem::internal)
}
