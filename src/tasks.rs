//! Background tasks: each takes no input, reads what is due, acts, reports.
//!
//! A task runs on its period, when its channel rings, and again at once while it says there is more. Start-up, another
//! replica's change and the happy path are therefore one code path. Rows are claimed with leases, so every replica may
//! run every task; what must run once in the cluster asks [`leader`].

pub mod leader;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::future::BoxFuture;
use prometheus::{HistogramVec, IntCounterVec};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::telemetry::{self, Stopwatch};

static RUNS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_tasks_runs_total",
        "Runs of background tasks by outcome.",
        &["task", "outcome"],
    )
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0];
    telemetry::histogram(
        "lumbung_tasks_run_duration_seconds",
        "How long a run takes.",
        &["task"],
        &buckets,
    )
});

/// What a run found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How many things it changed.
    pub done: u64,
    /// There is more that is due now: run again at once.
    pub more: bool,
}

impl Report {
    pub fn did(done: u64) -> Self {
        Self { done, more: false }
    }
}

type Run = dyn Fn() -> BoxFuture<'static, anyhow::Result<Report>> + Send + Sync;

/// A task as app.rs registers it.
#[derive(Clone)]
pub struct Task {
    pub name: &'static str,
    pub period: Duration,
    /// What else starts it.
    pub on: Option<Channel>,
    run: Arc<Run>,
}

impl Task {
    pub fn new<F, Fut>(name: &'static str, period: Duration, on: Option<Channel>, run: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = anyhow::Result<Report>> + Send + 'static,
    {
        Self {
            name,
            period,
            on,
            run: Arc::new(move || Box::pin(run())),
        }
    }

    /// One run, measured and logged. An error is an outcome, not the end of the task.
    pub async fn once(&self) -> anyhow::Result<Report> {
        let watch = Stopwatch::start();
        let result = (self.run)().await;
        SECONDS
            .with_label_values(&[self.name])
            .observe(watch.elapsed().as_secs_f64());
        RUNS.with_label_values(&[self.name, if result.is_ok() { "ok" } else { "error" }])
            .inc();
        if let Err(error) = &result {
            tracing::warn!(
                task = self.name,
                error = format!("{error:#}"),
                "task run failed; it runs again on its period"
            );
        }
        result
    }

    async fn forever(self, ambient: Ambient, signals: Signals, cancel: CancellationToken) {
        let mut bell = self.on.map(|channel| signals.hear(channel));
        loop {
            let more = self.once().await.is_ok_and(|report| report.more);
            if more && !cancel.is_cancelled() {
                continue;
            }
            let rung = async {
                // Without a bell, or when it is gone, only the period starts the task.
                let heard = match &mut bell {
                    Some(bell) => bell.changed().await.is_ok(),
                    None => false,
                };
                if !heard {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                () = ambient.clock.until(ambient.now().plus(self.period)) => {}
                () = rung => {}
            }
        }
    }
}

/// Starts every task; they finish their current run after `cancel`.
pub fn spawn(
    tasks: Vec<Task>,
    ambient: &Ambient,
    signals: &Signals,
    cancel: &CancellationToken,
    tracker: &TaskTracker,
) {
    for task in tasks {
        tracker.spawn(task.forever(ambient.clone(), signals.clone(), cancel.clone()));
    }
}

/// Runs all tasks in turn until none of them does anything: how tests let the platform come to rest.
/// Errors are returned; `rounds` bounds it, so that a livelock fails instead of hanging.
pub async fn settle(tasks: &[Task], rounds: usize) -> anyhow::Result<u64> {
    let mut total = 0;
    for _ in 0..rounds {
        let mut done = 0;
        for task in tasks {
            let report = task.once().await?;
            done += report.done + u64::from(report.more);
        }
        if done == 0 {
            return Ok(total);
        }
        total += done;
    }
    anyhow::bail!("tasks still find work after {rounds} rounds")
}
