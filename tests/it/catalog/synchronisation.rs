//! Templates from files meet what stands in the database.

use lumbung::catalog::template::load_embedded;
use lumbung::catalog::{Status, seed, store};
use reqwest::StatusCode;

use super::{World, embedded, with_version};

#[tokio::test]
async fn synchronising_twice_changes_nothing_and_new_content_is_a_new_version() {
    let world = World::new().await;
    let templates = load_embedded().expect("ours are valid");
    assert_eq!(world.sync(&templates).await, 5);
    assert_eq!(world.sync(&templates).await, 0);
    let mut conn = world.pool.acquire().await.expect("a connection");
    let sold = store::plan_for_order(&mut conn, "linkding", "mini")
        .await
        .expect("read")
        .expect("for sale");

    let old = embedded("linkding");
    let new = with_version(&old, "1.48.0");
    assert_eq!(world.sync(std::slice::from_ref(&new)).await, 1);
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Retired), (2, Status::Published)]
    );
    // A replica that still has the old files must not turn the wheel back.
    assert_eq!(world.sync(std::slice::from_ref(&old)).await, 0);
    assert_eq!(
        world.statuses("linkding").await,
        [(1, Status::Retired), (2, Status::Published)]
    );

    let now = store::plan_for_order(&mut conn, "linkding", "mini")
        .await
        .expect("read")
        .expect("for sale");
    assert_eq!((now.service_version, now.template.version.as_str()), (2, "1.48.0"));
    let then = store::plan_by_id(&mut conn, sold.plan_id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(
        (then.service_version, then.service_id, &then.plan),
        (1, sold.service_id, &sold.plan)
    );
    let template = store::template_by_service_id(&mut conn, sold.service_id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(*template, old);
    let starter = store::plan_of_service(&mut conn, sold.service_id, "starter")
        .await
        .expect("read")
        .expect("in v1");
    assert_eq!((starter.service_version, starter.plan.mem_limit_mib), (1, 1024));
    assert!(
        store::plan_for_order(&mut conn, "linkding", "huge")
            .await
            .expect("read")
            .is_none()
    );
    assert!(
        store::plan_for_order(&mut conn, "nothing", "mini")
            .await
            .expect("read")
            .is_none()
    );
}

#[tokio::test]
async fn replicas_that_start_together_bring_each_template_in_once() {
    let world = World::new().await;
    let templates = load_embedded().expect("ours are valid");
    let start = || async {
        let mut tx = world.pool.begin().await.expect("a transaction");
        let written = seed::sync(&mut tx, &world.ambient, &templates)
            .await
            .expect("synchronised");
        tx.commit().await.expect("committed");
        written
    };
    let (a, b, c) = tokio::join!(start(), start(), start());
    assert_eq!(a + b + c, 5);
}

#[tokio::test]
async fn files_neither_replace_an_admins_version_nor_undo_a_retirement() {
    let world = World::new().await;
    let ghost = embedded("ghost");
    world.sync(std::slice::from_ref(&ghost)).await;
    let api = world.serve(&[]).await;
    let own = serde_json::to_value(with_version(&ghost, "6.65.0-own")).expect("JSON");
    assert_eq!(
        api.post("/admin/services/ghost/versions", "k1", Some(&own)).await.0,
        StatusCode::CREATED
    );
    assert_eq!(
        api.post("/admin/services/ghost/versions/2/publish", "", None).await.0,
        StatusCode::OK
    );
    assert_eq!(world.sync(&[with_version(&ghost, "6.66.0")]).await, 1);
    assert_eq!(
        world.statuses("ghost").await,
        [(1, Status::Retired), (2, Status::Published), (3, Status::Draft)]
    );

    assert_eq!(
        api.post("/admin/services/ghost/retire", "", None).await.0,
        StatusCode::NO_CONTENT
    );
    assert_eq!(world.sync(&[with_version(&ghost, "6.67.0")]).await, 1);
    assert_eq!(
        world.statuses("ghost").await,
        [
            (1, Status::Retired),
            (2, Status::Retired),
            (3, Status::Draft),
            (4, Status::Draft)
        ]
    );
}
