//! The containers of a pod, in the order in which the kubelet starts them, and the first one that is in trouble.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};

use super::explain::{self, Part};
use super::{Observed, Status, broken, not_up, reason};
use crate::clock::Time;

/// The kubelet's restart back-off: 10 s, doubled at each failure, at most 5 min, forgotten after 10 min without one
/// (Kubernetes documentation, "Pod Lifecycle", container restarts).
const BACKOFF_FIRST: Duration = Duration::from_secs(10);
const BACKOFF_MOST: Duration = Duration::from_mins(5);
const BACKOFF_FORGET: Duration = Duration::from_mins(10);

/// How long a started container may take until its first readiness before we speak of a failing health check. A check
/// that ever succeeded at start (the startup probe) is expected to go on succeeding within a few periods.
const SETTLING: Duration = Duration::from_mins(1);

pub struct Member<'a> {
    pub part: Part,
    /// Runs to its end before the next may start; the others stay up.
    pub one_off: bool,
    spec: &'a Container,
    pub status: &'a ContainerStatus,
}

/// Init containers first, in the pod's order, then the others. A container without a status is not reported yet.
pub fn members(pod: &Pod) -> Vec<Member<'_>> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else {
        return Vec::new();
    };
    let find = |all: &'_ Option<Vec<ContainerStatus>>, name: &str| -> Option<usize> {
        all.as_ref()?.iter().position(|status| status.name == name)
    };
    let mut members = Vec::new();
    for container in spec.init_containers.iter().flatten() {
        let sidecar = container.restart_policy.as_deref() == Some("Always");
        if let Some(i) = find(&status.init_container_statuses, &container.name) {
            members.push(Member {
                part: if sidecar { Part::Database } else { Part::Installation },
                one_off: !sidecar,
                spec: container,
                status: &status.init_container_statuses.as_deref().unwrap_or_default()[i],
            });
        }
    }
    for container in &spec.containers {
        if let Some(i) = find(&status.container_statuses, &container.name) {
            members.push(Member {
                part: Part::Service,
                one_off: false,
                spec: container,
                status: &status.container_statuses.as_deref().unwrap_or_default()[i],
            });
        }
    }
    members
}

impl Member<'_> {
    pub fn waiting(&self) -> Option<&str> {
        self.status.state.as_ref()?.waiting.as_ref()?.reason.as_deref()
    }

    fn waiting_message(&self) -> &str {
        let waiting = self.status.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting
            .and_then(|waiting| waiting.message.as_deref())
            .unwrap_or_default()
    }

    pub fn is_running(&self) -> bool {
        self.status.state.as_ref().is_some_and(|state| state.running.is_some())
    }

    pub fn is_done(&self) -> bool {
        self.one_off && self.end_now().is_some_and(|end| end.exit_code == 0)
    }

    /// The startup probe has succeeded.
    pub fn is_started(&self) -> bool {
        self.status.started == Some(true)
    }

    fn end_now(&self) -> Option<&ContainerStateTerminated> {
        self.status.state.as_ref()?.terminated.as_ref()
    }

    fn last_end(&self) -> Option<&ContainerStateTerminated> {
        self.end_now()
            .or_else(|| self.status.last_state.as_ref()?.terminated.as_ref())
    }

    /// Why this container does not work, if it is in trouble rather than on its way.
    pub fn trouble(&self, seen: &Observed<'_>) -> Option<Status> {
        if self.is_done() || (!self.one_off && self.status.ready) {
            return None;
        }
        match self.waiting() {
            Some(
                why @ ("ErrImagePull"
                | "ImagePullBackOff"
                | "InvalidImageName"
                | "ErrImageNeverPull"
                | "ImageInspectError"
                | "RegistryUnavailable"
                | "SignatureValidationFailed"),
            ) => {
                let message = explain::image_pull_failed(self.part, why, self.waiting_message());
                Some(Status::new(broken(seen), reason::IMAGE_PULL_FAILED, message))
            }
            Some(
                "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" | "PostStartHookError",
            ) => {
                let message = explain::config_error(self.part, self.waiting_message());
                Some(Status::new(broken(seen), reason::CONFIG_ERROR, message))
            }
            Some("CrashLoopBackOff") => Some(self.crashed(seen, false)),
            _ if self.recently_ended(seen.now) => Some(self.crashed(seen, self.is_running())),
            _ => None,
        }
    }

    /// A container that has just ended, or runs again without being ready, after an end that the back-off still counts.
    fn recently_ended(&self, now: Time) -> bool {
        self.last_end().is_some_and(|end| {
            let at = end.finished_at.as_ref().map(|at| Time::new(at.0));
            at.is_none_or(|at| now.since(at) < BACKOFF_FORGET)
        })
    }

    fn crashed(&self, seen: &Observed<'_>, starting: bool) -> Status {
        let restarts = self.status.restart_count;
        let end = self.last_end();
        let exit_code = end.map_or(0, |end| end.exit_code);
        let status = if end.and_then(|end| end.reason.as_deref()) == Some("OOMKilled") {
            let message = explain::out_of_memory(self.part, self.memory_limit().as_deref(), restarts, starting);
            Status::new(broken(seen), reason::OUT_OF_MEMORY, message)
        } else {
            let message = explain::crash_loop(self.part, exit_code, restarts, starting);
            Status::new(broken(seen), reason::CRASH_LOOP, message)
        };
        let next_retry = if starting { None } else { self.next_retry(seen.now) };
        Status { next_retry, ..status }
    }

    fn memory_limit(&self) -> Option<String> {
        let limits = self.spec.resources.as_ref()?.limits.as_ref()?;
        limits.get("memory").map(|quantity| human_memory(&quantity.0))
    }

    /// When the kubelet starts it again: the end of the last run plus the back-off. `None` when that has passed.
    fn next_retry(&self, now: Time) -> Option<Time> {
        let end = Time::new(self.last_end()?.finished_at.as_ref()?.0);
        let pause = stated_backoff(self.waiting_message()).unwrap_or_else(|| backoff(self.status.restart_count));
        Some(end.plus(pause)).filter(|next| *next > now)
    }

    /// Started, but its readiness does not come or has gone.
    pub fn is_unready_for_long(&self, now: Time) -> bool {
        let running = self.status.state.as_ref().and_then(|state| state.running.as_ref());
        let since = running.and_then(|running| running.started_at.as_ref());
        self.is_started() && !self.status.ready && since.is_some_and(|at| now.since(Time::new(at.0)) > SETTLING)
    }

    /// On its way up, without trouble.
    pub fn starting(&self, seen: &Observed<'_>, sandbox: bool) -> Status {
        let phase = not_up(seen);
        if !self.is_running() {
            // The sandbox has its network and volumes, so what is left before the container exists is its image.
            return if sandbox && self.waiting() == Some("ContainerCreating") {
                Status::new(phase, reason::PULLING_IMAGE, explain::PULLING_IMAGE)
            } else {
                Status::new(phase, reason::STARTING, explain::PREPARING)
            };
        }
        match self.part {
            Part::Database => Status::new(phase, reason::STARTING_DATABASE, explain::STARTING_DATABASE),
            Part::Installation => Status::new(phase, reason::WAITING_FOR_FIRST_ADMIN, explain::INSTALLING),
            Part::Service => Status::new(phase, reason::STARTING, explain::STARTING),
        }
    }
}

fn backoff(restarts: i32) -> Duration {
    let doublings = u32::try_from(restarts.saturating_sub(1)).unwrap_or(0).min(5);
    (BACKOFF_FIRST * 2_u32.pow(doublings)).min(BACKOFF_MOST)
}

/// The pause that the kubelet names: `back-off 1m20s restarting failed container=…`.
fn stated_backoff(message: &str) -> Option<Duration> {
    let (pause, _) = message.strip_prefix("back-off ")?.split_once(" restarting")?;
    let mut total = Duration::ZERO;
    let mut number = String::new();
    for c in pause.chars() {
        match c {
            '0'..='9' => number.push(c),
            'h' | 'm' | 's' => {
                let seconds = match c {
                    'h' => 3600,
                    'm' => 60,
                    _ => 1,
                };
                total += Duration::from_secs(number.parse::<u64>().ok()?.saturating_mul(seconds));
                number.clear();
            }
            _ => return None,
        }
    }
    (number.is_empty() && total > Duration::ZERO).then_some(total)
}

/// `512Mi` as people write it. What is not in binary units is passed through.
fn human_memory(quantity: &str) -> String {
    match quantity.split_at_checked(quantity.len().saturating_sub(2)) {
        Some((number, unit @ ("Ki" | "Mi" | "Gi"))) => format!("{number} {unit}B"),
        _ => quantity.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_five_minutes() {
        let seconds = |restarts| backoff(restarts).as_secs();
        assert_eq!(
            [0, 1, 2, 3, 4, 5, 6, 99].map(seconds),
            [10, 10, 20, 40, 80, 160, 300, 300]
        );
    }

    #[test]
    fn a_stated_pause_is_read() {
        for (message, seconds) in [
            ("back-off 10s restarting failed container=app pod=a_b(c)", Some(10)),
            ("back-off 1m20s restarting failed container=app", Some(80)),
            ("back-off 5m0s restarting failed container=app", Some(300)),
            ("back-off restarting failed container=app", None),
            ("back-off soon restarting failed container=app", None),
            ("", None),
        ] {
            assert_eq!(
                stated_backoff(message).map(|pause| pause.as_secs()),
                seconds,
                "{message}"
            );
        }
    }
}
