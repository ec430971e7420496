//! The route opens only after the customer's log-in was proved, whatever the strategy.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use lumbung::kube::LABEL_TASK;
use lumbung_tests::{Client, TestApp};
use serde_json::{Value, json};

use super::{Ordered, instance, objects, order, pod};

async fn comes_up(service: &str, inputs: Value) -> (TestApp, Client, Ordered) {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    let ordered = order(&customer, service, inputs).await;
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(seen["phase"], "running", "{service}: {seen:#}");
    assert_eq!(seen["observed_generation"], seen["generation"]);
    assert_eq!(seen["url"], format!("https://{}", seen["host"].as_str().unwrap()));
    assert_eq!(seen["blocking"], Value::Null);
    assert_eq!(objects::<Ingress>(&app, &ordered.id).await.len(), 1);
    let tasks: Vec<Pod> = objects::<Pod>(&app, &ordered.id).await;
    assert_eq!(tasks.len(), 1, "task pods are gone after their outcome");
    (app, customer, ordered)
}

#[tokio::test]
async fn by_environment() {
    comes_up("linkding", json!({})).await;
    comes_up("vaultwarden", json!({})).await;
}

#[tokio::test]
async fn by_an_init_container() {
    comes_up("wordpress", json!({"admin_email": "ani@example.org"})).await;
}

#[tokio::test]
async fn by_a_setup_pod() {
    comes_up("ghost", json!({"owner_email": "ani@example.org"})).await;
}

#[tokio::test]
async fn by_environment_withdrawn_after_the_proof() {
    let (app, _, ordered) = comes_up("n8n", json!({"owner_email": "ani@example.org"})).await;
    let serving = pod(&app, &ordered.id).await.unwrap();
    let spec = serving.spec.unwrap();
    let env = spec.containers[0].env.as_ref().unwrap();
    let managed = env
        .iter()
        .find(|variable| variable.name == "N8N_INSTANCE_OWNER_MANAGED_BY_ENV")
        .unwrap();
    assert_eq!(managed.value.as_deref(), Some("false"));
    assert!(
        !env.iter()
            .any(|variable| variable.name == "N8N_INSTANCE_OWNER_PASSWORD_HASH")
    );
}

#[tokio::test]
async fn a_failed_proof_keeps_the_route_shut_and_is_tried_again() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    app.sim
        .faults()
        .add(simcluster::Fault::crash(1).label(LABEL_TASK, "verify"));
    let ordered = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["reason"].as_str()),
        (Some("failed"), Some("first_admin_failed")),
        "{seen:#}"
    );
    assert_eq!(seen["url"], Value::Null);
    assert!(seen["next_retry_at"].is_string());
    assert!(objects::<Ingress>(&app, &ordered.id).await.is_empty());
    for _ in 0..3 {
        app.advance(std::time::Duration::from_mins(5));
        app.settle().await;
    }
    let attempts: i32 = sqlx::query_scalar("SELECT admin_attempt FROM service_instances")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert!(attempts >= 4, "{attempts}");
    app.sim.faults().clear();
    app.advance(std::time::Duration::from_mins(5));
    app.settle().await;
    let customer = app.log_in("ani@example.org").await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(seen["phase"], "running", "{seen:#}");
    let left: Vec<String> = objects::<Pod>(&app, &ordered.id)
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(left, ["linkding-0"]);
}
