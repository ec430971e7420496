//! Roles and suspensions, and the admin who is made on the command line.

use lumbung::identity::Role;
use lumbung::identity::admin::{self, Outcome, create_admin};
use lumbung::identity::password::{Cost, Hasher, Password};
use lumbung_tests::TestApp;
use serde_json::{Value, json};

use super::{PASSWORD, Person, audited, log_in, me, person, register, tokens};

async fn change(by: &Person, id: &str, body: Value) -> lumbung_tests::Answer {
    let path = format!("/api/v1/admin/users/{id}");
    // Whoever may not look has no ETag either; the refusal must come before it matters.
    let seen = by.client.get(&path).await;
    by.client
        .patch(&path, seen.header("etag").unwrap_or("\"v1\""), body)
        .await
}

#[tokio::test]
async fn a_suspension_is_effective_at_once() {
    let app = TestApp::start().await;
    let admin = person(&app, Role::Admin, "admin@example.org").await;
    let tokens = tokens(&app, "budi@example.org").await;
    let user = me(&app, &tokens).await.expect(200);
    let id = user["id"].as_str().unwrap();
    let suspended = change(&admin, id, json!({"status": "suspended"})).await.expect(200);
    assert_eq!(suspended["status"], "suspended");
    me(&app, &tokens).await.problem(401, "invalid-token");
    let body = json!({"refresh_token": tokens["refresh_token"]});
    app.client()
        .post("/api/v1/auth/refresh", body)
        .await
        .problem(401, "invalid-token");
    log_in(&app, "budi@example.org", PASSWORD)
        .await
        .problem(403, "forbidden");
    log_in(&app, "budi@example.org", "not the password")
        .await
        .problem(401, "invalid-credentials");

    change(&admin, id, json!({"status": "active"})).await.expect(200);
    let again = log_in(&app, "budi@example.org", PASSWORD).await.expect(200);
    me(&app, &again).await.expect(200);
    me(&app, &tokens).await.problem(401, "invalid-token");
}

#[tokio::test]
async fn a_changed_role_ends_the_sessions_that_had_the_old_one() {
    let app = TestApp::start().await;
    let admin = person(&app, Role::Admin, "admin@example.org").await;
    let person = person(&app, Role::Customer, "siti@example.org").await;
    person.client.get("/api/v1/admin/users").await.problem(403, "forbidden");
    change(&admin, &person.id, json!({"role": "support"})).await.expect(200);
    person
        .client
        .get("/api/v1/admin/users")
        .await
        .problem(401, "invalid-token");
    let trail = audited(&app, "user.rights").await;
    assert_eq!(trail[0].0, "allowed");
    assert_eq!(trail[0].1["role"], json!({"from": "customer", "to": "support"}));
}

#[tokio::test]
async fn support_looks_and_only_admins_change() {
    let app = TestApp::start().await;
    let admin = person(&app, Role::Admin, "admin@example.org").await;
    let support = person(&app, Role::Support, "help@example.org").await;
    let customer = person(&app, Role::Customer, "siti@example.org").await;
    let id = &customer.id;
    let shown = support
        .client
        .get(&format!("/api/v1/admin/users/{id}"))
        .await
        .expect(200);
    assert_eq!(shown["email"], json!(customer.email));
    change(&support, id, json!({"role": "admin"}))
        .await
        .problem(403, "forbidden");
    change(&customer, id, json!({"role": "admin"}))
        .await
        .problem(403, "forbidden");
    change(&admin, id, json!({})).await.problem(422, "validation");
    change(&admin, id, json!({"role": "king"}))
        .await
        .problem(422, "validation");
    let path = format!("/api/v1/admin/users/{id}");
    admin
        .client
        .patch(&path, "\"v1\"", json!({"role": "admin"}))
        .await
        .problem(412, "precondition-failed");
    let nobody = "/api/v1/admin/users/00000000-0000-7000-8000-000000000000";
    admin.client.get(nobody).await.problem(404, "not-found");
    admin
        .client
        .patch(nobody, "\"v1\"", json!({"role": "admin"}))
        .await
        .problem(404, "not-found");
}

#[tokio::test]
async fn there_is_always_an_admin_left() {
    let app = TestApp::start().await;
    let a = person(&app, Role::Admin, "a@example.org").await;
    let b = person(&app, Role::Admin, "b@example.org").await;
    let (id_a, id_b) = (a.id.clone(), b.id.clone());
    let demote = json!({"role": "customer"});
    let (first, second) = tokio::join!(change(&a, &id_b, demote.clone()), change(&b, &id_a, demote.clone()));
    let winners = [&first, &second]
        .into_iter()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(winners, 1, "{} {}", first.body, second.body);
    let (last, id) = if first.status == 200 { (a, id_a) } else { (b, id_b) };
    for body in [demote, json!({"role": "support"}), json!({"status": "suspended"})] {
        change(&last, &id, body).await.problem(409, "conflict");
    }
    last.client.get("/api/v1/me").await.expect(200);
    assert!(
        audited(&app, "user.rights")
            .await
            .iter()
            .any(|(outcome, _)| outcome == "refused")
    );
}

#[tokio::test]
async fn the_list_is_paged_and_filtered() {
    let app = TestApp::start().await;
    let admin = person(&app, Role::Admin, "admin@example.org").await;
    let mut customers = Vec::new();
    for n in 0..5 {
        customers.push(person(&app, Role::Customer, &format!("c{n}@example.org")).await.id);
    }
    let mut seen = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = admin
            .client
            .get(&format!("/api/v1/admin/users?role=customer&limit=2{cursor}"))
            .await
            .expect(200);
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| user["id"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    customers.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, customers);
    let other_list = admin.client.get(&format!("/api/v1/admin/users?limit=2{cursor}")).await;
    other_list.problem(400, "invalid-cursor");
    let by_email = format!("/api/v1/admin/users?email={}", admin.email.to_uppercase());
    assert_eq!(
        admin.client.get(&by_email).await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let none = admin
        .client
        .get("/api/v1/admin/users?status=suspended")
        .await
        .expect(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn the_command_line_makes_an_admin_once() {
    let app = TestApp::start().await;
    let hasher = Hasher::new(Cost::TRIFLING, &app.ambient.entropy).unwrap();
    let create = async |app: &TestApp, email: &str, password: Option<&str>, promote: bool| {
        let password = password.map(Password::new);
        create_admin(&app.db.pool, &app.ambient, &hasher, email, password, promote).await
    };
    let made = create(&app, "Boss@example.org", None, false).await.unwrap();
    let Outcome::Created {
        user_id,
        generated: Some(password),
    } = made
    else {
        panic!("not created: {made:?}");
    };
    let boss = log_in(&app, "boss@example.org", password.expose()).await.expect(200);
    assert_eq!(me(&app, &boss).await.expect(200)["role"], "admin");
    let again = create(&app, "boss@example.org", Some("another good one"), false)
        .await
        .unwrap();
    assert_eq!(again, Outcome::AlreadyAdmin { user_id });
    me(&app, &boss).await.expect(200);

    register(&app, "budi@example.org", PASSWORD).await.expect(202);
    let refused = create(&app, "budi@example.org", None, false).await;
    assert!(matches!(refused, Err(admin::Error::NotAnAdmin(_))), "{refused:?}");
    let promoted = create(&app, "budi@example.org", None, true).await.unwrap();
    assert!(matches!(promoted, Outcome::Promoted { .. }), "{promoted:?}");
    let budi = log_in(&app, "budi@example.org", PASSWORD).await.expect(200);
    assert_eq!(me(&app, &budi).await.expect(200)["role"], "admin");
    assert!(matches!(
        create(&app, "budi", None, false).await,
        Err(admin::Error::Email(_))
    ));
    let weak = create(&app, "x@example.org", Some("password1"), false).await;
    assert!(matches!(weak, Err(admin::Error::Weak(_))), "{weak:?}");
}
