//! The hub: one reader of the event log per process, and the connections that it feeds.
//!
//! It is woken by the bell for events and looks each second anyway, reads what is new once, in the order of all streams,
//! and puts it into the connections' queues. Every replica does the same from the same log; they need not know of each
//! other. When the database is away, nothing is sent, nobody is disconnected, and the feed goes on where it stopped.
//!
//! Every [`CHECK`] it also asks whether the sessions behind the connections still count.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::{IntCounterVec, IntGaugeVec};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::close::Close;
use super::registry::{Refusal, Registry, Seat};
use super::{queue, store};
use crate::clock::{Ambient, Time};
use crate::db::signal::{Channel, Signals};
use crate::events::order;
use crate::identity::Principal;
use crate::telemetry;

/// Backstop for a lost bell.
const POLL: Duration = Duration::from_secs(1);
/// How long an ended session may keep its connection.
pub const CHECK: Duration = Duration::from_secs(10);
/// Events per read.
const BATCH: i64 = 500;
/// How long connections may take to say goodbye at shutdown.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often, and how many times, an opening looks whether the feed has begun: five seconds in all.
const FED_LOOK: Duration = Duration::from_millis(50);
const FED_LOOKS: u32 = 100;

static CONNECTIONS: LazyLock<IntGaugeVec> =
    LazyLock::new(|| telemetry::gauge("lumbung_live_connections", "Open live connections.", &["role"]));
static OVERFLOWS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_live_queue_overflows_total",
        "Connections whose queue outgrew its bound.",
        &[],
    )
});

/// Clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    pool: PgPool,
    ambient: Ambient,
    signals: Signals,
    registry: Mutex<Registry>,
    connections: TaskTracker,
}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Hub({} connections)", self.registry().all().count())
    }
}

/// A seat that is given up when it is dropped, however its connection ends.
#[derive(Debug)]
pub struct Guest {
    hub: Hub,
    pub seat: Arc<Seat>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.hub.registry().leave(&self.seat);
        CONNECTIONS.with_label_values(&[self.seat.who.role.name()]).dec();
    }
}

impl Hub {
    pub fn new(pool: PgPool, ambient: Ambient, signals: Signals) -> Self {
        Self(Arc::new(Inner {
            pool,
            ambient,
            signals,
            registry: Mutex::default(),
            connections: TaskTracker::new(),
        }))
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// Takes a seat: events after the seat's cursor are queued for it from now on.
    pub fn join(&self, who: Principal) -> Result<Guest, Refusal> {
        let seat = self.registry().join(who, queue::LIMIT)?;
        CONNECTIONS.with_label_values(&[seat.who.role.name()]).inc();
        Ok(Guest {
            hub: self.clone(),
            seat,
        })
    }

    /// Waits until the log has been read once, but not for ever: the first callers of a process that has just started
    /// come before its feed, and a moment's patience spares them a refusal.
    pub async fn fed(&self) {
        let mut tick = tokio::time::interval(FED_LOOK);
        for _ in 0..FED_LOOKS {
            tick.tick().await;
            if self.registry().is_fed() {
                return;
            }
        }
    }

    /// Lets the shutdown wait for this connection.
    pub fn track<F: Future>(&self, connection: F) -> impl Future<Output = F::Output> + use<F> {
        self.0.connections.track_future(connection)
    }

    /// Feeds the connections until cancelled, then closes them.
    pub async fn run(self, cancel: CancellationToken) {
        let clock = self.0.ambient.clock.clone();
        let mut bell = self.0.signals.hear(Channel::Events);
        let mut check_at = clock.now().plus(CHECK);
        while !cancel.is_cancelled() {
            bell.mark_unchanged();
            match self.read_on().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "live feed could not be read; it goes on from where it is"),
            }
            if clock.now() >= check_at {
                check_at = self.check().await;
            }
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = bell.changed() => {}
                () = clock.until(check_at) => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
        self.registry().close();
        self.0.connections.close();
        if tokio::time::timeout(FAREWELL, self.0.connections.wait()).await.is_err() {
            tracing::info!("some live connections did not close in time and are dropped");
        }
    }

    /// Reads and delivers one batch; true when there is more.
    async fn read_on(&self) -> sqlx::Result<bool> {
        let mut conn = self.0.pool.acquire().await?;
        let settled = order::settled(&mut conn).await?;
        let cursor = {
            let mut registry = self.registry();
            match registry.cursor() {
                _ if registry.skip_to(settled) => return Ok(false),
                Some(cursor) if cursor < settled => cursor,
                _ => return Ok(false),
            }
        };
        let events = order::between(&mut conn, cursor, settled, BATCH).await?;
        let more = i64::try_from(events.len()).is_ok_and(|count| count == BATCH);
        let upto = events.last().filter(|_| more).map_or(settled, |last| last.position);
        let overflows = self.registry().deliver(&events, upto);
        OVERFLOWS.with_label_values::<&str>(&[]).inc_by(overflows);
        Ok(more)
    }

    /// Ends connections whose session has ended or whose role is another now. Returns when to look again.
    async fn check(&self) -> Time {
        let seats: Vec<Arc<Seat>> = self.registry().all().cloned().collect();
        let sessions: Vec<_> = seats.iter().map(|seat| seat.who.session_id).collect();
        let open = async { store::open_sessions(&mut *self.0.pool.acquire().await?, &self.0.ambient, &sessions).await };
        match open.await {
            Ok(open) => {
                let roles: HashMap<_, _> = open.into_iter().collect();
                let over = seats
                    .iter()
                    .filter(|seat| roles.get(&seat.who.session_id) != Some(&seat.who.role));
                over.for_each(|seat| seat.mailbox.end(Close::SessionOver));
            }
            // Without the database no new event is sent either, so nobody learns what they may not.
            Err(error) => tracing::warn!(%error, "sessions of live connections could not be checked"),
        }
        self.0.ambient.now().plus(CHECK)
    }
}
