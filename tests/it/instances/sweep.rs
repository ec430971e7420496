//! The orphan sweep: what no live row owns goes after two looks; data of the unknown stays.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret};
use kube::api::{Api, ObjectMeta, PostParams};
use lumbung::kube::LABEL_INSTANCE;
use lumbung_tests::TestApp;
use serde_json::json;
use uuid::Uuid;

use super::{instance, objects, running};

fn labelled(name: &str, instance: &str) -> ObjectMeta {
    let labels = [("app.kubernetes.io/managed-by", "lumbung"), (LABEL_INSTANCE, instance)];
    ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..ObjectMeta::default()
    }
}

async fn plant(app: &TestApp, namespace: &str, instance: &str) {
    let config_maps: Api<ConfigMap> = Api::namespaced(app.kube.clone(), namespace);
    let secrets: Api<Secret> = Api::namespaced(app.kube.clone(), namespace);
    let config_map = ConfigMap {
        metadata: labelled("left-over", instance),
        ..ConfigMap::default()
    };
    config_maps.create(&PostParams::default(), &config_map).await.unwrap();
    let secret = Secret {
        metadata: labelled("left-over", instance),
        string_data: Some(BTreeMap::from([("key".to_owned(), "value".to_owned())])),
        ..Secret::default()
    };
    secrets.create(&PostParams::default(), &secret).await.unwrap();
}

#[tokio::test]
async fn an_unknown_instance_s_objects_are_reported_and_left_alone() {
    let (app, customer, ordered) = running().await;
    let unknown = Uuid::from_u128(7).to_string();
    plant(&app, "default", &unknown).await;
    assert_eq!(app.run("sweep").await.done, 0, "seen once");
    assert_eq!(app.run("sweep").await.done, 0, "seen twice");
    assert_eq!(
        objects::<ConfigMap>(&app, &unknown).await.len(),
        1,
        "reported, not deleted"
    );
    assert_eq!(
        objects::<Secret>(&app, &unknown).await.len(),
        1,
        "reported, not deleted"
    );
    assert_eq!(app.run("sweep").await.done, 0);
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
    assert_eq!(objects::<PersistentVolumeClaim>(&app, &ordered.id).await.len(), 1);
}

#[tokio::test]
async fn what_comes_back_after_a_purge_goes_whole() {
    let (app, customer, ordered) = running().await;
    let path = format!("/api/v1/subscriptions/{}/cancel", ordered.subscription);
    customer.post(&path, json!({"when": "now"})).await.expect(202);
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "deleted");
    plant(&app, "default", &ordered.id).await;
    app.run("sweep").await;
    assert_eq!(app.run("sweep").await.done, 2);
    assert!(objects::<Secret>(&app, &ordered.id).await.is_empty());
    assert!(objects::<ConfigMap>(&app, &ordered.id).await.is_empty());
}
