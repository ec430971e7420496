//! Watches on what is ours: a change makes its instance due at once. They know nothing and decide nothing; what they
//! lose, [`super::resync`] finds.

use std::fmt::Debug;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Resource;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::reconcile::Reconciler;
use super::store;
use crate::db::signal::Channel;
use crate::kube::{self as k8s, OURS};

/// Changes that come this close together make one touch.
const BURST: usize = 256;
const SETTLE: Duration = Duration::from_millis(50);

/// Runs until cancelled; a broken watch is resumed with growing waits.
pub async fn run(ctx: Reconciler, cancel: CancellationToken) {
    let client = &ctx.client;
    tokio::select! {
        () = cancel.cancelled() => {}
        () = follow::<Pod>(&ctx, Api::all(client.clone())) => {}
        () = follow::<StatefulSet>(&ctx, Api::all(client.clone())) => {}
        () = follow::<PersistentVolumeClaim>(&ctx, Api::all(client.clone())) => {}
    }
}

async fn follow<K>(ctx: &Reconciler, api: Api<PartialObjectMeta<K>>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let config = watcher::Config::default().labels(OURS);
    let changes = watcher(api, config).default_backoff().filter_map(|event| async move {
        match event {
            Ok(event) => touched_by(&event),
            Err(error) => {
                tracing::debug!(%error, "a watch broke; it is resumed");
                None
            }
        }
    });
    changes
        .ready_chunks(BURST)
        .for_each(|mut ids| async move {
            ids.sort_unstable();
            ids.dedup();
            if let Err(error) = touch(ctx, &ids).await {
                tracing::warn!(%error, "a change in the cluster could not be noted; the next look finds it");
            }
            // Lets the rest of a burst (a pod's start is half a dozen events) come together.
            tokio::time::sleep(SETTLE).await;
        })
        .await;
}

/// A watch's first events list what is there already: whoever relists may have missed something, so all are touched.
fn touched_by<K: Resource>(event: &Event<K>) -> Option<Uuid> {
    match event {
        Event::Apply(object) | Event::InitApply(object) | Event::Delete(object) => k8s::instance_of(object.meta()),
        Event::Init | Event::InitDone => None,
    }
}

async fn touch(ctx: &Reconciler, ids: &[Uuid]) -> sqlx::Result<()> {
    let touched = store::touch(&mut *ctx.pool.acquire().await?, ctx.ambient.now(), ids).await?;
    if touched > 0 {
        ctx.signals.ring(Channel::Work);
    }
    Ok(())
}
