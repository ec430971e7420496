//! What customers and operators do. Each request is either carried out or refused for a reason that is one.

use lumbung_tests::{Answer, cut};
use reqwest::Method;
use serde_json::{Value, json};

use super::world::{OFFERS, Order, World};

/// An order whose sender went away before the answer: who asks again, with which key, for what.
pub struct Unanswered {
    pub owner: &'static str,
    pub key: String,
    pub body: Value,
    pub polls: u32,
}

impl World {
    /// Sends an order, and goes away while it is on its way.
    pub async fn half_an_order(&mut self) -> Unanswered {
        let (owner, key, polls) = (self.customer(), self.key(), 1 + self.below(12));
        let body = json!({"service": "linkding", "plan": "mini"});
        let headers = [("idempotency-key", key.as_str())];
        let client = self.log_in(owner).await;
        let sending = client.send(Method::POST, "/api/v1/orders", &headers, Some(&body));
        cut(sending, polls).await;
        Unanswered {
            owner,
            key,
            body,
            polls,
        }
    }

    pub async fn order(&mut self) {
        let (owner, offer) = (self.customer(), self.pick(&OFFERS));
        let (service, plan) = offer;
        let body = json!({"service": service, "plan": plan, "inputs": self.inputs(service).await});
        let answer = self.ask(owner, "/api/v1/orders", body).await;
        if answer.status == 409 && self.alone {
            let room = self.room(service, plan).await;
            assert_eq!(room, 0, "refused {service} {plan} with room for {room}");
        }
        self.note_order(owner, offer, answer);
    }

    /// Remembers an accepted order; a refusal has the one reason that there can be.
    pub fn note_order(&mut self, owner: &'static str, offer: (&'static str, &'static str), answer: Answer) {
        self.history.add(format!("{owner} orders {offer:?}: {}", said(&answer)));
        if answer.status == 409 {
            answer.problem(409, "insufficient-capacity");
            return;
        }
        let accepted = answer.expect(202);
        let text = |field: &str| accepted[field].as_str().expect("a text").to_owned();
        self.orders.push(Order {
            owner,
            offer,
            subscription: text("subscription_id"),
            instance: text("instance_id"),
            wanted: "running",
            cancelled_now: false,
            cancelled_at_end: false,
        });
    }

    /// How many more of a plan the scheduler says that it would take.
    async fn room(&self, service: &str, plan: &str) -> u64 {
        let id: uuid::Uuid = sqlx::query_scalar(
            "SELECT p.id FROM service_plans p JOIN services_catalog c ON c.id = p.service_id
              WHERE c.slug = $1 AND p.code = $2 AND c.status = 'published'",
        )
        .bind(service)
        .bind(plan)
        .fetch_one(&self.app.db.pool)
        .await
        .expect("the plan");
        let path = format!("/api/v1/admin/placements/headroom?plan_id={id}");
        self.root().await.get(&path).await.expect(200)["count"]
            .as_u64()
            .expect("a count")
    }

    fn any(&mut self) -> Option<usize> {
        let bound = u32::try_from(self.orders.len()).expect("few orders");
        (bound > 0).then(|| self.below(bound) as usize)
    }

    /// Asks about one of the orders as its owner; true when it is carried out.
    async fn change(&mut self, at: usize, what: &str, path: String, body: serde_json::Value) -> bool {
        let owner = self.orders[at].owner;
        let answer = self.ask(owner, &path, body).await;
        self.history.add(format!(
            "{what} {} of {owner}: {}",
            self.orders[at].instance,
            said(&answer)
        ));
        let status = answer.status.as_u16();
        assert!(matches!(status, 200 | 202 | 409), "{what}: {status} {:#}", answer.body);
        status != 409
    }

    async fn instance(&mut self, what: &str) -> Option<usize> {
        let at = self.any()?;
        let path = format!("/api/v1/instances/{}/{what}", self.orders[at].instance);
        self.change(at, what, path, json!({})).await.then_some(at)
    }

    pub async fn stop(&mut self) {
        if let Some(at) = self.instance("stop").await {
            self.orders[at].wanted = "stopped";
        }
    }

    pub async fn start_again(&mut self) {
        if let Some(at) = self.instance("start").await {
            self.orders[at].wanted = "running";
        }
    }

    pub async fn restart(&mut self) {
        self.instance("restart").await;
    }

    pub async fn cancel(&mut self, when: &str) {
        let Some(at) = self.any() else { return };
        let path = format!("/api/v1/subscriptions/{}/cancel", self.orders[at].subscription);
        if self
            .change(at, &format!("cancel {when}"), path, json!({"when": when}))
            .await
        {
            let order = &mut self.orders[at];
            order.cancelled_now |= when == "now";
            order.cancelled_at_end |= when == "period_end";
        }
    }

    pub async fn undo(&mut self) {
        let Some(at) = self.any() else { return };
        let path = format!("/api/v1/subscriptions/{}/cancel/undo", self.orders[at].subscription);
        self.change(at, "undo cancel", path, json!({})).await;
    }

    /// Buys whatever period can be bought next.
    pub async fn renew(&mut self) {
        let Some(at) = self.any() else { return };
        let order = self.orders[at].clone();
        let path = format!("/api/v1/subscriptions/{}", order.subscription);
        let shown = self.log_in(order.owner).await.get(&path).await.expect(200);
        let Some(period) = shown["renewable_period"].as_i64() else {
            return;
        };
        self.change(
            at,
            &format!("renew {period}"),
            format!("{path}/renew"),
            json!({"period_no": period}),
        )
        .await;
    }

    /// The operator sees the transfers for open invoices.
    pub async fn confirm(&mut self) {
        let sql = "SELECT id FROM billing WHERE status = 'open' ORDER BY number";
        let open: Vec<uuid::Uuid> = sqlx::query_scalar(sql)
            .fetch_all(&self.app.db.pool)
            .await
            .expect("invoices");
        for invoice in open {
            let path = format!("/api/v1/admin/invoices/{invoice}/confirm-payment");
            let answer = self.root().await.post(&path, json!({})).await;
            self.history
                .add(format!("the transfer for {invoice} is confirmed: {}", said(&answer)));
            assert!(matches!(answer.status.as_u16(), 200 | 409), "{:#}", answer.body);
        }
    }
}

fn said(answer: &Answer) -> String {
    let code = answer.body["code"].as_str().unwrap_or_default();
    let id = answer.body["instance_id"].as_str().unwrap_or_default();
    format!("{} {code}{id}", answer.status.as_u16())
}
