//! The readable API pages.

use lumbung_tests::TestApp;

#[tokio::test]
async fn the_reference_shows_every_operation_and_needs_nothing_else() {
    let app = TestApp::start().await;
    let answer = app.client().get("/docs").await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let policy = answer.header("content-security-policy").unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    let page = answer.expect(200);
    let page = page.as_str().unwrap();
    let mut operations = 0;
    for (path, item) in app.openapi["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path} has no operationId"));
            assert!(
                page.contains(&format!("id=\"{id}\"")),
                "{method} {path} is not on the page"
            );
            operations += 1;
        }
    }
    assert!(page.contains(&format!("{operations} operations")));
    assert!(!page.contains("src=") && !page.contains("https://cdn"));
}

#[tokio::test]
async fn the_type_of_a_problem_leads_to_its_explanation() {
    let app = TestApp::start().await;
    let problem = app.client().get("/nowhere").await.problem(404, "not-found");
    let (page, anchor) = problem["type"].as_str().unwrap().split_once('#').unwrap();
    let text = app.client().get(page).await.expect(200);
    assert!(text.as_str().unwrap().contains(&format!("id=\"{anchor}\"")));
}
