//! Watches, and what they survive.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt as _, watcher},
};
use lumbung_simcluster::Fault;
use serde_json::{Value, json};

use crate::support::{config_map, object, start};

fn labelled(name: &str) -> ConfigMap {
    let mut map = config_map(name, json!({"a": "1"}));
    map["metadata"]["labels"] = json!({"w": "1"});
    object(map)
}

/// An event as type, name and the value of `a`.
fn told(event: &WatchEvent<ConfigMap>) -> String {
    let shown = |map: &ConfigMap| format!("{} {}", map.name_any(), map.data.as_ref().map_or("", |data| &data["a"]));
    match event {
        WatchEvent::Added(map) => format!("ADDED {}", shown(map)),
        WatchEvent::Modified(map) => format!("MODIFIED {}", shown(map)),
        WatchEvent::Deleted(map) => format!("DELETED {}", shown(map)),
        WatchEvent::Bookmark(mark) => format!("BOOKMARK {:?}", mark.metadata.annotations),
        WatchEvent::Error(status) => format!("ERROR {}", status.code),
    }
}

#[tokio::test]
async fn a_watch_tells_the_present_and_every_change_after_it() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let write = async |patch: Value| maps.patch("m", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    let params = WatchParams::default().labels("w=1").timeout(20);
    let from = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    maps.create(&PostParams::default(), &labelled("m")).await.unwrap();
    write(json!({"data": {"a": "2"}})).await;
    write(json!({"data": {"a": "2"}})).await;
    write(json!({"metadata": {"labels": {"w": null}}, "data": {"a": "3"}})).await;
    write(json!({"metadata": {"labels": {"w": "1"}}})).await;
    // What changes nothing is not told; what leaves the selector is shown as it was.
    let expected = ["ADDED m 1", "MODIFIED m 2", "DELETED m 2", "ADDED m 3"];
    let events = maps.watch(&params, &from).await.unwrap().take(4).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
    let (WatchEvent::Modified(before), WatchEvent::Deleted(left)) = (&events[1], &events[2]) else {
        panic!("{events:?}")
    };
    assert_ne!(before.resource_version(), left.resource_version(), "leaving has a revision of its own");

    let present = maps.watch(&params.clone().initial_events(), "0").await.unwrap();
    let events = present.take(2).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(told(&events[0]), "ADDED m 3");
    assert!(told(&events[1]).contains("k8s.io/initial-events-end"), "{events:?}");

    let Some(sim) = stage.sim("another cluster does not forget on request") else { return };
    sim.cluster().compact();
    let events = maps.watch(&params, &from).await.unwrap().try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        ["ERROR 410"],
        "a forgotten revision is told, and that is all"
    );
}

#[tokio::test]
async fn a_watcher_survives_dropped_watches_and_forgotten_history() {
    let stage = start().await;
    let Some(sim) = stage.sim("another cluster drops no watches on request") else { return };
    let maps = stage.api::<ConfigMap>();
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut seen = watcher(maps.clone(), config.labels("w=1")).default_backoff().touched_objects().boxed();
        for name in ["a", "b", "c"] {
            maps.create(&PostParams::default(), &labelled(name)).await.unwrap();
            sim.faults().add(Fault::drop_watches());
            sim.cluster().compact();
            let wait = async {
                while seen.next().await.is_some_and(|event| !event.is_ok_and(|map| map.name_any() == name)) {}
            };
            tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{name} was not seen"));
            maps.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
}
