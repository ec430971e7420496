//! Certificates that do not hold any more are mended by a task, under the lock, and every replica knows.

use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, Patch, PatchParams};
use lumbung::db;
use lumbung::scheduling::snapshot::Snapshot;
use lumbung_tests::{Client, TestApp};
use serde_json::{Value, json};
use simcluster::Fault;

use super::order;
use super::snapshot::agrees;

async fn started() -> (TestApp, Client) {
    let args = ["--reserve", "n_plus_one", "--volumes-movable"];
    let app = TestApp::builder().args(&args).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let customer = app.customer("budi@example.com").await;
    for key in ["one", "two"] {
        order(&customer, key).await.expect(202);
    }
    app.settle().await;
    (app, staff)
}

/// Node and certificate of everything that is placed.
async fn placed(staff: &Client) -> Vec<(String, Option<String>)> {
    let page = staff.get("/api/v1/admin/placements").await.expect(200);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| (text(&item["node"]).unwrap(), text(&item["backup_node"])))
        .collect()
}

async fn set_admission(app: &TestApp, node: &str, admission: &str) {
    let sql = "UPDATE worker_nodes SET admission = $2 WHERE name = $1";
    let done = sqlx::query(sql).bind(node).bind(admission).execute(&app.db.pool).await;
    assert_eq!(done.unwrap().rows_affected(), 1);
}

async fn metric(app: &TestApp, name: &str) -> i64 {
    let text = app.client().get("/metrics").await.expect(200);
    let text = text.as_str().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is missing")).parse().unwrap()
}

#[tokio::test]
async fn a_certificate_of_a_cordoned_node_is_replaced_by_another() {
    let (app, staff) = started().await;
    let before = placed(&staff).await;
    assert_eq!(before.len(), 2);
    let carrier = before[0].1.clone().expect("a certificate");
    set_admission(&app, &carrier, "cordoned").await;
    assert!(app.run("recertify_placements").await.done > 0);
    let after = placed(&staff).await;
    for ((node, backup), (was, _)) in after.iter().zip(&before) {
        assert_eq!(node, was, "nothing moves");
        let backup = backup.as_ref().expect("another node takes it");
        assert!(*backup != carrier && backup != node, "{after:?}");
    }
    assert_eq!(app.run("recertify_placements").await.done, 0, "once is enough");
    let mut snapshot = Snapshot::default();
    let mut conn = app.db.pool.acquire().await.unwrap();
    agrees(&mut snapshot, &mut conn, "after mending").await;
    let check = staff.get("/api/v1/admin/placements/check").await.expect(200);
    assert_eq!(check["violations"], json!([]));
}

#[tokio::test]
async fn a_node_that_goes_down_takes_its_certificates_with_it() {
    let (app, staff) = started().await;
    let carrier = placed(&staff).await[0].1.clone().expect("a certificate");
    app.sim.faults().add(Fault::kill_node(&carrier));
    let ready =
        json!({"status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]}});
    let nodes: Api<Node> = Api::all(app.kube.clone());
    nodes
        .patch_status(&carrier, &PatchParams::default(), &Patch::Strategic(ready))
        .await
        .unwrap();
    app.run("nodes").await;
    app.run("recertify_placements").await;
    for (node, backup) in placed(&staff).await {
        assert_ne!(backup.as_ref(), Some(&carrier), "on {node}");
    }
}

#[tokio::test]
async fn whoever_finds_no_other_node_is_exposed_and_counted() {
    let (app, staff) = started().await;
    let homes: Vec<String> = placed(&staff).await.into_iter().map(|(node, _)| node).collect();
    assert_eq!(homes[0], homes[1], "best fit keeps them together");
    let others = "UPDATE worker_nodes SET admission = 'cordoned' WHERE name <> $1";
    sqlx::query(others).bind(&homes[0]).execute(&app.db.pool).await.unwrap();
    let before = metric(&app, "lumbung_scheduling_recertified_total").await;
    assert_eq!(app.run("recertify_placements").await.done, 2);
    assert!(placed(&staff).await.iter().all(|(_, backup)| backup.is_none()));
    assert!(metric(&app, "lumbung_scheduling_recertified_total").await >= before + 2);
    let resilience = staff.get("/api/v1/admin/placements/resilience").await.expect(200);
    let nodes = resilience["nodes"].as_array().unwrap();
    let home = nodes.iter().find(|node| node["node"] == homes[0].as_str()).unwrap();
    assert_eq!((&home["may_fail"], &home["exposed"]), (&json!(false), &json!(2)));
    assert_eq!(home["missing"]["pods"], 2, "{home:#}");
    assert_eq!(resilience["all_may_fail"], false);

    sqlx::query("UPDATE worker_nodes SET admission = 'open'")
        .execute(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(app.run("recertify_placements").await.done, 2);
    assert!(placed(&staff).await.iter().all(|(_, backup)| backup.is_some()));
}

#[tokio::test]
async fn mending_waits_for_who_decides_and_another_replica_may_do_it() {
    let (app, staff) = started().await;
    let other = app.replica().await;
    let carrier = placed(&staff).await[0].1.clone().expect("a certificate");
    set_admission(&app, &carrier, "cordoned").await;
    let mut deciding = app.db.pool.begin().await.unwrap();
    db::lock(&mut deciding, db::PLACEMENT_LOCK).await.unwrap();
    let task = other
        .tasks
        .iter()
        .find(|task| task.name == "recertify_placements")
        .unwrap();
    let mending = task.once();
    tokio::pin!(mending);
    let looks = async {
        // The lock is waited for: whoever decides now decides on what it has seen.
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
                          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        lumbung_tests::eventually("the task waits for the lock", || async {
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&app.db.pool).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
    };
    tokio::select! {
        _ = &mut mending => panic!("it wrote beside a decision"),
        () = looks => {}
    }
    assert_eq!(placed(&staff).await[0].1.as_ref(), Some(&carrier));
    deciding.commit().await.unwrap();
    assert!(mending.await.unwrap().done > 0);
    assert_ne!(placed(&staff).await[0].1.as_ref(), Some(&carrier));
    assert_eq!(app.run("recertify_placements").await.done, 0, "the first one agrees");
}
