//! What an admin does, and nobody else may.

use lumbung::catalog::template::from_json;
use lumbung::catalog::{Status, store};
use lumbung::http::page::PageQuery;
use reqwest::{Method, StatusCode};
use serde_json::json;
use uuid::Uuid;

use super::{World, embedded, with_version};

#[tokio::test]
async fn an_admin_drafts_publishes_replaces_and_retires_a_service() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let first = serde_json::to_value(embedded("linkding")).expect("JSON");
    let (status, created) = api.post("/admin/services", "k1", Some(&first)).await;
    assert_eq!(status, StatusCode::CREATED, "{created}");
    assert_eq!(
        (&created["version"], &created["status"], &created["origin"]),
        (&json!(1), &json!("draft"), &json!("api"))
    );
    assert_eq!(from_json(created["template"].clone()).ok(), Some(embedded("linkding")));
    assert_eq!(
        api.get("/services/linkding").await.0,
        StatusCode::NOT_FOUND,
        "a draft is not for sale"
    );

    // The same request again is the same answer; the same key with another body is refused.
    assert_eq!(
        api.post("/admin/services", "k1", Some(&first)).await,
        (StatusCode::CREATED, created)
    );
    let second = serde_json::to_value(with_version(&embedded("linkding"), "1.48.0")).expect("JSON");
    let (status, problem) = api.post("/admin/services", "k1", Some(&second)).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency-mismatch"))
    );
    let (status, problem) = api.post("/admin/services", "k2", Some(&first)).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("conflict")));
    let (status, problem) = api.post("/admin/services", "", Some(&first)).await;
    assert_eq!(
        (status, &problem["code"]),
        (StatusCode::BAD_REQUEST, &json!("idempotency-key-missing"))
    );

    let publish = "/admin/services/linkding/versions/1/publish";
    for _ in 0..2 {
        let (status, published) = api.post(publish, "", None).await;
        assert_eq!((status, &published["status"]), (StatusCode::OK, &json!("published")));
    }
    assert_eq!(api.get("/services/linkding").await.1["version"], json!(1));

    let versions = "/admin/services/linkding/versions";
    let (status, problem) = api.post(versions, "k3", Some(&first)).await;
    assert_eq!(
        (status, &problem["detail"]),
        (StatusCode::CONFLICT, &json!("Version 1 has exactly this content."))
    );
    assert_eq!(api.post(versions, "k4", Some(&second)).await.1["version"], json!(2));
    let other = serde_json::to_value(embedded("ghost")).expect("JSON");
    let (status, problem) = api.post(versions, "k5", Some(&other)).await;
    assert_eq!(
        (status, &problem["errors"][0]["pointer"]),
        (StatusCode::UNPROCESSABLE_ENTITY, &json!("/slug"))
    );
    assert_eq!(
        api.post("/admin/services/ghost/versions", "k6", Some(&other)).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.post("/admin/services/linkding/versions/9/publish", "", None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        api.post("/admin/services/ghost/retire", "", None).await.0,
        StatusCode::NOT_FOUND
    );

    for _ in 0..2 {
        assert_eq!(
            api.post("/admin/services/linkding/retire", "", None).await.0,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(api.get("/services/linkding").await.0, StatusCode::NOT_FOUND);
    assert_eq!(
        api.post(publish, "", None).await.0,
        StatusCode::OK,
        "a retired version can return"
    );
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Published), (2, Status::Draft)]
    );

    let deeds: Vec<String> = sqlx::query_scalar("SELECT action FROM audit_log ORDER BY id")
        .fetch_all(&world.pool)
        .await
        .expect("read");
    assert_eq!(
        deeds.iter().filter(|deed| *deed == "service.version.publish").count(),
        2,
        "a publication that changes nothing is no deed: {deeds:?}"
    );
    assert_eq!(deeds.len(), 5, "{deeds:?}");
    let told: i64 = sqlx::query_scalar("SELECT last_seq FROM event_streams WHERE id = $1")
        .bind(Uuid::nil())
        .fetch_one(&world.pool)
        .await
        .expect("read");
    assert_eq!(told, 3);
}

#[tokio::test]
async fn a_wrong_template_is_refused_field_by_field() {
    let world = World::new().await;
    let api = world.serve(&[]).await;
    let mut template = serde_json::to_value(embedded("ghost")).expect("JSON");
    template["components"][0]["image"]["tag"] = json!("latest");
    template["plans"][0]["price_idr"] = json!(-5);
    let (status, problem) = api.post("/admin/services", "k", Some(&template)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers: Vec<&str> = problem["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .filter_map(|error| error["pointer"].as_str())
        .collect();
    assert_eq!(pointers, ["/components/0/image/tag", "/plans/0/price_idr"]);
    template["privileged"] = json!(true);
    let (_, problem) = api.post("/admin/services", "k", Some(&template)).await;
    assert_eq!(problem["errors"][0]["pointer"], json!("/privileged"));
    assert!(world.statuses("ghost").await.is_empty(), "nothing was written");
}

#[tokio::test]
async fn only_admins_change_the_catalogue_and_only_staff_reads_its_drafts() {
    let world = World::new().await;
    world.sync(&[embedded("linkding")]).await;
    let api = world.serve(&[]).await;
    let body = serde_json::to_value(embedded("ghost")).expect("JSON");
    let reads = [
        "/admin/services",
        "/admin/services/linkding/versions",
        "/admin/services/linkding/versions/1",
    ];
    let writes = [
        "/admin/services",
        "/admin/services/linkding/versions",
        "/admin/services/linkding/versions/1/publish",
        "/admin/services/linkding/retire",
    ];
    for (role, read, write) in [
        ("", StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED),
        ("customer", StatusCode::FORBIDDEN, StatusCode::FORBIDDEN),
        ("support", StatusCode::OK, StatusCode::FORBIDDEN),
    ] {
        for path in reads {
            assert_eq!(
                api.call(Method::GET, path, role, "", None).await.0,
                read,
                "{role} reads {path}"
            );
        }
        for path in writes {
            assert_eq!(
                api.call(Method::POST, path, role, "k", Some(&body)).await.0,
                write,
                "{role} writes {path}"
            );
        }
    }
    let list = async |query: &str| {
        api.call(Method::GET, &format!("/admin/services{query}"), "admin", "", None)
            .await
            .1
    };
    assert_eq!(
        list("?status=published").await["items"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(list("?status=draft").await["items"].as_array().map(Vec::len), Some(0));
    assert_eq!(list("?status=unheard-of").await["code"], json!("validation"));
    assert_eq!(
        api.call(Method::GET, "/admin/services/nothing/versions", "admin", "", None)
            .await
            .0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn of_two_publications_at_once_one_is_on_sale_in_the_end() {
    let world = World::new().await;
    world.sync(&[embedded("linkding")]).await;
    world.sync(&[with_version(&embedded("linkding"), "1.48.0")]).await;
    let api = world.serve(&[]).await;
    for _ in 0..5 {
        let (a, b) = tokio::join!(
            api.post("/admin/services/linkding/versions/1/publish", "", None),
            api.post("/admin/services/linkding/versions/2/publish", "", None),
        );
        assert_eq!((a.0, b.0), (StatusCode::OK, StatusCode::OK));
        let published = world
            .statuses("linkding")
            .await
            .into_iter()
            .filter(|(_, status)| *status == Status::Published);
        assert_eq!(published.count(), 1);
    }
    let window = PageQuery::default().window("services").expect("a window");
    let mut conn = world.pool.acquire().await.expect("a connection");
    assert_eq!(store::published_page(&mut conn, &window).await.expect("read").len(), 1);
}
