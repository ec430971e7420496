//! Certificates that hold: which node takes an instance if its own dies, mended after nodes have changed.
//!
//! A certificate is written with its placement and was true then. Nodes go down, are cordoned, shrink; others fill up. So
//! the engine looks at all of them now and then: what does not hold any more is dropped, and whoever can get another one
//! gets it. Nothing moves. Whoever finds none stays *exposed*, which is a number to be watched.
//!
//! Every replica looks, without a lock. Only if something is to be written does one of them take the placement lock, and looks
//! again inside of it.

use placement::Recertification;
use sqlx::PgPool;
use uuid::Uuid;

use super::{Error, Scheduler, metrics, snapshot, store};
use crate::db;
use crate::tasks::leader;

/// Who holds this lease writes.
const LEASE: &str = "recertify_placements";

/// Mends what does not hold; how many certificates were changed.
pub async fn mend(pool: &PgPool, scheduler: &Scheduler, holder: &str) -> Result<u64, Error> {
    let mut glance = snapshot::glance(pool).await?;
    let basis = scheduler.basis(&mut glance).await?;
    glance.commit().await?;
    let found = super::aside(move || recertified(basis)).await?;
    metrics::exposed(found.exposed.len());
    if found.changes.is_empty() {
        return Ok(0);
    }
    if leader::hold(&mut *pool.acquire().await?, LEASE, holder)
        .await?
        .is_none()
    {
        return Ok(0);
    }
    let written = write(pool, scheduler).await;
    // Whoever sees the next change first need not wait for this lease to run out.
    leader::release(pool, LEASE, holder).await?;
    written
}

async fn write(pool: &PgPool, scheduler: &Scheduler) -> Result<u64, Error> {
    let mut tx = pool.begin().await?;
    db::lock(&mut tx, db::PLACEMENT_LOCK).await?;
    let basis = scheduler.basis(&mut tx).await?;
    let found = super::aside(move || recertified(basis)).await?;
    let mut changed = 0;
    for change in &found.changes {
        let backup = change.backup.map(|node| Uuid::from_u128(node.0));
        let done = store::certify(&mut tx, Uuid::from_u128(change.workload.0), backup).await?;
        changed += u64::from(done);
    }
    tx.commit().await?;
    metrics::recertified(changed);
    metrics::exposed(found.exposed.len());
    tracing::info!(changed, exposed = found.exposed.len(), "certificates are mended");
    Ok(changed)
}

fn recertified(mut basis: super::basis::Basis) -> Recertification {
    placement::recertify(&mut basis.cluster, &basis.policy)
}
