//! The client that Lumbung uses, against the simulated API: each behaviour that the control plane builds on.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service},
};
use kube::{
    Api, Client, Config, Error, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions, WatchEvent, WatchParams},
    config::{KubeConfigOptions, Kubeconfig},
    runtime::{WatchStreamExt as _, watcher},
};
use lumbung_simcluster::{ApiFault, Delays, Options, SimCluster};
use serde_json::{Value, json};

async fn start() -> (SimCluster, Client) {
    let cluster = SimCluster::start(Options {
        delays: Delays::zero(),
        ..Options::default()
    })
    .await
    .unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    let namespace = object(json!({"metadata": {"name": "t"}}));
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    (cluster, client)
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn refusal(error: Error) -> (u16, String, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn stateful_set(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}},
                    "readinessProbe": {"httpGet": {"port": 80}},
                }]},
            },
        },
    })
}

#[tokio::test]
async fn without_the_token_nothing_is_answered() {
    let (cluster, _client) = start().await;
    let config = Config::new(cluster.url().parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let refused = Api::<Namespace>::all(client)
        .list(&ListParams::default())
        .await
        .unwrap_err();
    assert_eq!(
        refusal(refused),
        (401, "Unauthorized".to_owned(), "Unauthorized".to_owned())
    );
    cluster.shutdown().await;
}

#[tokio::test]
async fn create_get_list_delete() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client.clone(), "t");
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &object(config_map(name, json!({"k": "v"}))))
            .await
            .unwrap();
    }
    let (code, reason, _) = refusal(
        maps.create(&PostParams::default(), &object(config_map("a", json!({}))))
            .await
            .unwrap_err(),
    );
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    let names = |list: kube::core::ObjectList<ConfigMap>| list.into_iter().map(|m| m.name_any()).collect::<Vec<_>>();
    let first = maps
        .list(&ListParams::default().limit(2).fields("metadata.name!=kube-root-ca.crt"))
        .await
        .unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!(names(first), ["a", "b"]);
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    let rest = ListParams::default()
        .limit(2)
        .continue_token(&token)
        .fields("metadata.name!=kube-root-ca.crt");
    assert_eq!(
        names(maps.list(&rest).await.unwrap()),
        ["c"],
        "a page shows the list as it was when it began"
    );
    assert!(maps.get_opt("c").await.unwrap().is_none());
    let elsewhere = Api::<ConfigMap>::namespaced(client, "none");
    let (code, reason, _) = refusal(
        elsewhere
            .create(&PostParams::default(), &object(config_map("a", json!({}))))
            .await
            .unwrap_err(),
    );
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_second_apply_of_the_same_is_no_write() {
    let (cluster, client) = start().await;
    let sets = Api::<StatefulSet>::namespaced(client, "t");
    let apply = PatchParams::apply("lumbung");
    let first = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:18")))
        .await
        .unwrap();
    cluster.settle().await;
    let settled = sets.get("db").await.unwrap();
    let again = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:18")))
        .await
        .unwrap();
    assert_eq!(again.resource_version(), settled.resource_version());
    assert_eq!(first.metadata.generation, Some(1));
    let next = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:19")))
        .await
        .unwrap();
    assert_eq!(next.metadata.generation, Some(2));
    assert_ne!(next.resource_version(), settled.resource_version());
    cluster.shutdown().await;
}

#[tokio::test]
async fn applies_conflict_share_and_give_up_fields() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let apply = |who: &str, data: Value| {
        let (maps, params) = (maps.clone(), PatchParams::apply(who));
        async move { maps.patch("m", &params, &Patch::Apply(config_map("m", data))).await }
    };
    apply("one", json!({"a": "1", "b": "1"})).await.unwrap();
    let (code, reason, message) = refusal(apply("two", json!({"a": "2"})).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    apply("two", json!({"a": "1"})).await.unwrap();
    let left = apply("one", json!({})).await.unwrap();
    let data = left.data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["a"], "b had one owner, a has another");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_stale_update_is_refused() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let old = maps
        .create(&PostParams::default(), &object(config_map("m", json!({"a": "1"}))))
        .await
        .unwrap();
    let mut changed = old.clone();
    changed.data = Some([("a".to_owned(), "2".to_owned())].into());
    maps.replace("m", &PostParams::default(), &changed).await.unwrap();
    let (code, reason, _) = refusal(maps.replace("m", &PostParams::default(), &changed).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_watch_tells_every_change_after_its_revision() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let params = WatchParams::default().labels("w=1").timeout(20);
    let from = maps
        .list(&ListParams::default())
        .await
        .unwrap()
        .metadata
        .resource_version
        .unwrap();
    let mut labelled = config_map("m", json!({"a": "1"}));
    labelled["metadata"]["labels"] = json!({"w": "1"});
    maps.create(&PostParams::default(), &object(labelled)).await.unwrap();
    let unlabel = json!({"metadata": {"labels": {"w": null}}, "data": {"a": "2"}});
    maps.patch("m", &PatchParams::default(), &Patch::Merge(unlabel))
        .await
        .unwrap();
    let events = maps
        .watch(&params, &from)
        .await
        .unwrap()
        .take(2)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    let (WatchEvent::Added(added), WatchEvent::Deleted(left)) = (&events[0], &events[1]) else {
        panic!("{events:?}")
    };
    assert_eq!(
        added.data, left.data,
        "an object that leaves a selector is shown as it was"
    );
    assert_ne!(added.resource_version(), left.resource_version());

    cluster.cluster().compact();
    maps.delete("m", &DeleteParams::default()).await.unwrap();
    let mut old = maps.watch(&params, &from).await.unwrap().boxed();
    let Some(Ok(WatchEvent::Error(status))) = old.next().await else {
        panic!("a compacted revision must be told")
    };
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
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let config = watcher::Config::default().labels("w=1");
    let config = if streaming { config.streaming_lists() } else { config };
    let mut seen = watcher(maps.clone(), config)
        .default_backoff()
        .touched_objects()
        .boxed();
    for name in ["a", "b", "c"] {
        let mut map = config_map(name, json!({}));
        map["metadata"]["labels"] = json!({"w": "1"});
        maps.create(&PostParams::default(), &object(map)).await.unwrap();
        cluster.faults().drop_watches();
        cluster.cluster().compact();
        let wait = async {
            while let Some(event) = seen.next().await {
                if event.is_ok_and(|map| map.name_any() == name) {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .unwrap_or_else(|_| panic!("{name} was never seen"));
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn deletion_honours_preconditions_and_finalizers() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let mut held = config_map("m", json!({}));
    held["metadata"]["finalizers"] = json!(["lumbung.dev/hold"]);
    let made = maps.create(&PostParams::default(), &object(held)).await.unwrap();
    let uid = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            ..Preconditions::default()
        }),
        ..DeleteParams::default()
    };
    let (code, _, _) = refusal(
        maps.delete("m", &uid("00000000-0000-0000-0000-000000000001"))
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 409);
    let answer = maps.delete("m", &uid(&made.uid().unwrap())).await.unwrap();
    assert!(answer.left().unwrap().metadata.deletion_timestamp.is_some());
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("m", &PatchParams::default(), &Patch::Merge(free))
        .await
        .unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_quota_refuses_what_goes_beyond() {
    let (cluster, client) = start().await;
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), "t");
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.storage": "2Gi", "persistentvolumeclaims": 1}}});
    quotas.create(&PostParams::default(), &object(quota)).await.unwrap();
    cluster.settle().await;
    let claims = Api::<PersistentVolumeClaim>::namespaced(client, "t");
    let claim = |name: &str, size: &str| {
        object::<PersistentVolumeClaim>(json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "longhorn", "resources": {"requests": {"storage": size}}}}))
    };
    let (code, _, message) = refusal(
        claims
            .create(&PostParams::default(), &claim("big", "3Gi"))
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 403);
    assert!(
        message.contains("exceeded quota: q, requested: requests.storage=3Gi, used: requests.storage=0"),
        "{message}"
    );
    claims
        .create(&PostParams::default(), &claim("ok", "1Gi"))
        .await
        .unwrap();
    let (code, _, _) = refusal(
        claims
            .create(&PostParams::default(), &claim("second", "1Gi"))
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 403);
    let used = quotas.get("q").await.unwrap().status.unwrap().used.unwrap();
    assert_eq!(used["requests.storage"].0, "1Gi");
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let (cluster, client) = start().await;
    let (maps, secrets) = (
        Api::<ConfigMap>::namespaced(client.clone(), "t"),
        Api::<Secret>::namespaced(client.clone(), "t"),
    );
    maps.create(&PostParams::default(), &object(config_map("m", json!({}))))
        .await
        .unwrap();
    let secret = object(json!({"metadata": {"name": "s"}, "stringData": {"PASSWORD": "hunter2"}}));
    let stored = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(stored.data.unwrap()["PASSWORD"].0, b"hunter2");
    let namespaces = Api::<Namespace>::all(client);
    namespaces.delete("t", &DeleteParams::default()).await.unwrap();
    cluster.settle().await;
    assert!(namespaces.get_opt("t").await.unwrap().is_none());
    assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(secrets.list(&ListParams::default()).await.unwrap().items.is_empty());
    cluster.shutdown().await;
}

#[tokio::test]
async fn an_owner_takes_its_dependents_along() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let owner = maps
        .create(&PostParams::default(), &object(config_map("owner", json!({}))))
        .await
        .unwrap();
    for (name, blocks) in [("one", true), ("two", false)] {
        let mut dependent = config_map(name, json!({}));
        dependent["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(), "blockOwnerDeletion": blocks}]);
        maps.create(&PostParams::default(), &object(dependent)).await.unwrap();
    }
    maps.delete("owner", &DeleteParams::foreground()).await.unwrap();
    cluster.settle().await;
    for name in ["owner", "one", "two"] {
        assert!(maps.get_opt(name).await.unwrap().is_none(), "{name}");
    }
    cluster.shutdown().await;
}

#[tokio::test]
async fn services_get_an_address_that_stays() {
    let (cluster, client) = start().await;
    let services = Api::<Service>::namespaced(client, "t");
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    let apply = PatchParams::apply("lumbung");
    let first = services.patch("web", &apply, &Patch::Apply(&service)).await.unwrap();
    let again = services.patch("web", &apply, &Patch::Apply(&service)).await.unwrap();
    assert!(
        first
            .spec
            .as_ref()
            .unwrap()
            .cluster_ip
            .as_ref()
            .unwrap()
            .starts_with("10.43.")
    );
    assert_eq!(first, again);
    cluster.shutdown().await;
}

#[tokio::test]
async fn injected_faults_are_met_before_or_after_the_effect() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let make = |name: &'static str| {
        let maps = maps.clone();
        async move {
            maps.create(&PostParams::default(), &object(config_map(name, json!({}))))
                .await
        }
    };
    cluster
        .faults()
        .inject_api("create", "configmaps", 1, ApiFault::Status(500));
    assert_eq!(refusal(make("before").await.unwrap_err()).0, 500);
    assert!(maps.get_opt("before").await.unwrap().is_none());
    cluster
        .faults()
        .inject_api("create", "configmaps", 1, ApiFault::StatusAfterEffect(500));
    assert_eq!(refusal(make("after").await.unwrap_err()).0, 500);
    assert!(maps.get_opt("after").await.unwrap().is_some());
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let (cluster, client) = start().await;
    let get = |path: &str| http::Request::get(path).body(Vec::new()).unwrap();
    let status = |path: &'static str| {
        let (client, request) = (client.clone(), get(path));
        async move { refusal(client.request::<Value>(request).await.unwrap_err()) }
    };
    assert_eq!(status("/api/v1/pods?frobnicate=1").await.0, 501);
    assert_eq!(status("/api/v1/namespaces/t/pods/p/exec").await.0, 501);
    assert_eq!(status("/api/v1/widgets").await.0, 404);
    let calls = cluster.calls();
    assert!(
        calls
            .iter()
            .any(|call| call.verb == "create" && call.resource == "namespaces"),
        "{calls:?}"
    );
    cluster.shutdown().await;
}

#[tokio::test]
async fn a_privileged_pod_is_refused_where_baseline_is_enforced() {
    let (cluster, client) = start().await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    Api::<Namespace>::all(client.clone())
        .patch("t", &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    let pods = Api::<Pod>::namespaced(client, "t");
    let pod = |context: Value| {
        object::<Pod>(json!({"metadata": {"name": "p"}, "spec": {"containers": [
            {"name": "app", "image": "nginx:1.29", "securityContext": context}]}}))
    };
    let (code, _, message) = refusal(
        pods.create(&PostParams::default(), &pod(json!({"privileged": true})))
            .await
            .unwrap_err(),
    );
    assert_eq!(code, 403);
    assert!(
        message.contains("violates PodSecurity \"baseline:latest\": privileged"),
        "{message}"
    );
    pods.create(&PostParams::default(), &pod(json!({}))).await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test]
async fn after_shutdown_the_address_is_free() {
    let (cluster, client) = start().await;
    let watch = Api::<Pod>::all(client.clone());
    let mut open = watch.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    cluster.shutdown().await;
    assert!(
        tokio::time::timeout(Duration::from_secs(10), async { while open.next().await.is_some() {} })
            .await
            .is_ok(),
        "open watches end"
    );
    let address = cluster.url().trim_start_matches("http://").parse().unwrap();
    let again = SimCluster::start(Options {
        listen: address,
        ..Options::default()
    })
    .await
    .unwrap();
    again.shutdown().await;
}
