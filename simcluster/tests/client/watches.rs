//! Watches, and what they survive.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use lumbung_simcluster::{Options, SimCluster};
use serde_json::json;

use crate::support::{config_map, object, simulated, start};

#[tokio::test]
async fn a_watch_tells_every_change_after_its_revision() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let params = WatchParams::default().labels("w=1").timeout(20);
    let from = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let mut labelled = config_map("m", json!({"a": "1"}));
    labelled["metadata"]["labels"] = json!({"w": "1"});
    maps.create(&PostParams::default(), &object(labelled)).await.unwrap();
    let unlabel = json!({"metadata": {"labels": {"w": null}}, "data": {"a": "2"}});
    maps.patch("m", &PatchParams::default(), &Patch::Merge(unlabel)).await.unwrap();
    let events = maps.watch(&params, &from).await.unwrap().take(2).try_collect::<Vec<_>>().await.unwrap();
    let (WatchEvent::Added(added), WatchEvent::Deleted(left)) = (&events[0], &events[1]) else { panic!("{events:?}") };
    assert_eq!(added.data, left.data, "an object that leaves a selector is shown as it was");
    assert_ne!(added.resource_version(), left.resource_version());
}

#[tokio::test]
async fn a_revision_that_was_forgotten_is_told() {
    let Some((cluster, client)) = simulated("only a simulated cluster forgets on request").await else {
        return;
    };
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let all = maps.list(&ListParams::default()).await.unwrap();
    let from = all.metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &object(config_map("m", json!({})))).await.unwrap();
    cluster.cluster().compact();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    let mut old = maps.watch(&WatchParams::default().timeout(20), &from).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Error(status))) = old.next().await else { panic!("a compacted revision must be told") };
    assert_eq!(status.code, 410);
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_watcher_survives_dropped_watches_and_forgotten_history() {
    for streaming in [true, false] {
        survives(streaming).await;
    }
}

async fn survives(streaming: bool) {
    let Some((cluster, client)) = simulated("only a simulated cluster drops watches on request").await else {
        return;
    };
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let config = watcher::Config::default().labels("w=1");
    let config = if streaming { config.streaming_lists() } else { config };
    let mut seen = watcher(maps.clone(), config).default_backoff().touched_objects().boxed();
    for name in ["a", "b", "c"] {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = json!({"w": "1"});
        maps.create(&PostParams::default(), &object(map)).await.unwrap();
        cluster.faults().add(lumbung_simcluster::Fault::drop_watches());
        cluster.cluster().compact();
        let wait = async {
            while let Some(event) = seen.next().await {
                if event.is_ok_and(|map| map.name_any() == name) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{name} was never seen"));
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn after_shutdown_the_address_is_free() {
    let Some((cluster, client)) = simulated("another cluster is not shut down").await else {
        return;
    };
    let watch = Api::<Pod>::all(client.clone());
    let mut open = watch.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    cluster.shutdown().await;
    assert!(
        tokio::time::timeout(Duration::from_secs(10), async { while open.next().await.is_some() {} }).await.is_ok(),
        "open watches end"
    );
    let address = cluster.url().trim_start_matches("http://").parse().unwrap();
    let again = SimCluster::start(Options { listen: address, ..Options::default() }).await.unwrap();
    again.shutdown().await;
}
