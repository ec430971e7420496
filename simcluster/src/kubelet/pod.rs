//! One pod's life on a node: init containers in order, sidecars before what follows them, main containers, the end.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Scene,
    container::{Container, State},
    mounts,
    process::{Exit, Process},
};
use crate::{
    app::{self, Role},
    controllers::{is_deleting, list},
};

pub(super) struct Pod {
    /// When the kubelet first saw the pod.
    pub started_at: Timestamp,
    /// Set once the pod's network is there.
    pub ip: Option<String>,
    /// Whether all init containers have done their part.
    pub initialized: bool,
    /// Init containers, then main containers, each in the order of the specification.
    pub containers: Vec<Container>,
    /// The pod has ended for good.
    pub outcome: Option<Outcome>,
    stopping_since: Option<Timestamp>,
}

/// How a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Succeeded,
    Failed,
    /// It was active for longer than `activeDeadlineSeconds`.
    DeadlineExceeded,
}

impl Pod {
    pub fn new(pod: &Value, now: Timestamp) -> Self {
        let role = |spec: &Value| {
            if spec["restartPolicy"] == "Always" { Role::Sidecar } else { Role::Init }
        };
        let init = list(&pod["spec"]["initContainers"]).iter().map(|spec| Container::new(spec, role(spec)));
        let main = list(&pod["spec"]["containers"]).iter().map(|spec| Container::new(spec, Role::Main));
        Self {
            started_at: now,
            ip: None,
            initialized: false,
            containers: init.chain(main).collect(),
            outcome: None,
            stopping_since: None,
        }
    }

    /// Moves the pod on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        if self.outcome.is_some() {
            return None;
        }
        if is_deleting(scene.pod) {
            return self.stop(scene);
        }
        let deadline = scene.pod["spec"]["activeDeadlineSeconds"].as_u64();
        let deadline = deadline.map(|seconds| self.started_at + scene.ctx.delays.seconds(seconds));
        if deadline.is_some_and(|at| at <= scene.ctx.now) {
            self.end_all(scene, false);
            self.outcome = Some(Outcome::DeadlineExceeded);
            return None;
        }
        if self.ip.is_none() && !mounts::are_ready(scene) {
            scene.waits_for_volumes = true;
            return deadline;
        }
        let mut next = deadline;
        // What one container does can move another (a database that comes up); three passes settle any chain.
        for _ in 0..3 {
            let pass = self.pass(scene);
            next = deadline.into_iter().chain(pass).min();
        }
        self.conclude(scene);
        next
    }

    fn pass(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let specs: Vec<&Value> = specs(scene.pod).collect();
        let mut next: Option<Timestamp> = None;
        let mut in_turn = true;
        for (at, spec) in specs.iter().enumerate() {
            let role = self.containers[at].role;
            if !in_turn && !self.initialized || role == Role::Init && self.initialized {
                continue;
            }
            if role == Role::Main && !self.initialized {
                self.initialized = true;
            }
            let database_up = self.database_up(at);
            let container = &mut self.containers[at];
            let again = container.advance(spec, scene, database_up);
            next = next.into_iter().chain(again).min();
            in_turn &= match role {
                Role::Init => container.has_succeeded(),
                Role::Sidecar => container.is_started(),
                Role::Main => true,
            };
        }
        if self.ip.is_none()
            && self.containers.iter().any(|c| !matches!(c.state, State::Idle | State::Misconfigured(_)))
        {
            self.ip = Some(scene.new_address());
        }
        next
    }

    /// Whether a database container beside this one has come up.
    fn database_up(&self, except: usize) -> bool {
        let mut others = self.containers.iter().enumerate().filter(|(at, _)| *at != except);
        others.any(|(_, other)| app::is_database(&other.image) && other.process().is_some_and(Process::is_up))
    }

    /// Ends the pod when its main containers, or an init container, have ended for good.
    fn conclude(&mut self, scene: &mut Scene<'_>) {
        let policy = scene.restart_policy().to_owned();
        let failed_start =
            self.containers.iter().any(|c| c.role == Role::Init && c.is_final(&policy) && !c.has_succeeded());
        let main = || self.containers.iter().filter(|c| c.role == Role::Main);
        if failed_start {
            self.outcome = Some(Outcome::Failed);
        } else if main().all(|c| c.is_final(&policy)) {
            let succeeded = main().all(Container::has_succeeded);
            self.outcome = Some(if succeeded { Outcome::Succeeded } else { Outcome::Failed });
        }
        if self.outcome.is_some() {
            self.end_all(scene, true);
        }
    }

    /// Graceful termination: main containers first, sidecars after them, all within the grace period.
    fn stop(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let now = scene.ctx.now;
        let since = *self.stopping_since.get_or_insert(now);
        let grace = scene.pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0);
        let killed_at = since + scene.ctx.delays.seconds(grace);
        let takes = scene.ctx.delays.stop.saturating_mul(scene.slow);
        for (roles, rounds) in [([Role::Main, Role::Init], 1), ([Role::Sidecar, Role::Sidecar], 2)] {
            let exits_at = since + takes.saturating_mul(rounds);
            let at = exits_at.min(killed_at);
            let mut concerned = self.containers.iter().filter(|c| roles.contains(&c.role) && c.process().is_some());
            if concerned.next().is_some() {
                if at > now {
                    return Some(at);
                }
                self.end_some(scene, exits_at <= killed_at, |role| roles.contains(&role));
            }
        }
        let clean = self.containers.iter().all(|c| match &c.state {
            State::Ended(ended) => ended.exit_code == 0,
            _ => c.last.as_ref().is_none_or(|last| last.exit_code == 0),
        });
        self.outcome = Some(if clean { Outcome::Succeeded } else { Outcome::Failed });
        None
    }

    fn end_all(&mut self, scene: &Scene<'_>, in_time: bool) {
        self.end_some(scene, in_time, |_| true);
    }

    fn end_some(&mut self, scene: &Scene<'_>, in_time: bool, wanted: impl Fn(Role) -> bool) {
        for container in self.containers.iter_mut().filter(|c| wanted(c.role)) {
            let Some(process) = container.process() else {
                continue;
            };
            let ended = process.ended(Exit::stopped(in_time), scene.ctx.now);
            scene.ctx.cluster.logs().append(scene.uid, &container.name, scene.ctx.now, app::stopped());
            scene.normal("Killing", &format!("Stopping container {}", container.name));
            container.end(ended, scene);
        }
    }

    /// The machine was off: all processes are gone, and the pod begins again in a new sandbox.
    pub fn lose_power(&mut self, pod: &Value, now: Timestamp) {
        let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
        self.containers.iter_mut().for_each(|container| container.lose(now, policy));
        self.initialized = false;
        self.ip = None;
    }
}

/// The specifications of all containers, init containers first.
pub(super) fn specs(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["spec"]["initContainers"]).iter().chain(list(&pod["spec"]["containers"]))
}
