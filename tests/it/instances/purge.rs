//! The end of an instance: everything goes, exactly its own, and its name is free again.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, ResourceQuota, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::Api;
use lumbung_tests::TestApp;
use serde_json::{Value, json};

use super::{instance, objects, operation, order, placement, running};

async fn left(app: &TestApp, id: &str) -> usize {
    objects::<Ingress>(app, id).await.len()
        + objects::<StatefulSet>(app, id).await.len()
        + objects::<Pod>(app, id).await.len()
        + objects::<PersistentVolumeClaim>(app, id).await.len()
        + objects::<Service>(app, id).await.len()
        + objects::<Secret>(app, id).await.len()
        + objects::<ConfigMap>(app, id).await.len()
        + objects::<NetworkPolicy>(app, id).await.len()
}

async fn quota_of_pods(app: &TestApp) -> String {
    let namespace: String = sqlx::query_scalar("SELECT name FROM customer_namespaces")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    let quotas: Api<ResourceQuota> = Api::namespaced(app.kube.clone(), &namespace);
    let quota = quotas.get("instances").await.unwrap();
    quota.spec.unwrap().hard.unwrap()["pods"].0.clone()
}

#[tokio::test]
async fn a_cancelled_instance_leaves_nothing_and_frees_its_host() {
    let (app, customer, ordered) = running().await;
    let other = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    let host = instance(&customer, &ordered.id).await["host"].clone();
    let second = instance(&customer, &other.id).await;
    assert_eq!(second["name"], "linkding-2");
    assert_eq!(quota_of_pods(&app).await, "2");
    assert!(left(&app, &ordered.id).await >= 7);

    let path = format!("/api/v1/subscriptions/{}/cancel", ordered.subscription);
    let answer = customer.post(&path, json!({"when": "now"})).await.expect(202);
    app.settle().await;
    assert_eq!(left(&app, &ordered.id).await, 0);
    assert_eq!(placement(&app, &ordered.id).await, None);
    let gone = instance(&customer, &ordered.id).await;
    assert_eq!(
        (gone["phase"].as_str(), gone["url"].clone()),
        (Some("deleted"), Value::Null),
        "{gone:#}"
    );
    let deletion = operation(&customer, answer["operation"]["id"].as_str().unwrap()).await;
    assert_eq!(deletion["status"], "succeeded", "{deletion:#}");
    customer
        .get(&format!("/api/v1/instances/{}/credentials", ordered.id))
        .await
        .problem(404, "not-found");
    let secrets: i64 = sqlx::query_scalar("SELECT count(*) FROM instance_secrets WHERE instance_id = $1::uuid")
        .bind(&ordered.id)
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(secrets, 0);
    assert_eq!(quota_of_pods(&app).await, "1", "the quota is lowered after");

    // The other one was not touched, and the freed host is given again.
    assert_eq!(instance(&customer, &other.id).await["phase"], "running");
    assert!(left(&app, &other.id).await >= 7);
    let third = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    let third = instance(&customer, &third.id).await;
    assert_eq!((&third["host"], third["phase"].as_str()), (&host, Some("running")));
}

#[tokio::test]
async fn a_purge_in_the_middle_of_coming_up_leaves_nothing() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    let ordered = order(&customer, "ghost", json!({"owner_email": "ani@example.org"})).await;
    // The namespace, the objects, and a first look at a pod that is not ready yet.
    app.run("namespaces").await;
    app.run("reconcile").await;
    assert!(left(&app, &ordered.id).await > 0);
    let path = format!("/api/v1/subscriptions/{}/cancel", ordered.subscription);
    customer.post(&path, json!({"when": "now"})).await.expect(202);
    app.settle().await;
    assert_eq!(left(&app, &ordered.id).await, 0);
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "deleted");
}
