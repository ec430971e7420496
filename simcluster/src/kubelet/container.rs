//! One container's life on a node: configuration, image, process, probes, end, restart.
//!
//! `advance` moves a container as far as it can get at this moment. What is shown of it is in `status`.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Scene,
    env::{self, Environment},
    process::{Exit, Process},
};
use crate::app::{self, Role, Script};

/// The first wait before a pull or a restart is tried again, doubled each time up to the longest: seconds.
const BACK_OFF_FIRST: u64 = 10;
const BACK_OFF_MOST: u64 = 300;
/// A container that ran this long starts with a fresh back-off: seconds.
const BACK_OFF_RESET: u64 = 600;

pub(super) struct Container {
    pub name: String,
    pub image: String,
    pub role: Role,
    pub state: State,
    /// How often the container was made anew.
    pub restarts: u32,
    /// The end before the current run.
    pub last: Option<Ended>,
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
    Pulling {
        until: Timestamp,
    },
    PullFailed {
        shown_as_error_until: Timestamp,
        until: Timestamp,
    },
    Starting {
        until: Timestamp,
    },
    Running(Process),
    /// Waits before the next run.
    BackOff {
        until: Timestamp,
    },
    Ended(Ended),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub exit_code: i32,
    pub reason: &'static str,
    pub message: String,
    pub started_at: Timestamp,
    pub finished_at: Timestamp,
    pub id: String,
}

impl Container {
    pub fn new(spec: &Value, role: Role) -> Self {
        Self {
            name: spec["name"].as_str().unwrap_or_default().to_owned(),
            image: spec["image"].as_str().unwrap_or_default().to_owned(),
            role,
            state: State::Idle,
            restarts: 0,
            last: None,
            has_run: false,
            failed_pulls: 0,
            back_offs: 0,
        }
    }

    pub fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running(process) => Some(process),
            _ => None,
        }
    }

    /// Past its startup probe, so that what comes after a sidecar may start.
    pub fn is_started(&self) -> bool {
        self.process().is_some_and(|process| process.started)
    }

    pub fn has_succeeded(&self) -> bool {
        matches!(&self.state, State::Ended(ended) if ended.exit_code == 0)
    }

    /// Whether this end is final under the pod's restart policy.
    pub fn is_final(&self, policy: &str) -> bool {
        match &self.state {
            State::Ended(ended) => !restarts_after(self.role, policy, ended.exit_code),
            _ => false,
        }
    }

    /// Moves on as far as possible now; the answer is when to look again, if only time can move it.
    pub fn advance(&mut self, spec: &Value, scene: &mut Scene<'_>, database_up: bool) -> Option<Timestamp> {
        let now = scene.ctx.now;
        if spec["image"] != self.image.as_str() {
            self.take_new_image(spec, scene);
        }
        // Each pass ends a state; a crash loop ends in a back-off, so the bound is never reached.
        for _ in 0..16 {
            match &mut self.state {
                State::Idle | State::Misconfigured(_) => match env::resolve(spec, scene) {
                    Ok(_) => self.pull(spec, scene),
                    Err(why) => {
                        if !matches!(&self.state, State::Misconfigured(shown) if *shown == why) {
                            scene.warning("Failed", &format!("Error: {why}"));
                            self.state = State::Misconfigured(why);
                        }
                        scene.waits_for_config = true;
                        return None;
                    }
                },
                State::Pulling { until } if *until <= now => self.pulled(scene),
                State::PullFailed { shown_as_error_until, until } => {
                    if *until <= now {
                        self.pull(spec, scene);
                    } else if *shown_as_error_until <= now {
                        return Some(*until);
                    } else {
                        return Some(*shown_as_error_until);
                    }
                }
                State::Starting { until } if *until <= now => match env::resolve(spec, scene) {
                    Ok(environment) => self.run(scene, &environment),
                    Err(why) => self.state = State::Misconfigured(why),
                },
                State::BackOff { until } if *until <= now => {
                    self.restarts += 1;
                    self.start(scene);
                }
                State::Pulling { until } | State::Starting { until } | State::BackOff { until } => {
                    return Some(*until);
                }
                State::Running(process) => match process.tick(spec, &self.name, scene, database_up) {
                    Ok(next) => return next,
                    Err(exit) => {
                        let ended = process.ended(exit, now);
                        self.end(ended, scene);
                    }
                },
                State::Ended(ended) => {
                    if !restarts_after(self.role, scene.restart_policy(), ended.exit_code) {
                        return None;
                    }
                    let ended = ended.clone();
                    self.restart_after(ended, scene);
                }
            }
        }
        Some(now + scene.ctx.delays.seconds(1))
    }

    /// The pod's image was changed in place: what runs is stopped, what waits for the old image waits no longer.
    fn take_new_image(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        spec["image"].as_str().unwrap_or_default().clone_into(&mut self.image);
        (self.failed_pulls, self.back_offs) = (0, 0);
        if let State::Running(process) = &self.state {
            let name = &self.name;
            let why = format!("Container {name} definition changed, will be restarted");
            scene.normal("Killing", &why);
            self.last = Some(process.ended(Exit::stopped(true), scene.ctx.now));
            self.restarts += 1;
        }
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Idle;
        }
    }

    fn pull(&mut self, spec: &Value, scene: &mut Scene<'_>) {
        let here = (scene.node.to_owned(), self.image.clone());
        if scene.images.contains(&here) && spec["imagePullPolicy"] != "Always" {
            scene.normal("Pulled", &format!("Container image \"{}\" already present on machine", self.image));
            return self.start(scene);
        }
        if self.failed_pulls == 0 {
            scene.normal("Pulling", &format!("Pulling image \"{}\"", self.image));
        }
        self.state = State::Pulling { until: scene.after(scene.ctx.delays.pull) };
    }

    fn pulled(&mut self, scene: &mut Scene<'_>) {
        if scene.ctx.faults.pull_fails(&self.image, scene.node) {
            self.failed_pulls += 1;
            let wait = back_off(scene, self.failed_pulls);
            let image = &self.image;
            let message = format!("Failed to pull image \"{image}\": {image}: not found");
            scene.warning("Failed", &message);
            scene.warning("Failed", "Error: ErrImagePull");
            let shown_as_error_until = scene.ctx.now + scene.ctx.delays.seconds(1).min(wait);
            self.state = State::PullFailed { shown_as_error_until, until: scene.ctx.now + wait };
            return;
        }
        self.failed_pulls = 0;
        scene.images.insert((scene.node.to_owned(), self.image.clone()));
        scene.normal("Pulled", &format!("Successfully pulled image \"{}\"", self.image));
        self.start(scene);
    }

    fn start(&mut self, scene: &mut Scene<'_>) {
        self.state = State::Starting { until: scene.after(scene.ctx.delays.start) };
    }

    fn run(&mut self, scene: &mut Scene<'_>, environment: &Environment) {
        let script = app::script(scene.pod, &self.image, self.role, environment);
        let logs = scene.ctx.cluster.logs();
        if self.has_run {
            logs.rotate(scene.uid, &self.name);
        }
        for line in app::started(&script, &self.image) {
            logs.append(scene.uid, &self.name, scene.ctx.now, line);
        }
        scene.normal("Created", &format!("Created container: {}", self.name));
        scene.normal("Started", &format!("Started container {}", self.name));
        self.has_run = true;
        let up_after = match script {
            Script::Server(_) | Script::Job(_) => scene.ctx.delays.ready,
            Script::Task(_) => Duration::ZERO,
        };
        let id = scene.container_id(&self.name, self.restarts);
        self.state = State::Running(Process::new(id, scene.ctx.now, scene.after(up_after), script));
    }

    /// A run has ended: by itself, by a probe, by a fault, or told to.
    pub fn end(&mut self, ended: Ended, scene: &Scene<'_>) {
        if !ended.message.is_empty() {
            let logs = scene.ctx.cluster.logs();
            logs.append(scene.uid, &self.name, scene.ctx.now, ended.message.clone());
        }
        self.state = State::Ended(ended);
    }

    /// The first restart is immediate, the next ones wait longer and longer.
    fn restart_after(&mut self, ended: Ended, scene: &mut Scene<'_>) {
        let ran = ended.finished_at.duration_since(ended.started_at);
        if ran >= scene.ctx.delays.seconds(BACK_OFF_RESET).try_into().unwrap_or_default() {
            self.back_offs = 0;
        }
        self.last = Some(ended);
        if self.back_offs == 0 {
            self.restarts += 1;
            self.start(scene);
        } else {
            let (name, pod) = (&self.name, scene.full_name());
            scene.warning("BackOff", &format!("Back-off restarting failed container {name} in pod {pod}"));
            self.state = State::BackOff { until: scene.ctx.now + back_off(scene, self.back_offs) };
        }
        self.back_offs += 1;
    }

    /// The machine lost its power: what ran is gone, and everything starts again.
    pub fn lose(&mut self, now: Timestamp, policy: &str) {
        if let State::Running(process) = &self.state {
            let exit = Exit { code: 255, reason: "Unknown", message: String::new() };
            let ended = process.ended(exit, now);
            if !restarts_after(self.role, policy, 255) {
                self.state = State::Ended(ended);
                return;
            }
            self.last = Some(ended);
            self.restarts += 1;
        }
        if self.role == Role::Init || !matches!(self.state, State::Ended(_)) {
            self.state = State::Idle;
        }
    }
}

fn restarts_after(role: Role, policy: &str, exit_code: i32) -> bool {
    match role {
        Role::Sidecar => true,
        Role::Init => exit_code != 0 && policy != "Never",
        Role::Main => policy == "Always" || policy == "OnFailure" && exit_code != 0,
    }
}

fn back_off(scene: &Scene<'_>, tries: u32) -> Duration {
    let seconds = BACK_OFF_FIRST.saturating_mul(1 << tries.saturating_sub(1).min(10)).min(BACK_OFF_MOST);
    scene.ctx.delays.seconds(seconds)
}
