//! The simulator's own API: faults, restarts, users and their rights, as seen over HTTP.

use lumbung_simcluster::{Delays, Fault, Options, Restart, SimCluster};
use reqwest::{Client, Method, Response};
use serde_json::{Value, json};

struct Caller(SimCluster, Client, String);

impl Caller {
    async fn try_send(&self, method: Method, path: &str, body: Value) -> Result<(u16, Response), reqwest::Error> {
        let request = self.1.request(method, format!("{}{path}", self.0.url())).bearer_auth(&self.2);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        Ok((answer.status().as_u16(), answer))
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let (code, answer) = self.try_send(method, path, body).await.expect("an answer");
        (code, serde_json::from_str(&answer.text().await.expect("text")).unwrap_or_default())
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.send(Method::GET, path, Value::Null).await
    }
}

async fn admin() -> Caller {
    let sim = SimCluster::start(Options { delays: Delays::zero(), ..Options::default() }).await.expect("a cluster");
    sim.settle().await;
    let token = sim.token().to_owned();
    Caller(sim, Client::new(), token)
}

const PODS: &str = "/api/v1/namespaces/default/pods";

#[tokio::test]
async fn faults_are_posted_met_and_deleted() {
    let admin = admin().await;
    let post = |fault: Value| admin.send(Method::POST, "/simcluster/faults", fault);
    let (code, made) =
        post(json!({"what": {"throttled": {"retry_after": 7}}, "verb": "list", "resource": "pods"})).await;
    assert_eq!(code, 201);
    let (code, answer) = admin.try_send(Method::GET, PODS, Value::Null).await.expect("an answer");
    assert_eq!((code, answer.headers()["retry-after"].as_bytes()), (429, &b"7"[..]));
    assert_eq!(admin.get("/api/v1/nodes").await.0, 200);
    let listed = admin.get("/simcluster/faults").await.1;
    assert_eq!((&listed[0]["id"], &listed[0]["resource"]), (&made["id"], &json!("pods")));
    let path = format!("/simcluster/faults/{}", made["id"]);
    assert_eq!(admin.send(Method::DELETE, &path, Value::Null).await.0, 200);
    assert_eq!(admin.send(Method::DELETE, &path, Value::Null).await.0, 404);
    assert_eq!((admin.get(PODS).await.0, post(json!({"what": "rain"})).await.0), (200, 400));
    admin.0.faults().add(Fault::api().connection_lost().verb("create").times(1));
    let map = json!({"metadata": {"name": "m"}});
    let maps = "/api/v1/namespaces/default/configmaps";
    let answer = admin.try_send(Method::POST, maps, map.clone()).await;
    assert!(answer.is_err() || answer.is_ok_and(|(code, _)| code == 200));
    assert_eq!(admin.send(Method::POST, maps, map).await.0, 409, "it had happened");
    admin.0.shutdown().await;
}

#[tokio::test]
async fn watches_are_held_back_told_410_and_cut() {
    let admin = admin().await;
    let path = "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion=";
    let revision = admin.0.cluster().revision();
    let (_, mut open) = admin.try_send(Method::GET, &format!("{path}{revision}"), Value::Null).await.expect("a watch");
    let stale = admin.0.faults().add(serde_json::from_value(json!({"what": {"watch_stale": {}}})).expect("a fault"));
    let create = json!({"metadata": {"name": "m"}});
    admin.send(Method::POST, "/api/v1/namespaces/default/configmaps", create).await;
    tokio::task::yield_now().await;
    admin.0.faults().remove(stale);
    let first = open.chunk().await.expect("a chunk").expect("an event");
    assert!(first.starts_with(br#"{"type":"ADDED""#));
    admin.0.faults().add(Fault::drop_watches().resource("configmaps"));
    assert_eq!(open.chunk().await.expect("an orderly end"), None);
    let gone = json!({"what": "watch_gone", "when": {"next": {"times": 1}}});
    admin.send(Method::POST, "/simcluster/faults", gone).await;
    let (code, event) = admin.get(&format!("{path}{revision}")).await;
    assert_eq!((code, &event["type"], &event["object"]["code"]), (200, &json!("ERROR"), &json!(410)));
    admin.0.shutdown().await;
}

#[tokio::test]
async fn a_restart_cuts_connections_and_keeps_the_state() {
    let admin = admin().await;
    let (code, made) =
        admin.send(Method::POST, "/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "m"}})).await;
    assert_eq!(code, 201);
    let (_, mut open) = admin.try_send(Method::GET, "/api/v1/pods?watch=true", Value::Null).await.expect("a watch");
    let outage = json!({"unavailable_ms": 600_000, "forget_history": true});
    assert_eq!(admin.send(Method::POST, "/simcluster/restart", outage).await.0, 202);
    while open.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
    let state = loop {
        if let Ok((code, _)) = admin.try_send(Method::GET, PODS, Value::Null).await {
            break code;
        }
    };
    assert_eq!(state, 503);
    admin.0.restart_api(Restart { refused_ms: 20, ..Restart::default() });
    let found = loop {
        if let Ok((200, _)) = admin.try_send(Method::GET, PODS, Value::Null).await {
            break admin.get("/api/v1/namespaces/default/configmaps/m").await.1;
        }
    };
    assert_eq!(found["metadata"]["uid"], made["metadata"]["uid"]);
    admin.0.settle().await;
    let (_, event) = admin.get("/api/v1/configmaps?watch=true&resourceVersion=2").await;
    assert_eq!(event["object"]["code"], 410, "{event}");
    admin.0.shutdown().await;
}

#[tokio::test]
async fn a_log_is_followed_until_its_container_ends() {
    let admin = admin().await;
    let spec = json!({"terminationGracePeriodSeconds": 0, "containers": [{"name": "app", "image": "nginx:1"}]});
    assert_eq!(admin.send(Method::POST, PODS, json!({"metadata": {"name": "p"}, "spec": spec})).await.0, 201);
    admin.0.settle().await;
    let path = format!("{PODS}/p/log?follow=true&tailLines=0");
    let (code, mut log) = admin.try_send(Method::GET, &path, Value::Null).await.expect("a log");
    assert_eq!(code, 200);
    let (_, metrics) = admin.try_send(Method::GET, "/simcluster/metrics", Value::Null).await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("container_cpu_usage_seconds_total{namespace=\"default\",pod=\"p\""), "{metrics}");
    assert_eq!(admin.get("/simcluster").await.1["corruptions"], json!([]));
    let pod = admin.get(&format!("{PODS}/p")).await.1;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    admin.0.cluster().logs().append(uid, "app", admin.0.cluster().now(), "one more");
    assert_eq!(log.chunk().await.expect("a chunk").as_deref(), Some(&b"one more\n"[..]));
    admin.send(Method::DELETE, &format!("{PODS}/p"), Value::Null).await;
    while log.chunk().await.expect("an orderly end").is_some() {}
    admin.0.shutdown().await;
}

#[tokio::test]
async fn an_account_may_do_what_its_role_says() {
    let admin = admin().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "patch"]}]);
    let subject = json!({"kind": "ServiceAccount", "name": "default", "namespace": "default"});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maps"});
    for (path, object) in [
        ("roles", json!({"metadata": {"name": "maps"}, "rules": rules})),
        ("rolebindings", json!({"metadata": {"name": "maps"}, "roleRef": role, "subjects": [subject]})),
    ] {
        let (code, answer) = admin.send(Method::POST, &format!("{rbac}/{path}"), object).await;
        assert_eq!(code, 201, "{answer}");
    }
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (_, answer) = admin.send(Method::POST, path, json!({"spec": {"expirationSeconds": 600}})).await;
    let token = answer["status"]["token"].as_str().unwrap_or_default().to_owned();
    let account = Caller(admin.0.clone(), Client::new(), token);
    let map = "/api/v1/namespaces/default/configmaps/m";
    assert_eq!(
        (account.get(map).await.0, account.get(PODS).await.0, account.get("/simcluster").await.0),
        (404, 403, 403)
    );
    let applied = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
    let apply = account.1.patch(format!("{}{map}?fieldManager=t", account.0.url())).bearer_auth(&account.2);
    let apply = apply.header("content-type", "application/apply-patch+yaml").body(applied.to_string()).send().await;
    assert_eq!(apply.expect("an answer").status(), 403, "an apply that creates needs both rights");
    let attributes = json!({"namespace": "default", "verb": "delete", "resource": "configmaps"});
    let review = json!({"spec": {"resourceAttributes": attributes}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(account.send(Method::POST, path, review).await.1["status"]["allowed"], false);
    let calls = admin.0.calls();
    assert!(calls.iter().any(|call| call.user == "system:serviceaccount:default:default" && call.verb == "get"));
    admin.0.shutdown().await;
}
