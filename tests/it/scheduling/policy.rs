//! The policy in force is the same for every replica, whichever brought it.

use lumbung::clock::Ambient;
use lumbung::scheduling::policy::{self, Author};
use lumbung_tests::{Client, TestApp};
use placement::{PPM, Policy, PolicySpec};
use serde_json::{Value, json};
use simcluster::NodeSpec;

use super::{headroom, order};

async fn one_node() -> TestApp {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 8192)])
        .start()
        .await;
    app.settle().await;
    app
}

async fn policies(app: &TestApp) -> Vec<(i32, String)> {
    sqlx::query_as("SELECT version, cause FROM placement_policies ORDER BY version")
        .fetch_all(&app.db.pool)
        .await
        .unwrap()
}

fn says(room: &Value) -> (i64, i64, i64) {
    let number = |value: &Value| value.as_i64().unwrap();
    (
        number(&room["count"]),
        number(&room["request"]["cpu_milli"]),
        number(&room["policy_version"]),
    )
}

#[tokio::test]
async fn the_settings_of_who_started_last_are_in_force_everywhere() {
    let mut app = one_node().await;
    let staff = app.support("support@example.com").await;
    assert_eq!(says(&headroom(&staff).await), (15, 125, 1), "(2000 - 100) / 125");
    app.replica().await;
    let configuration = |version| (version, "configuration".to_owned());
    assert_eq!(
        policies(&app).await,
        [configuration(1)],
        "the same settings are no new policy"
    );

    app.config.capacity.cpu_oversubscription = 2.0;
    let other = app.replica().await;
    assert_eq!(policies(&app).await, [configuration(1), configuration(2)]);
    let there = Client::new(&other.url).with_token(staff.token.as_deref().unwrap());
    assert_eq!(says(&headroom(&there).await), (7, 250, 2));
    assert_eq!(says(&headroom(&staff).await), (7, 250, 2), "also where it was not set");
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    let placed = staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&placed["policy_version"], &placed["cpu_request_milli"]),
        (&json!(2), &json!(250))
    );
}

#[tokio::test]
async fn a_policy_of_an_admin_is_in_force_from_its_commit_on() {
    let app = one_node().await;
    let staff = app.admin("admin@example.com").await;
    let admin: uuid::Uuid = sqlx::query_scalar("SELECT id FROM users WHERE role = 'admin'")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    let spec = PolicySpec {
        cpu_overcommit_ppm: 2 * PPM,
        ..PolicySpec::default()
    };
    let tighter = Policy::new(spec).unwrap();
    let ambient: &Ambient = &app.ambient;
    let mut tx = app.db.pool.begin().await.unwrap();
    let put = policy::put_in_force(&mut tx, ambient, &tighter, Author::Admin(admin))
        .await
        .unwrap();
    assert_eq!((put.version, put.policy), (2, tighter));
    assert_eq!(says(&headroom(&staff).await), (15, 125, 1), "not yet");
    tx.commit().await.unwrap();
    assert_eq!(says(&headroom(&staff).await), (7, 250, 2));
    let mut tx = app.db.pool.begin().await.unwrap();
    let again = policy::put_in_force(&mut tx, ambient, &tighter, Author::Admin(admin))
        .await
        .unwrap();
    assert_eq!(again.version, 2, "it is in force already");
}

#[tokio::test]
async fn nothing_is_decided_by_a_policy_that_cannot_be_read() {
    let app = one_node().await;
    let customer = app.customer("budi@example.com").await;
    let newer = r#"INSERT INTO placement_policies (version, spec, cause, created_at)
                   VALUES (2, '{"from": "a newer server"}', 'configuration', now())"#;
    sqlx::query(newer).execute(&app.db.pool).await.unwrap();
    order(&customer, "one").await.problem(500, "internal");
    app.replica().await;
    assert_eq!(
        policies(&app).await.len(),
        3,
        "a server that starts puts its own settings in force"
    );
    order(&customer, "two").await.expect(202);
}
