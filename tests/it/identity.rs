//! Accounts from outside: registering, sessions, rights, limits.

mod rights;
mod sessions;

use lumbung::identity::Role;
use lumbung_tests::{Answer, Client, TestApp};
use serde_json::{Value, json};

const PASSWORD: &str = "tumbukan padi sore";

/// A signed-in user.
struct Person {
    id: String,
    email: String,
    client: Client,
}

async fn person(app: &TestApp, role: Role, email: &str) -> Person {
    let client = match role {
        Role::Customer => app.customer(email).await,
        Role::Support => app.support(email).await,
        Role::Admin => app.admin(email).await,
    };
    let me = client.get("/api/v1/me").await.expect(200);
    Person {
        id: me["id"].as_str().unwrap().to_owned(),
        email: email.to_owned(),
        client,
    }
}

async fn register(app: &TestApp, email: &str, password: &str) -> Answer {
    let body = json!({"email": email, "password": password, "name": "Budi"});
    app.client().post("/api/v1/auth/register", body).await
}

async fn log_in(app: &TestApp, email: &str, password: &str) -> Answer {
    app.client()
        .post("/api/v1/auth/login", json!({"email": email, "password": password}))
        .await
}

/// Registers and logs in; gives the tokens.
async fn tokens(app: &TestApp, email: &str) -> Value {
    register(app, email, PASSWORD).await.expect(202);
    log_in(app, email, PASSWORD).await.expect(200)
}

async fn me(app: &TestApp, tokens: &Value) -> Answer {
    app.client()
        .with_token(tokens["access_token"].as_str().unwrap())
        .get("/api/v1/me")
        .await
}

/// The audit trail of an action: outcome and detail.
async fn audited(app: &TestApp, action: &str) -> Vec<(String, Value)> {
    sqlx::query_as("SELECT outcome, detail FROM audit_log WHERE action = $1")
        .bind(action)
        .fetch_all(&app.db.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_customer_registers_logs_in_and_is_known() {
    let app = TestApp::start().await;
    let tokens = tokens(&app, "Budi@Example.org").await;
    assert_eq!(
        (tokens["token_type"].as_str(), tokens["expires_in"].as_u64()),
        (Some("Bearer"), Some(600))
    );
    let answer = me(&app, &tokens).await;
    assert!(answer.header("etag").is_some());
    let user = answer.expect(200);
    assert_eq!(
        (user["email"].as_str(), user["name"].as_str()),
        (Some("budi@example.org"), Some("Budi"))
    );
    assert_eq!(
        (user["role"].as_str(), user["status"].as_str()),
        (Some("customer"), Some("active"))
    );
    let id: uuid::Uuid = user["id"].as_str().unwrap().parse().unwrap();
    let streams: i64 = sqlx::query_scalar("SELECT count(*) FROM event_streams WHERE id = $1")
        .bind(id)
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(streams, 1, "the account has its event stream");
    app.client().get("/api/v1/me").await.problem(401, "unauthenticated");
    app.client()
        .with_token("nonsense")
        .get("/api/v1/me")
        .await
        .problem(401, "invalid-token");
}

#[tokio::test]
async fn nobody_learns_which_addresses_have_accounts() {
    let app = TestApp::start().await;
    let first = register(&app, "budi@example.org", PASSWORD).await;
    let again = register(&app, "BUDI@example.org", "another password of mine").await;
    assert_eq!((first.status, &first.body), (again.status, &again.body));
    let wrong = log_in(&app, "budi@example.org", "another password of mine").await;
    let unknown = log_in(&app, "siti@example.org", "another password of mine").await;
    let shown = |answer: &Answer| {
        let mut body = answer.body.clone();
        body.as_object_mut().unwrap().remove("request_id");
        (answer.status, body)
    };
    assert_eq!(shown(&wrong), shown(&unknown));
    wrong.problem(401, "invalid-credentials");
    log_in(&app, "budi@example.org", PASSWORD).await.expect(200);
    // One instant has no order, so the outcomes are counted.
    let count = |trail: &[(String, Value)], outcome: &str| trail.iter().filter(|(found, _)| found == outcome).count();
    for (action, allowed, refused) in [("user.register", 1, 1), ("user.login", 1, 2)] {
        let trail = audited(&app, action).await;
        assert_eq!(
            (count(&trail, "allowed"), count(&trail, "refused")),
            (allowed, refused),
            "{action}"
        );
    }
}

#[tokio::test]
async fn many_registrations_of_one_address_make_one_account() {
    let app = TestApp::start().await;
    let all = futures::future::join_all((0..8).map(|_| register(&app, "budi@example.org", PASSWORD))).await;
    assert!(all.iter().all(|answer| answer.status == 202));
    let users: i64 = sqlx::query_scalar("SELECT count(*) FROM users")
        .fetch_one(&app.db.pool)
        .await
        .unwrap();
    assert_eq!(users, 1);
}

#[tokio::test]
async fn bad_registrations_say_what_is_wrong() {
    let app = TestApp::start().await;
    let table = [
        (json!({"email": "budi", "password": PASSWORD}), "/email"),
        (
            json!({"email": "budi@example.org", "password": "password1"}),
            "/password",
        ),
        (
            json!({"email": "budi@example.org", "password": PASSWORD, "name": "a\u{0}b"}),
            "/name",
        ),
        (
            json!({"email": "budi@example.org", "password": PASSWORD, "role": "admin"}),
            "/role",
        ),
    ];
    for (body, pointer) in table {
        let problem = app
            .client()
            .post("/api/v1/auth/register", body)
            .await
            .problem(422, "validation");
        assert!(
            problem.to_string().contains(pointer.trim_start_matches('/')),
            "{problem}"
        );
        assert!(!problem.to_string().contains(PASSWORD), "an answer repeats no password");
    }
}

#[tokio::test]
async fn an_account_is_changed_only_by_who_has_seen_it() {
    let app = TestApp::start().await;
    let person = person(&app, Role::Customer, "budi@example.org").await;
    let seen = person.client.get("/api/v1/me").await;
    let tag = seen.header("etag").unwrap();
    let name = |name: &str| json!({"name": name});
    let (a, b) = tokio::join!(
        person.client.patch("/api/v1/me", tag, name("Siti")),
        person.client.patch("/api/v1/me", tag, name("Dewi")),
    );
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
    let winner = if a.status == 200 { a } else { b };
    let now = person.client.get("/api/v1/me").await;
    assert_eq!(
        (now.header("etag"), &now.body["name"]),
        (winner.header("etag"), &winner.body["name"])
    );
    let patch = |headers: &'static [(&'static str, &'static str)]| {
        let client = person.client.clone();
        async move {
            client
                .send(
                    reqwest::Method::PATCH,
                    "/api/v1/me",
                    headers,
                    Some(&json!({"name": "X"})),
                )
                .await
        }
    };
    patch(&[]).await.problem(428, "precondition-required");
    patch(&[("if-match", "*")]).await.problem(412, "precondition-failed");
}

#[tokio::test]
async fn secrets_are_neither_stored_nor_audited() {
    let app = TestApp::start().await;
    let tokens = tokens(&app, "budi@example.org").await;
    app.client()
        .post(
            "/api/v1/auth/refresh",
            json!({"refresh_token": tokens["refresh_token"]}),
        )
        .await
        .expect(200);
    for table in ["users", "sessions", "audit_log"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT string_agg(t::text, ' ') FROM {table} t"));
        let text: String = sqlx::query_scalar(sql).fetch_one(&app.db.pool).await.unwrap();
        for secret in [
            PASSWORD,
            tokens["access_token"].as_str().unwrap(),
            tokens["refresh_token"].as_str().unwrap(),
        ] {
            assert!(!text.contains(secret), "{table} holds a secret");
        }
    }
}

#[tokio::test]
async fn the_published_keys_verify_our_tokens() {
    let app = TestApp::start().await;
    let tokens = tokens(&app, "budi@example.org").await;
    let answer = app.client().get("/.well-known/jwks.json").await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let jwks: jsonwebtoken::jwk::JwkSet = serde_json::from_value(answer.expect(200)).unwrap();
    let token = tokens["access_token"].as_str().unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("at+jwt"));
    let key = jsonwebtoken::DecodingKey::from_jwk(jwks.find(&header.kid.unwrap()).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
    rules.set_audience(&["lumbung"]);
    rules.set_issuer(&[&app.config.http.public_url]);
    rules.validate_exp = false;
    let claims = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap().claims;
    assert_eq!(claims["role"], "customer");
}

#[tokio::test]
async fn guessing_is_limited_by_sender_and_by_target() {
    let app = TestApp::builder()
        .args(&["--auth-rate-limit", "3", "--trusted-proxies", "127.0.0.1"])
        .start()
        .await;
    let try_from = async |address: &str, email: &str| {
        let body = json!({"email": email, "password": "wrong password"});
        let from = [("x-forwarded-for", address)];
        app.client()
            .send(reqwest::Method::POST, "/api/v1/auth/login", &from, Some(&body))
            .await
    };
    for n in 0..3 {
        try_from("192.0.2.1", &format!("user{n}@example.org"))
            .await
            .problem(401, "invalid-credentials");
    }
    let refused = try_from("192.0.2.1", "user9@example.org").await;
    assert_eq!(refused.header("retry-after"), Some("20"));
    refused.problem(429, "rate-limited");
    // Another sender is not concerned; one target attacked from many addresses is.
    for n in 10..13 {
        try_from(&format!("192.0.2.{n}"), "budi@example.org")
            .await
            .problem(401, "invalid-credentials");
    }
    try_from("192.0.2.14", "budi@example.org")
        .await
        .problem(429, "rate-limited");
    app.advance(std::time::Duration::from_secs(20));
    try_from("192.0.2.14", "budi@example.org")
        .await
        .problem(401, "invalid-credentials");
}
