//! What the clock does to subscriptions, and what observed readiness begins.
//!
//! One row per transaction: claimed with SKIP LOCKED, re-read under its lock, changed, committed. Two replicas never
//! take the same row, and a crash in between leaves it due. A row that fails is left out for the rest of the run, so
//! that it does not block the others; it is due again on the next.

use std::time::Duration;

use uuid::Uuid;

use super::state::{CancelReason, Status};
use super::store::{self, Subscription};
use super::{Deps, change, metrics, payment};
use crate::billing::book::Book;
use crate::crash;
use crate::db::signal::Channel;
use crate::tasks::{Report, Task};

const PERIOD: Duration = Duration::from_secs(1);
const MEASURE: Duration = Duration::from_secs(15);
/// Rows per run: short enough to stop soon when asked to.
const BATCH: usize = 100;

pub fn tasks(deps: &Deps) -> Vec<Task> {
    let task = |name, period, on, work: Work| {
        let deps = deps.clone();
        Task::new(name, period, on, move || {
            let deps = deps.clone();
            async move {
                match work {
                    Work::Settle => payment::settle_due(&deps).await,
                    Work::Advance => run(&deps, Which::Due).await,
                    Work::Begin => run(&deps, Which::Ready).await,
                    Work::Measure => measure(&deps).await,
                }
            }
        })
    };
    vec![
        task("settle_payments", PERIOD, Some(Channel::Work), Work::Settle),
        task("advance_subscriptions", PERIOD, None, Work::Advance),
        task("begin_periods", PERIOD, Some(Channel::Events), Work::Begin),
        task("measure_subscriptions", MEASURE, None, Work::Measure),
    ]
}

#[derive(Clone, Copy)]
enum Work {
    Settle,
    Advance,
    Begin,
    Measure,
}

#[derive(Clone, Copy)]
enum Which {
    /// Holds, deadlines, periods and grace that are over.
    Due,
    /// Paid, and seen ready.
    Ready,
}

async fn run(deps: &Deps, which: Which) -> anyhow::Result<Report> {
    let mut failed: Vec<Uuid> = Vec::new();
    let mut first_error = None;
    let mut done = 0;
    for _ in 0..BATCH {
        match step(deps, which, &failed).await {
            Ok(None) => {
                return first_error.map_or(Ok(Report::did(done)), Err);
            }
            Ok(Some(steps)) => done += steps,
            Err((Some(id), error)) => {
                tracing::error!(subscription_id = %id, error = format!("{error:#}"), "transition failed");
                failed.push(id);
                first_error.get_or_insert(error);
            }
            Err((None, error)) => return Err(error),
        }
    }
    first_error.map_or(Ok(Report { done, more: true }), Err)
}

/// One row; `None` when none is left. The error names the row, if it came that far.
async fn step(deps: &Deps, which: Which, except: &[Uuid]) -> Result<Option<u64>, (Option<Uuid>, anyhow::Error)> {
    let nameless = |error: sqlx::Error| (None, error.into());
    let mut tx = deps.pool.begin().await.map_err(nameless)?;
    let claimed = match which {
        Which::Due => store::claim_due(&mut tx, deps.ambient.now(), except).await,
        Which::Ready => store::claim_ready(&mut tx, except).await,
    };
    let Some(id) = claimed.map_err(nameless)? else {
        return Ok(None);
    };
    let result = advance(deps, tx, id).await;
    result.map(Some).map_err(|error| (Some(id), error))
}

async fn advance(deps: &Deps, mut tx: sqlx::Transaction<'_, sqlx::Postgres>, id: Uuid) -> anyhow::Result<u64> {
    let before = store::get(&mut tx, id).await?;
    let before = before.ok_or_else(|| anyhow::anyhow!("a subscription has no instance"))?;
    let mut book = Book::default();
    let terms = &deps.settings.terms;
    let (after, steps) = change::catch_up(&mut tx, &deps.ambient, &mut book, terms, before).await?;
    anyhow::ensure!(steps > 0, "due, and yet nothing is to be done");
    let flushed = book.flush(&mut tx, &deps.ambient).await?;
    let (before_commit, after_commit) = points(&after);
    crash::point(before_commit);
    tx.commit().await?;
    crash::point(after_commit);
    flushed.done(&deps.signals);
    Ok(steps)
}

fn points(after: &Subscription) -> (&'static str, &'static str) {
    match (after.state.status, after.state.cancelled) {
        (Status::Cancelled, Some((_, CancelReason::GraceOver))) => ("purge.before_commit", "purge.after_commit"),
        (Status::Expired, _) => ("expire.before_commit", "expire.after_commit"),
        _ => ("transition.before_commit", "transition.after_commit"),
    }
}

async fn measure(deps: &Deps) -> anyhow::Result<Report> {
    let counts = store::count_by_status(&mut *deps.pool.acquire().await?).await?;
    metrics::show(&counts);
    Ok(Report::default())
}
