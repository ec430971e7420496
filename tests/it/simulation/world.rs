//! The platform, its customers, what they were promised, and the dice.

use std::time::Duration;

use lumbung_tests::{Answer, Builder, Client, PASSWORD, TestApp, cut, inputs};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::{Value, json};
use simcluster::{Fault, NodeSpec};

use super::history::History;

/// Accepted orders that every history has at least.
pub const ORDERS: usize = 10;
/// Steps that every history has at least, and at most.
const STEPS: std::ops::RangeInclusive<usize> = 40..=150;
/// Orders that are tried in a history's first steps, so that there is something to happen to.
const FIRST: usize = 4;

const CUSTOMERS: [&str; 4] = [
    "ani@example.org",
    "budi@example.org",
    "citra@example.org",
    "dewi@example.org",
];
/// The machines, with their MiB.
pub const NODES: [(&str, u64); 3] = [("large", 4 * 1024), ("middle", 3 * 1024), ("small", 2 * 1024)];
const ROOT: &str = "root@example.org";
/// Service and plan. The one with a price is paid by bank transfer, which an operator confirms.
pub const OFFERS: [(&str, &str); 6] = [
    ("linkding", "mini"),
    ("vaultwarden", "mini"),
    ("linkding", "starter"),
    ("n8n", "starter"),
    ("wordpress", "starter"),
    PRICED,
];
pub const PRICED: (&str, &str) = ("vaultwarden", "starter");

/// An accepted order, and what its owner has asked for since.
#[derive(Clone, Debug)]
pub struct Order {
    pub owner: &'static str,
    pub offer: (&'static str, &'static str),
    pub subscription: String,
    pub instance: String,
    pub wanted: &'static str,
    pub cancelled_now: bool,
    pub cancelled_at_end: bool,
}

pub struct World {
    pub app: TestApp,
    pub orders: Vec<Order>,
    pub history: History,
    /// The service whose image can never be pulled in this history.
    pub broken: Option<&'static str>,
    /// Where requests go: the app in this process, or a process of its own.
    pub url: String,
    /// Nothing but this test acts on the platform, so that two questions in a row meet the same state.
    pub alone: bool,
    rng: StdRng,
    keys: u32,
}

impl World {
    pub async fn start(seed: u64) -> Self {
        Self::begin(seed, TestApp::builder()).await
    }

    pub async fn begin(seed: u64, builder: Builder) -> Self {
        let nodes = NODES
            .map(|(name, mem_mib)| NodeSpec::new(name, 8_000, mem_mib))
            .to_vec();
        // So long that only what can never run is given up.
        let builder = builder.nodes(nodes).seed(seed).args(&["--ready-minutes", "10080"]);
        let app = builder.start().await;
        app.settle().await;
        sqlx::query(
            "UPDATE service_plans SET price_idr = 25000
              WHERE code = $2 AND service_id IN (SELECT id FROM services_catalog WHERE slug = $1)",
        )
        .bind(PRICED.0)
        .bind(PRICED.1)
        .execute(&app.db.pool)
        .await
        .expect("a price");
        for customer in CUSTOMERS {
            app.customer(customer).await;
        }
        app.admin(ROOT).await;
        let broken = seed.is_multiple_of(3).then_some("wordpress");
        if let Some(service) = broken {
            app.sim.faults().add(Fault::pulls_fail(service));
        }
        let url = app.url.clone();
        let (history, rng) = (History::of(seed), StdRng::seed_from_u64(seed));
        Self {
            app,
            orders: Vec::new(),
            history,
            broken,
            url,
            alone: true,
            rng,
            keys: 0,
        }
    }

    /// The whole history, and what must hold at its end.
    pub async fn live(mut self) {
        for step in 1.. {
            let enough = step > *STEPS.start() && self.orders.len() >= ORDERS;
            if enough || step > *STEPS.end() {
                break;
            }
            match step {
                _ if step <= FIRST => self.order().await,
                // Whatever else the dice say.
                _ if step == STEPS.start() / 2 => self.crash().await,
                _ => self.step().await,
            }
            self.work().await;
        }
        self.rest().await;
        assert!(self.orders.len() >= ORDERS, "too few orders: {}", self.orders.len());
    }

    async fn step(&mut self) {
        match self.below(100) {
            0..22 => self.order().await,
            22..29 => self.stop().await,
            29..36 => self.start_again().await,
            36..41 => self.restart().await,
            41..45 => self.cancel("now").await,
            45..49 => self.cancel("period_end").await,
            49..52 => self.undo().await,
            52..60 => self.renew().await,
            60..64 => self.confirm().await,
            64..72 => self.minutes(),
            72..76 => self.leap().await,
            76..88 => self.fault(),
            88..92 => self.rest().await,
            _ => self.crash().await,
        }
    }

    /// The background tasks get so far and are then dropped where they stand.
    async fn work(&mut self) {
        if !self.alone {
            return;
        }
        let polls = self.below(600);
        let ended = cut(self.app.try_settle(), polls).await;
        if ended.is_none() {
            self.app.outlive_leases().await;
        }
        let how = match ended {
            None => "dropped".to_owned(),
            Some(Ok(())) => "at rest".to_owned(),
            Some(Err(error)) => format!("{error:#}"),
        };
        self.history.add(format!("tasks polled {polls} times at most: {how}"));
    }

    pub async fn crash(&mut self) {
        self.history.add("the process is dropped and another one started");
        self.app.crash().await;
        self.url.clone_from(&self.app.url);
    }

    fn minutes(&mut self) {
        let minutes = 1 + self.below(40);
        self.history.add(format!("{minutes} minutes pass"));
        self.app.advance(Duration::from_mins(minutes.into()));
    }

    /// Days pass. Before, everything has come up: what is given up as never ready is what cannot run.
    async fn leap(&mut self) {
        self.rest().await;
        let days = 1 + self.below(32);
        self.history.add(format!("{days} days pass"));
        self.app.advance(Duration::from_hours(24 * u64::from(days)));
    }

    pub fn below(&mut self, bound: u32) -> u32 {
        self.rng.random_range(0..bound)
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())].clone()
    }

    pub fn customer(&mut self) -> &'static str {
        self.pick(&CUSTOMERS)
    }

    pub fn key(&mut self) -> String {
        self.keys += 1;
        format!("key-{}", self.keys)
    }

    /// Tokens live for minutes and histories for months, so everybody logs in for each request.
    pub async fn log_in(&self, email: &str) -> Client {
        let client = Client::new(&self.url);
        let body = client
            .post("/api/v1/auth/login", json!({"email": email, "password": PASSWORD}))
            .await
            .expect(200);
        client.with_token(body["access_token"].as_str().expect("a token"))
    }

    pub async fn root(&self) -> Client {
        self.log_in(ROOT).await
    }

    pub async fn inputs(&self, service: &str) -> Value {
        inputs(
            &Client::new(&self.url)
                .get(&format!("/api/v1/services/{service}"))
                .await
                .expect(200),
        )
    }

    /// A POST. Now and then its sender goes away half-way and asks again; now and then the server has died with it.
    pub async fn ask(&mut self, who: &str, path: &str, body: Value) -> Answer {
        let key = self.key();
        let headers = [("idempotency-key", key.as_str())];
        if self.below(5) == 0 {
            let polls = 1 + self.below(8);
            let client = self.log_in(who).await;
            let answered = cut(client.send(Method::POST, path, &headers, Some(&body)), polls)
                .await
                .is_some();
            self.history.add(format!(
                "  the first {path} was cut after {polls} polls; answered: {answered}"
            ));
            if self.alone && self.below(3) == 0 {
                self.crash().await;
            }
        }
        self.insist(who, &key, path, &body).await
    }

    /// Asks until there is an answer. Beside others that die or sleep with what they had begun, a server may be busy.
    pub async fn insist(&self, who: &str, key: &str, path: &str, body: &Value) -> Answer {
        let headers = [("idempotency-key", key)];
        for _ in 0..500 {
            let answer = self
                .log_in(who)
                .await
                .send(Method::POST, path, &headers, Some(body))
                .await;
            let busy = answer.body["code"] == "idempotency-in-flight" || !self.alone && answer.status == 503;
            if !busy {
                return answer;
            }
        }
        panic!("the first request with {key} never ends");
    }
}
