//! Placement against a real database: nothing is sold twice, what is given back can be sold again, and the check sees
//! what is wrong.

mod answers;
mod certificates;
mod history;
mod mending;
mod policy;
mod prices;
mod snapshot;

use std::time::Duration;

use lumbung_tests::{Answer, Client, TestApp};
use serde_json::{Value, json};
use simcluster::NodeSpec;

/// linkding's smallest plan writes 125m and 256 MiB.
const MINI: &str = "cpu_request_milli=100&cpu_limit_milli=500&mem_request_mib=256&mem_limit_mib=512&disk_mib=1024";

async fn order(customer: &Client, key: &str) -> Answer {
    let body = json!({"service": "linkding", "plan": "mini", "inputs": {}});
    customer.post_once(key, "/api/v1/orders", body).await
}

async fn headroom(staff: &Client) -> Value {
    staff
        .get(&format!("/api/v1/admin/placements/headroom?{MINI}"))
        .await
        .expect(200)
}

async fn violations(staff: &Client) -> Vec<(String, String)> {
    let check = staff.get("/api/v1/admin/placements/check").await.expect(200);
    let found = check["violations"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    found.map(|one| (text(&one["kind"]), text(&one["detail"]))).collect()
}

#[tokio::test]
async fn concurrent_orders_never_oversell_a_node() {
    let nodes = vec![
        NodeSpec::new("short-of-memory", 1000, 1536),
        NodeSpec::new("short-of-cpu", 500, 4096),
    ];
    let app = TestApp::builder().nodes(nodes).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let room = headroom(&staff).await;
    assert_eq!(
        room["count"], 8,
        "5 of 256 MiB in 1536 - 256, and 3 of 125m in 500 - 100: {room:#}"
    );
    // Two replicas of the API take the orders of one customer each, all at once.
    let other = app.replica().await;
    let (budi, sari) = (
        app.customer("budi@example.com").await,
        app.customer("sari@example.com").await,
    );
    let sari = Client::new(&other.url).with_token(sari.token.as_deref().unwrap());
    let orders = (0..7).flat_map(|i| [(&budi, i), (&sari, i)]);
    let answers =
        futures::future::join_all(orders.map(|(customer, i)| async move { order(customer, &format!("o{i}")).await }))
            .await;
    let (accepted, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 202);
    assert_eq!(accepted.len(), 8);
    for answer in refused {
        answer.problem(409, "insufficient-capacity");
    }
    assert_eq!(headroom(&staff).await["count"], 0);
    assert_eq!(violations(&staff).await, []);
    app.settle().await;
    assert_eq!(violations(&staff).await, [], "also once everything runs");
    let workers = staff.get("/api/v1/admin/workers").await.expect(200);
    let mut sold: Vec<_> = workers["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| (w["name"].clone(), w["requested"]["pods"].clone()))
        .collect();
    sold.sort_by_key(|(name, _)| name.to_string());
    assert_eq!(
        sold,
        [(json!("short-of-cpu"), json!(3)), (json!("short-of-memory"), json!(5))]
    );

    let page = staff.get("/api/v1/admin/placements?limit=200").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 8);
    assert_eq!(
        (&page["items"][0]["service"], &page["items"][0]["cause"]),
        (&json!("linkding"), &json!("order"))
    );
    let node = workers["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|w| w["name"] == "short-of-cpu")
        .unwrap()["id"]
        .as_str()
        .unwrap();
    let page = staff
        .get(&format!("/api/v1/admin/placements?node_id={node}"))
        .await
        .expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let detail = staff.get(&format!("/api/v1/admin/workers/{node}")).await.expect(200);
    assert_eq!(detail["instances"].as_array().unwrap().len(), 3);
    assert_eq!(
        (
            &detail["instances"][0]["cpu_request_milli"],
            &detail["instances"][0]["phase"]
        ),
        (&json!(125), &json!("running"))
    );
}

#[tokio::test]
async fn what_expires_gives_cpu_and_memory_back_and_keeps_its_disk() {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 4096)])
        .start()
        .await;
    app.settle().await;
    let (customer, staff) = (
        app.customer("budi@example.com").await,
        app.support("support@example.com").await,
    );
    let before = headroom(&staff).await["count"].as_i64().unwrap();
    order(&customer, "one").await.expect(202);
    app.settle().await;
    assert_eq!(headroom(&staff).await["count"].as_i64(), Some(before - 1));
    app.advance(Duration::from_hours(31 * 24));
    app.settle().await;
    // The log-ins are as old as the subscription.
    let staff = app.log_in("support@example.com").await;
    let placement = staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone();
    assert_eq!(
        (
            &placement["state"],
            &placement["cpu_request_milli"],
            &placement["disk_mib"]
        ),
        (&json!("parked"), &json!(0), &json!(1024))
    );
    assert_eq!(headroom(&staff).await["count"].as_i64(), Some(before));
    assert_eq!(violations(&staff).await, []);
    let worker = staff.get("/api/v1/admin/workers").await.expect(200)["items"][0].clone();
    assert_eq!(
        worker["requested"],
        json!({"cpu_milli": 0, "mem_mib": 0, "disk_mib": 1024, "pods": 0})
    );
}

#[tokio::test]
async fn the_check_sees_what_does_not_fit_the_rows() {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 4096)])
        .start()
        .await;
    app.settle().await;
    let (customer, staff) = (
        app.customer("budi@example.com").await,
        app.support("support@example.com").await,
    );
    order(&customer, "one").await.expect(202);
    app.settle().await;
    assert_eq!(violations(&staff).await, []);
    sqlx::query("UPDATE placements SET cpu_request_milli = 2001")
        .execute(&app.db.pool)
        .await
        .unwrap();
    let found = violations(&staff).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, "over_capacity");
    assert!(found[0].1.contains("node only is over on CPU"), "{found:?}");
    let metrics = app.client().get("/metrics").await.expect(200);
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains(r#"lumbung_scheduling_violations{kind="over_capacity"}"#)
    );
    sqlx::query("UPDATE placements SET released_at = created_at")
        .execute(&app.db.pool)
        .await
        .unwrap();
    let kinds: Vec<_> = violations(&staff).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["entitled_not_firm"]);
}

#[tokio::test]
async fn staff_asks_what_would_happen_without_reserving_anything() {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 4096)])
        .start()
        .await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let explain = "/api/v1/admin/placements/explain";
    let fits = staff
        .post(
            explain,
            json!({"cpu_request_milli": 100, "cpu_limit_milli": 500, "mem_request_mib": 256}),
        )
        .await
        .expect(200);
    assert_eq!((&fits["admitted"], &fits["refusal"]), (&json!(true), &Value::Null));
    assert_eq!(
        fits["request"],
        json!({"cpu_milli": 125, "mem_mib": 256, "disk_mib": 0, "pods": 1})
    );
    assert_eq!(fits["decision"]["chosen"]["node"], "only");
    let large = staff
        .post(explain, json!({"cpu_request_milli": 100, "mem_request_mib": 4000}))
        .await
        .expect(200);
    assert_eq!((&large["admitted"], &large["decision"]), (&json!(false), &Value::Null));
    assert_eq!(large["refusal"]["binding"], "memory");
    assert_eq!(large["refusal"]["rejected"], json!([{"reason": "memory", "nodes": 1}]));
    assert!(
        large["refusal"]["explanation"]
            .as_str()
            .unwrap()
            .contains("add a node with at least"),
        "{large:#}"
    );
    assert!(large["refusal"]["smallest_change"]["new_node"].is_object(), "{large:#}");

    let bad = staff
        .post(explain, json!({"mem_request_mib": 0, "more": 1}))
        .await
        .problem(422, "validation");
    assert!(bad["errors"][0]["detail"].as_str().unwrap().contains("more"), "{bad:#}");
    let bad = staff
        .post(explain, json!({"mem_request_mib": 0}))
        .await
        .problem(422, "validation");
    let pointers: Vec<_> = bad["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["pointer"].clone())
        .collect();
    assert_eq!(pointers, ["/mem_request_mib", "/cpu_request_milli"]);
    let bad = staff
        .get("/api/v1/admin/placements/headroom?plan_id=00000000-0000-0000-0000-000000000001")
        .await
        .problem(422, "validation");
    assert_eq!(bad["errors"][0]["pointer"], "?plan_id");

    let plan: uuid::Uuid = sqlx::query_scalar(
        "SELECT p.id FROM service_plans p JOIN services_catalog s ON s.id = p.service_id
          WHERE s.slug = 'linkding' AND p.code = 'mini'",
    )
    .fetch_one(&app.db.pool)
    .await
    .unwrap();
    let of_plan = staff
        .get(&format!("/api/v1/admin/placements/headroom?plan_id={plan}"))
        .await
        .expect(200);
    assert_eq!(of_plan, headroom(&staff).await);
    assert_eq!(of_plan["nodes"][0]["count"], of_plan["count"]);
    assert_eq!(of_plan["refusal"]["binding"], "memory");

    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM placements")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(rows, 0);
    let customer = app.customer("budi@example.com").await;
    for path in ["", "/check", "/headroom?cpu_request_milli=1&mem_request_mib=1"] {
        customer
            .get(&format!("/api/v1/admin/placements{path}"))
            .await
            .problem(403, "forbidden");
    }
    customer
        .post(explain, json!({"cpu_request_milli": 1, "mem_request_mib": 1}))
        .await
        .problem(403, "forbidden");
}

#[tokio::test]
async fn capacity_and_decisions_are_measured() {
    let app = TestApp::builder()
        .nodes(vec![NodeSpec::new("only", 2000, 4096)])
        .start()
        .await;
    app.settle().await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    app.settle().await;
    app.run("measure_capacity").await;
    let text = app.client().get("/metrics").await.expect(200);
    let text = text.as_str().unwrap();
    for name in [
        r#"lumbung_scheduling_decisions_total{outcome="placed",reason=""}"#,
        r#"lumbung_scheduling_decision_duration_seconds_count{outcome="placed"}"#,
        r#"lumbung_scheduling_snapshot_reloads_total{reason="start"}"#,
        "lumbung_scheduling_snapshot_entries_total",
        "lumbung_scheduling_snapshot_age_seconds",
        "lumbung_scheduling_snapshot_mismatches_total 0",
        "lumbung_scheduling_exposed 0",
        "lumbung_scheduling_recertified_total",
        "lumbung_scheduling_nodes_may_fail 0",
        r#"lumbung_scheduling_nodes_may_not_fail{reason="exposed"} 0"#,
        r#"lumbung_scheduling_cpu_millicores{kind="free"}"#,
        r#"lumbung_scheduling_memory_bytes{kind="requested"}"#,
        r#"lumbung_scheduling_disk_bytes{kind="allocatable"}"#,
        r#"lumbung_scheduling_pods{kind="foreign"}"#,
    ] {
        assert!(text.contains(name), "{name} is missing");
    }
}
