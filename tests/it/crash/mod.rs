//! The crash matrix: the real binary is aborted at each of its named points, between every two effects of an order, a
//! stop, a payment and a purge; started again, it has to bring everything to where the uninterrupted run does, with
//! nothing lost and nothing done twice.
//!
//! Each point has a test of its own: a database, a simulated cluster that survives in this process, and `lumbung serve`
//! with `LUMBUNG_CRASH_AT`. A test fails when its point was not reached, or when the process ended in any other way;
//! [`every_point_has_its_test`] fails when a point has none.

mod scenarios;
mod stage;

use stage::Stage;

macro_rules! crashes {
    ($($scenario:ident: $($name:ident = $point:literal),* $(,)?;)*) => {
        const COVERED: &[&str] = &[$($($point,)*)*];

        $($(#[tokio::test]
        async fn $name() {
            let mut stage = Stage::open($point).await;
            scenarios::$scenario(&mut stage).await;
            stage.close().await;
        })*)*
    };
}

crashes! {
    provision:
        order_admitted = "order.admitted",
        order_before_commit = "order.before_commit",
        order_after_commit = "order.after_commit",
        transition_before_commit = "transition.before_commit",
        transition_after_commit = "transition.after_commit",
        after_namespace = "instance.after_namespace",
        after_policies = "instance.after_policies",
        after_quotas = "instance.after_quotas",
        before_namespace_written = "instance.before_namespace_written",
        after_secret = "instance.after_secret",
        after_config_map = "instance.after_config_map",
        after_claim = "instance.after_claim",
        after_service = "instance.after_service",
        after_policy = "instance.after_policy",
        after_stateful_set = "instance.after_stateful_set",
        after_task_create = "instance.after_task_create",
        after_task_delete = "instance.after_task_delete",
        after_ingress = "instance.after_ingress",
        before_seen_commit = "instance.before_seen_commit",
        after_seen_commit = "instance.after_seen_commit";
    provision_with_a_hashed_password:
        after_secrets = "instance.after_secrets";
    pay:
        payment_claimed = "payment.claimed",
        payment_gateway_called = "payment.gateway_called",
        payment_before_commit = "payment.before_commit",
        payment_after_commit = "payment.after_commit";
    stop_and_start:
        stop_before_commit = "stop.before_commit",
        stop_after_commit = "stop.after_commit",
        after_scale_down = "instance.after_scale_down",
        after_pod_delete = "instance.after_pod_delete";
    renew:
        renew_before_commit = "renew.before_commit",
        renew_after_commit = "renew.after_commit";
    cancel:
        cancel_before_commit = "cancel.before_commit",
        cancel_after_commit = "cancel.after_commit",
        purge_ingress = "instance.purge_ingress",
        purge_stateful_set = "instance.purge_stateful_set",
        purge_pod = "instance.purge_pod",
        purge_service = "instance.purge_service",
        purge_policy = "instance.purge_policy",
        purge_secret = "instance.purge_secret",
        purge_claim = "instance.purge_claim",
        before_buried_commit = "instance.before_buried_commit",
        after_buried_commit = "instance.after_buried_commit";
    cancel_with_a_configuration:
        purge_config_map = "instance.purge_config_map";
    expire:
        expire_before_commit = "expire.before_commit",
        expire_after_commit = "expire.after_commit",
        purge_before_commit = "purge.before_commit",
        purge_after_commit = "purge.after_commit";
}

#[test]
fn every_point_has_its_test() {
    let sorted = |points: &[&'static str]| {
        let mut points = points.to_vec();
        points.sort_unstable();
        points
    };
    assert_eq!(sorted(COVERED), sorted(lumbung::crash::POINTS));
}
