//! What goes wrong in the cluster, in the API or with a replica, and how it ends.

use std::time::Duration;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::api::{Api, DeleteParams, PostParams};
use lumbung::instances::store::claim;
use lumbung_tests::TestApp;
use serde_json::{Value, json};
use simcluster::{Delays, Fault, Options};

use super::{act, instance, operation, order, running};

#[tokio::test]
async fn an_image_that_cannot_be_pulled_is_explained_and_mends_itself() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    app.sim.faults().add(Fault::pulls_fail("linkding"));
    let ordered = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["reason"].as_str()),
        (Some("failed"), Some("image_pull_failed")),
        "{seen:#}"
    );
    assert!(seen["next_retry_at"].is_string());
    assert_eq!(operation(&customer, &ordered.operation).await["status"], "running");
    app.sim.faults().clear();
    until_running(&app, &customer, &ordered.id).await;
    assert_eq!(operation(&customer, &ordered.operation).await["status"], "succeeded");
}

#[tokio::test]
async fn a_broken_pod_takes_a_corrected_specification() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    set_tag(&app, "no-such-tag").await;
    app.sim.faults().add(Fault::pulls_fail("no-such-tag"));
    let ordered = order(&customer, "linkding", json!({})).await;
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["reason"], "image_pull_failed");
    set_tag(&app, "1.2.3").await;
    // A template is read once by a process, so the corrected one is seen by the next.
    let next = app.replica().await;
    sqlx::query("UPDATE service_instances SET generation = generation + 1, version = version + 1, next_reconcile_at = updated_at")
        .execute(&app.db.pool)
        .await
        .unwrap();
    for _ in 0..10 {
        lumbung::tasks::settle(&next.tasks, 50).await.unwrap();
        app.sim.settle().await;
    }
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
}

/// Rewrites the image of the published linkding.
async fn set_tag(app: &TestApp, tag: &str) {
    sqlx::query(
        "UPDATE services_catalog SET template = jsonb_set(template, '{components,0,image,tag}', to_jsonb($1::text))
          WHERE slug = 'linkding'",
    )
    .bind(tag)
    .execute(&app.db.pool)
    .await
    .unwrap();
}

async fn until_running(app: &TestApp, customer: &lumbung_tests::Client, id: &str) {
    lumbung_tests::eventually("the instance is running", || async {
        app.advance(Duration::from_secs(1));
        app.settle().await;
        (instance(customer, id).await["phase"] == "running").then_some(())
    })
    .await;
}

#[tokio::test]
async fn api_faults_are_waited_out_and_what_was_seen_stays_visible() {
    let (app, customer, ordered) = running().await;
    app.sim
        .faults()
        .add(Fault::api().verb("patch").resource("statefulsets").times(3));
    act(&customer, &ordered.id, "restart").await;
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(seen["phase"], "running", "what was seen before: {seen:#}");
    assert!(
        seen["blocking"].as_str().unwrap().contains("could not be reached"),
        "{seen:#}"
    );
    assert!(seen["next_retry_at"].is_string());
    assert!(seen["observed_generation"].as_i64() < seen["generation"].as_i64());
    for _ in 0..4 {
        app.advance(Duration::from_mins(1));
        app.settle().await;
    }
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["blocking"].clone()),
        (Some("running"), Value::Null)
    );
    assert_eq!(seen["observed_generation"], seen["generation"]);
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_made_once() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    for (verb, resource) in [
        ("patch", "persistentvolumeclaims"),
        ("patch", "statefulsets"),
        ("create", "pods"),
    ] {
        let lost = Fault::api().status_after_effect(504).times(1);
        app.sim.faults().add(lost.verb(verb).resource(resource));
    }
    let ordered = order(&customer, "linkding", json!({})).await;
    until_running(&app, &customer, &ordered.id).await;
    assert_eq!(
        super::objects::<PersistentVolumeClaim>(&app, &ordered.id).await.len(),
        1
    );
}

/// Found by chaos: a replica was paused in the middle of a transaction, and the other one answered 500.
#[tokio::test]
async fn a_row_that_a_sleeping_replica_holds_is_busy_and_no_fault() {
    let (app, customer, ordered) = running().await;
    let mut held = app.db.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM service_instances WHERE id = $1::uuid FOR UPDATE")
        .bind(&ordered.id)
        .execute(&mut *held)
        .await
        .unwrap();
    let path = format!("/api/v1/instances/{}/stop", ordered.id);
    let busy = customer.post(&path, json!({})).await;
    assert_eq!(busy.header("retry-after"), Some("2"), "{:#}", busy.body);
    busy.problem(503, "unavailable");
    held.rollback().await.unwrap();
    customer.post(&path, json!({})).await.expect(202);
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "stopped");
}

#[tokio::test]
async fn another_instance_s_volume_is_never_taken_over() {
    let (app, customer, ordered) = running().await;
    let mut foreign = super::objects::<PersistentVolumeClaim>(&app, &ordered.id)
        .await
        .remove(0);
    let namespace = foreign.metadata.namespace.clone().unwrap();
    let labels = foreign.metadata.labels.clone().unwrap();
    foreign.metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta::default();
    foreign.metadata.name = Some("linkding-2-data".to_owned());
    foreign.metadata.labels = Some(labels);
    foreign.spec.as_mut().unwrap().volume_name = None;
    foreign.status = None;
    sqlx::query("UPDATE customer_namespaces SET next_reconcile_at = NULL")
        .execute(&app.db.pool)
        .await
        .unwrap();
    // Room for it in the quota, as after an order.
    let second = order(&customer, "linkding", json!({})).await;
    app.run("namespaces").await;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(app.kube.clone(), &namespace);
    claims.create(&PostParams::default(), &foreign).await.unwrap();
    app.settle().await;
    let seen = instance(&customer, &second.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["reason"].as_str()),
        (Some("failed"), Some("rejected")),
        "{seen:#}"
    );
    assert_eq!(seen["next_retry_at"], Value::Null, "only another desire helps");
    let failed = operation(&customer, &second.operation).await;
    assert_eq!(
        (failed["status"].as_str(), failed["reason"].as_str()),
        (Some("failed"), Some("rejected"))
    );
    let still = claims.get("linkding-2-data").await.unwrap();
    assert_eq!(
        still.metadata.labels.unwrap()[lumbung::kube::LABEL_INSTANCE],
        ordered.id
    );
    // What it needed is gone from the way: the next desire brings it up.
    claims
        .delete("linkding-2-data", &kube::api::DeleteParams::default())
        .await
        .unwrap();
    act(&customer, &second.id, "start").await;
    app.settle().await;
    assert_eq!(instance(&customer, &second.id).await["phase"], "running");
}

#[tokio::test]
async fn a_replica_that_was_paused_past_its_lease_writes_nothing() {
    let (app, customer, ordered) = running().await;
    act(&customer, &ordered.id, "restart").await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    let now = app.ambient.now();
    let paused = claim::claim(&mut conn, now, 60, 10).await.unwrap().remove(0);
    assert!(claim::claim(&mut conn, now, 60, 10).await.unwrap().is_empty(), "leased");
    sqlx::query("UPDATE clock_shift SET shift = '2 minutes'")
        .execute(&mut *conn)
        .await
        .unwrap();
    let next = claim::claim(&mut conn, now, 60, 10).await.unwrap().remove(0);
    assert!(next.lease_token > paused.lease_token);
    assert!(!claim::postpone(&mut conn, now, &paused, now).await.unwrap());
    assert!(!claim::may_purge(&mut conn, &paused).await.unwrap());
    assert!(!claim::bury(&mut conn, now, &paused).await.unwrap());
    assert!(claim::postpone(&mut conn, now, &next, now).await.unwrap());
    app.settle().await;
    assert_eq!(instance(&customer, &ordered.id).await["phase"], "running");
}

#[tokio::test]
async fn two_replicas_share_the_work_without_doubling_it() {
    let app = TestApp::start().await;
    app.settle().await;
    let other = app.replica().await;
    let customer = app.customer("ani@example.org").await;
    let mut ordered = Vec::new();
    for _ in 0..6 {
        ordered.push(order(&customer, "linkding", json!({})).await);
    }
    for _ in 0..20 {
        let (mine, theirs) = tokio::join!(
            lumbung::tasks::settle(&app.tasks, 50),
            lumbung::tasks::settle(&other.tasks, 50)
        );
        mine.unwrap();
        theirs.unwrap();
        app.sim.settle().await;
    }
    app.settle().await;
    for one in &ordered {
        assert_eq!(instance(&customer, &one.id).await["phase"], "running");
        assert_eq!(
            super::objects::<k8s_openapi::api::core::v1::Pod>(&app, &one.id)
                .await
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn what_vanished_while_nobody_looked_is_seen_at_the_first_look() {
    let (mut app, customer, ordered) = running().await;
    let options = Options {
        seed: 2,
        delays: Delays::zero(),
        ..Options::default()
    };
    let (_empty, kube) = lumbung::simulated::start(options).await.unwrap();
    app.granted = kube;
    app.advance(Duration::from_secs(1));
    let next = app.replica().await;
    for name in ["resync", "reconcile"] {
        next.tasks
            .iter()
            .find(|task| task.name == name)
            .unwrap()
            .once()
            .await
            .unwrap();
    }
    let seen = instance(&customer, &ordered.id).await;
    assert!(seen["blocking"].is_string(), "{seen:#}");
}

/// The first administrator was made once: on an empty volume the application would belong to whoever comes first.
#[tokio::test]
async fn a_volume_that_is_gone_is_said_and_never_replaced_by_an_empty_one() {
    let (app, customer, ordered) = running().await;
    act(&customer, &ordered.id, "stop").await;
    app.settle().await;
    let claim = super::objects::<PersistentVolumeClaim>(&app, &ordered.id)
        .await
        .remove(0);
    let namespace = claim.metadata.namespace.as_deref().unwrap();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(app.kube.clone(), namespace);
    let name = claim.metadata.name.as_deref().unwrap();
    claims.delete(name, &DeleteParams::default()).await.unwrap();
    app.settle().await;
    let started = act(&customer, &ordered.id, "start").await;
    app.settle().await;
    let seen = instance(&customer, &ordered.id).await;
    assert_eq!(
        (seen["phase"].as_str(), seen["reason"].as_str()),
        (Some("failed"), Some("storage_lost")),
        "{seen:#}"
    );
    assert!(
        super::objects::<PersistentVolumeClaim>(&app, &ordered.id)
            .await
            .is_empty()
    );
    let operation = operation(&customer, started["id"].as_str().unwrap()).await;
    assert_eq!(
        (operation["status"].as_str(), operation["reason"].as_str()),
        (Some("failed"), Some("storage_lost"))
    );
}
