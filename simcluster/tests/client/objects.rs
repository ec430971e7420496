//! Making, reading, changing and deleting objects.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::json;

use crate::support::{config_map, object, refusal, simulated, start};

#[tokio::test]
async fn without_the_token_nothing_is_answered() {
    let Some((cluster, _client)) = simulated("who may ask without a token is that cluster's own affair").await else {
        return;
    };
    let config = Config::new(cluster.url().parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let refused = Api::<Namespace>::all(client).list(&ListParams::default()).await.unwrap_err();
    assert_eq!(refusal(refused).0, 403, "nobody is system:anonymous");
    cluster.shutdown().await;
}

#[tokio::test]
async fn create_get_list_delete() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    for name in ["a", "b", "c"] {
        maps.create(&PostParams::default(), &object(config_map(name, json!({"k": "v"})))).await.unwrap();
    }
    let (code, reason, _) =
        refusal(maps.create(&PostParams::default(), &object(config_map("a", json!({})))).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    let names = |list: kube::core::ObjectList<ConfigMap>| list.into_iter().map(|m| m.name_any()).collect::<Vec<_>>();
    let first = maps.list(&ListParams::default().limit(2).fields("metadata.name!=kube-root-ca.crt")).await.unwrap();
    let token = first.metadata.continue_.clone().unwrap();
    assert_eq!(names(first), ["a", "b"]);
    maps.delete("c", &DeleteParams::default()).await.unwrap();
    let rest = ListParams::default().limit(2).continue_token(&token).fields("metadata.name!=kube-root-ca.crt");
    assert_eq!(names(maps.list(&rest).await.unwrap()), ["c"], "a page shows the list as it was when it began");
    assert!(maps.get_opt("c").await.unwrap().is_none());
    let elsewhere = Api::<ConfigMap>::namespaced(stage.client.clone(), &format!("{}-none", stage.namespace));
    let (code, reason, _) =
        refusal(elsewhere.create(&PostParams::default(), &object(config_map("a", json!({})))).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
}

#[tokio::test]
async fn a_stale_update_is_refused() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let old = maps.create(&PostParams::default(), &object(config_map("m", json!({"a": "1"})))).await.unwrap();
    let mut changed = old.clone();
    changed.data = Some([("a".to_owned(), "2".to_owned())].into());
    maps.replace("m", &PostParams::default(), &changed).await.unwrap();
    let (code, reason, _) = refusal(maps.replace("m", &PostParams::default(), &changed).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
}

#[tokio::test]
async fn deletion_honours_preconditions_and_finalizers() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let mut held = config_map("m", json!({}));
    held["metadata"]["finalizers"] = json!(["lumbung.dev/hold"]);
    let made = maps.create(&PostParams::default(), &object(held)).await.unwrap();
    let uid = |uid: &str| DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    let (code, _, _) = refusal(maps.delete("m", &uid("00000000-0000-0000-0000-000000000001")).await.unwrap_err());
    assert_eq!(code, 409);
    let answer = maps.delete("m", &uid(&made.uid().unwrap())).await.unwrap();
    assert!(answer.left().unwrap().metadata.deletion_timestamp.is_some());
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("m", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    assert!(maps.get_opt("m").await.unwrap().is_none());
}

#[tokio::test]
async fn a_namespace_takes_its_contents_along() {
    let stage = start().await;
    let (maps, secrets) = (stage.api::<ConfigMap>(), stage.api::<Secret>());
    maps.create(&PostParams::default(), &object(config_map("m", json!({})))).await.unwrap();
    let secret = object(json!({"metadata": {"name": "s"}, "stringData": {"PASSWORD": "hunter2"}}));
    let stored = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(stored.data.unwrap()["PASSWORD"].0, b"hunter2");
    let namespaces = Api::<Namespace>::all(stage.client.clone());
    namespaces.delete(&stage.namespace, &DeleteParams::default()).await.unwrap();
    stage
        .eventually("the namespace is gone", async || {
            let left = namespaces.get_opt(&stage.namespace).await.unwrap();
            left.is_none().then_some(())
        })
        .await;
    assert!(maps.list(&ListParams::default()).await.unwrap().items.is_empty());
    assert!(secrets.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn an_owner_takes_its_dependents_along() {
    let stage = start().await;
    let maps = stage.api::<ConfigMap>();
    let owner = maps.create(&PostParams::default(), &object(config_map("owner", json!({})))).await.unwrap();
    for (name, blocks) in [("one", true), ("two", false)] {
        let mut dependent = config_map(name, json!({}));
        dependent["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.uid(), "blockOwnerDeletion": blocks}]);
        maps.create(&PostParams::default(), &object(dependent)).await.unwrap();
    }
    maps.delete("owner", &DeleteParams::foreground()).await.unwrap();
    for name in ["owner", "one", "two"] {
        stage
            .eventually(&format!("{name} is gone"), async || maps.get_opt(name).await.unwrap().is_none().then_some(()))
            .await;
    }
}

#[tokio::test]
async fn services_get_an_address_that_stays() {
    let stage = start().await;
    let services = stage.api::<Service>();
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
        "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]}});
    let apply = PatchParams::apply("lumbung");
    let first = services.patch("web", &apply, &Patch::Apply(&service)).await.unwrap();
    let again = services.patch("web", &apply, &Patch::Apply(&service)).await.unwrap();
    let address = first.spec.as_ref().unwrap().cluster_ip.clone().unwrap();
    let range = if stage.is_simulated() { "10.43." } else { "" };
    assert!(address.parse::<std::net::IpAddr>().is_ok() && address.starts_with(range), "{address}");
    assert_eq!(first, again);
}
