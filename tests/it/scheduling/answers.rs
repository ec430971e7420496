//! What staff may ask beyond one placement: what if, which node may fail, what would move. Nothing of it is done.

use lumbung_tests::{Client, TestApp};
use serde_json::{Value, json};
use simcluster::NodeSpec;

use super::order;
use super::snapshot::NODES;

const WHAT_IF: &str = "/api/v1/admin/placements/what-if";

async fn started(args: &[&str]) -> (TestApp, Client) {
    let app = TestApp::builder().args(args).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    (app, staff)
}

async fn node_id(app: &TestApp, name: &str) -> String {
    let id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM worker_nodes WHERE name = $1")
        .bind(name)
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    id.to_string()
}

async fn entries(app: &TestApp) -> i64 {
    sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM placement_log")
        .fetch_one(&app.db.pool)
        .await
        .unwrap()
}

fn service() -> Value {
    json!({"cpu_request_milli": 250, "cpu_limit_milli": 1000, "mem_request_mib": 512, "mem_limit_mib": 1024})
}

async fn what_if(staff: &Client, changes: Value) -> Value {
    let question = json!({"changes": changes, "service": service()});
    staff.post(WHAT_IF, question).await.expect(200)
}

fn counts(answer: &Value) -> (i64, i64) {
    let count = |room: &Value| room["count"].as_i64().unwrap();
    (count(&answer["before"]), count(&answer["after"]))
}

#[tokio::test]
async fn nodes_and_policies_that_are_not_there_are_asked_about() {
    let (app, staff) = started(&["--reserve", "0.3"]).await;
    let before = entries(&app).await;
    let nothing = what_if(&staff, json!([])).await;
    let (now, same) = counts(&nothing);
    assert_eq!(now, same);
    let room = "/api/v1/admin/placements/headroom?cpu_request_milli=250&cpu_limit_milli=1000&mem_request_mib=512&mem_limit_mib=1024";
    let room = staff.get(room).await.expect(200);
    assert_eq!(room["count"].as_i64(), Some(now));
    assert_eq!(room["without_reserve"], nothing["before"]["without_reserve"]);
    assert!(room["without_reserve"].as_i64().unwrap() > now, "{room:#}");

    let like = json!([{"add_nodes": {"like_node_id": node_id(&app, NODES[0]).await, "count": 2}}]);
    let more = what_if(&staff, like).await;
    assert!(counts(&more).1 > now, "{more:#}");
    let names: Vec<_> = more["after"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| &node["node"])
        .collect();
    assert!(names.contains(&&json!("new-1")), "{names:?}");
    let sized = json!([{"add_nodes": {"cpu_milli": 8000, "mem_mib": 16384, "disk_mib": 100_000, "count": 1}}]);
    assert!(counts(&what_if(&staff, sized).await).1 > now);

    let fewer = what_if(&staff, json!([{"fail": {"node_ids": [node_id(&app, NODES[0]).await]}}])).await;
    assert!(counts(&fewer).1 < now);
    let largest = what_if(&staff, json!([{"fail_largest": {"count": 2}}])).await;
    assert!(counts(&largest).1 < now);

    let tighter = what_if(&staff, json!([{"policy": {"cpu_overcommit_ppm": 1_000_000}}])).await;
    assert_eq!(
        (
            &tighter["before"]["request"]["cpu_milli"],
            &tighter["after"]["request"]["cpu_milli"]
        ),
        (&json!(250), &json!(1000))
    );
    let open = what_if(&staff, json!([{"policy": {"reserve": "none"}}])).await;
    assert_eq!(open["after"]["count"], open["before"]["without_reserve"]);
    assert_eq!(entries(&app).await, before, "nothing was done");
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused_with_pointers() {
    let (_app, staff) = started(&[]).await;
    let unknown = "00000000-0000-0000-0000-000000000001";
    for (question, pointer) in [
        (json!({"changes": []}), ""),
        (json!({"changes": [], "service": {}}), "/service/cpu_request_milli"),
        (
            json!({"changes": [], "service": {"plan_id": unknown}}),
            "/service/plan_id",
        ),
        (
            json!({"changes": [{"drain": {"node_id": unknown}}], "service": service()}),
            "/changes/0/drain/node_id",
        ),
        (
            json!({"changes": [{"fail_largest": {"count": 1}}, {"fail": {"node_ids": [unknown]}}], "service": service()}),
            "/changes/1/fail/node_ids/0",
        ),
        (
            json!({"changes": [{"add_nodes": {"count": 1}}], "service": service()}),
            "/changes/0/add_nodes/cpu_milli",
        ),
        (
            json!({"changes": [{"policy": {"reserve": {"fraction_ppm": -1}}}], "service": service()}),
            "/changes/0/policy/reserve/fraction_ppm",
        ),
    ] {
        let bad = staff.post(WHAT_IF, question.clone()).await.problem(422, "validation");
        assert_eq!(bad["errors"][0]["pointer"], pointer, "{question}: {bad:#}");
    }
    let explode = json!({"changes": [{"explode": {}}], "service": service()});
    staff.post(WHAT_IF, explode).await.problem(422, "validation");
    staff
        .get(&format!("/api/v1/admin/placements/drain/{unknown}"))
        .await
        .problem(404, "not-found");
    let defragment = "/api/v1/admin/placements/defragment";
    let bad = staff
        .get(&format!("{defragment}?plan_id={unknown}&moves=0"))
        .await
        .problem(422, "validation");
    assert_eq!(bad["errors"][0]["pointer"], "?moves");
    let bad = staff
        .get(&format!("{defragment}?plan_id={unknown}"))
        .await
        .problem(422, "validation");
    assert_eq!(bad["errors"][0]["pointer"], "?plan_id");
}

#[tokio::test]
async fn the_loss_of_each_node_and_of_the_control_plane_is_told() {
    let (app, staff) = started(&["--reserve", "n_plus_one", "--volumes-movable"]).await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    app.settle().await;
    let resilience = staff.get("/api/v1/admin/placements/resilience").await.expect(200);
    assert_eq!(resilience["n_plus_one"], true);
    let nodes = resilience["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    let server = nodes.iter().find(|node| node["node"] == NODES[0]).unwrap();
    assert_eq!(
        (&server["stops_placement"], &server["may_fail"]),
        (&json!(true), &json!(false))
    );
    let others = nodes.iter().filter(|node| node["node"] != NODES[0]);
    assert!(others.clone().all(|node| node["may_fail"] == true), "{resilience:#}");
    assert!(nodes.iter().all(|node| node["exposed"] == 0));
    let placed = staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone();
    let home = nodes.iter().find(|node| node["node"] == placed["node"]).unwrap();
    assert_eq!(home["replaced"], 1);
    assert_eq!(
        home["targets"],
        json!([{"node_id": placed["backup_node_id"], "node": placed["backup_node"], "count": 1}])
    );
    assert!(
        home["explanation"].as_str().unwrap().contains("1 re-placed"),
        "{home:#}"
    );
    let plane = &resilience["control_plane"];
    assert_eq!(
        (&plane["servers"][0]["node"], &plane["may_lose"]),
        (&json!(NODES[0]), &json!(0))
    );
    let words = plane["explanation"].as_str().unwrap();
    assert!(
        words.contains(NODES[0]) && words.contains("nothing can be placed anew until it returns"),
        "{words}"
    );

    app.run("measure_capacity").await;
    let text = app.client().get("/metrics").await.expect(200);
    let text = text.as_str().unwrap();
    assert!(text.contains(r#"lumbung_scheduling_nodes_may_not_fail{reason="control_plane"}"#));

    let explained = staff
        .post("/api/v1/admin/placements/explain", service())
        .await
        .expect(200);
    let decision = &explained["decision"];
    assert_ne!(decision["backup"]["node"], decision["chosen"]["node"]);
    assert!(
        NODES.contains(&decision["backup"]["node"].as_str().unwrap()),
        "{explained:#}"
    );
    assert!(decision["chosen"]["growth_ppm"].is_i64() && decision["chosen"]["regret"].is_u64());
}

#[tokio::test]
async fn plans_say_what_would_move_and_move_nothing() {
    let (app, staff) = started(&["--volumes-movable"]).await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    app.settle().await;
    let placed = staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone();
    let before = entries(&app).await;
    let drain = format!("/api/v1/admin/placements/drain/{}", placed["node_id"].as_str().unwrap());
    let plan = staff.get(&drain).await.expect(200);
    let step = &plan["steps"][0];
    assert_eq!(
        (&step["instance_id"], &step["reason"]),
        (&placed["instance_id"], &json!("drain"))
    );
    assert_eq!(step["from"]["node"], placed["node"]);
    assert_ne!(step["to"]["node"], placed["node"]);
    assert_eq!(plan["cost"]["moves"], 1);
    assert_eq!(
        (&plan["stranded"], &plan["restore"], &plan["cut"]),
        (&json!([]), &json!([]), &json!(false))
    );
    let plan_id: uuid::Uuid = sqlx::query_scalar("SELECT id FROM service_plans ORDER BY id LIMIT 1")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    let places = staff
        .get(&format!(
            "/api/v1/admin/placements/defragment?plan_id={plan_id}&moves=3"
        ))
        .await
        .expect(200);
    let number = |field: &str| places[field].as_i64().unwrap();
    assert!(number("after") >= number("before"), "{places:#}");
    assert!(places["plan"]["cost"]["moves"].as_i64().unwrap() <= 3);
    assert_eq!(entries(&app).await, before, "nothing was done");
}

#[tokio::test]
async fn a_node_whose_data_cannot_follow_is_not_emptied_by_a_plan() {
    let nodes = vec![NodeSpec::new("one", 4000, 8192), NodeSpec::new("two", 4000, 8192)];
    let app = TestApp::builder().nodes(nodes).start().await;
    app.settle().await;
    let staff = app.support("support@example.com").await;
    let customer = app.customer("budi@example.com").await;
    order(&customer, "one").await.expect(202);
    app.settle().await;
    let placed = staff.get("/api/v1/admin/placements").await.expect(200)["items"][0].clone();
    let node = placed["node_id"].as_str().unwrap();
    let plan = staff
        .get(&format!("/api/v1/admin/placements/drain/{node}"))
        .await
        .expect(200);
    assert_eq!(
        (&plan["steps"], &plan["restore"]),
        (&json!([]), &json!([placed["instance_id"]]))
    );
    let answer = what_if(&staff, json!([{"drain": {"node_id": node}}])).await;
    assert_eq!(
        (&answer["restore"], &answer["stays"]),
        (&json!([]), &json!([placed["instance_id"]]))
    );
}
