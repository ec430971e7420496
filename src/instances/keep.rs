//! One pass over an instance that is to exist: running or stopped.
//!
//! Running: everything is applied (secret, config, volumes, service, policy, StatefulSet, and the route once the first
//! administrator is settled), an outdated pod is deleted, the first administrator is advanced. Stopped: the StatefulSet
//! is applied without replicas. Then what is there is looked at; only that goes into the row.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use uuid::Uuid;

use super::admin::{self, Progress, Sight};
use super::apply::{Known, act, learn, stop, with_input};
use super::backoff;
use super::cluster::{Place, Pods};
use super::finish::Verdict;
use super::manifests::task;
use super::phase::{AdminState, Desire, Phase};
use super::reconcile::{Ended, ON_ITS_WAY, PassError, Reconciler};
use super::status::{self, Observed, Status, reason};
use super::store::Instance;
use super::store::claim::Claimed;
use super::store::namespaces::Footprint;
use crate::clock::Time;
use crate::crash;
use crate::scheduling::{Placed, State};

/// What is in the cluster after the acts of this pass.
#[derive(Default)]
pub(super) struct Seen {
    pub stateful_set: Option<StatefulSet>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub pods: Pods,
    pub ingress: bool,
    pub warning: Option<String>,
}

pub async fn pass(ctx: &Reconciler, claimed: &Claimed) -> Result<Ended, PassError> {
    let row = &claimed.instance;
    let known = learn(ctx, row).await?;
    let place = Place::new(&ctx.client, row);
    let mut seen = Seen::default();
    let mut steps = Vec::new();
    let node = known.placed.as_ref().filter(|placed| placed.state != State::Parked);
    let footprint = node.map(|placed| Footprint::of(row, placed, &known.template));
    let covered = footprint.is_some_and(|need| known.allowed.is_some_and(|allowed| allowed.covers(need)));
    match (row.desire(), node) {
        (Desire::Run, Some(placed)) if covered => {
            steps.push("namespace");
            act(ctx, row, &known, placed, &place, &mut seen).await?;
        }
        _ => {
            let things = place.things(false).await?;
            seen.ingress = things.ingress.is_some();
            (seen.stateful_set, seen.claims) = (things.stateful_set, things.claims);
            if row.desire() == Desire::Stop
                && let (Some(set), Some(placed)) = (&seen.stateful_set, &known.placed)
                && set.spec.as_ref().and_then(|spec| spec.replicas) != Some(0)
            {
                seen.stateful_set = Some(stop(ctx, row, &known, placed, &place).await?);
            }
        }
    }
    seen.pods = place.pods().await?;
    if let (Desire::Run, Some(set), None) = (row.desire(), &seen.stateful_set, &seen.pods.own) {
        seen.warning = place.refusal(set).await?;
    }
    let before = Progress::of(row);
    let status = derive(ctx, row, node, &seen);
    if let Some(pod) = seen.pods.own.as_ref().filter(|_| status.revision_outdated) {
        place.delete(pod).await?;
        crash::point("instance.after_pod_delete");
    }
    clean_up(row, &known, &place, &seen.pods.tasks).await?;
    let mut verdict = Verdict {
        status,
        progress: before,
        steps,
        volume_node_id: None,
        refused: false,
        lower_quota: false,
        next: None,
    };
    if let (Desire::Run, Some(placed), true) = (row.desire(), node, covered) {
        first_admin(ctx, row, &known, placed, &place, &seen, &mut verdict).await?;
        verdict.volume_node_id = pinned_to(ctx, placed, &seen.claims);
        note_steps(&seen, &mut verdict);
    }
    verdict.lower_quota = settled(row, &verdict.status) && known.allowed != footprint && footprint.is_some();
    verdict.next = next(ctx.ambient.now(), row, &verdict);
    Ok(Ended::Seen(Box::new(verdict)))
}

fn derive(ctx: &Reconciler, row: &Instance, node: Option<&Placed>, seen: &Seen) -> Status {
    status::derive(&Observed {
        desire: row.desire(),
        generation: row.generation,
        admin_state: row.admin_state,
        previous: row.phase,
        was_ready: row.first_ready_at.is_some(),
        node: node.map(|placed| placed.node_name.as_str()),
        stateful_set: seen.stateful_set.as_ref(),
        pod: seen.pods.own.as_ref(),
        claims: &seen.claims,
        task: seen
            .pods
            .tasks
            .iter()
            .find(|pod| pod.metadata.deletion_timestamp.is_none()),
        warning: seen.warning.as_deref(),
        ingress: seen.ingress,
        others: false,
        now: ctx.ambient.now(),
    })
}

/// Task pods that nobody waits for any more.
async fn clean_up(row: &Instance, known: &Known, place: &Place, tasks: &[Pod]) -> Result<(), PassError> {
    let leftovers = match row.desire() {
        Desire::Run => admin::leftovers(&known.template.first_admin, Progress::of(row), tasks, &row.name),
        Desire::Stop | Desire::Purge => tasks.iter().collect(),
    };
    for pod in leftovers {
        place.delete(pod).await?;
        crash::point("instance.after_task_delete");
    }
    Ok(())
}

async fn first_admin(
    ctx: &Reconciler,
    row: &Instance,
    known: &Known,
    placed: &Placed,
    place: &Place,
    seen: &Seen,
    verdict: &mut Verdict,
) -> Result<(), PassError> {
    let now = ctx.ambient.now();
    let sight = Sight {
        now,
        pod_ready: verdict.status.pod_ready,
        tasks: &seen.pods.tasks,
    };
    let wait = |failures| backoff::delay(&ctx.ambient.entropy, failures);
    let step = admin::advance(&known.template.first_admin, Progress::of(row), sight, &row.name, wait);
    verdict.progress = step.progress;
    if let Some((kind, attempt)) = step.launch {
        let pod = with_input(ctx, row, known, placed, |input| match kind {
            task::Kind::Setup => task::setup_pod(input, attempt),
            task::Kind::Verify => task::verify_pod(input, attempt),
        })?;
        if let Some(pod) = pod {
            place.create(&pod).await?;
            crash::point("instance.after_task_create");
        }
    }
    let waits = step.progress.retry_at.is_some_and(|at| at > now);
    if let Some(message) = step.failure {
        verdict.status.reason = reason::FIRST_ADMIN_FAILED;
        verdict.status.message = message;
    } else if waits && row.reason == reason::FIRST_ADMIN_FAILED && verdict.status.pod_ready {
        // The failed pod is gone; why it failed is said until the next one is tried.
        verdict.status.phase = row.phase;
        verdict.status.reason = reason::FIRST_ADMIN_FAILED;
        verdict.status.message.clone_from(&row.message);
    }
    Ok(())
}

/// A volume that cannot move pins the instance to the node on which it was first bound.
fn pinned_to(ctx: &Reconciler, placed: &Placed, claims: &[PersistentVolumeClaim]) -> Option<Uuid> {
    (!ctx.settings.volumes_movable && claims.iter().any(is_bound)).then_some(placed.node_id)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
}

fn note_steps(seen: &Seen, verdict: &mut Verdict) {
    let scheduled = seen
        .pods
        .own
        .as_ref()
        .and_then(|pod| pod.spec.as_ref())
        .is_some_and(|spec| spec.node_name.is_some());
    // The claims were looked at before the pod: a pod that was placed in between waits for the next look to be told.
    let bound = seen.claims.iter().all(is_bound);
    let done = [
        ("volumes", bound),
        ("scheduled", bound && scheduled),
        ("pod_ready", verdict.status.pod_ready),
        ("first_admin", verdict.progress.state == AdminState::Settled),
        ("route_open", verdict.status.ready),
    ];
    verdict
        .steps
        .extend(done.iter().filter(|(_, done)| *done).map(|(name, _)| *name));
}

/// As it is wanted, with nothing under way.
fn settled(row: &Instance, status: &Status) -> bool {
    match row.desire() {
        Desire::Run => status.ready,
        Desire::Stop => matches!(status.phase, Phase::Stopped | Phase::Pending),
        Desire::Purge => false,
    }
}

/// When to look again. What is settled waits for a touch; an advance of the first administrator goes on at once.
fn next(now: Time, row: &Instance, verdict: &Verdict) -> Option<Time> {
    if verdict.progress.state != row.admin_state {
        return Some(now);
    }
    if settled(row, &verdict.status) {
        return None;
    }
    let soonest = [verdict.progress.retry_at, verdict.status.next_retry];
    let soonest = soonest.into_iter().flatten().filter(|at| *at > now).min();
    Some(soonest.unwrap_or_else(|| now.plus(ON_ITS_WAY)))
}
