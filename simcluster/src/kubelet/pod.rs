//! One pod's life on a node: init containers in order, sidecars before what follows them, main containers, a change of
//! resources in place, the end.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Scene,
    container::{Container, Exit, State, exit},
    needs,
};
use crate::{
    app::{self, Role},
    controllers::{Requests, is_deleting, is_terminal},
    dig::Dig,
};

pub(super) struct Pod {
    /// The object as its kubelet saw it last.
    pub object: Arc<Value>,
    /// The kubelet has learned that the object is no more.
    pub gone: bool,
    pub started_at: Option<Timestamp>,
    /// Set once the pod's network is there.
    pub ip: Option<String>,
    /// Whether all init containers have done their part.
    pub initialized: bool,
    /// Init containers, then main containers, each in the order of the specification.
    pub containers: Vec<Container>,
    /// The volumes of its claims, once they are mounted.
    pub volumes: Vec<String>,
    /// Whether it is counted among those who write to them.
    pub writes: bool,
    pub resize: Resize,
    /// The node gives it up for this reason, with this message.
    pub evicted: Option<(&'static str, String)>,
    /// The pod has ended for good.
    pub outcome: Option<Outcome>,
    stopping_since: Option<Timestamp>,
}

/// How a pod ended; a reason of its own if it was not for its containers.
pub(super) struct Outcome {
    pub succeeded: bool,
    pub why: Option<(&'static str, String)>,
}

/// How far a change of the resources of a running pod has come.
pub(super) enum Resize {
    Done,
    /// The node has no room, now (`Deferred`) or ever (`Infeasible`).
    Pending(&'static str, String),
    /// Granted, and in force at this time; of which generation.
    InProgress(Timestamp, Option<i64>),
}

impl Pod {
    pub fn new(object: Arc<Value>) -> Self {
        let role = |spec: &Value| if spec.text("restartPolicy") == "Always" { Role::Sidecar } else { Role::Init };
        let init = object.items("spec.initContainers").iter().map(|spec| Container::new(spec, role(spec)));
        let main = object.items("spec.containers").iter().map(|spec| Container::new(spec, Role::Main));
        Self {
            containers: init.chain(main).collect(),
            object,
            gone: false,
            started_at: None,
            ip: None,
            initialized: false,
            volumes: Vec::new(),
            writes: false,
            resize: Resize::Done,
            evicted: None,
            outcome: None,
            stopping_since: None,
        }
    }

    pub fn runs(&self) -> bool {
        self.containers.iter().any(|container| container.process().is_some())
    }

    /// Moves the pod on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let now = scene.ctx.now;
        let started_at = *self.started_at.get_or_insert(now);
        if self.outcome.is_some() {
            return None;
        }
        let deadline = scene.pod.int("spec.activeDeadlineSeconds").map(i64::unsigned_abs);
        let deadline = deadline.map(|seconds| started_at + scene.ctx.delays.seconds(seconds));
        if deadline.is_some_and(|at| at <= now) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.evicted = Some(("DeadlineExceeded", message.to_owned()));
        }
        if let Some(why) = self.evicted.take() {
            self.end_some(scene, &exit(137, ""), |_| true);
            self.outcome = Some(Outcome { succeeded: false, why: Some(why) });
            return None;
        }
        if is_deleting(scene.pod) {
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
        let pod = scene.pod;
        let mut next: Option<Timestamp> = None;
        let mut in_turn = true;
        for (at, spec) in specs(pod).enumerate().take(self.containers.len()) {
            let role = self.containers[at].role;
            if !in_turn && !self.initialized || role == Role::Init && self.initialized {
                continue;
            }
            self.initialized |= role == Role::Main;
            let is_up = |c: &Container| app::is_database(&c.image) && c.process().is_some_and(|process| process.up);
            let database_up = self.containers.iter().enumerate().any(|(other, c)| other != at && is_up(c));
            let container = &mut self.containers[at];
            let again = container.advance(spec, scene, database_up);
            next = next.into_iter().chain(again).min();
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
    fn conclude(&mut self, scene: &mut Scene<'_>) {
        let policy = scene.restart_policy();
        let of = |role: Role| self.containers.iter().filter(move |container| container.role == role);
        let failed_start = of(Role::Init).any(|c| c.is_final(policy) && c.exit_code() != Some(0));
        if failed_start || of(Role::Main).all(|c| c.is_final(policy)) {
            let succeeded = !failed_start && of(Role::Main).all(|c| c.exit_code() == Some(0));
            self.outcome = Some(Outcome { succeeded, why: None });
            self.end_some(scene, &exit(0, ""), |_| true);
        }
    }

    /// Graceful termination: main containers first, sidecars after them, all within the grace period.
    fn stop(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let now = scene.ctx.now;
        let since = *self.stopping_since.get_or_insert(now);
        let grace = scene.pod.int("metadata.deletionGracePeriodSeconds").unwrap_or(0).unsigned_abs();
        let killed_at = since + scene.ctx.delays.seconds(grace);
        let takes = scene.ctx.delays.stop.saturating_mul(scene.slow);
        for (sidecars, rounds) in [(false, 1), (true, 2)] {
            let exits_at = since + takes.saturating_mul(rounds);
            let concerned = |container: &Container| (container.role == Role::Sidecar) == sidecars;
            if self.containers.iter().any(|c| concerned(c) && c.process().is_some()) {
                if exits_at.min(killed_at) > now {
                    return Some(exits_at.min(killed_at));
                }
                self.end_some(scene, &exit(if exits_at <= killed_at { 0 } else { 137 }, ""), concerned);
            }
        }
        let last = |c: &Container| c.exit_code().or(c.last.as_ref().map(|last| last.exit_code)).unwrap_or(0);
        self.outcome = Some(Outcome { succeeded: self.containers.iter().all(|c| last(c) == 0), why: None });
        None
    }

    fn end_some(&mut self, scene: &Scene<'_>, exit: &Exit, wanted: impl Fn(&Container) -> bool) {
        for (container, spec) in self.containers.iter_mut().zip(specs(scene.pod)) {
            if wanted(container) && container.process().is_some() {
                scene.log(spec.text("name"), "received SIGTERM, shutting down");
                scene.normal("Killing", &format!("Stopping container {}", spec.text("name")));
                container.end(exit.clone(), spec, scene);
            }
        }
    }

    /// The machine was off: all processes are gone, and the pod begins again in a new sandbox.
    pub fn lose_power(&mut self, now: Timestamp) {
        let policy = self.object.text("spec.restartPolicy");
        self.containers.iter_mut().for_each(|container| container.lose_power(policy, now));
        self.initialized = false;
        self.ip = None;
    }

    /// Brings what running containers are granted to what their specification asks for now, if the node has the room.
    fn resize(&mut self, scene: &mut Scene<'_>) -> Option<Timestamp> {
        let pod = scene.pod;
        let differs = |spec: &&Value| resources(granted(pod, spec)) != resources(spec.at("resources"));
        if !specs(pod).any(|spec| differs(&spec)) {
            self.resize = Resize::Done;
            return None;
        }
        let generation = pod.int("metadata.generation");
        match self.resize {
            Resize::InProgress(at, of) if of == generation && at > scene.ctx.now => return Some(at),
            Resize::InProgress(_, of) if of == generation => {
                self.resize = Resize::Done;
                for (container, spec) in self.containers.iter_mut().zip(specs(pod)).filter(|(_, spec)| differs(spec)) {
                    if restarts(granted(pod, spec), spec) {
                        container.restart(spec, "resize requires restart", scene);
                    } else if let Some(process) = container.process_mut() {
                        let trace = scene.ctx.faults.load(pod, spec.text("name"));
                        process.load.change(spec.at("resources"), trace, scene.ctx.now);
                    }
                }
                return None;
            }
            _ => {}
        }
        self.resize = match no_room(scene) {
            Some((reason, message)) => {
                scene.wait_for("room", scene.node, "");
                Resize::Pending(reason, message)
            }
            None => Resize::InProgress(scene.after(scene.ctx.delays.start), generation),
        };
        if let Resize::InProgress(at, _) = self.resize { Some(at) } else { None }
    }
}

/// The specifications of all containers, init containers first.
pub(super) fn specs(pod: &Value) -> impl Iterator<Item = &Value> {
    pod.items("spec.initContainers").iter().chain(pod.items("spec.containers"))
}

/// The resources that a container has in fact: those of its status, once it has run, whatever is asked for since.
pub(super) fn granted<'a>(pod: &'a Value, spec: &'a Value) -> &'a Value {
    let status = shown(pod, spec).at("resources");
    if status.is_object() { status } else { spec.at("resources") }
}

/// The status of a container as it is stored.
pub(super) fn shown<'a>(pod: &'a Value, spec: &Value) -> &'a Value {
    let all = || pod.items("status.initContainerStatuses").iter().chain(pod.items("status.containerStatuses"));
    all().find(|status| status.at("name") == spec.at("name")).unwrap_or(&Value::Null)
}

fn resources(of: &Value) -> Option<&serde_json::Map<String, Value>> {
    of.as_object().filter(|resources| !resources.is_empty())
}

/// Whether one of the resources that have changed wants the container to be restarted.
fn restarts(granted: &Value, spec: &Value) -> bool {
    let changed = |name: &str| {
        let sides = [format!("requests.{name}"), format!("limits.{name}")];
        sides.iter().any(|path| granted.at(path) != spec.at("resources").at(path))
    };
    let policies = spec.items("resizePolicy").iter();
    policies
        .filter(|policy| policy.text("restartPolicy") == "RestartContainer")
        .any(|policy| changed(policy.text("resourceName")))
}

/// Why the node cannot give a pod what it asks for.
fn no_room(scene: &Scene<'_>) -> Option<(&'static str, String)> {
    let node = scene.ctx.view.get(&crate::resource::NODE, "", scene.node)?;
    let (has, asks) = (Requests::of_list(node.at("status.allocatable")), Requests::of_pod(scene.pod));
    let mut used = asks;
    for other in scene.machine.pods.values().filter(|other| !is_terminal(&other.object)) {
        let mut spec = json!({"spec": other.object.at("spec").clone()});
        for path in ["spec.initContainers", "spec.containers"] {
            for container in spec.items_mut(path) {
                let granted = granted(&other.object, container).clone();
                container.put("resources", granted);
            }
        }
        used.add(&Requests::of_pod(&spec));
    }
    [("cpu", asks.cpu, used.cpu, has.cpu), ("memory", asks.memory, used.memory, has.memory)].into_iter().find_map(
        |(name, asks, used, has)| match (asks > has, used > has) {
            (true, _) => {
                let message = format!("Node didn't have enough capacity: {name}, requested: {asks}, capacity: {has}");
                Some(("Infeasible", message))
            }
            (false, true) => Some(("Deferred", format!("Node didn't have enough resource: {name}"))),
            (false, false) => None,
        },
    )
}
