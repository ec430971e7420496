//! Certificates: written with the placement, known to every replica, gone with what they were for.

use lumbung::scheduling::{self, snapshot::How, snapshot::Snapshot};
use lumbung_tests::{Client, TestApp};
use placement::WorkloadKey;
use serde_json::{Value, json};
use uuid::Uuid;

use super::order;
use super::snapshot::{NODES, agrees, look};

async fn placement(staff: &Client) -> Value {
    staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone()
}

#[tokio::test]
async fn a_placement_carries_the_node_that_takes_it_over() {
    let args = ["--reserve", "n_plus_one", "--volumes-movable"];
    let app = TestApp::builder().args(&args).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let customer = app.customer("budi@example.com").await;
    let mut snapshot = Snapshot::default();
    let mut conn = app.db.pool.acquire().await.unwrap();
    order(&customer, "one").await.expect(202);
    let placed = placement(&staff).await;
    let (node, backup) = (
        placed["node"].as_str().unwrap(),
        placed["backup_node"].as_str().unwrap(),
    );
    assert!(node != backup && NODES.contains(&backup), "{placed:#}");
    agrees(&mut snapshot, &mut conn, "with a certificate").await;

    let id: Uuid = placed["instance_id"].as_str().unwrap().parse().unwrap();
    let certified = |snapshot: &lumbung::scheduling::basis::Basis| snapshot.cluster.backup(WorkloadKey(id.as_u128()));
    let held = snapshot.catch_up(&mut conn).await.unwrap().0;
    let backup_id: Uuid = placed["backup_node_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(certified(&held).map(|key| key.0), Some(backup_id.as_u128()));

    // Another one is a change of its own.
    for certificate in [None, Some(backup_id)] {
        assert!(scheduling::certify(&mut conn, id, certificate).await.unwrap());
        assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(1));
        agrees(&mut snapshot, &mut conn, "with another certificate").await;
        let held = snapshot.catch_up(&mut conn).await.unwrap().0;
        assert_eq!(certified(&held).map(|key| key.0), certificate.map(|id| id.as_u128()));
    }
    assert!(!scheduling::certify(&mut conn, Uuid::nil(), None).await.unwrap());

    // Its data comes to lie on one node's own disk: nobody can take it over any more.
    let pinned = "UPDATE service_instances SET volume_node_id =
                         (SELECT node_id FROM placements WHERE instance_id = $1 AND released_at IS NULL) WHERE id = $1";
    sqlx::query(pinned).bind(id).execute(&mut *conn).await.unwrap();
    let held = snapshot.catch_up(&mut conn).await.unwrap().0;
    assert_eq!(certified(&held), None);
    agrees(&mut snapshot, &mut conn, "with its data on one node").await;
}

#[tokio::test]
async fn what_is_parked_needs_nobody_to_take_it_over() {
    let args = ["--reserve", "n_plus_one", "--volumes-movable"];
    let app = TestApp::builder().args(&args).start().await;
    app.settle().await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    app.settle().await;
    let staff = app.support("support@example.com").await;
    assert!(
        placement(&staff).await["backup_node"].is_string(),
        "a volume that follows keeps its certificate"
    );
    app.advance(std::time::Duration::from_hours(31 * 24));
    app.settle().await;
    let staff = app.log_in("support@example.com").await;
    let placed = placement(&staff).await;
    assert_eq!(
        (&placed["state"], &placed["backup_node"]),
        (&json!("parked"), &Value::Null)
    );
    let check = staff.get("/api/v1/admin/placements/check").await.expect(200);
    assert_eq!(check["violations"], json!([]));
}

#[tokio::test]
async fn nobody_is_promised_a_take_over_that_the_storage_cannot_keep() {
    let app = TestApp::builder().args(&["--reserve", "n_plus_one"]).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    assert_eq!(
        placement(&staff).await["backup_node"],
        Value::Null,
        "its volume will lie on one node's own disk"
    );
    app.settle().await;
    let resilience = staff.get("/api/v1/admin/placements/resilience").await.expect(200);
    let nodes = resilience["nodes"].as_array().unwrap();
    let sum = |field: &str| nodes.iter().map(|node| node[field].as_i64().unwrap()).sum::<i64>();
    assert_eq!(
        (sum("pinned"), sum("exposed"), sum("replaced")),
        (1, 0, 0),
        "{resilience:#}"
    );
}
