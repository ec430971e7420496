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
pub mod check;
pub mod http;
pub mod log;
pub mod metrics;
pub mod policy;
pub mod read;
pub mod rows;
pub mod snapshot;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use placement::{NodeKey, Refusal, Resources};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use self::basis::Basis;
use self::snapshot::Snapshot;
use crate::tasks::{Report, Task};
use crate::telemetry::Stopwatch;

pub use store::{Placed, assign, certify, current, firm, park, release};

/// This process's sight of what is to be decided on; clones share it. It is never waited for with anything else than a
/// database connection in hand, so nobody can wait for the two in the other order.
#[derive(Clone, Debug, Default)]
pub struct Scheduler(Arc<Mutex<Snapshot>>);

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
    /// What the transaction of `conn` sees, to keep.
    pub async fn basis(&self, conn: &mut PgConnection) -> Result<Basis, Error> {
        let mut snapshot = self.0.lock().await;
        let (basis, _) = snapshot.catch_up(conn).await?;
        Ok(basis.into_owned())
    }

    /// The next look reads everything anew.
    async fn distrust(&self) {
        self.0.lock().await.distrust();
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
    let mut snapshot = scheduler.0.lock().await;
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

/// How often the ledger and the snapshot are checked and the capacity gauges are set.
const PERIOD: Duration = Duration::from_secs(30);
/// How often the log is trimmed.
const TRIM: Duration = Duration::from_mins(10);

/// The independent checks, what the cluster has, and the end of old entries. Every replica may run them.
pub fn tasks(pool: &PgPool, scheduler: &Scheduler) -> Vec<Task> {
    let told = Arc::new(Mutex::new(check::Told::default()));
    let task = |name, period, work: Work| {
        let (pool, scheduler, told) = (pool.clone(), scheduler.clone(), told.clone());
        Task::new(name, period, None, move || {
            let (pool, scheduler, told) = (pool.clone(), scheduler.clone(), told.clone());
            async move {
                match work {
                    Work::Check => told.lock().await.tell(&check::run(&pool).await?),
                    Work::Verify => _ = snapshot::verify(&pool, &scheduler).await?,
                    Work::Measure => measure(&pool, &scheduler).await?,
                    Work::Trim => {
                        let (done, more) = log::trim(&pool, log::KEEP).await?;
                        return Ok(Report { done, more });
                    }
                }
                Ok(Report::default())
            }
        })
    };
    vec![
        task("check_placements", PERIOD, Work::Check),
        task("check_snapshot", PERIOD, Work::Verify),
        task("measure_capacity", PERIOD, Work::Measure),
        task("trim_placement_log", TRIM, Work::Trim),
    ]
}

#[derive(Clone, Copy)]
enum Work {
    Check,
    Verify,
    Measure,
    Trim,
}

async fn measure(pool: &PgPool, scheduler: &Scheduler) -> Result<(), Error> {
    metrics::snapshot_age(scheduler.0.lock().await.age());
    let mut glance = snapshot::glance(pool).await?;
    let basis = scheduler.basis(&mut glance).await?;
    glance.commit().await?;
    metrics::capacity(&capacity::totals(&basis.cluster, &basis.policy));
    Ok(())
}
