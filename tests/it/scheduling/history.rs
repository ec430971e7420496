//! Seeded histories: whatever transactions do, in whatever order they end, two snapshots say what the rows say.

use lumbung::scheduling::snapshot::Snapshot;
use lumbung::scheduling::{self};
use lumbung_tests::TestApp;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::order;
use super::snapshot::{NODES, agrees, shrink};

const STEPS: usize = 120;
/// Transactions that are open at a time.
const OPEN: usize = 3;

/// One change to what is placed or to a node. Each open transaction keeps to rows of its own, or it would wait for
/// another one.
async fn change(app: &TestApp, conn: &mut PgConnection, (node, instance): (&str, Uuid), rng: &mut StdRng) {
    match rng.random_range(0..6) {
        0 => scheduling::park(conn, &app.ambient, instance).await.unwrap(),
        1 => scheduling::release(conn, &app.ambient, instance).await.unwrap(),
        2 => scheduling::firm(conn, instance).await.unwrap(),
        3 => {
            let other = "UPDATE placements SET cpu_request_milli = cpu_request_milli + 1, node_id = n.id,
                                backup_node_id = NULL
                           FROM worker_nodes n
                          WHERE instance_id = $1 AND released_at IS NULL AND n.name = $2";
            sqlx::query(other)
                .bind(instance)
                .bind(node)
                .execute(conn)
                .await
                .unwrap();
        }
        4 => {
            let back = "UPDATE placements SET released_at = NULL
                         WHERE id = (SELECT id FROM placements p WHERE instance_id = $1 AND NOT EXISTS (
                                            SELECT FROM placements o WHERE o.instance_id = $1 AND o.released_at IS NULL)
                                      ORDER BY created_at DESC, id DESC LIMIT 1)";
            sqlx::query(back).bind(instance).execute(conn).await.unwrap();
        }
        _ => shrink(conn, node).await,
    }
}

async fn history(seed: u64) {
    let app = TestApp::start().await;
    app.settle().await;
    let customer = app.customer("budi@example.com").await;
    for i in 0..OPEN {
        order(&customer, &format!("o{i}")).await.expect(202);
    }
    let instances: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM service_instances ORDER BY id")
        .fetch_all(&app.db.pool)
        .await
        .unwrap();
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut here, mut there) = (Snapshot::default(), Snapshot::default());
    let mut open: Vec<Option<Transaction<'_, Postgres>>> = (0..OPEN).map(|_| None).collect();
    let mut conn = app.db.pool.acquire().await.unwrap();
    for step in 0..STEPS {
        let when = format!("seed {seed}, step {step}");
        let at = rng.random_range(0..OPEN);
        match open[at].take() {
            None => open[at] = Some(app.db.pool.begin().await.unwrap()),
            Some(mut tx) => match rng.random_range(0..10) {
                0..5 => {
                    change(&app, &mut tx, (NODES[at], instances[at]), &mut rng).await;
                    open[at] = Some(tx);
                }
                5..7 => {
                    agrees(&mut here, &mut tx, &format!("{when}: inside")).await;
                    open[at] = Some(tx);
                }
                7..9 => tx.commit().await.unwrap(),
                _ => tx.rollback().await.unwrap(),
            },
        }
        if rng.random_bool(0.5) {
            agrees(&mut here, &mut conn, &format!("{when}: here")).await;
        }
        if rng.random_bool(0.2) {
            agrees(&mut there, &mut conn, &format!("{when}: there")).await;
        }
    }
    drop(open);
    agrees(&mut here, &mut conn, "here, in the end").await;
    agrees(&mut there, &mut conn, "there, in the end").await;
}

#[tokio::test]
async fn snapshots_follow_every_history() {
    for seed in 0..4 {
        history(seed).await;
    }
}
