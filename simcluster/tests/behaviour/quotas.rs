//! Quotas as their controller keeps them, and what a refused StatefulSet shows.

use lumbung_simcluster::{DeleteOptions, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, container, create, events, get, runs, set, until};

#[tokio::test]
async fn a_refused_set_says_so_and_succeeds_once_there_is_room() {
    let sim = cluster().await;
    let hard = json!({"pods": "1", "requests.memory": "1Gi"});
    create(&sim, &resource::RESOURCE_QUOTA, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}));
    sim.settle().await;
    let used = |sim| get(sim, &resource::RESOURCE_QUOTA, "q")["status"]["used"].clone();
    assert_eq!(used(&sim), json!({"pods": "0", "requests.memory": "0"}));

    create(&sim, &resource::POD, bare_pod("first", container("app", "nginx")));
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert_eq!(used(&sim), json!({"pods": "1", "requests.memory": "64Mi"}));
    let refusal = "Create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: q, \
                   requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!(events(&sim, "db", "FailedCreate"), [refusal]);
    assert_eq!(get(&sim, &resource::STATEFUL_SET, "db")["status"]["replicas"], 0);

    let raise = |quota: &mut Value| quota["spec"]["hard"]["pods"] = json!("2");
    sim.cluster().update(&resource::RESOURCE_QUOTA, NS, "q", "test", raise).expect("raised");
    until(&sim, "the refused pod runs", |sim| runs(sim, "db-0")).await;
    sim.settle().await;
    assert_eq!(used(&sim), json!({"pods": "2", "requests.memory": "128Mi"}));

    sim.cluster().delete(&resource::POD, NS, "first", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    assert_eq!(used(&sim), json!({"pods": "1", "requests.memory": "64Mi"}));
}
