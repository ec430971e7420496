//! The basis of decisions, held in memory and brought up to date by the log before each decision.
//!
//! It promises that what it hands out is what the caller's transaction would read: all that is committed, and the
//! transaction's own changes. The latter are never kept, since they may be rolled back: a transaction that has changed
//! something gets a copy. A decision costs what has changed since the last one, in this process or in any other.
//!
//! Under the placement lock what it hands out is final as far as others could take room: everybody who adds a placement holds the lock.
//! What others give back, or see of a node, may be committed in the meantime, as ever.

use std::borrow::Cow;
use std::time::Duration;

use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::basis::{self, Basis};
use super::log::{self, News, Seen};
use super::{Error, Scheduler, metrics};
use crate::telemetry::Stopwatch;

/// Why everything is read anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// Nothing was read yet.
    Start,
    /// It had fallen behind what the log keeps.
    Trimmed,
    /// The database was restarted, failed over or restored.
    OtherDatabase,
    /// A changed row did not fit what is known.
    Contradiction,
    /// It was found to differ from the rows.
    Mismatch,
}

impl Reload {
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Trimmed => "trimmed",
            Self::OtherDatabase => "other_database",
            Self::Contradiction => "contradiction",
            Self::Mismatch => "mismatch",
        }
    }
}

/// How a look brought the snapshot up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// By so many entries of the log.
    Entries(u64),
    Reloaded(Reload),
}

/// One process's sight.
#[derive(Debug)]
pub struct Snapshot {
    basis: Basis,
    /// Up to where the basis is right, or why it is not.
    seen: Result<Seen, Reload>,
    looked: Option<Stopwatch>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            basis: Basis::default(),
            seen: Err(Reload::Start),
            looked: None,
        }
    }
}

enum Step {
    /// The basis is up to date.
    Done(u64),
    /// This is what the transaction sees; the basis was left as it was.
    Aside(Box<Basis>, u64),
    Lost(Reload),
}

impl Snapshot {
    /// What `conn` would read now. Dropped half-way, it changes nothing.
    pub async fn catch_up(&mut self, conn: &mut PgConnection) -> Result<(Cow<'_, Basis>, How), Error> {
        let step = match &self.seen {
            Ok(seen) => {
                let seen = seen.clone();
                self.step(conn, &seen).await?
            }
            Err(why) => Step::Lost(*why),
        };
        let (aside, how) = match step {
            Step::Done(entries) => (None, How::Entries(entries)),
            Step::Aside(basis, entries) => (Some(*basis), How::Entries(entries)),
            Step::Lost(why) => (self.reload(conn).await?, How::Reloaded(why)),
        };
        self.looked = Some(Stopwatch::start());
        metrics::caught_up(how);
        Ok((aside.map_or(Cow::Borrowed(&self.basis), Cow::Owned), how))
    }

    async fn step(&mut self, conn: &mut PgConnection, seen: &Seen) -> Result<Step, Error> {
        let changed = match log::since(conn, seen).await? {
            News::Changed(changed) => changed,
            News::Trimmed => return Ok(Step::Lost(Reload::Trimmed)),
            News::OtherDatabase => return Ok(Step::Lost(Reload::OtherDatabase)),
        };
        let rows = basis::read(conn, &changed).await?;
        if changed.mine {
            // Neither the entries that others have committed meanwhile: this transaction's sight of the same rows may
            // be its own. They are news again next time.
            let mut basis = Box::new(self.basis.clone());
            return Ok(match basis.apply(&changed, rows) {
                Ok(()) => Step::Aside(basis, changed.entries),
                Err(_) => Step::Lost(Reload::Contradiction),
            });
        }
        if self.basis.apply(&changed, rows).is_err() {
            self.seen = Err(Reload::Contradiction);
            return Ok(Step::Lost(Reload::Contradiction));
        }
        self.seen = Ok(changed.seen);
        Ok(Step::Done(changed.entries))
    }

    /// Reads everything; kept unless the transaction has changes of its own.
    async fn reload(&mut self, conn: &mut PgConnection) -> Result<Option<Basis>, Error> {
        // Before the rows: what changes in between is news again.
        let (seen, mine) = log::begin(conn).await?;
        let basis = Basis::load(conn).await?;
        if mine {
            return Ok(Some(basis));
        }
        self.basis = basis;
        self.seen = Ok(seen);
        Ok(None)
    }

    /// Since when nobody has looked.
    pub fn age(&self) -> Option<Duration> {
        self.looked.map(Stopwatch::elapsed)
    }
}

/// Begins a transaction that reads as of one instant, without the placement lock: for answers that nothing is written by.
pub async fn glance(pool: &PgPool) -> sqlx::Result<Transaction<'static, Postgres>> {
    pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// Compares the snapshot with the rows: false if they differ, which can only be a fault of ours, or somebody who changes
/// rows behind the triggers' back. It is then read anew.
pub async fn verify(pool: &PgPool, scheduler: &Scheduler) -> Result<bool, Error> {
    let mut glance = glance(pool).await?;
    // This is the transaction's first statement, so both sights are of the same instant.
    let held = scheduler.basis(&mut glance).await?;
    let rows = Basis::load(&mut glance).await?;
    glance.commit().await?;
    let Some(what) = held.difference(&rows) else {
        return Ok(true);
    };
    metrics::mismatch();
    tracing::error!(
        what,
        "the snapshot that placement decides on differs from the rows; it is read anew"
    );
    scheduler.distrust().await;
    Ok(false)
}

impl Snapshot {
    pub(super) fn distrust(&mut self) {
        self.seen = Err(Reload::Mismatch);
    }
}
