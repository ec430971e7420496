//! Worker nodes: rows follow the cluster, and staff decides which machines take new workloads.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use lumbung::db::signal::Channel;
use lumbung::nodes::sync::{LOOKS, PATIENCE};
use lumbung_tests::{Client, TestApp, eventually};
use serde_json::{Value, json};
use simcluster::Fault;

const RYZEN: &str = "ryzen-3900x";
const INTEL: &str = "intel-i7-gen7";

async fn worker(staff: &Client, name: &str) -> Value {
    let list = staff.get("/api/v1/admin/workers").await.expect(200);
    let mut workers = list["items"].as_array().unwrap().iter();
    workers
        .find(|worker| worker["name"] == name)
        .expect("it is listed")
        .clone()
}

/// The node's power is gone, and the cluster has noticed.
async fn lose(app: &TestApp, name: &str) {
    app.sim.faults().add(Fault::kill_node(name));
    let ready =
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}});
    let nodes: Api<Node> = Api::all(app.kube.clone());
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Strategic(ready))
        .await
        .unwrap();
}

async fn system_events(app: &TestApp, kind: &str) -> Vec<Value> {
    sqlx::query_scalar("SELECT payload FROM events WHERE stream = $1 AND type = $2 ORDER BY seq")
        .bind(lumbung::events::SYSTEM)
        .bind(kind)
        .fetch_all(&app.db.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_lost_node_is_suspect_and_takes_nobody_until_it_is_back() {
    let app = TestApp::start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let room = || async {
        staff
            .get("/api/v1/admin/placements/headroom?cpu_request_milli=250&mem_request_mib=512")
            .await
            .expect(200)
    };
    assert_eq!(room().await["count"], 177, "of the three machines together");
    lose(&app, RYZEN).await;
    app.settle().await;
    assert_eq!(worker(&staff, RYZEN).await["availability"], "suspect");
    assert_eq!(room().await["count"], 88, "59 and 29");
    app.sim.faults().clear();
    eventually("the node is ready again", || async {
        app.settle().await;
        (worker(&staff, RYZEN).await["availability"] == "ready").then_some(())
    })
    .await;
    let told = system_events(&app, "node.availability_changed").await;
    let of_ryzen = told.iter().filter(|event| event["node"] == RYZEN);
    let turns: Vec<_> = of_ryzen
        .map(|event| (event["from"].clone(), event["to"].clone()))
        .collect();
    let turn = |from: Value, to: &str| (from, json!(to));
    let expected = [
        turn(Value::Null, "ready"),
        turn(json!("ready"), "suspect"),
        turn(json!("suspect"), "ready"),
    ];
    assert_eq!(turns, expected);
}

#[tokio::test]
async fn a_majority_that_is_lost_at_once_is_believed_only_when_it_stays_lost() {
    let app = TestApp::start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    lose(&app, RYZEN).await;
    lose(&app, INTEL).await;
    let pace = PATIENCE / LOOKS;
    for look in 0..LOOKS {
        assert_eq!(app.run("nodes").await.done, 0, "look {look}");
        assert_eq!(worker(&staff, RYZEN).await["availability"], "ready", "look {look}");
        app.advance(pace);
    }
    assert_eq!(app.run("nodes").await.done, 3);
    assert_eq!(worker(&staff, RYZEN).await["availability"], "suspect");
    assert_eq!(worker(&staff, INTEL).await["availability"], "suspect");
    let text = app.client().get("/metrics").await.expect(200);
    assert!(
        text.as_str()
            .unwrap()
            .contains(r#"lumbung_nodes_blind_looks_total{reason="majority_lost"}"#)
    );
}

#[tokio::test]
async fn an_unreachable_cluster_changes_no_row() {
    let app = TestApp::start().await;
    app.settle().await;
    app.sim.shutdown().await;
    let nodes = app.tasks.iter().find(|task| task.name == "nodes").unwrap();
    nodes.once().await.unwrap_err();
    let staff = app.support("support@example.com").await;
    assert_eq!(worker(&staff, RYZEN).await["availability"], "ready");
}

#[tokio::test]
async fn pods_of_others_take_room_while_they_live() {
    let app = TestApp::start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let before = worker(&staff, INTEL).await;
    assert_eq!(before["free"]["cpu_milli"], 7500);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "somebody-elses"},
        "spec": {"nodeName": INTEL, "containers": [{"name": "c", "image": "docker.io/library/postgres:18",
                 "resources": {"requests": {"cpu": "1500m", "memory": "2Gi"}}}]}
    }))
    .unwrap();
    let pods: Api<Pod> = Api::namespaced(app.kube.clone(), "default");
    pods.create(&PostParams::default(), &pod).await.unwrap();
    app.settle().await;
    let during = worker(&staff, INTEL).await;
    assert_eq!(
        during["foreign"],
        json!({"cpu_milli": 1500, "mem_mib": 2048, "disk_mib": 0, "pods": 1})
    );
    assert_eq!(during["free"]["cpu_milli"], 6000);
    let path = format!(
        "/api/v1/admin/placements/headroom?cpu_request_milli=500&mem_request_mib=64&volume_node_id={}",
        during["id"].as_str().unwrap()
    );
    assert_eq!(
        staff.get(&path).await.expect(200)["count"],
        11,
        "(7500 - 1500 - 100) / 500"
    );
    pods.delete("somebody-elses", &DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    eventually("the pod is gone", || async {
        pods.get_opt("somebody-elses").await.unwrap().is_none().then_some(())
    })
    .await;
    app.settle().await;
    assert_eq!(worker(&staff, INTEL).await["foreign"]["pods"], 0);
}

#[tokio::test]
async fn a_cordoned_node_is_not_chosen_and_the_change_is_audited() {
    let app = TestApp::start().await;
    app.settle().await;
    let (admin, support) = (
        app.admin("admin@example.com").await,
        app.support("support@example.com").await,
    );
    // Best fit begins with the smallest machine.
    let size = json!({"cpu_request_milli": 250, "mem_request_mib": 512});
    let explain = || async {
        support
            .post("/api/v1/admin/placements/explain", size.clone())
            .await
            .expect(200)
    };
    assert_eq!(explain().await["decision"]["chosen"]["node"], INTEL);

    let path = format!(
        "/api/v1/admin/workers/{}",
        worker(&support, INTEL).await["id"].as_str().unwrap()
    );
    let shown = support.get(&path).await;
    let tag = shown.header("etag").unwrap().to_owned();
    assert_eq!(shown.expect(200)["labels"]["kubernetes.io/hostname"], INTEL);
    let cordon = json!({"admission": "cordoned"});
    support
        .patch(&path, &tag, cordon.clone())
        .await
        .problem(403, "forbidden");
    let no_tag = admin.send(reqwest::Method::PATCH, &path, &[], Some(&cordon)).await;
    no_tag.problem(428, "precondition-required");
    for later in ["draining", "removed", "x"] {
        let errors = admin
            .patch(&path, &tag, json!({"admission": later}))
            .await
            .problem(422, "validation");
        assert_eq!(errors["errors"][0]["pointer"], "/admission");
    }
    let changed = admin.patch(&path, &tag, cordon.clone()).await;
    let next_tag = changed.header("etag").unwrap().to_owned();
    assert_ne!(next_tag, tag);
    assert_eq!(changed.expect(200)["admission"], "cordoned");
    admin
        .patch(&path, &tag, json!({"admission": "open"}))
        .await
        .problem(412, "precondition-failed");
    let again = admin.patch(&path, &next_tag, cordon).await;
    assert_eq!(
        again.header("etag"),
        Some(next_tag.as_str()),
        "no change, no new version"
    );
    admin
        .patch(
            "/api/v1/admin/workers/00000000-0000-0000-0000-000000000001",
            &tag,
            json!({"admission": "open"}),
        )
        .await
        .problem(404, "not-found");

    let explained = explain().await;
    assert_eq!(
        explained["decision"]["rejected"],
        json!([{"reason": "cordoned", "nodes": 1}])
    );
    assert_ne!(explained["decision"]["chosen"]["node"], INTEL);
    app.settle().await;
    assert_eq!(
        worker(&support, INTEL).await["admission"],
        "cordoned",
        "a look does not undo it"
    );
    let deeds: Vec<Value> = sqlx::query_scalar("SELECT detail FROM audit_log WHERE action = 'node.admission.change'")
        .fetch_all(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(deeds, [json!({"from": "open", "to": "cordoned"})]);
    assert_eq!(system_events(&app, "node.admission_changed").await.len(), 1);
}

#[tokio::test]
async fn what_kubectl_cordons_takes_nobody_either() {
    let app = TestApp::start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let nodes: Api<Node> = Api::all(app.kube.clone());
    let cordon = json!({"spec": {"unschedulable": true}});
    nodes
        .patch(INTEL, &PatchParams::default(), &Patch::Merge(cordon))
        .await
        .unwrap();
    app.settle().await;
    let seen = worker(&staff, INTEL).await;
    assert_eq!(
        (&seen["unschedulable"], &seen["admission"]),
        (&json!(true), &json!("open"))
    );
    let size = json!({"cpu_request_milli": 250, "mem_request_mib": 512});
    let explained = staff.post("/api/v1/admin/placements/explain", size).await.expect(200);
    assert_eq!(
        explained["decision"]["rejected"],
        json!([{"reason": "cordoned", "nodes": 1}])
    );
}

#[tokio::test]
async fn a_node_that_leaves_stays_a_row_and_its_name_may_be_taken_over() {
    let app = TestApp::start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let id = worker(&staff, INTEL).await["id"].clone();
    let nodes: Api<Node> = Api::all(app.kube.clone());
    let mut object = nodes.get(INTEL).await.unwrap();
    nodes.delete(INTEL, &DeleteParams::default()).await.unwrap();
    app.settle().await;
    assert_eq!(worker(&staff, INTEL).await["availability"], "unknown");
    (object.metadata.uid, object.metadata.resource_version) = (None, None);
    nodes.create(&PostParams::default(), &object).await.unwrap();
    app.settle().await;
    let back = worker(&staff, INTEL).await;
    assert_eq!((&back["id"], &back["availability"]), (&id, &json!("ready")));
    assert_eq!(
        system_events(&app, "node.replaced").await,
        [json!({"node_id": id, "node": INTEL})]
    );
}

#[tokio::test]
async fn the_watch_rings_when_a_node_changes() {
    let app = TestApp::start().await;
    let mut bell = app.signals.hear(Channel::Nodes);
    let heard = |what: &'static str| {
        move |result: Result<_, _>| match result {
            Ok(Ok(())) => {}
            other => panic!("{what}: {other:?}"),
        }
    };
    let wait = Duration::from_secs(30);
    if *bell.borrow_and_update() == 0 {
        heard("the first list")(tokio::time::timeout(wait, bell.changed()).await);
        bell.mark_unchanged();
    }
    lose(&app, RYZEN).await;
    heard("a lost node")(tokio::time::timeout(wait, bell.changed()).await);
}

#[tokio::test]
async fn workers_are_listed_page_by_page_for_staff_only() {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("budi@example.com").await;
    customer.get("/api/v1/admin/workers").await.problem(403, "forbidden");
    app.client()
        .get("/api/v1/admin/workers")
        .await
        .problem(401, "unauthenticated");
    let staff = app.support("support@example.com").await;
    let first = staff.get("/api/v1/admin/workers?limit=2").await.expect(200);
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let path = format!(
        "/api/v1/admin/workers?limit=2&cursor={}",
        first["next_cursor"].as_str().unwrap()
    );
    let second = staff.get(&path).await.expect(200);
    assert_eq!(
        (second["items"].as_array().unwrap().len(), &second["next_cursor"]),
        (1, &Value::Null)
    );
    staff.get("/api/v1/admin/workers/none").await.problem(404, "not-found");
}
