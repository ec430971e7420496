//! The cluster's clock. Every time-stamp that the cluster writes and every wait of its engine goes through it.
//!
//! `Clock::real` is the one place in this crate that asks the operating system for the time.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

/// A source of time. Cloning shares the source.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    #[allow(clippy::disallowed_methods, reason = "this is the clock that everything else is given")]
    pub fn real() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that reads `now` whenever it is asked; waits still pass in real time.
    pub fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub fn now(&self) -> Timestamp {
        (self.0)()
    }

    /// Waits for a span of the cluster's time.
    pub async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
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
