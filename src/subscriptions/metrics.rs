//! What is counted of orders and subscriptions.

use std::sync::LazyLock;

use prometheus::{IntCounterVec, IntGaugeVec};

use super::state::Status;
use crate::telemetry;

pub static ORDERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Orders by outcome: accepted, no_capacity, not_orderable, invalid, replayed.";
    telemetry::counter("lumbung_subscriptions_orders_total", help, &["outcome"])
});
pub static TRANSITIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Transitions of subscriptions by cause.";
    telemetry::counter("lumbung_subscriptions_transitions_total", help, &["cause"])
});
static CURRENT: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Subscriptions by status, over all replicas.";
    telemetry::gauge("lumbung_subscriptions_current", help, &["status"])
});

pub fn show(counts: &[(Status, i64)]) {
    for status in Status::ALL {
        let count = counts
            .iter()
            .find(|(counted, _)| counted == status)
            .map_or(0, |(_, count)| *count);
        CURRENT.with_label_values(&[status.name()]).set(count);
    }
}
