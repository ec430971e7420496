//! Start, stop, restart, expiry, an operator's hold.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::Api;
use serde_json::json;

use super::{act, instance, operation, placement, pod, running};

#[tokio::test]
async fn the_order_s_operation_tells_every_step_and_the_events_tell_every_phase() {
    let (_app, customer, ordered) = running().await;
    let done = operation(&customer, &ordered.operation).await;
    assert_eq!(done["status"], "succeeded", "{done:#}");
    let steps: Vec<_> = done["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| step["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        steps,
        [
            "accepted",
            "namespace",
            "volumes",
            "scheduled",
            "pod_ready",
            "first_admin",
            "route_open"
        ]
    );
    let events = customer
        .get(&format!("/api/v1/instances/{}/events", ordered.id))
        .await
        .expect(200);
    let events = events["items"].as_array().unwrap();
    let payloads = events
        .iter()
        .rev()
        .filter(|event| event["type"] == "instance.phase_changed")
        .map(|event| &event["payload"]);
    let told: Vec<_> = payloads
        .map(|payload| (payload["phase"].as_str().unwrap(), payload["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told.first().map(|(phase, _)| *phase), Some("provisioning"), "{told:?}");
    assert_eq!(told.last(), Some(&("running", "running")), "{told:?}");
    assert!(
        told.windows(2).all(|pair| pair[0] != pair[1]),
        "an event on change only: {told:?}"
    );
    let operations = customer
        .get(&format!("/api/v1/instances/{}/operations", ordered.id))
        .await
        .expect(200);
    assert_eq!(operations["items"][0]["id"], ordered.operation.as_str());
}

#[tokio::test]
async fn stop_keeps_the_reservation_and_start_comes_back() {
    let (app, customer, ordered) = running().await;
    let before = placement(&app, &ordered.id).await;
    let stop = act(&customer, &ordered.id, "stop").await;
    assert_eq!(
        act(&customer, &ordered.id, "stop").await["id"],
        stop["id"],
        "a repeat is the same operation"
    );
    let busy = customer
        .post(&format!("/api/v1/instances/{}/start", ordered.id), json!({}))
        .await;
    busy.problem(409, "operation-in-progress");
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["wanted"].as_str()),
        (Some("stopped"), Some("stopped")),
        "{seen:#}"
    );
    assert!(pod(&app, &ordered.id).await.is_none());
    assert_eq!(
        operation(&customer, stop["id"].as_str().unwrap()).await["status"],
        "succeeded"
    );
    assert_eq!(placement(&app, &ordered.id).await, before);
    customer
        .post(&format!("/api/v1/instances/{}/restart", ordered.id), json!({}))
        .await
        .problem(409, "conflict");

    let start = act(&customer, &ordered.id, "start").await;
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
    assert_eq!(
        operation(&customer, start["id"].as_str().unwrap()).await["status"],
        "succeeded"
    );
}

#[tokio::test]
async fn restart_replaces_the_pod_and_nothing_else_does() {
    let (app, customer, ordered) = running().await;
    let first = pod(&app, &ordered.id).await.unwrap().uid();
    // A new generation of the same specification rolls nothing.
    act(&customer, &ordered.id, "start").await;
    app.settle().await;
    assert_eq!(pod(&app, &ordered.id).await.unwrap().uid(), first);
    let restart = act(&customer, &ordered.id, "restart").await;
    app.settle().await;
    assert_ne!(pod(&app, &ordered.id).await.unwrap().uid(), first);
    assert_eq!(
        operation(&customer, restart["id"].as_str().unwrap()).await["status"],
        "succeeded"
    );
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
}

#[tokio::test]
async fn a_killed_pod_comes_back_by_itself() {
    let (app, customer, ordered) = running().await;
    let gone = pod(&app, &ordered.id).await.unwrap();
    let pods: Api<Pod> = Api::namespaced(app.kube.clone(), &gone.namespace().unwrap());
    pods.delete(&gone.name_any(), &kube::api::DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    app.settle().await;
    assert_ne!(pod(&app, &ordered.id).await.unwrap().uid(), gone.uid());
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
}

#[tokio::test]
async fn expiry_stops_it_and_parks_its_place() {
    let (app, customer, ordered) = running().await;
    let (_, _, disk) = placement(&app, &ordered.id).await.unwrap();
    app.advance(Duration::from_hours(24 * 31));
    app.settle().await;
    drop(customer); // her token has long expired
    let customer = app.log_in("ani@example.org").await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["entitled"].as_str()),
        (Some("stopped"), Some("suspended")),
        "{seen:#}"
    );
    assert!(seen["blocking"].as_str().unwrap().contains("subscription"));
    assert!(pod(&app, &ordered.id).await.is_none());
    assert_eq!(placement(&app, &ordered.id).await, Some(("parked".to_owned(), 0, disk)));
    customer
        .post(&format!("/api/v1/instances/{}/start", ordered.id), json!({}))
        .await
        .problem(409, "conflict");
}

#[tokio::test]
async fn an_operator_s_hold_pauses_whatever_the_customer_wants() {
    let (app, customer, ordered) = running().await;
    let admin = app.admin("root@example.org").await;
    let path = |what: &str| format!("/api/v1/admin/instances/{}/{what}", ordered.id);
    let held = admin.post(&path("hold"), json!({})).await.expect(200);
    assert_eq!(held["held"], true);
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["wanted"].as_str()),
        (Some("stopped"), Some("running")),
        "{seen:#}"
    );
    assert!(seen["blocking"].as_str().unwrap().contains("operator"));
    customer
        .post(&format!("/api/v1/instances/{}/start", ordered.id), json!({}))
        .await
        .problem(409, "conflict");
    assert_eq!(placement(&app, &ordered.id).await.unwrap().0, "firm");
    admin.post(&path("release"), json!({})).await.expect(200);
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
}
