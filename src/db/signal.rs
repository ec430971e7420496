//! Wake-ups between replicas: "there is work", "there are events". They carry nothing; the rows say what.
//!
//! A signal is sent after commit, coalesced (a burst becomes one NOTIFY), and may be lost without harm: every listener
//! also polls each second. NOTIFY inside the transaction would serialise all commits on one lock. LISTEN has a
//! connection of its own, outside the pool.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How long the LISTEN connection may be down before the next try.
const RECONNECT: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// A row is due.
    Work,
    /// The event log grew.
    Events,
    /// The cluster's nodes changed. Heard in this process only: every replica watches the cluster by itself.
    Nodes,
    /// Rows of nodes changed, so that certificates may not hold any more. Heard in this process only: it is the one that mends.
    Placement,
}

impl Channel {
    /// Those that are passed on to the other replicas.
    const SHARED: [Self; 2] = [Self::Work, Self::Events];

    fn name(self) -> &'static str {
        match self {
            Self::Work => "lumbung_work",
            Self::Events => "lumbung_events",
            Self::Nodes => "lumbung_nodes",
            Self::Placement => "lumbung_placement",
        }
    }
}

/// Rings and hears the bells. Clones share them.
#[derive(Clone, Debug)]
pub struct Signals(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// What this process hears: bumped at once by its own `ring`, and by NOTIFY from any replica.
    heard: [watch::Sender<u64>; 4],
    /// What is to be sent on.
    rung: [watch::Sender<u64>; 4],
}

impl Default for Signals {
    fn default() -> Self {
        let bells = || [0; 4].map(watch::Sender::new);
        Self(Arc::new(Inner {
            heard: bells(),
            rung: bells(),
        }))
    }
}

impl Signals {
    /// After a commit: wakes this process now and, on a shared channel, the other replicas soon.
    pub fn ring(&self, channel: Channel) {
        self.0.heard[channel as usize].send_modify(|n| *n += 1);
        self.0.rung[channel as usize].send_modify(|n| *n += 1);
    }

    /// A receiver whose `changed()` resolves once per burst.
    pub fn hear(&self, channel: Channel) -> watch::Receiver<u64> {
        self.0.heard[channel as usize].subscribe()
    }

    /// Passes signals between this process and the database until cancelled.
    pub async fn relay(self, pool: PgPool, url: String, cancel: CancellationToken) {
        let listen = self.clone().listen(url);
        let send_work = self.clone().send(pool.clone(), Channel::Work);
        let send_events = self.clone().send(pool, Channel::Events);
        tokio::select! {
            () = cancel.cancelled() => {}
            () = listen => {}
            () = send_work => {}
            () = send_events => {}
        }
    }

    async fn send(self, pool: PgPool, channel: Channel) {
        let mut rung = self.0.rung[channel as usize].subscribe();
        while rung.changed().await.is_ok() {
            if let Err(error) = sqlx::query!("SELECT pg_notify($1, '')", channel.name())
                .execute(&pool)
                .await
            {
                tracing::debug!(%error, channel = channel.name(), "signal not sent; the poll will find the work");
            }
        }
    }

    async fn listen(self, url: String) {
        loop {
            if let Err(error) = self.listen_once(&url).await {
                tracing::warn!(%error, "listening for signals failed; polling until it works again");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen_once(&self, url: &str) -> sqlx::Result<()> {
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(1)
            .connect_with(super::options(url)?)
            .await?;
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen_all(Channel::SHARED.map(Channel::name)).await?;
        loop {
            // None: the connection was lost and restored, so anything may have been missed.
            let heard = listener.try_recv().await?;
            for channel in Channel::SHARED {
                if heard.as_ref().is_none_or(|heard| heard.channel() == channel.name()) {
                    self.0.heard[channel as usize].send_modify(|n| *n += 1);
                }
            }
        }
    }
}
