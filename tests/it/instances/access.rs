//! Who may see and change what.

use lumbung_tests::TestApp;
use serde_json::{Value, json};

use super::{Ordered, instance, order, running};

#[tokio::test]
async fn credentials_are_the_owner_s_and_every_showing_is_recorded() {
    let app = TestApp::start().await;
    app.settle().await;
    let owner = app.customer("ani@example.org").await;
    let Ordered { id, .. } = order(&owner, "n8n", json!({"owner_email": "ani@example.org"})).await;
    let path = format!("/api/v1/instances/{id}/credentials");
    let early = owner.get(&path).await.expect(200);
    assert_eq!(early["login_url"], Value::Null, "not before the route is open");
    app.settle().await;

    let answer = owner.get(&path).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let shown = answer.expect(200);
    assert_eq!(shown["username"], "ani@example.org");
    assert_eq!(shown["password"], early["password"]);
    let keys: Vec<_> = shown["secrets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|secret| secret["key"].as_str().unwrap())
        .collect();
    assert_eq!(
        keys,
        ["encryption_key", "owner_password"],
        "what is not the customer's stays inside"
    );
    let url = instance(&owner, &id).await["url"].as_str().unwrap().to_owned();
    assert_eq!(shown["login_url"], format!("{url}/signin"));

    app.customer("budi@example.org")
        .await
        .get(&path)
        .await
        .problem(404, "not-found");
    app.support("sari@example.org")
        .await
        .get(&path)
        .await
        .problem(403, "forbidden");
    app.admin("root@example.org")
        .await
        .get(&path)
        .await
        .problem(403, "forbidden");
    app.client().get(&path).await.problem(401, "unauthenticated");
    let audit: Vec<(String, String)> = sqlx::query_as(
        "SELECT actor_role, outcome FROM audit_log WHERE action = 'instance.credentials.read' ORDER BY actor_role",
    )
    .fetch_all(&app.db.pool)
    .await
    .unwrap();
    let expected = [
        ("admin", "refused"),
        ("customer", "allowed"),
        ("customer", "allowed"),
        ("support", "refused"),
    ];
    assert_eq!(
        audit,
        expected.map(|(role, outcome)| (role.to_owned(), outcome.to_owned()))
    );
}

#[tokio::test]
async fn strangers_see_nothing_and_support_changes_nothing() {
    let (app, owner, ordered) = running().await;
    let stranger = app.customer("budi@example.org").await;
    let support = app.support("sari@example.org").await;
    let admin = app.admin("root@example.org").await;
    let path = |what: &str| format!("/api/v1/instances/{}{what}", ordered.id);
    for what in ["", "/operations", "/events"] {
        owner.get(&path(what)).await.expect(200);
        support.get(&path(what)).await.expect(200);
        admin.get(&path(what)).await.expect(200);
        stranger.get(&path(what)).await.problem(404, "not-found");
    }
    for what in ["/start", "/stop", "/restart"] {
        stranger.post(&path(what), json!({})).await.problem(404, "not-found");
        support.post(&path(what), json!({})).await.problem(403, "forbidden");
    }
    admin.post(&path("/restart"), json!({})).await.expect(202);
    for what in ["hold", "release"] {
        let path = format!("/api/v1/admin/instances/{}/{what}", ordered.id);
        owner.post(&path, json!({})).await.problem(403, "forbidden");
        support.post(&path, json!({})).await.problem(403, "forbidden");
        admin.post(&path, json!({})).await.expect(200);
    }
    let none = "/api/v1/instances/00000000-0000-0000-0000-000000000001";
    owner.get(none).await.problem(404, "not-found");
    owner.get("/api/v1/instances/not-an-id").await.problem(404, "not-found");
}

#[tokio::test]
async fn lists_hold_the_caller_s_own_and_the_admin_s_filter() {
    let (app, owner, ordered) = running().await;
    let stranger = app.customer("budi@example.org").await;
    let support = app.support("sari@example.org").await;
    let ids = |body: &Value| -> Vec<String> {
        body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        ids(&owner.get("/api/v1/instances").await.expect(200)),
        std::slice::from_ref(&ordered.id)
    );
    assert!(ids(&stranger.get("/api/v1/instances").await.expect(200)).is_empty());
    let all = "/api/v1/admin/instances";
    owner.get(all).await.problem(403, "forbidden");
    assert_eq!(
        ids(&support.get(all).await.expect(200)),
        std::slice::from_ref(&ordered.id)
    );
    assert_eq!(
        ids(&support.get(&format!("{all}?phase=running")).await.expect(200)),
        std::slice::from_ref(&ordered.id)
    );
    assert!(ids(&support.get(&format!("{all}?phase=stopped")).await.expect(200)).is_empty());
    support
        .get(&format!("{all}?phase=flying"))
        .await
        .problem(422, "validation");
    let cancel = format!("/api/v1/subscriptions/{}/cancel", ordered.subscription);
    owner.post(&cancel, json!({"when": "now"})).await.expect(202);
    app.settle().await;
    assert!(ids(&owner.get("/api/v1/instances").await.expect(200)).is_empty());
    assert!(ids(&support.get(all).await.expect(200)).is_empty());
    assert_eq!(
        ids(&support.get(&format!("{all}?deleted=true")).await.expect(200)),
        [ordered.id]
    );
}
