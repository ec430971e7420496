//! Prices of the kinds of nodes: computed once, known to every replica, changed only when much has changed.

use lumbung::scheduling::snapshot::{How, Snapshot};
use lumbung_tests::TestApp;
use serde_json::Value;
use simcluster::NodeSpec;

use super::order;
use super::snapshot::{agrees, look};

async fn stored(app: &TestApp) -> Vec<(Value, Value)> {
    sqlx::query_as("SELECT prices, made_from FROM placement_prices")
        .fetch_all(&app.db.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn two_replicas_decide_by_the_same_prices() {
    // Much CPU here, much memory there: it matters which one is spent.
    let nodes = vec![
        NodeSpec::new("quick", 16_000, 16 * 1024),
        NodeSpec::new("roomy", 4000, 64 * 1024),
    ];
    let app = TestApp::builder().nodes(nodes).start().await;
    app.settle().await;
    assert_eq!(
        stored(&app).await,
        [],
        "nothing runs: nothing is worth more than anything else"
    );
    let other = app.replica().await;
    let customer = app.customer("budi@example.com").await;
    for i in 0..4 {
        order(&customer, &format!("o{i}")).await.expect(202);
    }
    let (mut here, mut there) = (Snapshot::default(), Snapshot::default());
    let mut conn = app.db.pool.acquire().await.unwrap();
    look(&mut here, &mut conn).await;
    look(&mut there, &mut conn).await;
    assert_eq!(app.run("price_nodes").await.done, 1);
    assert_eq!(
        look(&mut here, &mut conn).await,
        How::Entries(1),
        "they are part of the log"
    );
    agrees(&mut here, &mut conn, "by the log").await;
    agrees(&mut there, &mut conn, "there as well").await;
    let mut fresh = Snapshot::default();
    let prices = |snapshot: &lumbung::scheduling::basis::Basis| snapshot.cluster.prices().clone();
    let held = prices(&here.catch_up(&mut conn).await.unwrap().0);
    assert!(!held.is_empty());
    assert_eq!(held, prices(&there.catch_up(&mut conn).await.unwrap().0));
    assert_eq!(
        held,
        prices(&fresh.catch_up(&mut conn).await.unwrap().0),
        "also for who starts now"
    );

    // One more is a quarter, and no more than that.
    let first = stored(&app).await;
    order(&customer, "o4").await.expect(202);
    assert_eq!(app.run("price_nodes").await.done, 0);
    order(&customer, "o5").await.expect(202);
    let task = other.tasks.iter().find(|task| task.name == "price_nodes").unwrap();
    assert_eq!(task.once().await.unwrap().done, 0, "the other one holds the lease");
    assert_eq!(stored(&app).await, first);
    app.outlive_leases().await;
    assert_eq!(task.once().await.unwrap().done, 1, "it takes over");
    assert_ne!(stored(&app).await[0].1, first[0].1);
    agrees(&mut here, &mut conn, "after the other one").await;

    sqlx::query("UPDATE worker_nodes SET admission = 'cordoned' WHERE name = 'roomy'")
        .execute(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(task.once().await.unwrap().done, 1, "another set of nodes");
    agrees(&mut here, &mut conn, "with one kind of node").await;
}

#[tokio::test]
async fn prices_that_cannot_be_read_are_none() {
    let app = TestApp::start().await;
    app.settle().await;
    let newer = r#"INSERT INTO placement_prices (prices, made_from, computed_at) VALUES ('["newer"]', '{}', now())
                   ON CONFLICT (singleton) DO UPDATE SET prices = EXCLUDED.prices, made_from = EXCLUDED.made_from"#;
    sqlx::query(newer).execute(&app.db.pool).await.unwrap();
    let mut snapshot = Snapshot::default();
    let mut conn = app.db.pool.acquire().await.unwrap();
    let held = snapshot.catch_up(&mut conn).await.unwrap().0;
    assert!(held.cluster.prices().is_empty());
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    assert_eq!(app.run("price_nodes").await.done, 1, "they are made anew");
}
