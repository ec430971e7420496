//! Quotas as their controller keeps them, and what a refused StatefulSet shows.

use lumbung_simcluster::resource::*;
use serde_json::json;

use crate::support::{bare_pod, cluster, container, create, delete, edit, events, get, runs, set, until};

#[tokio::test]
async fn a_refused_set_says_so_and_succeeds_once_there_is_room() {
    let sim = cluster().await;
    let hard = json!({"pods": "1", "requests.memory": "1Gi"});
    create(&sim, &RESOURCE_QUOTA, json!({"metadata": {"name": "q"}, "spec": {"hard": hard}}));
    sim.settle().await;
    let used = || get(&sim, &RESOURCE_QUOTA, "q")["status"]["used"].clone();
    assert_eq!(used(), json!({"pods": "0", "requests.memory": "0"}));
    create(&sim, &POD, bare_pod("first", container("app", "nginx")));
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert_eq!(used(), json!({"pods": "1", "requests.memory": "64Mi"}));
    let refusal = "Create Pod db-0 in StatefulSet db failed error: pods \"db-0\" is forbidden: exceeded quota: q, \
                   requested: pods=1, used: pods=1, limited: pods=1";
    assert_eq!(events(&sim, "db", "FailedCreate"), [refusal]);
    assert_eq!(get(&sim, &STATEFUL_SET, "db")["status"]["replicas"], 0);

    edit(&sim, &RESOURCE_QUOTA, "q", |quota| quota["spec"]["hard"]["pods"] = json!("2"));
    until(&sim, "the refused pod runs", |sim| runs(sim, "db-0")).await;
    assert_eq!(used(), json!({"pods": "2", "requests.memory": "128Mi"}));
    delete(&sim, &POD, "first").await;
    assert_eq!(used(), json!({"pods": "1", "requests.memory": "64Mi"}));
}
