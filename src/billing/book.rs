//! What a transaction owes when it ends: its events before the commit, its counting and ringing after it.

use std::sync::LazyLock;

use prometheus::IntCounterVec;
use sqlx::PgConnection;

use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::events::Outbox;
use crate::telemetry;

static REVENUE: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Payments received, in rupiah, by gateway.";
    telemetry::counter("lumbung_billing_revenue_rupiah_total", help, &["gateway"])
});
static PAYMENTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Payments received, by gateway.";
    telemetry::counter("lumbung_billing_payments_total", help, &["gateway"])
});
static CREDITED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Amounts credited for what was paid and not given, in rupiah.";
    telemetry::counter("lumbung_billing_credited_rupiah_total", help, &[])
});

type Later = Box<dyn FnOnce() + Send>;

/// Filled while a transaction runs. Dropped with a rolled-back one, it counts nothing.
#[derive(Default)]
#[must_use = "a book that is not flushed loses its events"]
pub struct Book {
    pub outbox: Outbox,
    later: Vec<Later>,
}

impl Book {
    /// To be done once the transaction is committed.
    pub fn after_commit(&mut self, act: impl FnOnce() + Send + 'static) {
        self.later.push(Box::new(act));
    }

    pub(super) fn received(&mut self, gateway: &str, amount_idr: i64) {
        let gateway = gateway.to_owned();
        self.after_commit(move || {
            PAYMENTS.with_label_values(&[&gateway]).inc();
            REVENUE.with_label_values(&[&gateway]).inc_by(amount_idr.unsigned_abs());
        });
    }

    pub(super) fn credited(&mut self, amount_idr: i64) {
        self.after_commit(move || {
            CREDITED
                .with_label_values::<&str>(&[])
                .inc_by(amount_idr.unsigned_abs());
        });
    }

    /// Writes the events: the transaction's last statement before its commit.
    pub async fn flush(self, conn: &mut PgConnection, ambient: &Ambient) -> sqlx::Result<Flushed> {
        self.outbox.flush(conn, ambient).await?;
        Ok(Flushed(self.later))
    }
}

/// What is left to do after the commit.
#[must_use = "call done() after the commit"]
pub struct Flushed(Vec<Later>);

impl Flushed {
    /// Counts, and wakes whoever waits for work or events.
    pub fn done(self, signals: &Signals) {
        for act in self.0 {
            act();
        }
        signals.ring(Channel::Work);
        signals.ring(Channel::Events);
    }
}
