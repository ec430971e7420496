//! From rows to a decision and back: which node an instance is placed on, and the ledger of what is reserved where.
//!
//! Everything that decides or writes a placement runs in a transaction that took `db::PLACEMENT_LOCK` first, so that
//! two admissions never count on the same room. The engine sees exactly what is written into pods: kube-scheduler
//! adds up the same requests.

pub mod capacity;
pub mod check;
pub mod http;
pub mod metrics;
pub mod read;
pub mod snapshot;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use placement::{NodeKey, Policy, PolicySpec, Refusal, Reserve, Resources, VolumeLocality, Workload, WorkloadKey};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::config;
use crate::tasks::{Report, Task};
use crate::telemetry::Stopwatch;

pub use store::{Placed, assign, current, firm, park, release};

/// The policy in force; its version is recorded with every placement that it made.
#[derive(Clone, Debug)]
pub struct Scheduler {
    pub policy: Policy,
    pub policy_version: i32,
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
}

/// A place, and the request that will be written into the pod there.
#[derive(Clone, Debug)]
pub struct Decision {
    pub node_id: Uuid,
    pub node_name: String,
    pub request: Resources,
    pub inner: placement::Decision,
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
    pub fn from_config(capacity: &config::Capacity) -> Result<Self, String> {
        let whole = |ratio: f64| i64::try_from(config::ppm(ratio)).unwrap_or(i64::MAX);
        let spec = PolicySpec {
            cpu_overcommit_ppm: whole(capacity.cpu_oversubscription),
            mem_overcommit_ppm: whole(capacity.memory_oversubscription),
            reserve: match whole(capacity.reserve) {
                0 => Reserve::None,
                fraction => Reserve::FractionPpm(fraction),
            },
            ..PolicySpec::default()
        };
        Ok(Self {
            policy: Policy::new(spec).map_err(|error| error.to_string())?,
            policy_version: 1,
        })
    }

    pub fn workload(&self, demand: &Demand) -> Workload {
        let resources = |cpu: i32, mem: i32| Resources {
            cpu_milli: cpu.into(),
            mem_mib: mem.into(),
            disk_mib: demand.disk_mib.into(),
            pods: 1,
        };
        let limit = resources(demand.cpu_limit_milli, demand.mem_limit_mib);
        let request = self
            .policy
            .written_request(resources(demand.cpu_request_milli, demand.mem_request_mib), limit);
        let volume = demand.volume_node.map_or(VolumeLocality::Anywhere, |node| {
            VolumeLocality::Pinned(NodeKey(node.as_u128()))
        });
        Workload {
            volume,
            ..Workload::new(WorkloadKey(demand.instance_id.as_u128()), request, limit)
        }
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
    let cluster = snapshot::load(conn).await?;
    let workload = scheduler.workload(demand);
    let inner = placement::place(&cluster, &scheduler.policy, &workload)
        .map_err(|refusal| Error::Refused(Box::new(refusal)))?;
    let name = cluster.node(inner.node).map(|node| node.name.clone());
    Ok(Decision {
        node_id: Uuid::from_u128(inner.node.0),
        node_name: name.ok_or_else(|| Error::Inconsistent("the chosen node is not in the snapshot".into()))?,
        request: workload.request,
        inner,
    })
}

/// How often the ledger is checked and the capacity gauges are set.
const PERIOD: Duration = Duration::from_secs(30);

/// The independent check, and what the cluster has. Both only read, so every replica may run them.
pub fn tasks(pool: &PgPool, scheduler: &Scheduler) -> Vec<Task> {
    let told = Arc::new(Mutex::new(check::Told::default()));
    let (checked, measured, scheduler) = (pool.clone(), pool.clone(), scheduler.clone());
    vec![
        Task::new("check_placements", PERIOD, None, move || {
            let (pool, told) = (checked.clone(), told.clone());
            async move {
                let found = check::run(&pool).await?;
                told.lock().await.tell(&found);
                Ok(Report::default())
            }
        }),
        Task::new("measure_capacity", PERIOD, None, move || {
            let (pool, scheduler) = (measured.clone(), scheduler.clone());
            async move {
                let cluster = snapshot::load(&mut *snapshot::glance(&pool).await?).await?;
                metrics::capacity(&capacity::totals(&cluster, &scheduler.policy));
                Ok(Report::default())
            }
        }),
    ]
}
