//! What anybody sees.

use lumbung::catalog::template::load_embedded;
use lumbung_tests::TestApp;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{Api, World};

#[tokio::test]
async fn anybody_can_browse_what_is_for_sale_page_by_page() {
    let world = World::new().await;
    world.sync(&load_embedded().expect("ours are valid")).await;
    let api = world.serve(&["n8n"]).await;
    let (mut slugs, mut cursor) = (Vec::new(), String::new());
    for _ in 0..3 {
        let (status, page) = api.get(&format!("/services?limit=2{cursor}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        slugs.extend(
            page["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["slug"].as_str().unwrap_or_default().to_owned()),
        );
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
    }
    slugs.sort();
    assert_eq!(slugs, ["ghost", "linkding", "n8n", "vaultwarden", "wordpress"]);
    assert_eq!(cursor, "&cursor=", "the last page ends the walk");

    let (status, n8n) = api.get("/services/n8n").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(n8n["orderable"], json!(true));
    assert_eq!(n8n["licence"]["hosted_resale"], json!("restricted"));
    assert_eq!(n8n["plans"][0]["code"], json!("starter"));
    assert_eq!(
        (&n8n["inputs"][0]["key"], &n8n["inputs"][0]["type"]),
        (&json!("owner_email"), &json!("email"))
    );
    assert!(
        n8n.get("components").is_none() && n8n.get("secrets").is_none(),
        "how it is built is not for the public"
    );

    let (status, problem) = api.get("/services/nothing").await;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("not-found")));
    let (status, problem) = api.get("/services?cursor=xyz").await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid-cursor"))
    );
}

#[tokio::test]
async fn a_detail_is_revalidated_by_its_etag_and_the_operators_acceptance_changes_it() {
    let world = World::new().await;
    world.sync(&load_embedded().expect("ours are valid")).await;
    let closed = world.serve(&[]).await;
    let open = world.serve(&["n8n"]).await;
    let fetch = async |api: &Api, tag: &str| {
        let url = format!("{}/services/n8n", api.base);
        let response = api
            .client
            .get(url)
            .header("if-none-match", tag)
            .send()
            .await
            .expect("an answer");
        let etag = response.headers()["etag"].to_str().expect("text").to_owned();
        (
            response.status(),
            etag,
            response.json::<Value>().await.unwrap_or(Value::Null),
        )
    };
    let (status, tag, body) = fetch(&closed, "\"other\"").await;
    assert_eq!((status, &body["orderable"]), (StatusCode::OK, &json!(false)));
    let reason = body["not_orderable_reason"].as_str().expect("a reason");
    assert!(reason.contains("licence restricts"), "{reason}");
    assert_eq!(fetch(&closed, &tag).await.0, StatusCode::NOT_MODIFIED);
    let (status, _, body) = fetch(&open, &tag).await;
    assert_eq!((status, &body["orderable"]), (StatusCode::OK, &json!(true)));
}

#[tokio::test]
async fn the_whole_app_sells_the_shipped_services() {
    let app = TestApp::start().await;
    let body = app.client().get("/api/v1/services").await.expect(200);
    let mut slugs: Vec<_> = body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["slug"].as_str().unwrap())
        .collect();
    slugs.sort_unstable();
    assert_eq!(slugs, ["ghost", "linkding", "n8n", "vaultwarden", "wordpress"]);
    let n8n = app.client().get("/api/v1/services/n8n").await.expect(200);
    assert_eq!(n8n["plans"][0]["price_idr"], 0);
    app.client()
        .get("/api/v1/services/none")
        .await
        .problem(404, "not-found");
}
