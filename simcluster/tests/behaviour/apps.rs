//! Scripted applications: databases in the same pod, first administrators, setup and verify pods.

use lumbung_simcluster::{Fault, SimCluster, resource::*};
use serde_json::{Value, json};

use crate::support::{NS, cluster, container, create, delete, pod, runs, set, status, until};

const NOBODY: &str = "\"Failed\" \"the installation has no administrator yet\"";
const FOUND: &str = "\"Succeeded\" \"first administrator found\"";

/// A set with a service, and init containers before it, of which the database goes on.
fn with_service(sim: &SimCluster, name: &str, image: &str, mut init: Vec<Value>) {
    for database in init.iter_mut().filter(|container| container["name"] == "db") {
        database["restartPolicy"] = json!("Always");
        database["startupProbe"] = json!({"exec": {"command": ["true"]}});
    }
    let mut object = set(name, image);
    let spec = &mut object["spec"]["template"]["spec"];
    spec["initContainers"] = json!(init);
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 80}});
    create(sim, &STATEFUL_SET, object);
    let spec = json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
    create(sim, &SERVICE, json!({"metadata": {"name": name}, "spec": spec}));
}

fn start_task(sim: &SimCluster, kind: &str, target: &str) {
    let mut app = container("task", "curlimages/curl:8");
    app["env"] = json!([{"name": "LUMBUNG_TARGET", "value": format!("http://{target}.{NS}.svc:80")}]);
    let metadata = json!({"name": "task", "labels": {"lumbung.dev/task": kind}});
    create(sim, &POD, json!({"metadata": metadata, "spec": {"restartPolicy": "Never", "containers": [app]}}));
}

/// Waits for a task pod's end and removes it: its phase and its last words.
async fn task_ends(sim: &SimCluster) -> String {
    sim.settle().await;
    let words = status(sim, "task")["state"]["terminated"]["message"].clone();
    let ended = format!("{} {words}", pod(sim, "task")["status"]["phase"]);
    delete(sim, &POD, "task").await;
    ended
}

#[tokio::test]
async fn ghost_needs_its_database_and_a_setup_pod() {
    let sim = cluster().await;
    start_task(&sim, "verify", "blog");
    with_service(&sim, "alone", "ghost:6", vec![]);
    sim.settle().await;
    assert_eq!(pod(&sim, "task")["status"]["phase"], "Running", "a task waits for its target");
    assert_eq!(status(&sim, "alone-0")["lastState"]["terminated"]["exitCode"], 1);

    with_service(&sim, "blog", "ghost:6", vec![container("db", "mysql:8.4")]);
    assert_eq!(task_ends(&sim).await, NOBODY);
    for words in ["first administrator created", "already set up"] {
        start_task(&sim, "setup", "blog");
        assert_eq!(task_ends(&sim).await, format!("\"Succeeded\" {words:?}"));
    }
    delete(&sim, &POD, "blog-0").await;
    start_task(&sim, "verify", "blog");
    assert_eq!(task_ends(&sim).await, FOUND, "the data outlives the pod");
}

#[tokio::test]
async fn wordpress_is_installed_by_its_init_container_and_ready_with_its_database() {
    let sim = cluster().await;
    let init = vec![container("db", "mariadb:11"), container("install", "docker.io/library/wordpress:cli-2.12.0")];
    with_service(&sim, "site", "wordpress:7-apache", init);
    start_task(&sim, "verify", "site");
    assert_eq!(task_ends(&sim).await, FOUND);

    sim.faults().add(Fault::out_of_memory().label("app", "site").container("db"));
    sim.settle().await;
    let site = pod(&sim, "site-0")["status"].clone();
    assert_eq!((&site["phase"], &site["containerStatuses"][0]["ready"]), (&json!("Running"), &json!(false)));
    let db = &site["initContainerStatuses"][0];
    assert_eq!(db["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(db["lastState"]["terminated"]["reason"], "OOMKilled");
    sim.faults().clear();
    until(&sim, "the site is ready again", |sim| runs(sim, "site-0")).await;
}
