//! One pod of the wanted revision: how far it is, or what is wrong with it.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, PodCondition};

use super::containers::{Member, members};
use super::explain::{self, Part};
use super::{Observed, Status, broken, not_up, reason, task};
use crate::instances::phase::{AdminState, Phase};

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn is_true(pod: &Pod, kind: &str) -> bool {
    condition(pod, kind).is_some_and(|condition| condition.status == "True")
}

/// Its node has stopped reporting. The node controller then sets Ready to False without a reason and leaves the
/// container statuses as they were; a kubelet that reports unreadiness always gives a reason. Later the taint manager
/// marks the pod for deletion, which no kubelet carries out.
pub fn node_is_silent(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    if status.and_then(|status| status.reason.as_deref()) == Some("NodeLost")
        || status.and_then(|status| status.phase.as_deref()) == Some("Unknown")
    {
        return true;
    }
    let given_up = condition(pod, "DisruptionTarget")
        .is_some_and(|target| target.status == "True" && target.reason.as_deref() == Some("DeletionByTaintManager"));
    let unreported = condition(pod, "Ready").is_some_and(|ready| ready.status != "True" && ready.reason.is_none());
    let members = members(pod);
    let frozen = !members.is_empty() && members.iter().all(|member| member.status.ready);
    given_up || (unreported && frozen)
}

/// A claim whose volume is gone never comes back by itself.
pub fn lost_claim(claims: &[PersistentVolumeClaim]) -> Option<&'static str> {
    let phase = |claim: &PersistentVolumeClaim| claim.status.as_ref().and_then(|status| status.phase.clone());
    claims
        .iter()
        .any(|claim| phase(claim).as_deref() == Some("Lost"))
        .then_some(explain::STORAGE_LOST)
}

pub fn assess(seen: &Observed<'_>, pod: &Pod) -> Status {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if phase == Some("Failed") {
        // The StatefulSet's controller replaces a failed pod by itself.
        return Status::new(not_up(seen), reason::EVICTED, explain::EVICTED);
    }
    if is_true(pod, "Ready") {
        return up(seen);
    }
    if let Some(status) = unscheduled(seen, pod) {
        return status;
    }
    let members = members(pod);
    if let Some(trouble) = members.iter().find_map(|member| member.trouble(seen)) {
        return trouble;
    }
    let sandbox = is_true(pod, "PodReadyToStartContainers");
    if !sandbox && members.iter().all(|member| !member.is_running()) {
        return if unbound(seen.claims) {
            Status::new(not_up(seen), reason::WAITING_FOR_STORAGE, explain::WAITING_FOR_STORAGE)
        } else {
            Status::new(not_up(seen), reason::STARTING, explain::PREPARING)
        };
    }
    match members.iter().find(|member| is_due(member)) {
        Some(member) => member.starting(seen, sandbox),
        None => unready(seen, &members),
    }
}

/// The container that the kubelet is at: not finished, or its startup probe has not succeeded.
fn is_due(member: &Member<'_>) -> bool {
    if member.one_off {
        !member.is_done()
    } else {
        !member.is_started()
    }
}

fn unbound(claims: &[PersistentVolumeClaim]) -> bool {
    let bound = |claim: &PersistentVolumeClaim| {
        claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Bound")
    };
    !claims.iter().all(bound)
}

fn unscheduled(seen: &Observed<'_>, pod: &Pod) -> Option<Status> {
    if pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some()) {
        return None;
    }
    Some(match condition(pod, "PodScheduled") {
        Some(refused) if refused.reason.as_deref() == Some("Unschedulable") => {
            let message = explain::unschedulable(refused.message.as_deref().unwrap_or_default());
            Status::new(not_up(seen), reason::UNSCHEDULABLE, message)
        }
        _ => Status::new(not_up(seen), reason::SCHEDULING, explain::SCHEDULING),
    })
}

/// All containers have started and at least one is not ready.
fn unready(seen: &Observed<'_>, members: &[Member<'_>]) -> Status {
    let was_up = matches!(seen.previous, Phase::Running | Phase::Degraded);
    let failing = members
        .iter()
        .filter(|member| !member.one_off && !member.status.ready)
        .find(|member| was_up || member.is_unready_for_long(seen.now));
    match failing.map(|member| member.part) {
        Some(Part::Database) => Status::new(not_up(seen), reason::PROBE_FAILING, explain::DATABASE_PROBE_FAILING),
        Some(_) => Status::new(not_up(seen), reason::PROBE_FAILING, explain::PROBE_FAILING),
        None => Status::new(not_up(seen), reason::STARTING, explain::STARTING),
    }
}

/// The pod is ready; the customer may be let in only after the first administrator is, and then through the route.
fn up(seen: &Observed<'_>) -> Status {
    let status = match seen.admin_state {
        AdminState::Pending | AdminState::Created => first_admin(seen),
        AdminState::Verified => Status::new(not_up(seen), reason::VERIFYING_ADMIN, explain::VERIFYING_ADMIN),
        AdminState::Settled if !seen.ingress => {
            Status::new(not_up(seen), reason::OPENING_ROUTE, explain::OPENING_ROUTE)
        }
        AdminState::Settled => Status {
            ready: true,
            ..Status::new(Phase::Running, reason::RUNNING, explain::RUNNING)
        },
    };
    Status {
        pod_ready: true,
        ..status
    }
}

fn first_admin(seen: &Observed<'_>) -> Status {
    if let Some(pod) = seen.task
        && let task::Outcome::Failed { message } = task::outcome(pod)
    {
        return Status::new(broken(seen), reason::FIRST_ADMIN_FAILED, message);
    }
    let making = seen.admin_state == AdminState::Pending && seen.task.is_none_or(task::is_setup);
    if making {
        Status::new(not_up(seen), reason::WAITING_FOR_FIRST_ADMIN, explain::MAKING_ADMIN)
    } else {
        Status::new(not_up(seen), reason::VERIFYING_ADMIN, explain::VERIFYING_ADMIN)
    }
}
