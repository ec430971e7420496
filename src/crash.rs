//! Named abort points for the crash matrix.
//!
//! `LUMBUNG_CRASH_AT=name` makes the process abort, without any clean-up, the first time it comes to that point. The
//! file named by `LUMBUNG_CRASH_LOG` learns the name first, so that a test can tell a point that was never reached.
//! Release builds compile this to nothing.

/// Every point there is; the crash matrix walks this list.
pub const POINTS: &[&str] = &[
    "instance.before_namespace_written",
    "instance.after_namespace",
    "instance.after_policies",
    "instance.after_quotas",
    "instance.after_pod_delete",
    "instance.after_secrets",
    "instance.after_secret",
    "instance.after_config_map",
    "instance.after_claim",
    "instance.after_service",
    "instance.after_policy",
    "instance.after_stateful_set",
    "instance.after_ingress",
    "instance.after_scale_down",
    "instance.after_task_delete",
    "instance.after_task_create",
    "instance.purge_ingress",
    "instance.purge_stateful_set",
    "instance.purge_pod",
    "instance.purge_service",
    "instance.purge_policy",
    "instance.purge_config_map",
    "instance.purge_secret",
    "instance.purge_claim",
    "instance.before_seen_commit",
    "instance.after_seen_commit",
    "instance.before_buried_commit",
    "instance.after_buried_commit",
    "stop.before_commit",
    "stop.after_commit",
    "order.admitted",
    "order.before_commit",
    "order.after_commit",
    "payment.claimed",
    "payment.gateway_called",
    "payment.before_commit",
    "payment.after_commit",
    "renew.before_commit",
    "renew.after_commit",
    "cancel.before_commit",
    "cancel.after_commit",
    "expire.before_commit",
    "expire.after_commit",
    "purge.before_commit",
    "purge.after_commit",
    "transition.before_commit",
    "transition.after_commit",
];

/// Aborts here when told to.
pub fn point(name: &'static str) {
    #[cfg(debug_assertions)]
    {
        debug_assert!(POINTS.contains(&name), "unlisted crash point {name}");
        use std::sync::LazyLock;
        static AT: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("LUMBUNG_CRASH_AT").ok());
        if AT.as_deref() == Some(name) {
            if let Ok(log) = std::env::var("LUMBUNG_CRASH_LOG") {
                let _ = std::fs::write(log, name);
            }
            std::process::abort();
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = name;
}
