//! One container's life on a node: configuration, image, process, probes, end, restart.
//!
//! `advance` moves a container as far as it can get at this moment. What is shown of it is in `status`.

use super::{needs, prelude::*};
use crate::faults::What;

/// The first wait before a pull or a restart is tried again, doubled each time up to the longest; a container that ran
/// longer than `RESET` begins anew. In seconds, as is how long a task pod waits for its target.
const BACK_OFF: u64 = 10;
const BACK_OFF_MOST: u64 = 300;
const RESET: u64 = 600;
const PATIENCE: u64 = 120;

#[derive(Default)]
pub(super) struct Container {
    pub role: Role,
    pub image: String,
    pub state: State,
    pub restarts: u32,
    /// The end before the current run.
    pub last: Option<Box<Ended>>,
    /// Whether a process of this container ever ran on this node.
    pub has_run: bool,
    pub failed_pulls: u32,
    pub back_offs: u32,
}

#[derive(Default)]
pub(super) enum State {
    /// Its turn has not come.
    #[default]
    Idle,
    /// Something that its specification refers to is missing.
    Misconfigured(String),
    Until(Timestamp, Stage),
    Running(Box<Process>),
    Ended(Box<Ended>),
}

/// What only time moves on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Pulling,
    PullBackOff,
    Starting,
    BackOff,
}

pub(super) struct Process {
    pub since: Timestamp,
    pub started: bool,
    pub ready: bool,
    /// Whether the application itself has come up, whatever its probes say.
    pub up: bool,
    pub load: Load,
    script: Script,
    up_at: Timestamp,
    unhealthy_since: Option<Timestamp>,
}

/// Exit code, reason and last words.
pub(super) type Exit = (i32, &'static str, String);

pub(super) struct Ended {
    pub exit: Exit,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub run: u32,
}

pub(super) fn exit(code: i32, message: &str) -> Exit {
    (code, if code == 0 { "Completed" } else { "Error" }, message.to_owned())
}

fn out_of_memory() -> Exit {
    (137, "OOMKilled", String::new())
}

impl Container {
    pub fn process(&self) -> Option<&Process> {
        if let State::Running(process) = &self.state { Some(process) } else { None }
    }

    /// Past its startup probe, so that what comes after a sidecar may start.
    pub fn is_started(&self) -> bool {
        self.process().is_some_and(|process| process.started)
    }

    pub fn exit_code(&self) -> Option<i32> {
        if let State::Ended(ended) = &self.state { Some(ended.exit.0) } else { None }
    }

    /// Whether it has ended, and the pod's restart policy leaves it at that.
    pub fn is_final(&self, policy: &str) -> bool {
        self.exit_code().is_some_and(|code| match self.role {
            Role::Sidecar => false,
            Role::Init => code == 0 || policy == "Never",
            Role::Main => policy == "Never" || policy == "OnFailure" && code == 0,
        })
    }

    /// Moves on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Option<Timestamp> {
        let now = scene.ctx.now;
        // Each pass ends a state; a crash loop ends in a back-off long before.
        for _ in 0..16 {
            let is_final = self.is_final(scene.restart_policy());
            match &mut self.state {
                State::Idle => self.pull(spec, scene),
                State::Misconfigured(_) => {
                    self.run(spec, scene);
                    if matches!(&self.state, State::Misconfigured(_)) {
                        return None;
                    }
                }
                State::Until(at, _) if *at > now => return Some(*at),
                State::Until(_, stage) => match stage {
                    Stage::Pulling => self.pulled(scene),
                    Stage::PullBackOff => self.pull(spec, scene),
                    Stage::Starting => self.run(spec, scene),
                    Stage::BackOff => self.start(scene),
                },
                State::Running(process) => match process.tick(spec, scene, database_up) {
                    Ok(next) => return next,
                    Err(exit) => self.end(exit, now),
                },
                State::Ended(_) if is_final => return None,
                State::Ended(_) => self.restart_ended(spec, scene),
            }
        }
        Some(now + scene.ctx.delays.seconds(1))
    }

    fn wait(&mut self, stage: Stage, span: Duration, scene: &Scene<'_>) {
        self.state = State::Until(scene.ctx.now + span, stage);
    }

    fn pull(&mut self, spec: &Value, scene: &Scene<'_>) {
        let image = self.image.as_str();
        if scene.machine.images.contains(image) && spec.text("imagePullPolicy") != "Always" {
            scene.tell("Normal", "Pulled", &format!("Container image \"{image}\" already present on machine"));
            return self.start(scene);
        }
        scene.tell("Normal", "Pulling", &format!("Pulling image \"{image}\""));
        let takes = match scene.pull_fault(image, |what| matches!(what, What::PullTakes { .. })) {
            Some(What::PullTakes { ms }) => Duration::from_millis(ms),
            _ => scene.ctx.delays.pull,
        };
        self.wait(Stage::Pulling, takes.saturating_mul(scene.slow), scene);
    }

    fn pulled(&mut self, scene: &mut Scene<'_>) {
        let image = self.image.as_str();
        if scene.pull_fault(image, |what| *what == What::PullFails).is_some() {
            scene.tell("Warning", "Failed", &format!("Failed to pull image \"{image}\": {image}: not found"));
            scene.tell("Warning", "Failed", "Error: ErrImagePull");
            self.failed_pulls += 1;
            return self.wait(Stage::PullBackOff, back_off(scene, self.failed_pulls), scene);
        }
        scene.tell("Normal", "Pulled", &format!("Successfully pulled image \"{image}\""));
        scene.machine.images.insert(image.to_owned());
        self.start(scene);
    }

    fn start(&mut self, scene: &Scene<'_>) {
        self.wait(Stage::Starting, scene.ctx.delays.start.saturating_mul(scene.slow), scene);
    }

    fn run(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        let environment = match needs::environment(spec, scene) {
            Ok(environment) => environment,
            Err(why) => {
                if !matches!(&self.state, State::Misconfigured(shown) if *shown == why) {
                    scene.tell("Warning", "Failed", &format!("Error: {why}"));
                }
                return self.state = State::Misconfigured(why);
            }
        };
        let (now, name, delays) = (scene.ctx.now, spec.text("name"), scene.ctx.delays);
        let script = app::script(scene.pod, &self.image, self.role, &environment);
        if self.has_run {
            scene.ctx.cluster.logs().rotate(scene.uid(), name);
        }
        scene.log(name, &format!("starting {}", self.image));
        scene.tell("Normal", "Created", &format!("Created container: {name}"));
        scene.tell("Normal", "Started", &format!("Started container {name}"));
        self.restarts += u32::from(self.has_run);
        self.has_run = true;
        let takes = if matches!(script.does, Does::Serve | Does::End) { delays.ready } else { Duration::ZERO };
        self.state = State::Running(Box::new(Process {
            since: now,
            started: false,
            ready: false,
            up: false,
            load: Load::new(granted(scene.pod, spec), scene.trace(name), now, delays.second),
            script,
            up_at: now + takes.saturating_mul(scene.slow),
            unhealthy_since: None,
        }));
    }

    pub fn end(&mut self, exit: Exit, now: Timestamp) {
        if let State::Running(process) = &self.state {
            let (started_at, run) = (process.since, self.restarts);
            self.state = State::Ended(Box::new(Ended { exit, started_at, finished_at: now, run }));
        }
    }

    /// What has ended becomes the run before the next one.
    fn begin_anew(&mut self) {
        if let State::Ended(ended) = std::mem::take(&mut self.state) {
            self.last = Some(ended);
        }
    }

    /// The first restart is immediate, the next ones wait longer and longer.
    fn restart_ended(&mut self, spec: &Value, scene: &Scene<'_>) {
        self.begin_anew();
        let ran = self.last.as_ref().map(|last| last.finished_at.duration_since(last.started_at).unsigned_abs());
        if self.back_offs == 0 || ran > Some(scene.ctx.delays.seconds(RESET)) {
            self.back_offs = 0;
            self.start(scene);
        } else {
            let why = format!("Back-off restarting failed container {} in pod", spec.text("name"));
            scene.tell("Warning", "BackOff", &format!("{why} {}", scene.full_name()));
            self.wait(Stage::BackOff, back_off(scene, self.back_offs), scene);
        }
        self.back_offs += 1;
    }

    /// The machine lost its power: what ran is gone, and everything starts again that is to run.
    pub fn lose_power(&mut self, policy: &str, now: Timestamp) {
        self.end((255, "Unknown", String::new()), now);
        if self.role == Role::Init || !self.is_final(policy) {
            self.begin_anew();
        }
    }
}

fn back_off(scene: &Scene<'_>, tries: u32) -> Duration {
    scene.ctx.delays.seconds((BACK_OFF << tries.saturating_sub(1).min(10)).min(BACK_OFF_MOST))
}

impl Process {
    /// Lets the process run until now: when to look again, or why it ends.
    fn tick(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Result<Option<Timestamp>, Exit> {
        let (now, name) = (scene.ctx.now, spec.text("name"));
        let fault = |sort: fn(&What) -> bool| scene.ctx.faults.of_container(scene.pod, name, sort);
        match fault(|what| matches!(what, What::Crash { .. } | What::OutOfMemory)) {
            Some(What::Crash { exit_code }) => return Err(exit(exit_code, "")),
            Some(_) => return Err(out_of_memory()),
            None => {}
        }
        let sickness = fault(|what| matches!(what, What::NeverReady | What::Hangs));
        self.load.follow(granted(scene.pod, spec), scene.trace(name), now);
        if self.load.memory(now) > self.load.memory_limit {
            return Err(out_of_memory());
        }
        let mut next = Some(self.up_at).filter(|at| *at > now);
        if !self.up && next.is_none() {
            next = self.come_up(name, scene, database_up)?;
        }
        let answers = self.up && sickness != Some(What::Hangs);
        let served = answers && (database_up || !matches!(self.script.database, Database::Waits | Database::Exits));
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
            scene.tell("Warning", "Unhealthy", &format!("{word} probe failed: no answer"));
            let why = format!("Container {name} failed {} probe, will be restarted", word.to_lowercase());
            scene.tell("Normal", "Killing", &why);
            return Err(exit(137, ""));
        }
        Ok(next.into_iter().chain(killed_at).chain(self.load.next_step(now)).min())
    }

    /// The application comes up, or the job is done; a task that waits for its target is told when to give up.
    fn come_up(&mut self, name: &str, scene: &mut Scene<'_>, database_up: bool) -> Result<Option<Timestamp>, Exit> {
        if let Does::Setup(target) | Does::Verify(target) = &self.script.does {
            let (ns, service) = app::service_of(target, scene.namespace());
            let gives_up_at = self.since + scene.ctx.delays.seconds(PATIENCE);
            return match scene.installation_behind(&ns, &service) {
                Some(installation) => Err(self.task(installation, scene)),
                None if scene.ctx.now < gives_up_at => Ok(Some(gives_up_at)),
                None => Err(exit(1, &format!("service {service}.{ns} does not answer"))),
            };
        }
        if self.script.database == Database::Exits && !database_up {
            let why = "connect ECONNREFUSED: the database cannot be reached";
            scene.log(name, why);
            return Err(exit(1, why));
        }
        if self.script.makes_admin {
            scene.admins.insert(scene.installation(scene.pod));
        }
        scene.log(name, "ready to serve");
        if self.script.does == Does::End {
            return Err(exit(0, ""));
        }
        self.up = true;
        Ok(None)
    }

    fn task(&self, installation: String, scene: &mut Scene<'_>) -> Exit {
        let has_admin = scene.admins.contains(&installation);
        if matches!(self.script.does, Does::Verify(_)) {
            let found = exit(0, "first administrator found");
            return if has_admin { found } else { exit(1, "the installation has no administrator yet") };
        }
        scene.admins.insert(installation);
        exit(0, if has_admin { "already set up" } else { "first administrator created" })
    }
}

/// How long a probe may fail before the container is killed.
fn patience(probe: &Value, scene: &Scene<'_>) -> Duration {
    let number = |field: &str, default: i64| probe.int(field).unwrap_or(default).unsigned_abs();
    let seconds = number("initialDelaySeconds", 0) + number("failureThreshold", 3) * number("periodSeconds", 10);
    scene.ctx.delays.seconds(seconds)
}
