//! Plays one transcript against a fresh cluster and compares every answer.

use std::time::Duration;

use lumbung_simcluster::{Delays, NodeSpec, Options, SimCluster, StorageClass};
use reqwest::{Client, Method, Response, header::HeaderMap};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{matching::Bindings, skips::Skips};

/// What became of a transcript's steps.
#[derive(Default)]
pub struct Outcome {
    pub passed: usize,
    pub skipped: usize,
    /// One line for each difference.
    pub failures: Vec<String>,
}

struct Player<'a> {
    name: &'a str,
    skips: &'a Skips,
    cluster: SimCluster,
    client: Client,
    bindings: Bindings,
    watches: Vec<(&'a Value, JoinHandle<Vec<Value>>)>,
    /// The revisions that answers to writes have shown, as placeholders.
    written: Vec<String>,
    outcome: Outcome,
}

/// The recorded cluster: three nodes, two storage classes.
async fn cluster() -> SimCluster {
    let mut classes: Vec<StorageClass> = Options::default().storage_classes;
    for class in &mut classes {
        class.default = class.name == "longhorn";
    }
    let nodes = vec![
        NodeSpec::new("n1", 4_000, 16_384).label("topology.kubernetes.io/zone", "a"),
        NodeSpec::new("n2", 8_000, 32_768),
        NodeSpec::new("n3", 8_000, 32_768),
    ];
    let options = Options { nodes, storage_classes: classes, delays: Delays::zero(), ..Options::default() };
    SimCluster::start(options).await.expect("a cluster on an ephemeral port")
}

pub async fn play(name: &str, transcript: &Value, skips: &Skips) -> Outcome {
    let cluster = cluster().await;
    cluster.settle().await;
    let mut player = Player {
        name,
        skips,
        client: Client::new(),
        bindings: Bindings::default(),
        watches: Vec::new(),
        written: Vec::new(),
        outcome: Outcome::default(),
        cluster,
    };
    for request in list(&transcript["setup"]) {
        player.setup(request).await;
    }
    // The recorded server had been up for long: its past was forgotten.
    player.cluster.cluster().compact();
    for step in list(&transcript["steps"]) {
        player.step(step).await;
    }
    player.finish_watches().await;
    if let Err(why) = player.bindings.in_order(&player.written) {
        player.outcome.failures.push(format!("{name}: {why}"));
    }
    player.cluster.shutdown().await;
    player.outcome
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl<'a> Player<'a> {
    async fn setup(&mut self, request: &Value) {
        let answer = self.send(request).await;
        // Setup may use kinds that are not served; the steps that need them are skipped one by one.
        let _ = answer.bytes().await;
        self.cluster.settle().await;
    }

    async fn step(&mut self, step: &'a Value) {
        let number = step["n"].as_u64().unwrap_or(u64::MAX);
        let (request, expected) = (&step["request"], &step["response"]);
        if !request.is_object() {
            self.cluster.settle().await;
            return;
        }
        let skipped = self.skips.step(self.name, number).is_some();
        if expected["stream"] == "watch" {
            if skipped {
                self.outcome.skipped += 1;
                return;
            }
            let answer = self.send(request).await;
            self.watches.push((step, tokio::spawn(events(answer))));
            return;
        }
        let mut changed = self.cluster.cluster().changed();
        let before = self.bindings.clone();
        let answer = self.send(request).await;
        let mut found = self.compare(expected, answer).await;
        // The recorder polled before it read what controllers had yet to do.
        while !found.is_empty() && !skipped && request["method"] == "GET" {
            if tokio::time::timeout(Duration::from_secs(2), changed.changed()).await.is_err() {
                break;
            }
            self.bindings = before.clone();
            let answer = self.send(request).await;
            found = self.compare(expected, answer).await;
        }
        if skipped {
            self.outcome.skipped += 1;
            if found.is_empty() {
                println!("{} step {number} is skipped but was answered as recorded", self.name);
            }
        } else if found.is_empty() {
            self.outcome.passed += 1;
        } else {
            self.fail(number, &found);
        }
        if request["method"] != "GET" {
            self.written.extend(expected["body"]["metadata"]["resourceVersion"].as_str().map(ToOwned::to_owned));
            self.cluster.settle().await;
        }
    }

    fn fail(&mut self, step: u64, found: &[String]) {
        self.outcome.failures.extend(found.iter().map(|line| format!("{} step {step}: {line}", self.name)));
    }

    async fn send(&mut self, request: &Value) -> Response {
        let revision = self.cluster.cluster().revision();
        let path = self.bindings.fill(request["path"].as_str().unwrap_or_default(), revision);
        let method = request["method"].as_str().unwrap_or("GET").parse::<Method>().expect("a method");
        let url = format!("{}{path}", self.cluster.url());
        let mut builder = self.client.request(method, url).bearer_auth(self.cluster.token());
        builder = builder.header("user-agent", "golden-recorder/1").header("accept", "application/json");
        let json_by_default = json!({"content-type": "application/json"});
        let headers = if request["headers"].is_object() { &request["headers"] } else { &json_by_default };
        let mut map = HeaderMap::new();
        for (name, value) in headers.as_object().into_iter().flatten() {
            let name: reqwest::header::HeaderName = name.parse().expect("a header name");
            map.insert(name, value.as_str().unwrap_or_default().parse().expect("a header value"));
        }
        builder = builder.headers(map);
        if let Some(body) = request.get("body").filter(|body| !body.is_null()) {
            let text = body.as_str().map_or_else(|| body.to_string(), ToOwned::to_owned);
            builder = builder.body(self.bindings.fill(&text, revision));
        }
        builder.send().await.expect("an answer")
    }

    async fn compare(&mut self, expected: &Value, answer: Response) -> Vec<String> {
        let mut found = Vec::new();
        let status = answer.status().as_u16();
        if expected["status"].as_u64() != Some(u64::from(status)) {
            found.push(format!("status: expected {}, got {status}", expected["status"]));
        }
        let headers = answer.headers().clone();
        for name in ["content-type", "warning", "retry-after"] {
            let mut actual: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            let mut expected = match &expected["headers"][name] {
                Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
                Value::String(one) if one.is_empty() => Vec::new(),
                Value::String(one) => vec![one.as_str()],
                _ => Vec::new(),
            };
            // Several warnings come in any order.
            actual.sort_unstable();
            expected.sort_unstable();
            if actual != expected {
                found.push(format!("header {name}: expected {expected:?}, got {actual:?}"));
            }
        }
        let text = answer.text().await.unwrap_or_default();
        let actual = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
        self.bindings.differences("body", &without_fork(&expected["body"]), &actual, &mut found);
        found
    }

    async fn finish_watches(&mut self) {
        self.cluster.settle().await;
        for (step, handle) in std::mem::take(&mut self.watches) {
            let number = step["n"].as_u64().unwrap_or(u64::MAX);
            let expected = recorded_events(&step["response"]["body"]);
            if step["response"]["ended_by"] == "client" {
                self.cluster.faults().add(lumbung_simcluster::Fault::drop_watches());
            }
            let actual = tokio::time::timeout(Duration::from_secs(15), handle).await;
            let Ok(Ok(actual)) = actual else {
                self.fail(number, &["the watch did not end".to_owned()]);
                continue;
            };
            let trimmed = step.to_string().contains("\"delta\"");
            let actual: Vec<Value> = actual.into_iter().filter(compared).map(|e| plain(e, trimmed)).collect();
            let expected: Vec<Value> = expected.into_iter().filter(compared).map(|e| plain(e, trimmed)).collect();
            let mut found = Vec::new();
            let (expected, actual) = (Value::from(expected), Value::from(actual));
            self.bindings.differences("events", &expected, &actual, &mut found);
            if found.is_empty() {
                self.outcome.passed += 1;
            } else {
                self.fail(number, &found);
            }
        }
    }
}

/// The events of a watch until it ends.
async fn events(answer: Response) -> Vec<Value> {
    let text = answer.text().await.unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Left out: what the recorded fork adds, what controllers write at their own time, and bookmarks but the one that ends
/// the initial events, which come by time.
fn compared(event: &Value) -> bool {
    let object = &event["object"];
    let own = ["kube-root-ca.crt", "openshift-service-ca.crt"].iter().any(|name| object["metadata"]["name"] == *name);
    !own && (event["type"] != "BOOKMARK" || object["metadata"]["annotations"].is_object())
}

fn plain(mut event: Value, without_managed_fields: bool) -> Value {
    if let Some(fields) = event.as_object_mut() {
        fields.remove("after_step");
    }
    if without_managed_fields && let Some(metadata) = event["object"]["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    event
}

/// Events whole: later ones of an object may be recorded as a merge patch against the one before.
fn recorded_events(body: &Value) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    for event in list(body) {
        let mut event = event.clone();
        if !event["delta"].is_null() {
            let before = events.iter().rev().find(|e| e["object"]["metadata"]["name"] == event["name"]);
            let mut object = before.map(|e| e["object"].clone()).unwrap_or_default();
            merge(&mut object, &event["delta"]);
            event = json!({"type": event["type"], "object": object});
        }
        events.push(event);
    }
    events.iter().map(without_fork).collect()
}

fn merge(target: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().map(|fields| fields.remove(key));
        } else {
            merge(&mut target[key], value);
        }
    }
}

/// A recorded body without what the recorded fork adds to every namespace and pod.
fn without_fork(body: &Value) -> Value {
    match body {
        Value::Array(items) => {
            let fork = |item: &Value| {
                item["configMap"]["name"] == "openshift-service-ca.crt"
                    || item["metadata"]["name"] == "openshift-service-ca.crt"
            };
            items.iter().filter(|item| !fork(item)).map(without_fork).collect()
        }
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), without_fork(value))).collect(),
        other => other.clone(),
    }
}
