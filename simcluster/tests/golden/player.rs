//! Plays one transcript against a fresh cluster and compares every answer.

use std::time::Duration;

use lumbung_simcluster::{Delays, Fault, NodeSpec, Options, SimCluster};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::timeout};

use crate::{exceptions::Exceptions, matching::Bindings};

/// What became of a transcript's steps.
#[derive(Default)]
pub struct Outcome {
    pub compared: usize,
    pub in_part: usize,
    /// The class of each skipped step's reason.
    pub skipped: Vec<String>,
    /// One line for each difference.
    pub failures: Vec<String>,
    /// Calls as in `calls.txt`: all, and those whose answers were compared.
    pub recorded: Vec<String>,
    pub covered: Vec<String>,
}

struct Player<'a> {
    name: &'a str,
    exceptions: &'a Exceptions,
    /// Whether the recorder cut objects to what is of interest.
    cut: bool,
    cluster: SimCluster,
    client: Client,
    bindings: Bindings,
    watches: Vec<(&'a Value, JoinHandle<String>)>,
    /// What the last token request gave.
    token: String,
    outcome: Outcome,
}

/// The recorded cluster: three nodes, two storage classes. Where nodes are lost, that is noticed soon.
fn options(name: &str) -> Options {
    let mut options = Options { delays: Delays::zero(), default_class: "longhorn", ..Options::default() };
    options.nodes = vec![
        NodeSpec::new("n1", 4_000, 16_384).label("topology.kubernetes.io/zone", "a"),
        NodeSpec::new("n2", 8_000, 32_768),
        NodeSpec::new("n3", 8_000, 32_768),
    ];
    if name.starts_with("node-") {
        options.delays.lease_interval = Duration::from_millis(200);
        options.delays.node_grace = Duration::from_secs(1);
    }
    options
}

pub async fn play(name: &str, transcript: &Value, exceptions: &Exceptions) -> Outcome {
    let mut player = Player {
        name,
        exceptions,
        cut: transcript["trimmed"].to_string().contains("cut to"),
        cluster: SimCluster::start(options(name)).await.expect("a cluster on an ephemeral port"),
        client: Client::new(),
        bindings: Bindings::default(),
        watches: Vec::new(),
        token: String::new(),
        outcome: Outcome::default(),
    };
    player.cluster.settle().await;
    for request in list(&transcript["setup"]) {
        // Setup may use kinds that are not served; the steps that need them are excepted one by one.
        let _ = player.send(request).await.bytes().await;
        player.cluster.settle().await;
    }
    // The recorded server had been up for long: its past was forgotten.
    player.cluster.cluster().compact();
    for step in list(&transcript["steps"]) {
        player.step(step).await;
    }
    player.cluster.settle().await;
    for (step, answer) in std::mem::take(&mut player.watches) {
        player.finish_watch(step, answer).await;
    }
    player.cluster.shutdown().await;
    player.outcome
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

impl<'a> Player<'a> {
    async fn step(&mut self, step: &'a Value) {
        let (request, expected) = (&step["request"], &step["response"]);
        if let Some(action) = step["action"].as_str() {
            if action.contains("kubelet dies") {
                let node = action.split('\'').next().unwrap_or_default();
                self.cluster.faults().add(Fault::kill_node(node));
            } else if action.contains("kubelet comes back") {
                self.cluster.faults().clear();
            }
            return self.cluster.settle().await;
        }
        if expected["stream"] == "watch" {
            let answer = self.send(request).await;
            self.watches.push((step, tokio::spawn(async { answer.text().await.unwrap_or_default() })));
            return;
        }
        let mut changed = self.cluster.cluster().changed();
        let before = self.bindings.clone();
        let mut found = self.ask(request, expected).await;
        // The recorder polled before it read what controllers had yet to do.
        for _ in 0..100 {
            let exception = self.exceptions.of(self.name, number(step));
            let counts = |difference: &String| !exception.is_some_and(|exception| exception.covers(difference));
            let late = request["method"] == "GET" && found.iter().any(counts);
            if !late || timeout(Duration::from_secs(2), changed.changed()).await.is_err() {
                break;
            }
            self.bindings = before.clone();
            found = self.ask(request, expected).await;
        }
        self.conclude(step, found);
        if request["method"] != "GET" {
            self.cluster.settle().await;
        }
    }

    fn conclude(&mut self, step: &Value, mut found: Vec<String>) {
        let (at, call) = (format!("{} step {}", self.name, step["n"]), call(&step["request"]));
        self.outcome.recorded.push(call.clone());
        if let Some(exception) = self.exceptions.of(self.name, number(step)) {
            if exception.is_whole() {
                return self.outcome.skipped.push(exception.class.clone());
            }
            found.retain(|difference| !exception.covers(difference));
            self.outcome.in_part += 1;
            self.outcome.covered.extend(exception.leaves_body().then_some(call));
        } else {
            self.outcome.compared += 1;
            self.outcome.covered.push(call);
        }
        self.outcome.failures.extend(found.iter().map(|difference| format!("{at}: {difference}")));
    }

    async fn send(&mut self, request: &Value) -> Response {
        let text = |field: &str| request[field].as_str().unwrap_or_default();
        let revision = self.cluster.cluster().revision();
        let url = format!("{}{}", self.cluster.url(), self.bindings.fill(text("path"), revision));
        let mut builder = self.client.request(text("method").parse::<Method>().expect("a method"), url);
        builder = match text("as") {
            "no credentials" => builder,
            who if who.starts_with("Bearer token of") => builder.bearer_auth(&self.token),
            who => builder.bearer_auth(who.strip_prefix("Bearer ").unwrap_or(self.cluster.token())),
        };
        builder = builder.header("user-agent", "golden-recorder/1");
        let by_default = json!({"accept": "application/json", "content-type": "application/json"});
        let headers = request["headers"].as_object().or(by_default.as_object());
        for (name, value) in headers.into_iter().flatten() {
            builder = builder.header(name, value.as_str().unwrap_or_default());
        }
        if let Some(body) = request.get("body").filter(|body| !body.is_null()) {
            let text = body.as_str().map_or_else(|| body.to_string(), ToOwned::to_owned);
            builder = builder.body(self.bindings.fill(&text, revision));
        }
        builder.send().await.expect("an answer")
    }

    /// Sends a request and compares the answer with the recorded one.
    async fn ask(&mut self, request: &Value, expected: &Value) -> Vec<String> {
        let answer = self.send(request).await;
        let mut found = Vec::new();
        if expected["status"] != answer.status().as_u16() {
            found.push(format!("status: expected {}, got {}", expected["status"], answer.status()));
        }
        for name in ["content-type", "warning", "retry-after"] {
            let mut actual: Vec<&str> = answer.headers().get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            let one = std::slice::from_ref(&expected["headers"][name]);
            let all = expected["headers"][name].as_array().map_or(one, Vec::as_slice);
            let mut recorded: Vec<&str> = all.iter().filter_map(Value::as_str).filter(|v| !v.is_empty()).collect();
            // Several warnings come in any order.
            actual.sort_unstable();
            recorded.sort_unstable();
            if actual != recorded {
                found.push(format!("{name}: expected {recorded:?}, got {actual:?}"));
            }
        }
        let text = answer.text().await.unwrap_or_default();
        let actual = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(text));
        if let Some(token) = actual["status"]["token"].as_str() {
            token.clone_into(&mut self.token);
        }
        if expected["body"] != "trimmed" {
            self.bindings.differences("body", &without_fork(&expected["body"]), &actual, &mut found);
        }
        found.retain(|difference| !self.cut || !difference.contains(" is unexpected: "));
        found
    }

    async fn finish_watch(&mut self, step: &Value, answer: JoinHandle<String>) {
        if step["response"]["ended_by"] == "client" {
            self.cluster.faults().add(Fault::drop_watches());
        }
        let mut found = Vec::new();
        if let Ok(Ok(text)) = timeout(Duration::from_secs(15), answer).await {
            let recorded = list(&step["response"]["body"]);
            // The life of an object is recorded by what changed: of that, the order is compared.
            let order_only = recorded.iter().any(|event| event["delta"].is_object());
            let actual: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let [recorded, actual] = [recorded, &actual].map(|events| events_compared(events, order_only));
            self.bindings.differences("events", &without_fork(&recorded), &actual, &mut found);
        } else {
            found.push("the watch did not end".to_owned());
        }
        self.conclude(step, found);
    }
}

fn number(step: &Value) -> u64 {
    step["n"].as_u64().unwrap_or(u64::MAX)
}

/// A request as `calls.txt` names it: `list pods`, `patch statefulsets.apps`.
fn call(request: &Value) -> String {
    let path = request["path"].as_str().unwrap_or_default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => (String::new(), rest),
        ["apis", group, _, rest @ ..] => (format!(".{group}"), rest),
        other => (String::new(), other),
    };
    let (resource, below) = match rest {
        ["namespaces", _, resource, below @ ..] | [resource, below @ ..] => (*resource, below),
        [] => ("", &[][..]),
    };
    let verb = match (request["method"].as_str().unwrap_or_default(), below.len()) {
        ("GET", 0) if query.contains("watch=true") => "watch",
        ("GET", 0) => "list",
        ("GET", 1) => "get",
        ("POST", 0) => "create",
        ("PATCH", 1) => "patch",
        ("DELETE", 1) => "delete",
        (other, _) => other,
    };
    format!("{verb} {resource}{group}")
}

/// Without bookmarks that come by time. `order_only` is what was told of which object, all its changes as one.
fn events_compared(events: &[Value], order_only: bool) -> Value {
    let mut kept: Vec<Value> = Vec::new();
    for event in events {
        let metadata = &event["object"]["metadata"];
        let name = if event["name"].is_string() { &event["name"] } else { &metadata["name"] };
        let whole = json!({"type": event["type"], "object": event["object"]});
        let shown = if order_only { json!([event["type"], name]) } else { whole };
        let own = name == "kube-root-ca.crt" || name == "openshift-service-ca.crt";
        let by_time = event["type"] == "BOOKMARK" && !metadata["annotations"].is_object();
        let again = order_only && event["type"] == "MODIFIED" && kept.contains(&shown);
        if !own && !by_time && !again {
            kept.push(shown);
        }
    }
    Value::from(kept)
}

/// A recorded body without what the recorded fork adds to every namespace and pod.
fn without_fork(body: &Value) -> Value {
    const FORK: &str = "openshift-service-ca.crt";
    let own = |item: &&Value| item["configMap"]["name"] == FORK || item["metadata"]["name"] == FORK;
    match body {
        Value::Array(items) => items.iter().filter(|item| !own(item)).map(without_fork).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), without_fork(value))).collect(),
        other => other.clone(),
    }
}
