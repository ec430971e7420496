//! What happens on the stage, told as it is seen.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use super::client::{Client, Live, text};
use super::stage::Stage;
use super::table;
use super::tell::Tell;
use crate::kube::{self as k8s, LABEL_INSTANCE};
use crate::telemetry::Stopwatch;

const SERVICES: [&str; 3] = ["n8n", "ghost", "wordpress"];
const EMAIL: &str = "budi@example.com";
/// From the first order to the last running service; the simulated machines need a few seconds of it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Told {
    pub email: &'static str,
    pub password: String,
}

struct Ordered {
    service: &'static str,
    instance: String,
    subscription: String,
    invoice: String,
    operation: String,
}

pub async fn play(tell: &Tell, stage: &Stage) -> anyhow::Result<Told> {
    let password = stage.customer_password.clone();
    let mut customer = Client::new(&stage.url);
    customer
        .post(
            "/api/v1/auth/register",
            &json!({"email": EMAIL, "password": password, "name": "Budi"}),
        )
        .await?;
    customer.log_in(EMAIL, &password).await?;
    tell.done(&format!("{EMAIL} registered and logged in"));

    let catalogue = customer.get("/api/v1/services").await?;
    let names: Vec<_> = catalogue["items"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|s| s["name"].as_str())
        .collect();
    ensure!(!names.is_empty(), "the catalogue is empty");
    tell.done(&format!("the catalogue offers {}", names.join(", ")));

    let mut live = customer.live().await?;
    let first = live.next().await?;
    ensure!(first["type"] == "snapshot", "the live view begins with {first}");
    let seq = first["seq"].as_i64().context("the snapshot has a place in the log")?;
    tell.done("the live view is open: a snapshot came first");
    machines_are_known(stage).await?;

    let watch = Stopwatch::start();
    let mut orders = Vec::new();
    for service in SERVICES {
        orders.push(order(tell, &customer, service).await?);
    }
    tell.blank();
    let waiting = come_up(tell, &mut live, seq, &orders);
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .with_context(|| format!("not everything runs after {} s", PATIENCE.as_secs()))??;
    tell.blank();
    tell.done(&format!(
        "all three run, {:.1} s after the first order",
        watch.elapsed().as_secs_f64()
    ));

    for order in &orders {
        books_are_right(&customer, order).await?;
        objects_are_there(stage, order).await?;
    }
    let unserved = stage.unserved();
    ensure!(unserved.is_empty(), "the simulated K3s does not serve {unserved:?}");
    tell.done("operations succeeded, subscriptions active, invoices of Rp 0 paid, objects in the cluster");
    tell.blank();
    for order in &orders {
        access(tell, &customer, order).await?;
    }

    let mut admin = Client::new(&stage.url);
    admin.log_in(stage.admin_email, &stage.admin_password).await?;
    tell.blank();
    table::print(
        tell,
        &admin,
        &orders.iter().map(|order| order.instance.as_str()).collect::<Vec<_>>(),
    )
    .await?;
    Ok(Told { email: EMAIL, password })
}

/// The first look at the cluster happens right after the start; orders before it would be refused for lack of room.
async fn machines_are_known(stage: &Stage) -> anyhow::Result<()> {
    let mut admin = Client::new(&stage.url);
    admin.log_in(stage.admin_email, &stage.admin_password).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        tick.tick().await;
        let workers = admin.get("/api/v1/admin/workers").await?;
        if workers["items"].as_array().is_some_and(|workers| workers.len() == 3) {
            return Ok(());
        }
    }
    anyhow::bail!("the machines were not seen within 10 s")
}

async fn order(tell: &Tell, customer: &Client, service: &'static str) -> anyhow::Result<Ordered> {
    let offer = customer.get(&format!("/api/v1/services/{service}")).await?;
    let plan = text(&offer, "/plans/0/code")?;
    let required = offer["inputs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|input| input["required"] == true);
    let inputs: serde_json::Map<String, Value> = required
        .filter_map(|input| Some((input["key"].as_str()?.to_owned(), EMAIL.into())))
        .collect();
    let body = json!({"service": service, "plan": plan, "inputs": inputs});
    let accepted = customer
        .post_once(&format!("demo-{service}"), "/api/v1/orders", &body)
        .await?;
    let again = customer
        .post_once(&format!("demo-{service}"), "/api/v1/orders", &body)
        .await?;
    ensure!(
        accepted["instance_id"] == again["instance_id"],
        "the repeated order made a second instance"
    );
    tell.done(&format!(
        "ordered {service} ({plan}) for Rp 0: {}",
        text(&accepted, "/host")?
    ));
    let part = |pointer| text(&accepted, pointer).map(str::to_owned);
    Ok(Ordered {
        service,
        instance: part("/instance_id")?,
        subscription: part("/subscription_id")?,
        invoice: part("/invoice_id")?,
        operation: part("/operation/id")?,
    })
}

/// Follows the live view until every instance was said to run; no number may be missing.
async fn come_up(tell: &Tell, live: &mut Live, mut seq: i64, orders: &[Ordered]) -> anyhow::Result<()> {
    let mut phases: BTreeMap<&str, String> = BTreeMap::new();
    while orders.iter().any(|order| {
        phases
            .get(order.instance.as_str())
            .is_none_or(|phase| phase != "running")
    }) {
        let message = live.next().await?;
        if message["type"] != "event" {
            continue;
        }
        let next = message["seq"].as_i64().context("an event has a number")?;
        ensure!(next == seq + 1, "event {next} came after {seq}");
        seq = next;
        let (event, payload) = (&message["event"], &message["event"]["payload"]);
        if event["type"] != "instance.phase_changed" {
            continue;
        }
        let phase = text(payload, "/phase")?;
        if let Some(order) = orders
            .iter()
            .find(|order| payload["instance_id"] == order.instance.as_str())
        {
            phases.insert(&order.instance, phase.to_owned());
        }
        tell.event(
            seq,
            text(payload, "/service")?,
            phase,
            payload["message"].as_str().unwrap_or_default(),
        );
    }
    Ok(())
}

async fn books_are_right(customer: &Client, order: &Ordered) -> anyhow::Result<()> {
    let operation = customer.get(&format!("/api/v1/operations/{}", order.operation)).await?;
    ensure!(
        operation["status"] == "succeeded",
        "the operation of {} ended as {operation}",
        order.service
    );
    let invoice = customer.get(&format!("/api/v1/invoices/{}", order.invoice)).await?;
    ensure!(
        invoice["status"] == "paid" && invoice["amount_idr"] == 0,
        "the invoice is {invoice}"
    );
    // The first period begins with the first readiness, which another task takes note of.
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..100 {
        tick.tick().await;
        let subscription = customer
            .get(&format!("/api/v1/subscriptions/{}", order.subscription))
            .await?;
        if subscription["status"] == "active" && subscription["period_no"] == 1 {
            return Ok(());
        }
    }
    anyhow::bail!("the first period of {} has not begun", order.service)
}

async fn objects_are_there(stage: &Stage, order: &Ordered) -> anyhow::Result<()> {
    let ours = ListParams::default().labels(&format!("{LABEL_INSTANCE}={}", order.instance));
    let sets = k8s::timed(Api::<StatefulSet>::all(stage.kube.clone()).list(&ours)).await?;
    let ready = sets.items.iter().filter(|set| {
        set.status
            .as_ref()
            .is_some_and(|status| status.ready_replicas == Some(1))
    });
    ensure!(
        ready.count() == 1,
        "{} has no StatefulSet with a ready pod",
        order.service
    );
    let routes = k8s::timed(Api::<Ingress>::all(stage.kube.clone()).list(&ours)).await?;
    ensure!(
        routes.items.len() == 1,
        "{} has {} routes",
        order.service,
        routes.items.len()
    );
    Ok(())
}

async fn access(tell: &Tell, customer: &Client, order: &Ordered) -> anyhow::Result<()> {
    let instance = customer.get(&format!("/api/v1/instances/{}", order.instance)).await?;
    let credentials = customer
        .get(&format!("/api/v1/instances/{}/credentials", order.instance))
        .await?;
    let password = credentials["password"].as_str().filter(|password| !password.is_empty());
    let password = password.with_context(|| format!("{} has no password", order.service))?;
    // Shown only as far as it proves that it is there: terminals are recorded.
    let shown: String = password.chars().take(2).collect();
    let user = credentials["username"].as_str().unwrap_or("(none)");
    tell.line(&format!(
        "{:<10} {}   user {user}   password {shown}…",
        order.service,
        text(&instance, "/url")?
    ));
    Ok(())
}
