//! One provisioned platform with everybody in it, and things of every kind that exist.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lumbung_tests::{Client, PASSWORD, TestApp};
use serde_json::{Value, json};

use super::Who;

pub const OWNER: &str = "owner@example.org";
const OTHER: &str = "other@example.org";
const SUPPORT: &str = "support@example.org";
const ADMIN: &str = "admin@example.org";
const SUBJECT: &str = "subject@example.org";

pub struct World {
    pub app: TestApp,
    owner: Client,
    other: Client,
    support: Client,
    admin: Client,
    expired: String,
    numbers: AtomicU32,
    /// What the owner has: running, with a paid invoice.
    pub kept: Ordered,
    /// To be cancelled.
    pub doomed: Ordered,
    /// Waiting for a bank transfer.
    pub unpaid: Ordered,
    pub transaction: String,
    /// An account that nobody here uses.
    pub subject: String,
    pub worker: String,
    /// A plan of some service.
    pub plan: String,
    /// linkding's template as the catalogue has it.
    pub template: Value,
}

pub struct Ordered {
    pub instance: String,
    pub subscription: String,
    pub invoice: String,
    pub operation: String,
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("a text, not {value}"))
        .to_owned()
}

impl World {
    pub async fn new() -> Self {
        let app = TestApp::start().await;
        app.settle().await;
        app.customer(OTHER).await;
        app.customer(SUBJECT).await;
        app.support(SUPPORT).await;
        app.admin(ADMIN).await;
        let expired = app.customer(OWNER).await.token.expect("logged in");
        app.advance(Duration::from_hours(1));
        let [owner, other, support, admin] = [
            app.log_in(OWNER).await,
            app.log_in(OTHER).await,
            app.log_in(SUPPORT).await,
            app.log_in(ADMIN).await,
        ];
        let (kept, doomed) = (order(&owner, "kept").await, order(&owner, "doomed").await);
        app.settle().await;
        let unpaid = {
            price(&app, 50_000).await;
            let unpaid = order(&owner, "unpaid").await;
            price(&app, 0).await;
            unpaid
        };
        app.settle().await;
        let first = async |client: &Client, path: &str| text(&client.get(path).await.expect(200)["items"][0]["id"]);
        let transaction = first(&owner, "/api/v1/transactions").await;
        let subject = first(&admin, &format!("/api/v1/admin/users?email={SUBJECT}")).await;
        let worker = first(&admin, "/api/v1/admin/workers").await;
        let plan: uuid::Uuid = sqlx::query_scalar("SELECT id FROM service_plans ORDER BY id LIMIT 1")
            .fetch_one(&app.db.pool)
            .await
            .expect("a plan");
        let shown = admin
            .get("/api/v1/admin/services/linkding/versions/1")
            .await
            .expect(200);
        let world = Self {
            app,
            owner,
            other,
            support,
            admin,
            expired,
            numbers: AtomicU32::new(0),
            kept,
            doomed,
            unpaid,
            transaction,
            subject,
            worker,
            plan: plan.to_string(),
            template: shown["template"].clone(),
        };
        world
            .admin
            .post_once("draft", "/api/v1/admin/services", world.service("shelf"))
            .await
            .expect(201);
        world
    }

    /// The template of a service of another name.
    pub fn service(&self, slug: &str) -> Value {
        let mut template = self.template.clone();
        template["slug"] = json!(slug);
        template
    }

    /// Never the same twice.
    pub fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Speaks as `who`; with a session that nobody else uses, if asked for.
    pub async fn client(&self, who: Who, own_session: bool) -> Client {
        let (email, client) = match who {
            Who::Nobody => return self.app.client(),
            Who::Garbage => return self.app.client().with_token("not.a.token"),
            Who::Expired => return self.app.client().with_token(&self.expired),
            Who::Other => (OTHER, &self.other),
            Who::Support => (SUPPORT, &self.support),
            Who::Owner => (OWNER, &self.owner),
            Who::Admin => (ADMIN, &self.admin),
        };
        if own_session {
            self.app.log_in(email).await
        } else {
            client.clone()
        }
    }

    /// A refresh token that was not used.
    pub async fn refresh_token(&self) -> String {
        let credentials = json!({"email": OWNER, "password": PASSWORD});
        text(
            &self
                .app
                .client()
                .post("/api/v1/auth/login", credentials)
                .await
                .expect(200)["refresh_token"],
        )
    }
}

async fn order(client: &Client, key: &str) -> Ordered {
    let wish = json!({"service": "linkding", "plan": "starter"});
    let accepted = client.post_once(key, "/api/v1/orders", wish).await.expect(202);
    Ordered {
        instance: text(&accepted["instance_id"]),
        subscription: text(&accepted["subscription_id"]),
        invoice: text(&accepted["invoice_id"]),
        operation: text(&accepted["operation"]["id"]),
    }
}

async fn price(app: &TestApp, idr: i64) {
    let sql = "UPDATE service_plans SET price_idr = $1";
    sqlx::query(sql).bind(idr).execute(&app.db.pool).await.expect("priced");
}
