//! Lists in pages, watchers that survive, and what goes together with what is deleted.

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Resource, ResourceExt as _,
    api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
    core::PartialObjectMeta,
    runtime::{WatchStreamExt as _, watcher},
};
use lumbung_simcluster::{Fault, faults::What, resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{config_map, object, refusal, start};

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn names(list: kube::core::ObjectList<ConfigMap>) -> Vec<String> {
    list.into_iter().map(|map| map.name_any()).collect()
}

#[tokio::test]
async fn pages_are_snapshots() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    for name in ["a", "b", "c", "d"] {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = json!({"listed": ""});
        maps.create(&POST, &object(map)).await.unwrap();
    }
    let page = ListParams::default().labels("listed").limit(3);
    let first = maps.list(&page).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!(names(first), ["a", "b", "c"]);
    maps.delete("d", &DeleteParams::default()).await.unwrap();
    assert_eq!(names(maps.list(&page.clone().continue_token(&token)).await.unwrap()), ["d"], "as it was when it began");
    if let Some(sim) = stage.sim("another cluster does not forget on request") {
        sim.cluster().compact();
        let refused = maps.list(&page.continue_token(&token)).await.unwrap_err();
        assert_eq!(refusal(&refused).0, 410);
    }
}

#[tokio::test]
async fn an_owner_takes_its_dependents_along_unless_they_are_orphaned() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let ways =
        [(DeleteParams::background(), false), (DeleteParams::foreground(), false), (DeleteParams::orphan(), true)];
    for (way, (params, stays)) in ways.iter().enumerate() {
        let name = format!("owner-{way}");
        let owner = maps.create(&POST, &object(config_map(&name, json!({})))).await.unwrap();
        let mut dependent = config_map(&format!("dependent-{way}"), json!({}));
        let reference = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner.uid(), "blockOwnerDeletion": true});
        dependent["metadata"]["ownerReferences"] = json!([reference]);
        maps.create(&POST, &object(dependent)).await.unwrap();
        maps.delete(&name, params).await.unwrap();
        let settled = async || {
            let (owner, dependent) =
                (maps.get_opt(&name).await.unwrap(), maps.get_opt(&format!("dependent-{way}")).await.unwrap());
            let orphaned = dependent.as_ref().is_some_and(|map| map.owner_references().is_empty());
            (owner.is_none() && dependent.is_some() == *stays && orphaned == *stays).then_some(())
        };
        stage.eventually(&format!("{params:?}"), settled).await;
    }
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let stage = start().await;
    let secrets = stage.api::<Secret>();
    let secret = object(json!({"metadata": {"name": "s"}, "stringData": {"PASSWORD": "hunter2"}}));
    assert_eq!(secrets.create(&POST, &secret).await.unwrap().data.unwrap()["PASSWORD"].0, b"hunter2");
    let namespaces = Api::<Namespace>::all(stage.client.clone());
    let hold = |finalizers: Value| Patch::Merge(json!({"metadata": {"finalizers": finalizers}}));
    let params = PatchParams::default();
    namespaces.patch(&stage.namespace, &params, &hold(json!(["lumbung.dev/test"]))).await.unwrap();
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    let empty = async || secrets.list(&ListParams::default()).await.unwrap().items.is_empty().then_some(());
    stage.eventually("the contents are gone", empty).await;
    namespaces.get(&stage.namespace).await.expect("its own finalizer holds it");
    namespaces.patch(&stage.namespace, &params, &hold(json!([]))).await.unwrap();
    let gone = async || namespaces.get_opt(&stage.namespace).await.unwrap().is_none().then_some(());
    stage.eventually("the namespace is gone", gone).await;
    assert!(secrets.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn a_watcher_survives_dropped_watches_and_forgotten_history() {
    let stage = start().await;
    let Some(sim) = stage.sim("another cluster drops no watches on request") else { return };
    let maps = stage.api::<ConfigMap>();
    let config = || watcher::Config::default().labels("w=1");
    let watches = [
        names_seen(maps.clone(), config()),
        names_seen(maps.clone(), config().streaming_lists()),
        names_seen(stage.api::<PartialObjectMeta<ConfigMap>>(), config()),
    ];
    for mut seen in watches {
        for name in ["a", "b", "c"] {
            let mut map = config_map(name, json!({}));
            map["metadata"]["labels"] = json!({"w": "1"});
            maps.create(&POST, &object(map)).await.unwrap();
            sim.faults().add(Fault::drop_watches());
            sim.cluster().compact();
            let wait = async { while seen.next().await.is_some_and(|seen| seen != name) {} };
            tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("{name} was not seen"));
            maps.delete(name, &DeleteParams::default()).await.unwrap();
        }
    }
    assert!(sim.unserved().is_empty(), "{:?}", sim.unserved());
}

/// Found by the benchmark: what came while it was held back, and was too much to be kept for it, was lost.
#[tokio::test]
async fn a_watch_that_was_held_back_tells_everything() {
    let stage = start().await;
    let Some(sim) = stage.sim("another cluster holds no watches back on request") else { return };
    let maps = stage.api::<ConfigMap>();
    let revision = sim.cluster().revision().to_string();
    let mut events = maps.watch(&WatchParams::default(), &revision).await.unwrap().boxed();
    let silence = sim.faults().add(Fault::new(What::WatchStale { ms: None }));
    let made = |at: u32| {
        let map = config_map(&format!("map-{at:03}"), json!({}));
        sim.cluster().create(&resource::CONFIG_MAP, &stage.namespace, map, "test").unwrap();
    };
    made(0);
    // An answer on another connection: by then the watch has heard of the first one, and keeps it to itself.
    for _ in 0..4 {
        maps.get("map-000").await.unwrap();
    }
    (1..600).for_each(made);
    maps.get("map-599").await.unwrap();
    assert!(sim.faults().remove(silence));
    for at in 0..600 {
        let event = tokio::time::timeout(Duration::from_secs(20), events.try_next()).await;
        let Some(WatchEvent::Added(map)) = event.expect("it goes on").unwrap() else { panic!("not an addition") };
        assert_eq!(map.name_any(), format!("map-{at:03}"));
    }
}

/// The names that a watcher tells, which goes on whatever happens to its watches.
fn names_seen<K>(api: Api<K>, config: watcher::Config) -> BoxStream<'static, String>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let objects = watcher(api, config).default_backoff().touched_objects();
    objects.filter_map(async |seen| seen.ok().map(|object| object.name_any())).boxed()
}
