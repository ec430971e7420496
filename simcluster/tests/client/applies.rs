//! Server-side apply.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::ConfigMap};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::support::{config_map, refusal, start, stateful_set};

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
