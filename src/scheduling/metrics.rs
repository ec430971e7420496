//! What is counted of placement: decisions and why they were refused, what the cluster has, what the check found.

use std::sync::LazyLock;
use std::time::Duration;

use placement::{Dimension, Loss, Reason, Resources};
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec};

use super::capacity::Totals;
use super::check::{Kind, Violation};
use super::snapshot::How;
use super::{Decision, Error};
use crate::telemetry;

static DECISIONS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Placement decisions by outcome (placed, refused, error) and the binding reason of refusals.";
    telemetry::counter("lumbung_scheduling_decisions_total", help, &["outcome", "reason"])
});
static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let help = "How long a decision takes under the placement lock, catching up with the log included.";
    let buckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0];
    telemetry::histogram(
        "lumbung_scheduling_decision_duration_seconds",
        help,
        &["outcome"],
        &buckets,
    )
});
static ENTRIES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Entries of the placements' log that the snapshot of this process was brought up to date by.";
    telemetry::counter("lumbung_scheduling_snapshot_entries_total", help, &[])
});
static RELOADS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How often the snapshot was read anew, by reason.";
    telemetry::counter("lumbung_scheduling_snapshot_reloads_total", help, &["reason"])
});
static MISMATCHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "How often the snapshot was found to differ from the rows.";
    telemetry::counter("lumbung_scheduling_snapshot_mismatches_total", help, &[])
});
static AGE: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "How long ago the snapshot had been brought up to date when it was last measured.";
    telemetry::gauge("lumbung_scheduling_snapshot_age_seconds", help, &[])
});
static VIOLATIONS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "What the last independent check of the placements found, by kind.";
    telemetry::gauge("lumbung_scheduling_violations", help, &["kind"])
});
static EXPOSED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Instances that no node is certain to take over if their own dies, under N+1.";
    telemetry::gauge("lumbung_scheduling_exposed", help, &[])
});
static RECERTIFIED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    let help = "Certificates that were changed after nodes or room had changed.";
    telemetry::counter("lumbung_scheduling_recertified_total", help, &[])
});
static MAY_FAIL: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Ready nodes whose loss now would be taken over for certain; 0 unless the policy promises N+1.";
    telemetry::gauge("lumbung_scheduling_nodes_may_fail", help, &[])
});
static MAY_NOT_FAIL: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Ready nodes that must not fail now, by reason: exposed (instances would find no certain place), \
                control_plane (nothing could be placed until it returns); 0 unless the policy promises N+1.";
    telemetry::gauge("lumbung_scheduling_nodes_may_not_fail", help, &["reason"])
});
// One metric per unit: adding up a metric over its labels must mean something.
static CPU: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "CPU of the worker nodes by kind: allocatable, foreign, requested, free.";
    telemetry::gauge("lumbung_scheduling_cpu_millicores", help, &["kind"])
});
static MEMORY: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Memory of the worker nodes by kind: allocatable, foreign, requested, free.";
    telemetry::gauge("lumbung_scheduling_memory_bytes", help, &["kind"])
});
static DISK: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Disk of the worker nodes by kind: allocatable, foreign, requested, free.";
    telemetry::gauge("lumbung_scheduling_disk_bytes", help, &["kind"])
});
static PODS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    let help = "Pods that the worker nodes take, by kind: allocatable, foreign, requested, free.";
    telemetry::gauge("lumbung_scheduling_pods", help, &["kind"])
});

const MIB: i64 = 1024 * 1024;

/// A refusal's reason as a label and in the API.
pub fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::NoNodes => "no_nodes",
        Reason::Removed => "removed",
        Reason::VolumeElsewhere => "volume_elsewhere",
        Reason::StorageClass => "storage_class",
        Reason::Selector => "selector",
        Reason::Taint => "taint",
        Reason::NotReady => "not_ready",
        Reason::Standby => "standby",
        Reason::Cordoned => "cordoned",
        Reason::Draining => "draining",
        Reason::Hot => "hot",
        Reason::Spread => "spread",
        Reason::Cpu => "cpu",
        Reason::Memory => "memory",
        Reason::Disk => "disk",
        Reason::Pods => "pods",
        Reason::UsageCpu => "usage_cpu",
        Reason::UsageMemory => "usage_memory",
        Reason::Reserve => "reserve",
        Reason::NPlusOne => "n_plus_one",
    }
}

pub(super) fn decided(result: &Result<Decision, Error>, took: Duration) {
    let (outcome, reason) = match result {
        Ok(_) => ("placed", ""),
        Err(Error::Refused(refusal)) => ("refused", reason_name(refusal.binding)),
        Err(Error::Inconsistent(_) | Error::Sql(_)) => ("error", ""),
    };
    DECISIONS.with_label_values(&[outcome, reason]).inc();
    SECONDS.with_label_values(&[outcome]).observe(took.as_secs_f64());
}

pub(super) fn caught_up(how: How) {
    match how {
        How::Entries(entries) => ENTRIES.with_label_values::<&str>(&[]).inc_by(entries),
        How::Reloaded(why) => RELOADS.with_label_values(&[why.name()]).inc(),
    }
    // It is there from the first look on, so that its first rise is one.
    MISMATCHES.with_label_values::<&str>(&[]).inc_by(0);
}

pub(super) fn mismatch() {
    MISMATCHES.with_label_values::<&str>(&[]).inc();
}

pub(super) fn snapshot_age(age: Option<Duration>) {
    let seconds = age.map_or(0, |age| i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    AGE.with_label_values::<&str>(&[]).set(seconds);
}

pub(super) fn violations(found: &[Violation]) {
    for &kind in Kind::ALL {
        let count = found.iter().filter(|violation| violation.kind == kind).count();
        VIOLATIONS
            .with_label_values(&[kind.name()])
            .set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn count(things: usize) -> i64 {
    i64::try_from(things).unwrap_or(i64::MAX)
}

pub(super) fn exposed(instances: usize) {
    EXPOSED.with_label_values::<&str>(&[]).set(count(instances));
    // It is there from the first look on, so that its first rise is one.
    RECERTIFIED.with_label_values::<&str>(&[]).inc_by(0);
}

pub(super) fn recertified(changed: u64) {
    RECERTIFIED.with_label_values::<&str>(&[]).inc_by(changed);
}

/// A node that must not fail for both reasons counts for what can be helped by making room.
pub(super) fn losses(losses: &[Loss]) {
    let of = |which: &dyn Fn(&Loss) -> bool| count(losses.iter().filter(|loss| which(loss)).count());
    MAY_FAIL.with_label_values::<&str>(&[]).set(of(&|loss| loss.may_fail));
    MAY_NOT_FAIL
        .with_label_values(&["exposed"])
        .set(of(&|loss| loss.exposed > 0));
    MAY_NOT_FAIL
        .with_label_values(&["control_plane"])
        .set(of(&|loss| !loss.may_fail && loss.exposed == 0));
}

pub(super) fn capacity(totals: &Totals) {
    let Totals {
        allocatable,
        foreign,
        requested,
        free,
    } = totals;
    for (kind, amount) in [
        ("allocatable", allocatable),
        ("foreign", foreign),
        ("requested", requested),
        ("free", free),
    ] {
        show(kind, amount);
    }
}

fn show(kind: &str, amount: &Resources) {
    for dimension in Dimension::ALL {
        let (gauge, unit) = match dimension {
            Dimension::Cpu => (&CPU, 1),
            Dimension::Memory => (&MEMORY, MIB),
            Dimension::Disk => (&DISK, MIB),
            Dimension::Pods => (&PODS, 1),
        };
        gauge
            .with_label_values(&[kind])
            .set(amount.get(dimension).saturating_mul(unit));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_named_as_the_engine_writes_them() {
        for reason in Reason::ALL {
            assert_eq!(serde_json::json!(reason), reason_name(reason));
        }
    }
}
