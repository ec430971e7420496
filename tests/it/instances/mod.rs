//! Instances: from an order to a running service, and through everything that can happen to it.

mod access;
mod failures;
mod first_admin;
mod lifecycle;
mod purge;
mod sweep;

use std::sync::atomic::{AtomicU64, Ordering};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt as _};
use lumbung::kube::{LABEL_INSTANCE, LABEL_TASK};
use lumbung_tests::{Client, TestApp};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An ordered service, as its owner knows it.
struct Ordered {
    id: String,
    subscription: String,
    operation: String,
}

async fn order(client: &Client, service: &str, inputs: Value) -> Ordered {
    static ORDERS: AtomicU64 = AtomicU64::new(0);
    let key = format!("order-{}", ORDERS.fetch_add(1, Ordering::Relaxed));
    let body = json!({"service": service, "plan": "starter", "inputs": inputs});
    let body = client.post_once(&key, "/api/v1/orders", body).await.expect(202);
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    Ordered {
        id: text(&body["instance_id"]),
        subscription: text(&body["subscription_id"]),
        operation: text(&body["operation"]["id"]),
    }
}

/// A customer with a running linkding, on a settled platform.
async fn running() -> (TestApp, Client, Ordered) {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    let ordered = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
    (app, customer, ordered)
}

async fn instance(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/instances/{id}")).await.expect(200)
}

async fn act(client: &Client, id: &str, what: &str) -> Value {
    client
        .post(&format!("/api/v1/instances/{id}/{what}"), json!({}))
        .await
        .expect(202)
}

async fn operation(client: &Client, id: &str) -> Value {
    client.get(&format!("/api/v1/operations/{id}")).await.expect(200)
}

/// The instance's objects of one kind.
async fn objects<K>(app: &TestApp, id: &str) -> Vec<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let params = ListParams::default().labels(&format!("{LABEL_INSTANCE}={id}"));
    Api::<K>::all(app.kube.clone())
        .list(&params)
        .await
        .expect("a list")
        .items
}

/// The pod that serves.
async fn pod(app: &TestApp, id: &str) -> Option<Pod> {
    objects::<Pod>(app, id)
        .await
        .into_iter()
        .find(|pod| !pod.labels().contains_key(LABEL_TASK))
}

async fn placement(app: &TestApp, id: &str) -> Option<(String, i32, i32)> {
    sqlx::query_as(
        "SELECT state, cpu_request_milli, disk_mib FROM placements WHERE instance_id = $1::uuid AND released_at IS NULL",
    )
    .bind(id)
    .fetch_optional(&app.db.pool)
    .await
    .expect("placements")
}
