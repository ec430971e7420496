//! The customers' namespaces: each a reconciled row of its own, so that two instances never race on one.
//!
//! A namespace holds its limit range, its network policies and its quotas: the sum of what the customer's instances
//! take. It is raised before an instance is put under it (an instance waits until its row says that its part is
//! applied) and lowered when the change is seen to be done. An empty namespace is kept, with quotas of zero: it holds
//! nothing, costs nothing, and deleting it could race with the customer's next order.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::LazyLock;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Namespace;
use kube::Resource;
use kube::api::Api;
use prometheus::IntCounterVec;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;
use uuid::Uuid;

use super::backoff;
use super::lease;
use super::manifests::namespace::{self as render, Quota};
use super::manifests::policies;
use super::phase::Phase;
use super::reconcile::Reconciler;
use super::store;
use super::store::namespaces::{self, Applied, Claimed, Footprint};
use crate::crash;
use crate::db::signal::Channel;
use crate::kube as k8s;
use crate::scheduling;
use crate::tasks::Report;
use crate::telemetry;

const BATCH: i64 = 8;

static PASSES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_namespaces_reconciles_total",
        "Passes over customers' namespaces by outcome.",
        &["outcome"],
    )
});

/// Works on what is due now.
pub async fn run(ctx: &Reconciler) -> anyhow::Result<Report> {
    let mut conn = ctx.pool.acquire().await?;
    let due = namespaces::claim(&mut conn, ctx.ambient.now(), lease::SECONDS, BATCH).await?;
    drop(conn);
    let count = due.len();
    let results: Vec<sqlx::Result<()>> = futures::stream::iter(due)
        .map(|claimed| async move { one(ctx, &claimed).await })
        .buffer_unordered(count.max(1))
        .collect()
        .await;
    results.into_iter().collect::<sqlx::Result<Vec<()>>>()?;
    Ok(Report {
        done: u64::try_from(count).unwrap_or(u64::MAX),
        more: i64::try_from(count).is_ok_and(|count| count == BATCH),
    })
}

async fn one(ctx: &Reconciler, claimed: &Claimed) -> sqlx::Result<()> {
    let mut conn = ctx.pool.acquire().await?;
    let wanted = wanted(ctx, &mut conn, claimed).await?;
    drop(conn);
    let renew = || async { namespaces::renew(&mut *ctx.pool.acquire().await?, claimed, lease::SECONDS).await };
    let Ok(applied) = lease::hold(apply(ctx, claimed, &wanted), renew).await else {
        // The row stays due: whoever holds the lease by now, or claims it next, goes on.
        PASSES.with_label_values(&["lease_lost"]).inc();
        return Ok(());
    };
    let now = ctx.ambient.now();
    let mut conn = ctx.pool.acquire().await?;
    let outcome = match applied {
        Ok(uid) => {
            crash::point("instance.before_namespace_written");
            let kept = namespaces::finish(&mut conn, now, claimed, uid.as_deref(), &wanted).await?;
            let changed: Vec<Uuid> = changed(&claimed.applied, &wanted);
            if kept && store::touch(&mut conn, now, &changed).await? > 0 {
                ctx.signals.ring(Channel::Work);
            }
            if kept { "applied" } else { "lease_lost" }
        }
        Err(error) => {
            let wait = backoff::delay(&ctx.ambient.entropy, claimed.attempts.saturating_add(1));
            tracing::warn!(namespace = claimed.name, %error, "a namespace could not be reconciled; it is tried again");
            namespaces::postpone(&mut conn, now, claimed, &error.to_string(), now.plus(wait)).await?;
            "postponed"
        }
    };
    PASSES.with_label_values(&[outcome]).inc();
    Ok(())
}

/// What the quota is to consist of. While an instance changes it is counted with the larger of before and after.
async fn wanted(ctx: &Reconciler, conn: &mut PgConnection, claimed: &Claimed) -> sqlx::Result<Applied> {
    let mut wanted = Applied::new();
    for id in namespaces::members(conn, claimed.id).await? {
        let Some(row) = store::get(conn, id).await? else {
            continue;
        };
        let before = claimed.applied.get(&id).copied();
        let after = match scheduling::current(conn, id).await? {
            Some(placed) => {
                let template = ctx.templates.of(conn, row.service_id).await?;
                Some(Footprint::of(&row, &placed, &template))
            }
            None => None,
        };
        let steady = row.observed_generation >= row.generation && matches!(row.phase, Phase::Running | Phase::Stopped);
        let counted = match (before, after) {
            (Some(before), Some(after)) if !steady => Some(before.max(after)),
            (before, None) => before,
            (_, after) => after,
        };
        wanted.extend(counted.map(|footprint| (id, footprint)));
    }
    Ok(wanted)
}

fn changed(before: &Applied, after: &Applied) -> Vec<Uuid> {
    let ids: BTreeSet<_> = before.keys().chain(after.keys()).copied().collect();
    ids.into_iter().filter(|id| before.get(id) != after.get(id)).collect()
}

fn sum(wanted: &Applied) -> Quota {
    let part = |value: i32| u64::try_from(value).unwrap_or(0);
    wanted.values().fold(Quota::default(), |sum, one| Quota {
        instances: sum.instances + 1,
        cpu_request_milli: sum.cpu_request_milli + part(one.cpu_request_milli),
        mem_request_mib: sum.mem_request_mib + part(one.mem_request_mib),
        cpu_limit_milli: sum.cpu_limit_milli + part(one.cpu_limit_milli),
        mem_limit_mib: sum.mem_limit_mib + part(one.mem_limit_mib),
        disk_mib: sum.disk_mib + part(one.disk_mib),
        claims: sum.claims + part(one.volumes),
    })
}

/// Applies everything; the namespace's uid, or `None` when nothing was ever in it and nothing is to be.
async fn apply(ctx: &Reconciler, claimed: &Claimed, wanted: &Applied) -> kube::Result<Option<String>> {
    if wanted.is_empty() && claimed.uid.is_none() {
        return Ok(None);
    }
    let (name, user_id) = (claimed.name.as_str(), claimed.user_id);
    let all: Api<Namespace> = Api::all(ctx.client.clone());
    let namespace = k8s::apply(&all, &render::namespace(name, user_id)).await?;
    crash::point("instance.after_namespace");
    apply_in(ctx, name, &[render::limit_range(name, user_id)]).await?;
    apply_in(
        ctx,
        name,
        &policies::namespace_policies(name, user_id, &ctx.settings.cluster),
    )
    .await?;
    crash::point("instance.after_policies");
    apply_in(ctx, name, &render::quotas(name, user_id, sum(wanted))).await?;
    crash::point("instance.after_quotas");
    Ok(namespace.metadata.uid)
}

async fn apply_in<K>(ctx: &Reconciler, namespace: &str, objects: &[K]) -> kube::Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(ctx.client.clone(), namespace);
    for object in objects {
        k8s::apply(&api, object).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn footprint(cpu: i32, mem: i32) -> Footprint {
        Footprint {
            cpu_request_milli: cpu,
            cpu_limit_milli: cpu * 4,
            mem_request_mib: mem,
            mem_limit_mib: mem * 2,
            disk_mib: 1024,
            volumes: 1,
        }
    }

    #[test]
    fn the_quota_is_the_sum_and_covers_each_part() {
        let ids = [Uuid::from_u128(1), Uuid::from_u128(2)];
        let wanted = Applied::from([(ids[0], footprint(250, 512)), (ids[1], footprint(500, 1024))]);
        let sum = sum(&wanted);
        assert_eq!((sum.instances, sum.claims, sum.disk_mib), (2, 2, 2048));
        assert_eq!((sum.cpu_request_milli, sum.cpu_limit_milli), (750, 3000));
        assert_eq!((sum.mem_request_mib, sum.mem_limit_mib), (1536, 3072));
        assert!(footprint(500, 512).covers(footprint(250, 512)));
        assert!(!footprint(500, 512).covers(footprint(250, 513)));
    }

    #[test]
    fn only_what_changed_is_touched() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let before = Applied::from([(a, footprint(250, 512)), (b, footprint(250, 512))]);
        let after = Applied::from([(a, footprint(250, 512)), (c, footprint(250, 512))]);
        assert_eq!(changed(&before, &after), [b, c]);
        assert!(changed(&after, &after).is_empty());
    }
}
