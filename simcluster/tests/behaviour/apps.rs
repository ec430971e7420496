//! Scripted applications: databases in the same pod, first administrators, setup and verify pods.

use lumbung_simcluster::{DeleteOptions, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, cluster, container, create, pod, runs, set, until};

const NOBODY: &str = "Failed: the installation has no administrator yet";
const FOUND: &str = "Succeeded: first administrator found";

/// A set with a service, and with a database beside it if there is one.
fn with_service(sim: &SimCluster, name: &str, image: &str, database: Option<&str>, env: &Value, init: Vec<Value>) {
    let mut object = set(name, image);
    let spec = &mut object["spec"]["template"]["spec"];
    let database = database.map(|image| {
        let mut database = container("db", image);
        database["restartPolicy"] = json!("Always");
        database["startupProbe"] = json!({"exec": {"command": ["true"]}});
        database
    });
    spec["initContainers"] = database.into_iter().chain(init).collect();
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 80}});
    spec["containers"][0]["env"] = env.clone();
    create(sim, &resource::STATEFUL_SET, object);
    let spec = json!({"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]});
    create(sim, &resource::SERVICE, json!({"metadata": {"name": name}, "spec": spec}));
}

fn start_task(sim: &SimCluster, kind: &str, target: &str) {
    let mut app = container("task", "curlimages/curl:8");
    app["env"] = json!([{"name": "LUMBUNG_TARGET", "value": format!("http://{target}.{NS}.svc:80")}]);
    let metadata = json!({"name": "task", "labels": {"lumbung.dev/task": kind}});
    let spec = json!({"restartPolicy": "Never", "containers": [app]});
    create(sim, &resource::POD, json!({"metadata": metadata, "spec": spec}));
}

async fn delete(sim: &SimCluster, name: &str) {
    sim.cluster().delete(&resource::POD, NS, name, &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
}

/// Waits for a task pod's end and removes it: its phase and its last words.
async fn task_ends(sim: &SimCluster) -> String {
    sim.settle().await;
    let ended = pod(sim, "task")["status"].clone();
    let words = &ended["containerStatuses"][0]["state"]["terminated"]["message"];
    delete(sim, "task").await;
    format!("{}: {}", ended["phase"].as_str().unwrap(), words.as_str().unwrap_or_default())
}

async fn task(sim: &SimCluster, kind: &str, target: &str) -> String {
    start_task(sim, kind, target);
    task_ends(sim).await
}

#[tokio::test]
async fn ghost_needs_its_database_and_a_setup_pod() {
    let sim = cluster().await;
    start_task(&sim, "verify", "blog");
    with_service(&sim, "alone", "ghost:6", None, &json!([]), vec![]);
    sim.settle().await;
    assert_eq!(pod(&sim, "task")["status"]["phase"], "Running", "a task waits for its target");
    let alone = pod(&sim, "alone-0");
    assert_eq!(alone["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);

    with_service(&sim, "blog", "ghost:6", Some("mysql:8.4"), &json!([]), vec![]);
    assert_eq!(task_ends(&sim).await, NOBODY);
    assert_eq!(task(&sim, "setup", "blog").await, "Succeeded: first administrator created");
    assert_eq!(task(&sim, "setup", "blog").await, "Succeeded: already set up");
    delete(&sim, "blog-0").await;
    assert_eq!(task(&sim, "verify", "blog").await, FOUND, "the data outlives the pod");
}

#[tokio::test]
async fn wordpress_is_installed_by_its_init_container_and_ready_with_its_database() {
    let sim = cluster().await;
    let install = container("install", "docker.io/library/wordpress:cli-2.12.0-php8.3");
    with_service(&sim, "site", "wordpress:7-apache", Some("mariadb:11"), &json!([]), vec![install]);
    assert_eq!(task(&sim, "verify", "site").await, FOUND);

    let fault = sim.faults().add(Fault::out_of_memory().label("app", "site").container("db"));
    sim.settle().await;
    let site = pod(&sim, "site-0")["status"].clone();
    assert_eq!((&site["phase"], &site["containerStatuses"][0]["ready"]), (&json!("Running"), &json!(false)));
    let db = &site["initContainerStatuses"][0];
    assert_eq!(db["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(db["lastState"]["terminated"]["reason"], "OOMKilled");
    sim.faults().remove(fault);
    until(&sim, "the site is ready again", |sim| runs(sim, "site-0")).await;
}

#[tokio::test]
async fn n8n_keeps_the_owner_that_its_environment_made_once() {
    let sim = cluster().await;
    let variables = |managed: &str| {
        let pairs = [("MANAGED_BY_ENV", managed), ("EMAIL", "me@x.test"), ("PASSWORD_HASH", "$2b$10$x")];
        pairs.map(|(name, value)| json!({"name": format!("N8N_INSTANCE_OWNER_{name}"), "value": value})).to_vec()
    };
    with_service(&sim, "flow", "docker.n8n.io/n8nio/n8n:2", None, &json!(variables("false")), vec![]);
    assert_eq!(task(&sim, "verify", "flow").await, NOBODY);
    for managed in ["true", "false"] {
        let env = variables(managed);
        let change = |set: &mut Value| set["spec"]["template"]["spec"]["containers"][0]["env"] = json!(env);
        sim.cluster().update(&resource::STATEFUL_SET, NS, "flow", "test", change).expect("changed");
        delete(&sim, "flow-0").await;
        assert_eq!(task(&sim, "verify", "flow").await, FOUND);
    }
}
