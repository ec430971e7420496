use lumbung_tests::TestApp;

#[tokio::test]
async fn the_shipped_services_are_for_sale() {
    let app = TestApp::start().await;
    let body = app.client().get("/api/v1/services").await.expect(200);
    let mut slugs: Vec<_> = body["items"].as_array().unwrap().iter().map(|s| s["slug"].as_str().unwrap()).collect();
    slugs.sort_unstable();
    assert_eq!(slugs, ["ghost", "linkding", "n8n", "vaultwarden", "wordpress"]);
    let n8n = app.client().get("/api/v1/services/n8n").await.expect(200);
    assert_eq!(n8n["plans"][0]["price_idr"], 0);
    app.client().get("/api/v1/services/none").await.problem(404, "not-found");
}
