//! From the objects that were seen to what the customer is told: phase, reason, words, next retry.
//!
//! Pure: the caller reads the cluster and the row and passes both in with the time. The same sight gives the same
//! status, so writing it again changes nothing. It promises that `ready` means ready *for the present desire*: an old
//! revision that still answers is not success. It never guesses: a node that does not report makes the phase `unknown`,
//! and `pod_gone` is said only when the StatefulSet cannot bring the pod back.
//!
//! What it does not do: decide about retries of our own calls, or about time-outs of an order.

mod containers;
mod explain;
mod pod;
pub mod reason;
mod task;

#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};

use super::phase::{AdminState, Desire, Phase};
use crate::clock::Time;
use crate::kube::ANNOTATION_GENERATION;

pub use explain::STORAGE_LOST;
pub use task::{Outcome, outcome};

/// How long after its own grace period a terminating pod is still believed to be going: the kubelet needs a moment to
/// report, and the API server to forget.
const TERMINATION_SLACK: Duration = Duration::from_secs(30);

/// What was seen, and what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub desire: Desire,
    /// The row's generation: a StatefulSet that carries another one carries out an older desire.
    pub generation: i64,
    pub admin_state: AdminState,
    /// The phase in the row: what was up and is not now is `degraded`, what never was is `provisioning`.
    pub previous: Phase,
    /// Has it ever been up? A silent node's `unknown` does not tell.
    pub was_ready: bool,
    /// Host name of the node that the open placement names; `None` while there is no placement.
    pub node: Option<&'a str>,
    pub stateful_set: Option<&'a StatefulSet>,
    /// The StatefulSet's only pod.
    pub pod: Option<&'a Pod>,
    pub claims: &'a [PersistentVolumeClaim],
    /// The latest setup or verify pod.
    pub task: Option<&'a Pod>,
    /// Message of the newest `FailedCreate` event of the StatefulSet: a refused pod leaves no other trace.
    pub warning: Option<&'a str>,
    /// Is the route (Ingress) there?
    pub ingress: bool,
    /// Is any other object of the instance left (secret, config, service, policy)? Asked when purging.
    pub others: bool,
    pub now: Time,
}

/// What is said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent answers to questions of different callers"
)]
pub struct Status {
    pub phase: Phase,
    /// One of [`reason::ALL`].
    pub reason: &'static str,
    /// For the customer: no node, no internal id, nothing about other customers.
    pub message: String,
    /// The pod of the wanted revision is ready: the next step (first administrator, route) may be taken.
    pub pod_ready: bool,
    /// The customer can work: the pod is ready, the first administrator is settled and the route is open.
    pub ready: bool,
    /// No pod exists and none can appear: what it used may be given back.
    pub pod_gone: bool,
    /// The pod is not of the wanted revision; with `OnDelete` only our deleting it brings the new one.
    pub revision_outdated: bool,
    /// When Kubernetes tries again, where its back-off tells.
    pub next_retry: Option<Time>,
}

impl Status {
    pub(crate) fn new(phase: Phase, reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            phase,
            reason,
            message: message.into(),
            pod_ready: false,
            ready: false,
            pod_gone: false,
            revision_outdated: false,
            next_retry: None,
        }
    }
}

pub fn derive(seen: &Observed<'_>) -> Status {
    let status = match seen.desire {
        Desire::Run => run(seen),
        Desire::Stop => stop(seen),
        Desire::Purge => purge(seen),
    };
    Status {
        pod_gone: pod_gone(seen),
        revision_outdated: seen.pod.is_some() && revision(seen) == Revision::Outdated,
        ..status
    }
}

fn run(seen: &Observed<'_>) -> Status {
    let Some(node) = seen.node else {
        return Status::new(Phase::Pending, reason::WAITING_FOR_NODE, explain::WAITING_FOR_NODE);
    };
    let Some(set) = seen.stateful_set else {
        return match seen.previous {
            Phase::Pending => Status::new(Phase::Pending, reason::ACCEPTED, explain::ACCEPTED),
            _ => Status::new(not_up(seen), reason::STARTING, explain::PREPARING),
        };
    };
    if let Some(lost) = pod::lost_claim(seen.claims) {
        return Status::new(Phase::Failed, reason::STORAGE_LOST, lost);
    }
    let Some(pod) = seen.pod else {
        return match seen.warning {
            Some(warning) if explain::is_quota(warning) => {
                Status::new(not_up(seen), reason::QUOTA_REFUSED, explain::QUOTA_REFUSED)
            }
            Some(_) => Status::new(not_up(seen), reason::CREATE_REFUSED, explain::CREATE_REFUSED),
            None => Status::new(not_up(seen), reason::STARTING, explain::PREPARING),
        };
    };
    if pod::node_is_silent(pod) || overdue(pod, seen.now) {
        return Status::new(Phase::Unknown, reason::NODE_LOST, explain::NODE_LOST);
    }
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let old = generation_of(set) != Some(seen.generation) || revision(seen) != Revision::Wanted;
    if terminating || old {
        return being_replaced(seen, pod, node);
    }
    pod::assess(seen, pod)
}

/// The pod goes, or has to go, so that one of the wanted revision comes.
fn being_replaced(seen: &Observed<'_>, pod: &Pod, node: &str) -> Status {
    let runs_on = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    if runs_on.is_some_and(|elsewhere| elsewhere != node) || seen.previous == Phase::Migrating {
        return Status::new(Phase::Migrating, reason::MIGRATING, explain::MIGRATING);
    }
    if generation_of_seen(seen) == Some(seen.generation) && revision(seen) == Revision::Unknown {
        // The controller has not looked at the set yet: the pod may well be right.
        return Status::new(not_up(seen), reason::STARTING, explain::PREPARING);
    }
    Status::new(Phase::Provisioning, reason::RESTARTING, explain::RESTARTING)
}

fn stop(seen: &Observed<'_>) -> Status {
    if seen.previous == Phase::Pending && seen.stateful_set.is_none() && seen.pod.is_none() {
        return Status::new(Phase::Pending, reason::ACCEPTED, explain::ACCEPTED);
    }
    if pod_gone(seen) {
        return Status::new(Phase::Stopped, reason::STOPPED, explain::STOPPED);
    }
    if seen
        .pod
        .is_some_and(|pod| pod::node_is_silent(pod) || overdue(pod, seen.now))
    {
        return Status::new(Phase::Unknown, reason::NODE_LOST, explain::NODE_LOST_STOPPING);
    }
    Status::new(Phase::Stopping, reason::STOPPING, explain::STOPPING)
}

fn purge(seen: &Observed<'_>) -> Status {
    let left = seen.stateful_set.is_some()
        || seen.pod.is_some()
        || seen.task.is_some()
        || !seen.claims.is_empty()
        || seen.ingress
        || seen.others;
    if left {
        Status::new(Phase::Deleting, reason::DELETING, explain::DELETING)
    } else {
        Status::new(Phase::Deleted, reason::DELETED, explain::DELETED)
    }
}

/// No pod, and no set that would make one: asked of the spec, which the controller follows, and of its status, which
/// says that the controller has read that spec.
fn pod_gone(seen: &Observed<'_>) -> bool {
    if seen.pod.is_some() {
        return false;
    }
    let Some(set) = seen.stateful_set else { return true };
    let wants_none = set.spec.as_ref().and_then(|spec| spec.replicas) == Some(0);
    let read = set.metadata.generation.is_some() && observed_generation(set) >= set.metadata.generation;
    let counts_none = set.status.as_ref().is_some_and(|status| status.replicas == 0);
    wants_none && read && counts_none
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Revision {
    Wanted,
    Outdated,
    /// The set's controller has not read the present spec yet.
    Unknown,
}

fn revision(seen: &Observed<'_>) -> Revision {
    let (Some(set), Some(pod)) = (seen.stateful_set, seen.pod) else {
        return Revision::Unknown;
    };
    let wanted = set
        .status
        .as_ref()
        .and_then(|status| status.update_revision.as_deref())
        .filter(|_| observed_generation(set) >= set.metadata.generation);
    let labels = pod.metadata.labels.as_ref();
    let is = labels.and_then(|labels| labels.get("controller-revision-hash"));
    match (wanted, is) {
        (Some(wanted), Some(is)) if wanted == is => Revision::Wanted,
        (Some(_), Some(_)) => Revision::Outdated,
        (None, _) | (_, None) => Revision::Unknown,
    }
}

fn observed_generation(set: &StatefulSet) -> Option<i64> {
    set.status.as_ref().and_then(|status| status.observed_generation)
}

fn generation_of(set: &StatefulSet) -> Option<i64> {
    let annotations = set.metadata.annotations.as_ref()?;
    annotations.get(ANNOTATION_GENERATION)?.parse().ok()
}

fn generation_of_seen(seen: &Observed<'_>) -> Option<i64> {
    seen.stateful_set.and_then(generation_of)
}

/// Terminating for longer than its grace period allows: whoever should report its end does not.
fn overdue(pod: &Pod, now: Time) -> bool {
    // `deletionTimestamp` is the time at which the grace period ends.
    pod.metadata
        .deletion_timestamp
        .as_ref()
        .is_some_and(|end| now > Time::new(end.0).plus(TERMINATION_SLACK))
}

/// The phase of an instance that is on its way up.
fn not_up(seen: &Observed<'_>) -> Phase {
    match seen.previous {
        _ if was_up(seen) => Phase::Degraded,
        Phase::Migrating => Phase::Migrating,
        _ => Phase::Provisioning,
    }
}

/// The phase of an instance that waiting alone will hardly bring up.
fn broken(seen: &Observed<'_>) -> Phase {
    if was_up(seen) { Phase::Degraded } else { Phase::Failed }
}

fn was_up(seen: &Observed<'_>) -> bool {
    match seen.previous {
        Phase::Running | Phase::Degraded => true,
        Phase::Unknown => seen.was_ready,
        _ => false,
    }
}
