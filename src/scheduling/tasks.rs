//! What runs in the background: the independent checks, certificates that are mended, prices, gauges, the end of old entries.

use std::sync::Arc;
use std::time::Duration;

use placement::Reserve;
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::{Error, Scheduler, capacity, certificates, check, log, metrics, prices, resilience, snapshot};
use crate::clock::Ambient;
use crate::db::signal::Channel;
use crate::tasks::{Report, Task, leader};

/// How often the ledger and the snapshot are checked and the gauges are set.
const PERIOD: Duration = Duration::from_secs(30);
/// How often certificates are looked at if nothing rings: others fill up, policies change.
const MEND: Duration = Duration::from_secs(10);
const PRICE: Duration = Duration::from_mins(1);
/// How often the log is trimmed.
const TRIM: Duration = Duration::from_mins(10);

const PRICE_LEASE: &str = "price_nodes";

#[derive(Clone, Copy)]
enum Work {
    Check,
    Verify,
    Measure,
    Mend,
    Price,
    Trim,
}

#[derive(Clone)]
struct Worker {
    pool: PgPool,
    ambient: Ambient,
    scheduler: Scheduler,
    told: Arc<Mutex<check::Told>>,
    /// This process's name on leases.
    holder: Arc<str>,
}

/// Every replica may run them; what one of them is enough for is under a lease.
pub fn tasks(pool: &PgPool, ambient: &Ambient, scheduler: &Scheduler) -> Vec<Task> {
    let worker = Worker {
        pool: pool.clone(),
        ambient: ambient.clone(),
        scheduler: scheduler.clone(),
        told: Arc::default(),
        holder: ambient.new_id().to_string().into(),
    };
    let task = |name, period, on, work: Work| {
        let worker = worker.clone();
        Task::new(name, period, on, move || {
            let worker = worker.clone();
            async move { Ok(worker.run(work).await?) }
        })
    };
    vec![
        task("check_placements", PERIOD, None, Work::Check),
        task("check_snapshot", PERIOD, None, Work::Verify),
        task("measure_capacity", PERIOD, None, Work::Measure),
        task("recertify_placements", MEND, Some(Channel::Placement), Work::Mend),
        task("price_nodes", PRICE, None, Work::Price),
        task("trim_placement_log", TRIM, None, Work::Trim),
    ]
}

impl Worker {
    async fn run(&self, work: Work) -> Result<Report, Error> {
        let Self { pool, scheduler, .. } = self;
        match work {
            Work::Check => self.told.lock().await.tell(&check::run(pool).await?),
            Work::Verify => _ = snapshot::verify(pool, scheduler).await?,
            Work::Measure => measure(pool, scheduler).await?,
            Work::Mend => return Ok(Report::did(certificates::mend(pool, scheduler, &self.holder).await?)),
            Work::Price => return self.price().await,
            Work::Trim => {
                let (done, more) = log::trim(pool, log::KEEP).await?;
                return Ok(Report { done, more });
            }
        }
        Ok(Report::default())
    }

    async fn price(&self) -> Result<Report, Error> {
        let mut conn = self.pool.acquire().await?;
        if leader::hold(&mut conn, PRICE_LEASE, &self.holder).await?.is_none() {
            return Ok(Report::default());
        }
        drop(conn);
        let fresh = prices::refresh(&self.pool, &self.ambient, &self.scheduler).await?;
        Ok(Report::did(u64::from(fresh)))
    }
}

async fn measure(pool: &PgPool, scheduler: &Scheduler) -> Result<(), Error> {
    metrics::snapshot_age(scheduler.snapshot.lock().await.age());
    let mut glance = snapshot::glance(pool).await?;
    let basis = scheduler.basis(&mut glance).await?;
    glance.commit().await?;
    metrics::capacity(&capacity::totals(&basis.cluster, &basis.policy));
    // Only N+1 promises that a node may fail; by any other reserve there is nothing to count.
    let losses = match basis.policy.reserve() {
        Reserve::NPlusOne => super::aside(move || resilience::of(&basis).losses).await?,
        Reserve::None | Reserve::FractionPpm(_) => Vec::new(),
    };
    metrics::losses(&losses);
    Ok(())
}
