//! An instance as the API shows it: what is wanted and by whom, what is seen, how old that sight is, what is in the way,
//! and when the next try is.

use serde::Serialize;
use uuid::Uuid;

use super::phase::{Desire, Entitled, Phase, Wanted};
use super::store::Instance;
use crate::clock::Time;

/// One running service.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Instance)]
pub struct View {
    pub id: Uuid,
    pub user_id: Uuid,
    pub subscription_id: Uuid,
    /// Its name among the customer's: the service, with a number from the second on.
    #[schema(max_length = 63)]
    pub name: String,
    pub service: ServiceRef,
    pub plan: PlanRef,
    /// Its public host name; leads somewhere once `url` is given.
    #[schema(max_length = 253)]
    pub host: String,
    /// Where it can be opened; null until its first administrator is in place and its route is open.
    #[schema(max_length = 300)]
    pub url: Option<String>,
    /// The customer's will.
    pub wanted: Wanted,
    /// What the subscription covers.
    pub entitled: Entitled,
    /// The operator's pause.
    pub held: bool,
    pub phase: Phase,
    /// A stable code that goes with the phase.
    #[schema(max_length = 100)]
    pub reason: String,
    /// The same in words.
    #[schema(max_length = 2000)]
    pub message: String,
    /// What keeps it from what is wanted; null when nothing does.
    #[schema(max_length = 2000)]
    pub blocking: Option<String>,
    /// When it is looked at or tried again, if nothing happens before; null when it is as it should be.
    pub next_retry_at: Option<Time>,
    /// Rises with every change of what is wanted.
    #[schema(minimum = 1)]
    pub generation: i64,
    /// The generation that `phase` speaks of.
    #[schema(minimum = 0)]
    pub observed_generation: i64,
    /// How old the sight is.
    pub observed_at: Option<Time>,
    pub first_ready_at: Option<Time>,
    pub created_at: Time,
    pub deleted_at: Option<Time>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = InstanceService)]
pub struct ServiceRef {
    #[schema(max_length = 63)]
    pub slug: String,
    #[schema(max_length = 200)]
    pub name: String,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = InstancePlan)]
pub struct PlanRef {
    #[schema(max_length = 63)]
    pub code: String,
    #[schema(max_length = 200)]
    pub name: String,
}

impl From<Instance> for View {
    fn from(instance: Instance) -> Self {
        let url = url(&instance);
        let blocking = blocking(&instance);
        let retries = blocking.is_some() || instance.observed_generation < instance.generation;
        Self {
            id: instance.id,
            user_id: instance.user_id,
            subscription_id: instance.subscription_id,
            name: instance.name,
            service: ServiceRef {
                slug: instance.service_slug,
                name: instance.service_name,
            },
            plan: PlanRef {
                code: instance.plan.code,
                name: instance.plan.name,
            },
            host: instance.host,
            url,
            wanted: instance.wanted,
            entitled: instance.entitled,
            held: instance.held,
            phase: instance.phase,
            reason: instance.reason,
            message: instance.message,
            blocking,
            next_retry_at: instance.next_reconcile_at.filter(|_| retries),
            generation: instance.generation,
            observed_generation: instance.observed_generation,
            observed_at: instance.observed_at,
            first_ready_at: instance.first_ready_at,
            created_at: instance.created_at,
            deleted_at: instance.deleted_at,
        }
    }
}

/// The public address, once it leads somewhere.
pub fn url(instance: &Instance) -> Option<String> {
    let open = instance.first_ready_at.is_some() && instance.entitled != Entitled::Purge;
    open.then(|| format!("https://{}", instance.host))
}

fn blocking(instance: &Instance) -> Option<String> {
    if instance.attempts > 0 {
        return Some(format!(
            "The cluster could not be reached or did not answer as expected, {} times in a row; what is shown was seen before.",
            instance.attempts
        ));
    }
    let reached = match instance.desire() {
        Desire::Run => instance.phase == Phase::Running,
        Desire::Stop => matches!(instance.phase, Phase::Stopped | Phase::Pending),
        Desire::Purge => instance.phase == Phase::Deleted,
    };
    match (reached, instance.wanted, instance.entitled, instance.held) {
        (false, ..) => Some(instance.message.clone()).filter(|message| !message.is_empty()),
        (true, Wanted::Running, Entitled::Yes, true) => Some("The operator holds it at the moment.".to_owned()),
        (true, Wanted::Running, Entitled::Suspended, _) => {
            Some("Its subscription does not cover it at present.".to_owned())
        }
        (true, ..) => None,
    }
}
