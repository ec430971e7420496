//! One pod's life on a node: init containers in order, sidecars before what follows them, main containers, a change of
//! resources in place, the end.

use super::{needs, prelude::*};

#[derive(Default)]
pub(super) struct Pod {
    /// The object as its kubelet saw it last.
    pub object: Arc<Value>,
    pub started_at: Option<Timestamp>,
    /// Set once the pod's network is there.
    pub ip: Option<String>,
    /// Whether all init containers have done their part.
    pub initialized: bool,
    /// Init containers, then main containers, each in the order of the specification.
    pub containers: Vec<Container>,
    /// The volumes of its claims, once they are mounted, and whether it is counted among those who write to them.
    pub volumes: Vec<String>,
    pub writes: bool,
    /// What it holds of its node's room.
    pub allocated: Option<Requests>,
    pub resize: Resize,
    /// Its node gives it up for this reason, with this message; no longer than its containers.
    pub evicted: Option<(&'static str, String)>,
    /// The pod has ended for good: whether well.
    pub succeeded: Option<bool>,
    stopping_since: Option<Timestamp>,
}

/// How far a change of the resources of a running pod has come.
#[derive(Default)]
pub(super) enum Resize {
    #[default]
    Done,
    /// The node has no room, now (`Deferred`) or ever (`Infeasible`).
    Pending(&'static str, String),
    /// Granted, and in force at this time; of which generation.
    InProgress(Timestamp, Option<i64>),
}

impl Pod {
    pub fn new(object: &Arc<Value>) -> Self {
        let container = |(spec, main): (&Value, bool)| Container {
            role: match spec.text("restartPolicy") {
                _ if main => Role::Main,
                "Always" => Role::Sidecar,
                _ => Role::Init,
            },
            image: spec.text("image").to_owned(),
            ..Container::default()
        };
        let init = object.items("spec.initContainers").iter().map(|spec| (spec, false));
        let containers = init.chain(object.items("spec.containers").iter().map(|spec| (spec, true))).map(container);
        Self { containers: containers.collect(), object: Arc::clone(object), ..Self::default() }
    }

    pub fn runs(&self) -> bool {
        self.containers.iter().any(|container| container.process().is_some())
    }

    /// Moves the pod on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let (pod, now) = (scene.pod, scene.ctx.now);
        let started_at = *self.started_at.get_or_insert(now);
        self.allocated.get_or_insert_with(|| Requests::of_pod(pod));
        let deadline = pod.int("spec.activeDeadlineSeconds");
        let deadline = deadline.map(|seconds| started_at + scene.ctx.delays.seconds(seconds.unsigned_abs()));
        if deadline.is_some_and(|at| at <= now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.evicted = Some(("DeadlineExceeded", message.to_owned()));
        }
        if self.evicted.is_some() {
            self.end_some(scene, &exit(137, ""), |_| true);
            self.succeeded = Some(false);
        }
        if self.succeeded.is_some() {
            return None;
        }
        if is_deleting(pod) {
            return self.stop(scene);
        }
        if self.ip.is_none() {
            match needs::mounts(scene) {
                Some(volumes) => self.volumes = volumes,
                None => return deadline,
            }
        }
        let resized = self.resize(scene);
        let mut next = None;
        // What one container does can move another (a database that comes up); three passes settle any chain.
        for _ in 0..3 {
            next = self.pass(scene);
        }
        self.conclude(scene);
        next.into_iter().chain(deadline).chain(resized).min()
    }

    fn pass(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let mut next: Option<Timestamp> = None;
        let mut in_turn = true;
        for (at, spec) in specs(scene.pod).enumerate().take(self.containers.len()) {
            let role = self.containers[at].role;
            if !in_turn && !self.initialized || role == Role::Init && self.initialized {
                continue;
            }
            self.initialized |= role == Role::Main;
            let is_up = |c: &Container| app::is_database(&c.image) && c.process().is_some_and(|process| process.up);
            let database_up = self.containers.iter().enumerate().any(|(other, c)| other != at && is_up(c));
            let container = &mut self.containers[at];
            next = container.advance(spec, scene, database_up).into_iter().chain(next).min();
            in_turn &= match role {
                Role::Init => container.exit_code() == Some(0),
                Role::Sidecar => container.is_started(),
                Role::Main => true,
            };
        }
        let begun = |c: &Container| !matches!(c.state, State::Idle | State::Misconfigured(_));
        if self.ip.is_none() && self.containers.iter().any(begun) {
            self.ip = Some(scene.machine.new_address());
        }
        next
    }

    /// Ends the pod when its main containers, or an init container, have ended for good.
    fn conclude(&mut self, scene: &Scene<'_>) {
        let policy = scene.restart_policy();
        let of = |role: Role| self.containers.iter().filter(move |container| container.role == role);
        let failed_start = of(Role::Init).any(|c| c.is_final(policy) && c.exit_code() != Some(0));
        if failed_start || of(Role::Main).all(|c| c.is_final(policy)) {
            self.succeeded = Some(!failed_start && of(Role::Main).all(|c| c.exit_code() == Some(0)));
            self.end_some(scene, &exit(0, ""), |_| true);
        }
    }

    /// Graceful termination: main containers first, sidecars after them, all within the grace period.
    fn stop(&mut self, scene: &Scene<'_>) -> Option<Timestamp> {
        let now = scene.ctx.now;
        let since = *self.stopping_since.get_or_insert(now);
        let grace = scene.pod.int("metadata.deletionGracePeriodSeconds").unwrap_or(0).unsigned_abs();
        let killed_at = since + scene.ctx.delays.seconds(grace);
        for (sidecars, rounds) in [(false, scene.slow), (true, 2 * scene.slow)] {
            let exits_at = since + scene.ctx.delays.stop.saturating_mul(rounds);
            let concerned = |container: &Container| (container.role == Role::Sidecar) == sidecars;
            if self.containers.iter().any(|c| concerned(c) && c.process().is_some()) {
                if exits_at.min(killed_at) > now {
                    return Some(exits_at.min(killed_at));
                }
                self.end_some(scene, &exit(if exits_at <= killed_at { 0 } else { 137 }, ""), concerned);
            }
        }
        let last = |c: &Container| c.exit_code().or(c.last.as_ref().map(|last| last.exit.0)).unwrap_or(0);
        self.succeeded = Some(self.containers.iter().all(|c| last(c) == 0));
        None
    }

    fn end_some(&mut self, scene: &Scene<'_>, exit: &Exit, wanted: impl Fn(&Container) -> bool) {
        for (container, spec) in self.containers.iter_mut().zip(specs(scene.pod)) {
            if wanted(container) && container.process().is_some() {
                scene.log(spec.text("name"), "received SIGTERM, shutting down");
                scene.tell("Normal", "Killing", &format!("Stopping container {}", spec.text("name")));
                container.end(exit.clone(), scene.ctx.now);
            }
        }
    }

    /// The machine was off: all processes are gone, and the pod begins again in a new sandbox.
    pub fn lose_power(&mut self, now: Timestamp) {
        let policy = self.object.text("spec.restartPolicy");
        self.containers.iter_mut().for_each(|container| container.lose_power(policy, now));
        (self.initialized, self.ip, self.writes) = (false, None, false);
    }

    /// Brings what running containers are granted to what their specification asks for now, if the node has the room.
    fn resize(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let (pod, generation) = (scene.pod, scene.pod.int("metadata.generation"));
        if !specs(pod).any(|spec| differs(pod, spec)) {
            self.resize = Resize::Done;
            return None;
        }
        match self.resize {
            Resize::InProgress(at, of) if of == generation && at > scene.ctx.now => return Some(at),
            Resize::InProgress(_, of) if of == generation => {
                self.resize = Resize::Done;
                return None;
            }
            _ => {}
        }
        if let Some((reason, message)) = no_room(scene) {
            self.resize = Resize::Pending(reason, message);
            scene.wait_for("room", scene.node, "");
            return None;
        }
        let at = scene.ctx.now + scene.ctx.delays.start.saturating_mul(scene.slow);
        self.allocated = Some(Requests::of_pod(pod));
        self.resize = Resize::InProgress(at, generation);
        Some(at)
    }
}

pub(super) fn specs(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.items("spec.initContainers").iter().chain(pod.items("spec.containers"))
}

pub(super) fn shown<'a>(pod: &'a Value, spec: &Value) -> &'a Value {
    let all = || pod.items("status.initContainerStatuses").iter().chain(pod.items("status.containerStatuses"));
    all().find(|status| status.at("name") == spec.at("name")).unwrap_or(&Value::Null)
}

/// The resources that a container has in fact: those of its status, once it has run, whatever is asked for since.
pub(super) fn granted<'a>(pod: &'a Value, spec: &'a Value) -> &'a Value {
    let status = shown(pod, spec).at("resources");
    if status.is_object() { status } else { spec.at("resources") }
}

/// Whether a container asks for other amounts than it has.
fn differs(pod: &Value, spec: &Value) -> bool {
    let (has, asks) = (granted(pod, spec), spec.at("resources"));
    ["requests", "limits"].iter().any(|side| !has.fields(side).eq(asks.fields(side)))
}

/// Why the node cannot give a pod what it asks for now.
fn no_room(scene: &Scene<'_>) -> Option<(&'static str, String)> {
    let node = scene.ctx.view.get(&resource::NODE, "", scene.node)?;
    let (has, asks) = (Requests::of_list(node.at("status.allocatable")), Requests::of_pod(scene.pod));
    let mut used = asks;
    scene.machine.pods.values().filter_map(|other| other.allocated).for_each(|other| used.add(&other, 1));
    let lacks = |wanted: &Requests| [(1, "cpu"), (2, "memory")].into_iter().find(|(at, _)| wanted.0[*at] > has.0[*at]);
    let ever = lacks(&asks).map(|(_, name)| ("Infeasible", format!("Node didn't have enough capacity: {name}")));
    ever.or(lacks(&used).map(|(_, name)| ("Deferred", format!("Node didn't have enough resource: {name}"))))
}
