//! The snapshot in memory is what the rows are, whoever commits when; what does not come to be leaves no trace in it.

use lumbung::scheduling::basis::Basis;
use lumbung::scheduling::log;
use lumbung::scheduling::snapshot::{How, Reload, Snapshot, glance};
use lumbung_tests::database::Database;
use lumbung_tests::{Client, TestApp, eventually};
use serde_json::{Value, json};
use simcluster::NodeSpec;
use sqlx::{PgConnection, PgPool};

use super::{headroom, order};

pub(super) const NODES: [&str; 3] = ["ryzen-3900x", "ryzen-6900hs", "intel-i7-gen7"];

/// Takes one milli-CPU of a node away.
pub(super) async fn shrink(conn: &mut PgConnection, node: &str) {
    let done = sqlx::query("UPDATE worker_nodes SET cpu_milli = cpu_milli - 1 WHERE name = $1")
        .bind(node)
        .execute(conn)
        .await
        .unwrap();
    assert_eq!(done.rows_affected(), 1, "{node}");
}

pub(super) async fn look(snapshot: &mut Snapshot, conn: &mut PgConnection) -> How {
    snapshot.catch_up(conn).await.unwrap().1
}

/// Looks, and compares with the rows that the same connection reads.
pub(super) async fn agrees(snapshot: &mut Snapshot, conn: &mut PgConnection, when: &str) {
    let held = snapshot.catch_up(conn).await.unwrap().0.into_owned();
    let rows = Basis::load(conn).await.unwrap();
    assert_eq!(held.difference(&rows), None, "{when}");
}

async fn started() -> (TestApp, Snapshot) {
    let app = TestApp::start().await;
    app.settle().await;
    let mut snapshot = Snapshot::default();
    let mut conn = app.db.pool.acquire().await.unwrap();
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Reloaded(Reload::Start));
    (app, snapshot)
}

#[tokio::test]
async fn a_change_that_is_committed_late_is_not_missed() {
    let (app, mut snapshot) = started().await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    let mut late = app.db.pool.begin().await.unwrap();
    shrink(&mut late, NODES[0]).await;
    shrink(&mut conn, NODES[1]).await;
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(1),
        "the later one, which came first"
    );
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(0));
    late.commit().await.unwrap();
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(1),
        "the earlier one, which came last"
    );
    agrees(&mut snapshot, &mut conn, "after both").await;
}

#[tokio::test]
async fn what_a_transaction_writes_after_its_own_look_is_news_once_it_is_committed() {
    let (app, mut snapshot) = started().await;
    let mut deciding = app.db.pool.begin().await.unwrap();
    // It has its number before another one begins and ends: to PostgreSQL it is then older than all that is to come.
    sqlx::query("SELECT pg_current_xact_id()")
        .execute(&mut *deciding)
        .await
        .unwrap();
    let mut conn = app.db.pool.acquire().await.unwrap();
    shrink(&mut conn, NODES[0]).await;
    assert_eq!(look(&mut snapshot, &mut deciding).await, How::Entries(1));
    shrink(&mut deciding, NODES[1]).await;
    deciding.commit().await.unwrap();
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(1));
    agrees(&mut snapshot, &mut conn, "after the commit").await;
}

#[tokio::test]
async fn a_transaction_sees_its_own_changes_and_nobody_else_does_until_they_are_committed() {
    let (app, mut snapshot) = started().await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    for survives in [false, true] {
        let mut tx = app.db.pool.begin().await.unwrap();
        shrink(&mut tx, NODES[0]).await;
        shrink(&mut conn, NODES[1]).await;
        assert_eq!(
            look(&mut snapshot, &mut tx).await,
            How::Entries(2),
            "its own and the other's"
        );
        agrees(&mut snapshot, &mut tx, "inside of the transaction").await;
        assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(1), "the other's");
        agrees(&mut snapshot, &mut conn, "beside the transaction").await;
        // A decision takes part of it back.
        sqlx::query("SAVEPOINT s").execute(&mut *tx).await.unwrap();
        shrink(&mut tx, NODES[2]).await;
        agrees(&mut snapshot, &mut tx, "inside of the savepoint").await;
        sqlx::query("ROLLBACK TO s").execute(&mut *tx).await.unwrap();
        agrees(&mut snapshot, &mut tx, "after the savepoint").await;
        if survives {
            tx.commit().await.unwrap();
        } else {
            tx.rollback().await.unwrap();
        }
        let news = u64::from(survives);
        assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(news));
        agrees(&mut snapshot, &mut conn, "after the end").await;
    }
}

#[tokio::test]
async fn a_transaction_that_is_killed_leaves_no_trace() {
    let (app, mut snapshot) = started().await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    let mut tx = app.db.pool.begin().await.unwrap();
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    shrink(&mut tx, NODES[0]).await;
    look(&mut snapshot, &mut tx).await;
    sqlx::query("SELECT pg_terminate_backend($1, 10000)")
        .bind(pid)
        .execute(&mut *conn)
        .await
        .unwrap();
    snapshot.catch_up(&mut tx).await.unwrap_err();
    drop(tx);
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(0));
    agrees(&mut snapshot, &mut conn, "after the end").await;
}

#[tokio::test]
async fn a_first_look_inside_of_a_transaction_with_changes_keeps_nothing() {
    let (app, _) = started().await;
    let mut snapshot = Snapshot::default();
    let mut tx = app.db.pool.begin().await.unwrap();
    shrink(&mut tx, NODES[0]).await;
    assert_eq!(look(&mut snapshot, &mut tx).await, How::Reloaded(Reload::Start));
    agrees(&mut snapshot, &mut tx, "inside of the transaction").await;
    tx.rollback().await.unwrap();
    agrees(
        &mut snapshot,
        &mut app.db.pool.acquire().await.unwrap(),
        "after the end",
    )
    .await;
}

#[tokio::test]
async fn a_look_costs_what_has_changed() {
    let (app, mut snapshot) = started().await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    sqlx::query("UPDATE worker_nodes SET observed_at = observed_at + interval '1 s'")
        .execute(&mut *conn)
        .await
        .unwrap();
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(0),
        "that it was seen again is no change"
    );
    app.run("nodes").await;
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(0),
        "nor is a look that finds all as it was"
    );
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(2),
        "placed, and paid at once"
    );
    agrees(&mut snapshot, &mut conn, "after an order").await;
    app.settle().await;
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Entries(2),
        "its volume is on one node's disk, and there are prices now that something runs"
    );
    agrees(&mut snapshot, &mut conn, "once it runs").await;
}

#[tokio::test]
async fn a_glance_from_before_takes_nothing_back() {
    let (app, mut snapshot) = started().await;
    let mut conn = app.db.pool.acquire().await.unwrap();
    let mut early = glance(&app.db.pool).await.unwrap();
    let (seen, _) = log::begin(&mut early).await.unwrap();
    shrink(&mut conn, NODES[0]).await;
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(1));
    assert_eq!(look(&mut snapshot, &mut early).await, How::Entries(0), "{seen:?}");
    agrees(&mut snapshot, &mut conn, "after the glance").await;
}

async fn entries(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM placement_log")
        .fetch_one(pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn who_is_behind_what_the_log_keeps_reads_everything_anew() {
    let (app, mut behind) = started().await;
    let pool = &app.db.pool;
    let mut conn = pool.acquire().await.unwrap();
    for _ in 0..5 {
        shrink(&mut conn, NODES[0]).await;
    }
    let (mut abreast, before) = (Snapshot::default(), entries(pool).await);
    look(&mut abreast, &mut conn).await;
    // What may go is bounded by the oldest transaction that runs on the whole server, other tests' included.
    eventually("all entries but the last two are gone", || async {
        log::trim(pool, 2).await.unwrap();
        (entries(pool).await == 2).then_some(())
    })
    .await;
    assert!(before > 2);
    assert_eq!(look(&mut behind, &mut conn).await, How::Reloaded(Reload::Trimmed));
    agrees(&mut behind, &mut conn, "read anew").await;
    shrink(&mut conn, NODES[1]).await;
    assert_eq!(
        look(&mut behind, &mut conn).await,
        How::Entries(1),
        "and goes on from there"
    );
    agrees(&mut abreast, &mut conn, "whether or not it was behind").await;
    assert_eq!(log::trim(pool, 100).await.unwrap(), (0, false));
    eventually("nothing is left", || async {
        log::trim(pool, 0).await.unwrap();
        (entries(pool).await == 0).then_some(())
    })
    .await;
    shrink(&mut conn, NODES[1]).await;
    agrees(&mut behind, &mut conn, "after an empty log").await;
}

#[tokio::test]
async fn a_log_from_another_life_is_put_aside() {
    let (app, mut snapshot) = started().await;
    let pool = &app.db.pool;
    let mut conn = pool.acquire().await.unwrap();
    // As a restored backup of a server that had come further.
    for sql in [
        "UPDATE placement_log_trimmed SET before = '900000000000'",
        "UPDATE placement_log SET xid = '900000000001'",
    ] {
        sqlx::query(sql).execute(pool).await.unwrap();
    }
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Reloaded(Reload::Trimmed));
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Reloaded(Reload::Trimmed),
        "there is no way past it"
    );
    app.run("trim_placement_log").await;
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(0));
    shrink(&mut conn, NODES[0]).await;
    assert_eq!(look(&mut snapshot, &mut conn).await, How::Entries(1));
}

#[tokio::test]
async fn another_database_is_read_anew() {
    let (app, mut snapshot) = started().await;
    let other = TestApp::start().await;
    let mut conn = other.db.pool.acquire().await.unwrap();
    assert_eq!(
        look(&mut snapshot, &mut conn).await,
        How::Reloaded(Reload::OtherDatabase)
    );
    agrees(&mut snapshot, &mut conn, "of the other one").await;
    let empty = Database::create().await;
    let mut conn = empty.pool.acquire().await.unwrap();
    let error = snapshot.catch_up(&mut conn).await.unwrap_err();
    assert!(error.to_string().contains("no placement policy is in force"), "{error}");
    agrees(&mut snapshot, &mut app.db.pool.acquire().await.unwrap(), "back again").await;
}

#[tokio::test]
async fn what_was_changed_behind_the_logs_back_is_found() {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 4096)])
        .start()
        .await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    assert_eq!(headroom(&staff).await["count"], 15);
    let hidden = "ALTER TABLE worker_nodes DISABLE TRIGGER worker_nodes_log;
                  UPDATE worker_nodes SET cpu_milli = 1000;
                  ALTER TABLE worker_nodes ENABLE TRIGGER worker_nodes_log";
    sqlx::raw_sql(hidden).execute(&app.db.pool).await.unwrap();
    assert_eq!(headroom(&staff).await["count"], 15, "nobody has told");
    app.run("check_snapshot").await;
    assert_eq!(headroom(&staff).await["count"], 7);
    let text = app.client().get("/metrics").await.expect(200);
    let text = text.as_str().unwrap();
    for line in [
        "lumbung_scheduling_snapshot_mismatches_total 1",
        r#"lumbung_scheduling_snapshot_reloads_total{reason="mismatch"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }
}

/// What both replicas say of the same question.
async fn same(here: &Client, there: &Client, when: &str) -> Value {
    let (one, other) = (headroom(here).await, headroom(there).await);
    assert_eq!(one, other, "{when}");
    let size = json!({"cpu_request_milli": 125, "mem_request_mib": 256, "disk_mib": 1024});
    let explain = "/api/v1/admin/placements/explain";
    let (here, there) = (here.post(explain, size.clone()).await, there.post(explain, size).await);
    assert_eq!(here.expect(200), there.expect(200), "{when}");
    one["count"].clone()
}

#[tokio::test]
async fn two_replicas_agree_after_every_change() {
    let app = TestApp::start().await;
    app.settle().await;
    let other = app.replica().await;
    let there = |client: &Client| Client::new(&other.url).with_token(client.token.as_deref().unwrap());
    let admin = app.admin("admin@example.com").await;
    let staff = (&admin, &there(&admin));
    let customer = app.customer("budi@example.com").await;
    let customer_there = there(&customer);
    let empty = same(staff.0, staff.1, "at first").await.as_i64().unwrap();
    let ordered = order(&customer, "one").await.expect(202);
    order(&customer_there, "two").await.expect(202);
    assert_eq!(same(staff.0, staff.1, "two orders").await, empty - 2);

    let workers = admin.get("/api/v1/admin/workers").await.expect(200);
    let intel = workers["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|w| w["name"] == NODES[2])
        .unwrap();
    let path = format!("/api/v1/admin/workers/{}", intel["id"].as_str().unwrap());
    for admission in ["cordoned", "open"] {
        let tag = admin.get(&path).await.header("etag").unwrap().to_owned();
        staff
            .1
            .patch(&path, &tag, json!({"admission": admission}))
            .await
            .expect(200);
        let count = same(staff.0, staff.1, admission).await;
        assert_eq!(count == empty - 2, admission == "open", "{admission}: {count}");
        order(&customer, admission).await.expect(202);
        same(staff.0, staff.1, "an order after it").await;
        let gone = format!("/api/v1/subscriptions/{}/cancel", last(&customer).await);
        customer_there.post(&gone, json!({"when": "now"})).await.expect(202);
        app.settle().await;
        same(staff.0, staff.1, "and its end").await;
    }
    assert_eq!(same(staff.0, staff.1, "all as before").await, empty - 2);
    let gone = format!(
        "/api/v1/subscriptions/{}/cancel",
        ordered["subscription_id"].as_str().unwrap()
    );
    customer.post(&gone, json!({"when": "now"})).await.expect(202);
    app.settle().await;
    assert_eq!(same(staff.0, staff.1, "one is gone").await, empty - 1);
}

/// The customer's newest subscription.
async fn last(customer: &Client) -> String {
    let all = customer.get("/api/v1/subscriptions").await.expect(200);
    all["items"][0]["id"].as_str().unwrap().to_owned()
}
