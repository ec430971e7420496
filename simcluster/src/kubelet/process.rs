//! A running process: what its script does, and what its probes see.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Scene, container::Ended};
use crate::{
    app::{self, Script, Server, Task},
    faults::Sickness,
};

/// How long a task pod waits for its target: seconds.
const PATIENCE: u64 = 120;

pub(super) struct Process {
    pub id: String,
    pub since: Timestamp,
    /// Past its startup probe, if it has one.
    pub started: bool,
    pub ready: bool,
    script: Script,
    /// When the application has come up, or the job is done.
    up_at: Timestamp,
    up: bool,
    unhealthy_since: Option<Timestamp>,
}

/// Why a process ends.
pub(super) struct Exit {
    pub code: i32,
    pub reason: &'static str,
    pub message: String,
}

impl Exit {
    fn with(code: i32, message: &str) -> Self {
        Self { code, reason: if code == 0 { "Completed" } else { "Error" }, message: message.to_owned() }
    }

    /// Told to stop; 137 if it did not do so within its grace.
    pub fn stopped(in_time: bool) -> Self {
        Self::with(if in_time { 0 } else { 137 }, "")
    }
}

impl Process {
    pub fn new(id: String, since: Timestamp, up_at: Timestamp, script: Script) -> Self {
        Self { id, since, started: false, ready: false, script, up_at, up: false, unhealthy_since: None }
    }

    /// Whether the application itself has come up, whatever its probes say.
    pub fn is_up(&self) -> bool {
        self.up
    }

    pub fn ended(&self, exit: Exit, now: Timestamp) -> Ended {
        Ended {
            exit_code: exit.code,
            reason: exit.reason,
            message: exit.message,
            started_at: self.since,
            finished_at: now,
            id: self.id.clone(),
        }
    }

    /// Lets the process run until now: when to look again, or why it ends.
    pub fn tick(
        &mut self,
        spec: &Value,
        name: &str,
        scene: &mut Scene<'_>,
        database_up: bool,
    ) -> Result<Option<Timestamp>, Exit> {
        if let Some(crash) = scene.ctx.faults.take_crash(scene.pod, name) {
            let reason = if crash.out_of_memory { "OOMKilled" } else { "Error" };
            return Err(Exit { code: crash.exit_code, reason, message: String::new() });
        }
        match self.script.clone() {
            Script::Server(server) => self.serve(&server, spec, name, scene, database_up),
            Script::Job(job) => {
                self.started = spec["startupProbe"].is_null();
                self.ready = self.started && spec["readinessProbe"].is_null();
                if scene.ctx.now < self.up_at {
                    return Ok(Some(self.up_at));
                }
                if job.needs_database && !database_up {
                    return Err(Exit::with(1, "Error establishing a database connection"));
                }
                if job.exit_code == 0
                    && let Some(owner) = &job.owner
                {
                    scene.volumes.claim_ownership(scene.volume, owner);
                }
                Err(Exit::with(job.exit_code, ""))
            }
            Script::Task(task) => self.try_task(&task, scene),
        }
    }

    fn serve(
        &mut self,
        server: &Server,
        spec: &Value,
        name: &str,
        scene: &mut Scene<'_>,
        database_up: bool,
    ) -> Result<Option<Timestamp>, Exit> {
        let now = scene.ctx.now;
        if !self.up && now >= self.up_at {
            if server.exits_without_database && !database_up {
                return Err(Exit::with(1, "connect ECONNREFUSED: the database cannot be reached"));
            }
            self.up = true;
            scene.volumes.count_start(scene.volume);
            if let Some(owner) = &server.owner {
                scene.volumes.claim_ownership(scene.volume, owner);
            }
            scene.ctx.cluster.logs().append(scene.uid, name, now, app::up(&self.script));
        }
        let sickness = scene.ctx.faults.sickness(scene.pod, name);
        let answers = self.up && sickness != Some(Sickness::Hangs);
        let served = answers && (!server.needs_database || database_up);
        self.started |= spec["startupProbe"].is_null() || served;
        let unprobed = spec["readinessProbe"].is_null() && sickness.is_none();
        self.ready = self.started && (unprobed || served && sickness.is_none());
        // Start-up is proved by the whole application; alive is who answers at all.
        let healthy = if self.started { answers || !self.up } else { served };
        if healthy {
            self.unhealthy_since = None;
        } else {
            self.unhealthy_since.get_or_insert(now);
        }
        let (probe, word) =
            if self.started { (&spec["livenessProbe"], "Liveness") } else { (&spec["startupProbe"], "Startup") };
        let killed_at = self.unhealthy_since.filter(|_| !probe.is_null()).map(|since| since + patience(probe, scene));
        if killed_at.is_some_and(|at| at <= now) {
            scene.warning("Unhealthy", &format!("{word} probe failed: no answer"));
            let will = format!("Container {name} failed {} probe, will be restarted", word.to_lowercase());
            scene.normal("Killing", &will);
            return Err(Exit { code: 137, reason: "Error", message: String::new() });
        }
        let comes_up = Some(self.up_at).filter(|_| !self.up);
        Ok(comes_up.into_iter().chain(killed_at).min())
    }

    fn try_task(&mut self, task: &Task, scene: &mut Scene<'_>) -> Result<Option<Timestamp>, Exit> {
        (self.started, self.ready) = (true, true);
        let gives_up_at = self.since + scene.ctx.delays.seconds(PATIENCE);
        let Some((ns, service)) = task.service(scene.namespace()) else {
            return Err(Exit::with(1, "LUMBUNG_TARGET does not name a service"));
        };
        if let Some(volume) = scene.volume_behind(&ns, &service) {
            let result = task.run(scene.volumes, &volume);
            return Err(Exit::with(result.exit_code, &result.message));
        }
        if scene.ctx.now >= gives_up_at {
            return Err(Exit::with(1, &format!("service {service}.{ns} does not answer")));
        }
        scene.waits_for_target = true;
        Ok(Some(gives_up_at))
    }
}

/// How long a probe may fail before the container is killed.
fn patience(probe: &Value, scene: &Scene<'_>) -> Duration {
    let number = |field: &str, default: u64| probe[field].as_u64().unwrap_or(default);
    let seconds = number("initialDelaySeconds", 0) + number("failureThreshold", 3) * number("periodSeconds", 10);
    scene.ctx.delays.seconds(seconds)
}
