//! The cluster's clock: real, scaled, or moved by hand. Every time-stamp that the cluster writes and every wait of its
//! parts goes through it, and nothing else in this crate asks the operating system for the time. (A server that restarts gives
//! its clients two real seconds to take their last answers.)
//!
//! A manual clock stands still until `SimCluster::advance` moves it from one due moment to the next: a day passes in as
//! long as it takes to do what is due in it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::watch;

/// A source of time. Cloning shares the source.
#[derive(Clone)]
pub struct Clock(Arc<Mode>);

enum Mode {
    /// So many times as fast as real time since then.
    Scaled(Timestamp, u32),
    Manual(watch::Sender<Timestamp>),
}

#[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
fn real_now() -> Timestamp {
    Timestamp::now()
}

impl Clock {
    pub fn real() -> Self {
        Self::scaled(1)
    }

    /// From now on time passes `factor` times as fast: a wait of ten seconds takes `10 / factor`.
    pub fn scaled(factor: u32) -> Self {
        Self(Arc::new(Mode::Scaled(real_now(), factor.max(1))))
    }

    /// Stands at `start` until `SimCluster::advance` moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Arc::new(Mode::Manual(watch::Sender::new(start))))
    }

    pub fn now(&self) -> Timestamp {
        match &*self.0 {
            Mode::Scaled(began, factor) => {
                let passed = real_now().duration_since(*began);
                let passed = Duration::try_from(passed).unwrap_or_default().saturating_mul(*factor);
                began.checked_add(passed).unwrap_or(Timestamp::MAX)
            }
            Mode::Manual(now) => *now.borrow(),
        }
    }

    /// Waits for a span of the cluster's time.
    pub async fn sleep(&self, span: Duration) {
        match &*self.0 {
            Mode::Scaled(_, factor) => tokio::time::sleep(span / *factor).await,
            Mode::Manual(now) => {
                let due = self.after(span);
                // The sender lives in this clock, so that waiting cannot fail.
                let _ = now.subscribe().wait_for(|now| *now >= due).await;
            }
        }
    }

    /// The time after a span from now; the end of time if that is beyond it.
    pub fn after(&self, span: Duration) -> Timestamp {
        self.now().checked_add(span).unwrap_or(Timestamp::MAX)
    }

    pub fn is_manual(&self) -> bool {
        matches!(&*self.0, Mode::Manual(_))
    }

    /// Moves a manual clock, never backwards; the others go by themselves.
    pub(crate) fn move_to(&self, at: Timestamp) {
        if let Mode::Manual(now) = &*self.0 {
            now.send_modify(|now| *now = at.max(*now));
        }
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// RFC 3339 with whole seconds: `metadata.creationTimestamp` and most other API times.
pub fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// RFC 3339 with six digits: Lease times and `eventTime`.
pub fn micros(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}
