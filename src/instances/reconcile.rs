//! The loop: claim due rows, make the cluster as the row wants it, write back what was seen.
//!
//! Level-triggered and idempotent: a pass knows nothing of the pass before it and may be cut off anywhere. Nothing
//! remote happens inside a transaction. A pass ends when its lease cannot be renewed ([`lease`]), so that two replicas
//! do not act on one instance at the same time.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures::StreamExt as _;
use prometheus::IntCounterVec;
use sqlx::PgPool;

use super::admin::Progress;
use super::finish::{self, Sink, Verdict};
use super::lease::{self, Lost};
use super::phase::{Desire, Phase};
use super::status::{self, Status, reason};
use super::store::claim::{self, Claimed};
use super::store::namespaces;
use super::store::secrets::OpenError;
use super::store::templates::Templates;
use super::{Settings, backoff, keep, manifests, purge};
use crate::catalog::template::GenerateError;
use crate::clock::Ambient;
use crate::crypto::Keyring;
use crate::db::signal::{Channel, Signals};
use crate::kube::{Class, classify};
use crate::tasks::Report;
use crate::telemetry;

/// Rows of one claim, worked on side by side.
const BATCH: i64 = 8;

/// While it is on its way, in case a watch event was lost.
pub(super) const ON_ITS_WAY: Duration = Duration::from_secs(15);
/// While objects are going: the end of some of them rings no bell.
pub(super) const LEAVING: Duration = Duration::from_secs(5);

static PASSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_instances_reconciles_total",
        "Passes over instances by outcome.",
        &["outcome"],
    )
});

/// What reconciling needs.
#[derive(Clone)]
pub struct Reconciler {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    pub client: kube::Client,
    pub keyring: Arc<Keyring>,
    pub settings: Arc<Settings>,
    pub templates: Templates,
}

/// How a pass ended.
#[derive(Debug)]
pub enum Ended {
    Seen(Box<Verdict>),
    /// Purged, and nothing is left.
    Gone,
    /// The row wants something else by now, or is another replica's.
    Overtaken,
}

#[derive(Debug, thiserror::Error)]
pub enum PassError {
    #[error("the cluster: {0}")]
    Kube(#[from] kube::Error),
    #[error("the database: {0}")]
    Sql(#[from] sqlx::Error),
    #[error("the manifests: {0}")]
    Manifests(#[from] manifests::Error),
    #[error("the secrets: {0}")]
    Secrets(OpenError),
    #[error("the secrets: {0}")]
    Generate(#[from] GenerateError),
    #[error("the stored inputs: {0}")]
    Inputs(#[from] serde_json::Error),
    #[error("the claim {0} belongs to another instance")]
    Foreign(String),
    #[error("the claim {0} held data and is gone")]
    StorageLost(String),
    #[error("the pass took too long")]
    TooLong,
}

impl From<OpenError> for PassError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Sql(error) => Self::Sql(error),
            OpenError::Sealed { .. } => Self::Secrets(error),
        }
    }
}

impl PassError {
    /// The same pass may succeed later.
    fn passes(&self) -> bool {
        match self {
            Self::Kube(error) => classify(error) != Class::Permanent,
            Self::Sql(_) | Self::TooLong => true,
            Self::Manifests(_) | Self::Secrets(_) | Self::Generate(_) | Self::Inputs(_) => false,
            Self::Foreign(_) | Self::StorageLost(_) => false,
        }
    }

    /// What the customer is told when it does not.
    fn explained(&self) -> (&'static str, &'static str) {
        match self {
            Self::StorageLost(_) => (reason::STORAGE_LOST, status::STORAGE_LOST),
            _ => (
                reason::REJECTED,
                "The cluster does not accept this service as it is set up. Our operators have been told.",
            ),
        }
    }

    fn is_not_found(&self) -> bool {
        matches!(self, Self::Kube(error) if classify(error) == Class::NotFound)
    }
}

impl Reconciler {
    /// Works on what is due now.
    pub async fn run(&self) -> anyhow::Result<Report> {
        let mut conn = self.pool.acquire().await?;
        let due = claim::claim(&mut conn, self.ambient.now(), lease::SECONDS, BATCH).await?;
        drop(conn);
        let count = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(None, |claimed| async move { Box::pin(self.one(&claimed)).await })
            .await;
        Ok(Report {
            done: u64::try_from(count).unwrap_or(u64::MAX),
            more: i64::try_from(count).is_ok_and(|count| count == BATCH),
        })
    }

    async fn one(&self, claimed: &Claimed) {
        let pass = async {
            match claimed.instance.desire() {
                Desire::Run | Desire::Stop => Box::pin(keep::pass(self, claimed)).await,
                Desire::Purge => Box::pin(purge::pass(self, claimed)).await,
            }
        };
        let renew = || async { claim::renew(&mut *self.pool.acquire().await?, claimed, lease::SECONDS).await };
        let ended = match lease::hold(pass, renew).await {
            Ok(ended) => ended,
            Err(Lost::Lease) => Ok(Ended::Overtaken),
            Err(Lost::TooLong) => Err(PassError::TooLong),
        };
        let outcome = match self.write(claimed, ended).await {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::warn!(instance_id = %claimed.instance.id, %error, "a pass could not be written back; its lease runs out");
                "unwritten"
            }
        };
        PASSES.with_label_values(&[outcome]).inc();
    }

    async fn write(&self, claimed: &Claimed, ended: Result<Ended, PassError>) -> sqlx::Result<&'static str> {
        let sink = Sink {
            pool: &self.pool,
            ambient: &self.ambient,
            signals: &self.signals,
        };
        let (kept, outcome) = match ended {
            Ok(Ended::Seen(verdict)) => (finish::seen(sink, claimed, &verdict).await?, "seen"),
            Ok(Ended::Gone) => (finish::buried(sink, claimed).await?, "gone"),
            Ok(Ended::Overtaken) => (finish::postponed(sink, claimed, self.ambient.now()).await?, "overtaken"),
            Err(error) if error.passes() => (self.later(sink, claimed, &error).await?, "postponed"),
            Err(error) => {
                let id = claimed.instance.id;
                tracing::error!(instance_id = %id, %error, "an instance cannot be reconciled as it is specified");
                (finish::seen(sink, claimed, &refused(claimed, &error)).await?, "refused")
            }
        };
        Ok(if kept { outcome } else { "lease_lost" })
    }

    async fn later(&self, sink: Sink<'_>, claimed: &Claimed, error: &PassError) -> sqlx::Result<bool> {
        let row = &claimed.instance;
        let wait = backoff::delay(&self.ambient.entropy, row.attempts.saturating_add(1));
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        tracing::warn!(instance_id = %row.id, %error, attempts = row.attempts, wait_ms, "a pass failed; it is tried again");
        if error.is_not_found() {
            // What a call found missing, and none of ours looks for what may be missing, is the namespace.
            namespaces::bump(&mut *self.pool.acquire().await?, self.ambient.now(), row.namespace_id).await?;
            self.signals.ring(Channel::Work);
        }
        finish::postponed(sink, claimed, self.ambient.now().plus(wait)).await
    }
}

/// Only another desire, or our operators, can help.
fn refused(claimed: &Claimed, error: &PassError) -> Verdict {
    let (reason, message) = error.explained();
    let status = Status {
        phase: Phase::Failed,
        reason,
        message: message.to_owned(),
        pod_ready: false,
        ready: false,
        pod_gone: false,
        revision_outdated: false,
        next_retry: None,
    };
    Verdict {
        status,
        progress: Progress::of(&claimed.instance),
        steps: Vec::new(),
        volume_node_id: None,
        refused: true,
        lower_quota: false,
        next: None,
    }
}
