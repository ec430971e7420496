//! One container's life on a node: configuration, image, process, probes, end, restart.
//!
//! `advance` moves a container as far as it can get at this moment. What is shown of it is in `status`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Scene, installation, load::Load, needs, pod::granted};
use crate::{
    app::{self, Database, Does, Role, Script},
    dig::Dig,
    faults::Sickness,
};

/// The first wait before a pull or a restart is tried again, doubled each time up to the longest: seconds.
const BACK_OFF_FIRST: u64 = 10;
const BACK_OFF_MOST: u64 = 300;
/// A container that ran this long starts with a fresh back-off: seconds.
const BACK_OFF_RESET: u64 = 600;
/// How long a task pod waits for its target: seconds.
const PATIENCE: u64 = 120;

pub(super) struct Container {
    pub role: Role,
    pub image: String,
    pub state: State,
    /// How often the container was made anew.
    pub restarts: u32,
    /// The end before the current run.
    pub last: Option<Box<Ended>>,
    /// Whether a process of this container ever ran on this node.
    pub has_run: bool,
    failed_pulls: u32,
    back_offs: u32,
}

pub(super) enum State {
    /// Its turn has not come.
    Idle,
    /// Something that its specification refers to is missing.
    Misconfigured(String),
    Pulling(Timestamp),
    PullFailed {
        shown_as_error_until: Timestamp,
        until: Timestamp,
    },
    Starting(Timestamp),
    Running(Box<Process>),
    /// Waits before the next run.
    BackOff(Timestamp),
    Ended(Box<Ended>),
}

pub(super) struct Process {
    pub run: u32,
    pub since: Timestamp,
    /// Past its startup probe, if it has one.
    pub started: bool,
    pub ready: bool,
    /// Whether the application itself has come up, whatever its probes say.
    pub up: bool,
    pub load: Load,
    script: Script,
    /// When the application comes up, or the job is done.
    up_at: Timestamp,
    unhealthy_since: Option<Timestamp>,
}

/// How a run ended.
pub(super) struct Ended {
    pub exit_code: i32,
    pub reason: &'static str,
    pub message: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub run: u32,
}

/// Why a process ends: exit code, reason and last words.
pub(super) type Exit = (i32, &'static str, String);

pub(super) fn exit(code: i32, message: &str) -> Exit {
    (code, if code == 0 { "Completed" } else { "Error" }, message.to_owned())
}

pub(super) fn out_of_memory() -> Exit {
    (137, "OOMKilled", String::new())
}

impl Container {
    pub fn new(spec: &Value, role: Role) -> Self {
        Self {
            role,
            image: spec.text("image").to_owned(),
            state: State::Idle,
            restarts: 0,
            last: None,
            has_run: false,
            failed_pulls: 0,
            back_offs: 0,
        }
    }

    pub fn process(&self) -> Option<&Process> {
        if let State::Running(process) = &self.state { Some(process) } else { None }
    }

    pub fn process_mut(&mut self) -> Option<&mut Process> {
        if let State::Running(process) = &mut self.state { Some(process) } else { None }
    }

    /// Past its startup probe, so that what comes after a sidecar may start.
    pub fn is_started(&self) -> bool {
        self.process().is_some_and(|process| process.started)
    }

    pub fn exit_code(&self) -> Option<i32> {
        if let State::Ended(ended) = &self.state { Some(ended.exit_code) } else { None }
    }

    /// Whether it has ended, and the pod's restart policy leaves it at that.
    pub fn is_final(&self, policy: &str) -> bool {
        self.exit_code().is_some_and(|code| !self.restarts_after(policy, code))
    }

    fn restarts_after(&self, policy: &str, exit_code: i32) -> bool {
        match self.role {
            Role::Sidecar => true,
            Role::Init => exit_code != 0 && policy != "Never",
            Role::Main => policy != "Never" && (policy != "OnFailure" || exit_code != 0),
        }
    }

    /// Moves on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Option<Timestamp> {
        let now = scene.ctx.now;
        if spec.text("image") != self.image {
            spec.text("image").clone_into(&mut self.image);
            (self.failed_pulls, self.back_offs) = (0, 0);
            self.restart(spec, "definition changed, will be restarted", scene);
        }
        // Each pass ends a state; a crash loop ends in a back-off, so the bound is never reached.
        for _ in 0..16 {
            match &mut self.state {
                State::Idle | State::Misconfigured(_) => match needs::environment(spec, scene) {
                    Ok(_) => self.pull(spec, scene),
                    Err(why) => {
                        if !matches!(&self.state, State::Misconfigured(shown) if *shown == why) {
                            scene.warning("Failed", &format!("Error: {why}"));
                        }
                        self.state = State::Misconfigured(why);
                        return None;
                    }
                },
                State::Pulling(until) if *until <= now => self.pulled(scene),
                State::PullFailed { until, .. } if *until <= now => self.pull(spec, scene),
                State::PullFailed { shown_as_error_until, until } => {
                    return Some(if *shown_as_error_until <= now { *until } else { *shown_as_error_until });
                }
                State::Starting(until) if *until <= now => self.run(spec, scene),
                State::BackOff(until) if *until <= now => {
                    self.restarts += 1;
                    self.start(scene);
                }
                State::Pulling(until) | State::Starting(until) | State::BackOff(until) => return Some(*until),
                State::Running(process) => match process.tick(spec, scene, database_up) {
                    Ok(next) => return next,
                    Err(exit) => self.end(exit, spec, scene),
                },
                State::Ended(ended) => {
                    let code = ended.exit_code;
                    if !self.restarts_after(scene.restart_policy(), code) {
                        return None;
                    }
                    self.restart_ended(spec, scene);
                }
            }
        }
        Some(now + scene.ctx.delays.seconds(1))
    }

    /// Stops what runs, to start it anew as it is specified now; what waits for the old image waits no longer.
    pub fn restart(&mut self, spec: &Value, why: &str, scene: &mut Scene<'_>) {
        if self.process().is_some() {
            scene.normal("Killing", &format!("Container {} {why}", spec.text("name")));
            self.end(exit(0, ""), spec, scene);
            self.restarts += 1;
            self.keep_last();
        }
        if self.exit_code().is_none() {
            self.state = State::Idle;
        }
    }

    fn pull(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        let image = &self.image;
        if scene.machine.images.contains(image) && spec.text("imagePullPolicy") != "Always" {
            scene.normal("Pulled", &format!("Container image \"{image}\" already present on machine"));
            return self.start(scene);
        }
        if self.failed_pulls == 0 {
            scene.normal("Pulling", &format!("Pulling image \"{image}\""));
        }
        let takes = scene.ctx.faults.pull_takes(image, scene.node).unwrap_or(scene.ctx.delays.pull);
        self.state = State::Pulling(scene.after(takes));
    }

    fn pulled(&mut self, scene: &mut Scene<'_>) {
        let image = self.image.as_str();
        if scene.ctx.faults.pull_fails(image, scene.node) {
            self.failed_pulls += 1;
            let wait = back_off(scene, self.failed_pulls);
            scene.warning("Failed", &format!("Failed to pull image \"{image}\": {image}: not found"));
            scene.warning("Failed", "Error: ErrImagePull");
            let shown_as_error_until = scene.ctx.now + scene.ctx.delays.seconds(1).min(wait);
            self.state = State::PullFailed { shown_as_error_until, until: scene.ctx.now + wait };
            return;
        }
        self.failed_pulls = 0;
        scene.machine.images.insert(image.to_owned());
        scene.normal("Pulled", &format!("Successfully pulled image \"{image}\""));
        self.start(scene);
    }

    fn start(&mut self, scene: &Scene<'_>) {
        self.state = State::Starting(scene.after(scene.ctx.delays.start));
    }

    fn run(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        let environment = match needs::environment(spec, scene) {
            Ok(environment) => environment,
            Err(why) => return self.state = State::Misconfigured(why),
        };
        let (now, name, delays) = (scene.ctx.now, spec.text("name"), scene.ctx.delays);
        let script = app::script(scene.pod, &self.image, self.role, &environment);
        if self.has_run {
            scene.ctx.cluster.logs().rotate(scene.uid(), name);
        }
        scene.log(name, script.app.says[0]);
        scene.normal("Created", &format!("Created container: {name}"));
        scene.normal("Started", &format!("Started container {name}"));
        self.has_run = true;
        let takes = match script.does {
            Does::Serve | Does::End(_) => delays.ready,
            Does::Setup(_) | Does::Verify(_) => Duration::ZERO,
        };
        self.state = State::Running(Box::new(Process {
            run: self.restarts,
            since: now,
            started: false,
            ready: false,
            up: false,
            load: Load::new(granted(scene.pod, spec), scene.ctx.faults.load(scene.pod, name), now, delays.second),
            script,
            up_at: scene.after(takes),
            unhealthy_since: None,
        }));
    }

    /// The run has ended: by itself, by a probe, by a fault, or told to.
    pub fn end(&mut self, (exit_code, reason, message): Exit, spec: &Value, scene: &Scene<'_>) {
        if !message.is_empty() {
            scene.log(spec.text("name"), &message);
        }
        self.kill((exit_code, reason, message), scene.ctx.now);
    }

    pub fn kill(&mut self, (exit_code, reason, message): Exit, now: Timestamp) {
        if let State::Running(process) = &self.state {
            let (started_at, run) = (process.since, process.run);
            let ended = Ended { exit_code, reason, message, started_at, finished_at: now, run };
            self.state = State::Ended(Box::new(ended));
        }
    }

    /// What has ended becomes the run before; how long it ran.
    fn keep_last(&mut self) -> Duration {
        let State::Ended(ended) = std::mem::replace(&mut self.state, State::Idle) else {
            return Duration::ZERO;
        };
        let ran = ended.finished_at.duration_since(ended.started_at);
        self.last = Some(ended);
        ran.try_into().unwrap_or_default()
    }

    /// The first restart is immediate, the next ones wait longer and longer.
    fn restart_ended(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        if self.keep_last() >= scene.ctx.delays.seconds(BACK_OFF_RESET) {
            self.back_offs = 0;
        }
        if self.back_offs == 0 {
            self.restarts += 1;
            self.start(scene);
        } else {
            let (name, pod) = (spec.text("name"), scene.full_name());
            scene.warning("BackOff", &format!("Back-off restarting failed container {name} in pod {pod}"));
            self.state = State::BackOff(scene.ctx.now + back_off(scene, self.back_offs));
        }
        self.back_offs += 1;
    }

    /// The machine lost its power: what ran is gone, and everything starts again.
    pub fn lose_power(&mut self, policy: &str, now: Timestamp) {
        if self.process().is_some() {
            self.kill((255, "Unknown", String::new()), now);
            if !self.restarts_after(policy, 255) {
                return;
            }
            self.restarts += 1;
            self.keep_last();
        }
        if self.role == Role::Init || self.exit_code().is_none() {
            self.state = State::Idle;
        }
    }
}

fn back_off(scene: &Scene<'_>, tries: u32) -> Duration {
    scene.ctx.delays.seconds((BACK_OFF_FIRST << tries.saturating_sub(1).min(10)).min(BACK_OFF_MOST))
}

impl Process {
    /// Lets the process run until now: when to look again, or why it ends.
    fn tick(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Result<Option<Timestamp>, Exit> {
        let (now, name) = (scene.ctx.now, spec.text("name"));
        if let Some(crash) = scene.ctx.faults.take_crash(scene.pod, name) {
            let exit = if crash.out_of_memory { out_of_memory() } else { exit(crash.exit_code, "") };
            return Err((crash.exit_code, exit.1, exit.2));
        }
        if self.load.usage(now).memory_bytes > self.load.memory_limit {
            return Err(out_of_memory());
        }
        let next = match &self.script.does {
            Does::Serve => self.serve(spec, scene, database_up)?,
            Does::End(code) => {
                let code = *code;
                self.started = !spec.has("startupProbe");
                self.ready = self.started && !spec.has("readinessProbe");
                if now >= self.up_at {
                    self.come_up(name, scene, database_up)?;
                    return Err(exit(code, ""));
                }
                Some(self.up_at)
            }
            Does::Setup(target) | Does::Verify(target) => {
                let target = app::service_of(target, scene.namespace());
                self.try_task(target, scene).map(Some)?
            }
        };
        Ok(next.into_iter().chain(self.load.next_step(now)).min())
    }

    fn come_up(&mut self, name: &str, scene: &mut Scene<'_>, database_up: bool) -> Result<(), Exit> {
        if self.script.database == Database::Exits && !database_up {
            return Err(exit(1, "connect ECONNREFUSED: the database cannot be reached"));
        }
        self.up = true;
        if self.script.makes_admin && !matches!(self.script.does, Does::End(1..)) {
            scene.admins.insert(installation(scene.pod, scene.ctx.view).to_owned());
        }
        scene.log(name, self.script.app.says[1]);
        Ok(())
    }

    fn serve(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Result<Option<Timestamp>, Exit> {
        let (now, name) = (scene.ctx.now, spec.text("name"));
        if !self.up && now >= self.up_at {
            self.come_up(name, scene, database_up)?;
        }
        let sickness = scene.ctx.faults.sickness(scene.pod, name);
        let answers = self.up && sickness != Some(Sickness::Hangs);
        let needs_database = matches!(self.script.database, Database::Waits | Database::Exits);
        let served = answers && (!needs_database || database_up);
        self.started |= !spec.has("startupProbe") || served;
        let unprobed = !spec.has("readinessProbe") && sickness.is_none();
        self.ready = self.started && (unprobed || served && sickness.is_none());
        // Start-up is proved by the whole application; alive is who answers at all.
        let healthy = if self.started { answers || !self.up } else { served };
        self.unhealthy_since = if healthy { None } else { self.unhealthy_since.or(Some(now)) };
        let (probe, word) = if self.started { ("livenessProbe", "Liveness") } else { ("startupProbe", "Startup") };
        let since = self.unhealthy_since.filter(|_| spec.has(probe));
        let killed_at = since.map(|since| since + patience(spec.at(probe), scene));
        if killed_at.is_some_and(|at| at <= now) {
            scene.warning("Unhealthy", &format!("{word} probe failed: no answer"));
            let why = format!("Container {name} failed {} probe, will be restarted", word.to_lowercase());
            scene.normal("Killing", &why);
            return Err(exit(137, ""));
        }
        Ok(killed_at.into_iter().chain(Some(self.up_at).filter(|_| !self.up)).min())
    }

    fn try_task(&mut self, target: Option<(String, String)>, scene: &mut Scene<'_>) -> Result<Timestamp, Exit> {
        (self.started, self.ready) = (true, true);
        let Some((ns, service)) = target else {
            return Err(exit(1, "LUMBUNG_TARGET does not name a service"));
        };
        let gives_up_at = self.since + scene.ctx.delays.seconds(PATIENCE);
        let Some(installation) = scene.installation_behind(&ns, &service) else {
            if scene.ctx.now >= gives_up_at {
                return Err(exit(1, &format!("service {service}.{ns} does not answer")));
            }
            return Ok(gives_up_at);
        };
        Err(match (&self.script.does, scene.admins.contains(&installation)) {
            (Does::Verify(_), false) => exit(1, "the installation has no administrator yet"),
            (Does::Verify(_), true) => exit(0, "first administrator found"),
            (_, true) => exit(0, "already set up"),
            (_, false) => {
                scene.admins.insert(installation);
                exit(0, "first administrator created")
            }
        })
    }
}

/// How long a probe may fail before the container is killed.
fn patience(probe: &Value, scene: &Scene<'_>) -> Duration {
    let number = |field: &str, default: i64| probe.int(field).unwrap_or(default).unsigned_abs();
    let seconds = number("initialDelaySeconds", 0) + number("failureThreshold", 3) * number("periodSeconds", 10);
    scene.ctx.delays.seconds(seconds)
}
