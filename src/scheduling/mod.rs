//! From rows to a decision and back: which node an instance is placed on, and the ledger of what is reserved where.
//!
//! Everything that decides or writes a placement runs in a transaction that took `db::PLACEMENT_LOCK` first, so that
//! two admissions never count on the same room. The engine sees exactly what is written into pods: kube-scheduler
//! adds up the same requests.
//!
//! It decides on a snapshot in memory that the log of changes brings up to date inside the lock: [`snapshot`] and
//! [`log`] say how, [`basis`] what it holds.

pub mod basis;
pub mod capacity;
pub mod certificates;
pub mod check;
pub mod http;
pub mod log;
pub mod metrics;
pub mod policy;
pub mod prices;
pub mod read;
pub mod resilience;
pub mod rows;
pub mod snapshot;
pub mod store;
pub mod tasks;

use std::sync::Arc;

use placement::{NodeKey, Refusal, Resources};
use sqlx::PgConnection;
use tokio::sync::Mutex;
use uuid::Uuid;

use self::basis::Basis;
use self::snapshot::Snapshot;
use crate::telemetry::Stopwatch;

pub use store::{Placed, assign, certify, current, firm, park, release};
pub use tasks::tasks;

/// This process's sight of what is to be decided on; clones share it. It is never waited for with anything else than a
/// database connection in hand, so nobody can wait for the two in the other order.
#[derive(Clone, Debug, Default)]
pub struct Scheduler {
    snapshot: Arc<Mutex<Snapshot>>,
    /// Volumes of the storage class can follow a pod to another node.
    volumes_movable: bool,
}

/// What wants a place.
#[derive(Clone, Copy, Debug)]
pub struct Demand {
    pub instance_id: Uuid,
    pub cpu_request_milli: i32,
    pub cpu_limit_milli: i32,
    pub mem_request_mib: i32,
    pub mem_limit_mib: i32,
    pub disk_mib: i32,
    /// Where its data lies, when that cannot move.
    pub volume_node: Option<Uuid>,
    /// Its data, once there is some, can follow it to another node: otherwise nobody can be promised to take it over.
    pub movable: bool,
}

/// A place, and the request that will be written into the pod there.
#[derive(Clone, Debug)]
pub struct Decision {
    pub node_id: Uuid,
    pub node_name: String,
    pub request: Resources,
    /// Its certificate: the node that takes it if that one dies.
    pub backup: Option<Uuid>,
    /// The policy that it was decided by.
    pub policy_version: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Reserved by an order that is not paid yet.
    Hold,
    Firm,
    /// CPU and memory given back; disk and the data's place kept.
    Parked,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Firm => "firm",
            Self::Parked => "parked",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Hold, Self::Firm, Self::Parked]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// Why a placement row was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    Order,
    Start,
    Renew,
    Undo,
    Expire,
    ChangePlan,
}

impl Cause {
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Start => "start",
            Self::Renew => "renew",
            Self::Undo => "undo",
            Self::Expire => "expire",
            Self::ChangePlan => "change_plan",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{0}")]
    Refused(Box<Refusal>),
    #[error("the placement rows contradict each other: {0}")]
    Inconsistent(String),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl Scheduler {
    pub fn new(volumes_movable: bool) -> Self {
        Self {
            volumes_movable,
            ..Self::default()
        }
    }

    /// Whether what asks for so much disk can follow to another node with its data. Without any there is nothing to follow.
    pub fn follows(&self, disk_mib: i32) -> bool {
        self.volumes_movable || disk_mib == 0
    }

    /// What the transaction of `conn` sees, to keep.
    pub async fn basis(&self, conn: &mut PgConnection) -> Result<Basis, Error> {
        let mut snapshot = self.snapshot.lock().await;
        let (basis, _) = snapshot.catch_up(conn).await?;
        Ok(basis.into_owned())
    }

    /// The next look reads everything anew.
    async fn distrust(&self) {
        self.snapshot.lock().await.distrust();
    }
}

/// Decides where `demand` goes. The engine leaves its own present placement out of the sum, and prefers to stay there.
/// Writes nothing.
/// The caller holds the placement lock.
pub async fn decide(conn: &mut PgConnection, scheduler: &Scheduler, demand: &Demand) -> Result<Decision, Error> {
    let watch = Stopwatch::start();
    let decided = decide_unmeasured(conn, scheduler, demand).await;
    metrics::decided(&decided, watch.elapsed());
    decided
}

async fn decide_unmeasured(conn: &mut PgConnection, scheduler: &Scheduler, demand: &Demand) -> Result<Decision, Error> {
    let mut snapshot = scheduler.snapshot.lock().await;
    let (basis, _) = snapshot.catch_up(conn).await?;
    let workload = basis.workload(demand);
    let decision = placement::place(&basis.cluster, &basis.policy, &workload)
        .map_err(|refusal| Error::Refused(Box::new(refusal)))?;
    let name = basis.cluster.node(decision.node).map(|node| node.name.clone());
    let id = |key: NodeKey| Uuid::from_u128(key.0);
    Ok(Decision {
        node_id: id(decision.node),
        node_name: name.ok_or_else(|| Error::Inconsistent("the chosen node is not in the snapshot".into()))?,
        request: workload.request,
        backup: decision.backup.map(id),
        policy_version: basis.policy_version,
    })
}

/// Computes beside the runtime: what looks at the whole cluster may take longer than other requests should wait.
async fn aside<T: Send + 'static>(compute: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(compute)
        .await
        .map_err(|error| Error::Inconsistent(format!("a computation did not end: {error}")))
}
