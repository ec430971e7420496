//! Writing back what a pass has seen: row, capacity, steps and outcome of the operation, events, in one transaction.
//!
//! Nothing is written when the lease was lost. Capacity is given back here and only here, after the sight that no pod
//! is left, and only if the present row still says so: a renewal that came in between keeps its new reservation.

use std::sync::LazyLock;

use prometheus::HistogramVec;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::admin::Progress;
use super::desire::finish_operation;
use super::phase::{Desire, Entitled, Phase};
use super::status::Status;
use super::store::claim::{self, Claimed, Observation};
use super::store::{self, Instance};
use crate::clock::{Ambient, Time};
use crate::crash;
use crate::db;
use crate::db::signal::{Channel, Signals};
use crate::events::Outbox;
use crate::operations::{self, Kind, Operation, Subject};
use crate::scheduling;
use crate::telemetry;

static READY: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = [1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1800.0];
    telemetry::histogram(
        "lumbung_instances_ready_duration_seconds",
        "From the accepted order to the first time that the customer could work.",
        &["service"],
        &buckets,
    )
});

/// What a pass has seen and decided.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub status: Status,
    pub progress: Progress,
    /// Names of the operation's steps that are done.
    pub steps: Vec<&'static str>,
    pub volume_node_id: Option<Uuid>,
    /// The cluster refused the objects for good: only another desire helps.
    pub refused: bool,
    /// The quota is larger than what is left of it needs.
    pub lower_quota: bool,
    pub next: Option<Time>,
}

/// What the outside needs to write.
#[derive(Clone, Copy)]
pub struct Sink<'a> {
    pub pool: &'a PgPool,
    pub ambient: &'a Ambient,
    pub signals: &'a Signals,
}

/// The sight of an instance that is to go on existing. False: the lease was lost.
pub async fn seen(sink: Sink<'_>, claimed: &Claimed, verdict: &Verdict) -> sqlx::Result<bool> {
    let row = &claimed.instance;
    let now = sink.ambient.now();
    let parks = row.entitled == Entitled::Suspended && row.was_begun() && verdict.status.pod_gone;
    let mut outbox = Outbox::default();
    let mut tx = sink.pool.begin().await?;
    if parks {
        db::lock(&mut tx, db::PLACEMENT_LOCK).await?;
    }
    let observation = Observation {
        phase: verdict.status.phase,
        reason: verdict.status.reason,
        message: &verdict.status.message,
        admin_state: verdict.progress.state,
        admin_attempt: verdict.progress.attempt,
        admin_retry_at: verdict.progress.retry_at,
        volume_node_id: verdict.volume_node_id,
        ready: verdict.status.ready,
        applied: true,
        attempts: 0,
        next: verdict.next,
    };
    if !claim::observe(&mut tx, now, claimed, &observation).await? {
        return Ok(false);
    }
    let present = store::get(&mut tx, row.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    if parks && present.entitled == Entitled::Suspended {
        park(&mut tx, sink.ambient, row).await?;
    }
    if verdict.lower_quota {
        store::namespaces::bump(&mut tx, now, row.namespace_id).await?;
    }
    settle_operation(&mut tx, sink.ambient, &mut outbox, &present, row, verdict).await?;
    if (row.phase, row.reason.as_str()) != (verdict.status.phase, verdict.status.reason) {
        outbox.push(row.user_id, "instance.phase_changed", changed(&present));
    }
    let first = row.first_ready_at.is_none() && present.first_ready_at.is_some();
    let told = !outbox.is_empty();
    outbox.flush(&mut tx, sink.ambient).await?;
    crash::point("instance.before_seen_commit");
    tx.commit().await?;
    crash::point("instance.after_seen_commit");
    if told {
        sink.signals.ring(Channel::Events);
    }
    if first {
        let waited = now.since(row.created_at).as_secs_f64();
        READY.with_label_values(&[&row.service_slug]).observe(waited);
    }
    if parks || verdict.lower_quota || present.next_reconcile_at.is_some_and(|next| next <= now) {
        sink.signals.ring(Channel::Work);
    }
    Ok(true)
}

/// CPU and memory go back to the node; disk and the data's place stay. A hold is a renewal that waits for its payment:
/// it is left alone.
async fn park(conn: &mut PgConnection, ambient: &Ambient, row: &Instance) -> sqlx::Result<()> {
    let placed = scheduling::current(conn, row.id).await?;
    if placed.is_some_and(|placed| placed.state == scheduling::State::Firm) {
        scheduling::park(conn, ambient, row.id).await?;
        store::namespaces::bump(conn, ambient.now(), row.namespace_id).await?;
    }
    Ok(())
}

/// Nothing of it is left: capacity, host and name are free, the secrets are forgotten, the quota may be lowered.
pub async fn buried(sink: Sink<'_>, claimed: &Claimed) -> sqlx::Result<bool> {
    let row = &claimed.instance;
    let now = sink.ambient.now();
    let mut outbox = Outbox::default();
    let mut tx = sink.pool.begin().await?;
    db::lock(&mut tx, db::PLACEMENT_LOCK).await?;
    if !claim::bury(&mut tx, now, claimed).await? {
        return Ok(false);
    }
    scheduling::release(&mut tx, sink.ambient, row.id).await?;
    store::secrets::delete(&mut tx, row.id).await?;
    store::namespaces::bump(&mut tx, now, row.namespace_id).await?;
    let running = operations::store::running(&mut tx, Subject::Instance, row.id).await?;
    if let Some(operation) = running {
        let outcome = match operation.kind {
            Kind::Delete => (operations::Status::Succeeded, "deleted", "Everything of it is deleted."),
            _ => (operations::Status::Superseded, "deleted", "The instance was deleted."),
        };
        finish_operation(&mut tx, sink.ambient, &mut outbox, row.user_id, &operation, outcome).await?;
    }
    let present = store::get(&mut tx, row.id).await?.ok_or(sqlx::Error::RowNotFound)?;
    outbox.push(row.user_id, "instance.phase_changed", changed(&present));
    let gone = json!({"instance_id": row.id, "name": row.name, "service": row.service_slug, "host": row.host});
    outbox.push(row.user_id, "instance.deleted", gone);
    outbox.flush(&mut tx, sink.ambient).await?;
    crash::point("instance.before_buried_commit");
    tx.commit().await?;
    crash::point("instance.after_buried_commit");
    sink.signals.ring(Channel::Events);
    sink.signals.ring(Channel::Work);
    Ok(true)
}

/// The pass could not look or act. What was seen before stays as it was, with its age.
pub async fn postponed(sink: Sink<'_>, claimed: &Claimed, next: Time) -> sqlx::Result<bool> {
    let mut conn = sink.pool.acquire().await?;
    claim::postpone(&mut conn, sink.ambient.now(), claimed, next).await
}

async fn settle_operation(
    conn: &mut PgConnection,
    ambient: &Ambient,
    outbox: &mut Outbox,
    present: &Instance,
    row: &Instance,
    verdict: &Verdict,
) -> sqlx::Result<()> {
    let Some(operation) = operations::store::running(conn, Subject::Instance, row.id).await? else {
        return Ok(());
    };
    if operation.generation > row.generation {
        return Ok(());
    }
    for step in &verdict.steps {
        operations::store::step(conn, ambient, Subject::Instance, row.id, step).await?;
    }
    let Some(outcome) = outcome(&operation, row.desire(), verdict) else {
        return Ok(());
    };
    // Seen for an older desire, while the operation's own may be a newer one: the next pass will say.
    if present.generation != row.generation {
        return Ok(());
    }
    finish_operation(conn, ambient, outbox, row.user_id, &operation, outcome).await
}

/// How the operation ended, if it has. A failed phase is no end: the image that cannot be pulled now may be there in a
/// minute; only what the cluster refuses, and what the deadline cuts off, has failed.
fn outcome<'a>(
    operation: &Operation,
    desire: Desire,
    verdict: &'a Verdict,
) -> Option<(operations::Status, &'a str, &'a str)> {
    let status = &verdict.status;
    let wants_run = match operation.kind {
        Kind::Provision | Kind::Start | Kind::Restart | Kind::ChangePlan | Kind::Renew => true,
        Kind::Stop | Kind::Delete => false,
    };
    match (desire, wants_run) {
        (_, _) if verdict.refused => Some((operations::Status::Failed, status.reason, &status.message)),
        (Desire::Run, true) if status.ready => Some((operations::Status::Succeeded, "running", "It is running.")),
        (Desire::Stop, false) if operation.kind == Kind::Stop && status.pod_gone => {
            Some((operations::Status::Succeeded, "stopped", "It is stopped."))
        }
        // Its owner had stopped it: the reservation is what was renewed, and nothing will start by itself.
        (Desire::Stop, true) if operation.kind == Kind::Renew && status.pod_gone => Some((
            operations::Status::Succeeded,
            "stopped",
            "It is renewed, and stays stopped.",
        )),
        _ => None,
    }
}

/// The payload of `instance.phase_changed`.
fn changed(instance: &Instance) -> serde_json::Value {
    let open = instance.first_ready_at.is_some() && instance.phase != Phase::Deleted;
    let mut payload = json!({
        "instance_id": instance.id, "name": instance.name, "service": instance.service_slug, "phase": instance.phase,
        "reason": instance.reason, "message": instance.message, "generation": instance.generation,
        "observed_generation": instance.observed_generation,
    });
    if open {
        payload["host"] = json!(instance.host);
    }
    payload
}
