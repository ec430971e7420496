//! Scripted applications: databases in the same pod, first administrators, setup and verify pods.

use lumbung_simcluster::{DeleteOptions, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, cluster, container, create, pod, runs, set, until};

fn with_service(sim: &SimCluster, name: &str, mut object: Value, sidecar: Option<&str>, init: Option<Value>) {
    let spec = &mut object["spec"]["template"]["spec"];
    let sidecar = sidecar.map(|image| {
        let mut database = container("db", image);
        database["restartPolicy"] = json!("Always");
        database["startupProbe"] = json!({"exec": {"command": ["true"]}});
        database
    });
    let init: Vec<Value> = sidecar.into_iter().chain(init).collect();
    if !init.is_empty() {
        spec["initContainers"] = json!(init);
    }
    spec["containers"][0]["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 80}});
    create(sim, &resource::STATEFUL_SET, object);
    let service = json!({
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8080}]},
    });
    create(sim, &resource::SERVICE, service);
}

/// Runs a task pod to its end: its phase, and its last words.
async fn task(sim: &SimCluster, kind: &str, target: &str) -> (String, String) {
    let mut app = container("task", "curlimages/curl:8");
    app["env"] = json!([
        {"name": "LUMBUNG_TARGET", "value": format!("http://{target}.{NS}.svc:80")},
        {"name": "OWNER_EMAIL_JSON", "value": "\"me@x.test\""},
    ]);
    let object = json!({
        "metadata": {"name": "task", "labels": {"lumbung.dev/task": kind}},
        "spec": {"restartPolicy": "Never", "containers": [app]},
    });
    create(sim, &resource::POD, object);
    sim.settle().await;
    let ended = pod(sim, "task");
    let state = &ended["status"]["containerStatuses"][0]["state"]["terminated"];
    let outcome = (ended["status"]["phase"].as_str(), state["message"].as_str());
    let outcome = (outcome.0.unwrap_or_default().to_owned(), outcome.1.unwrap_or_default().to_owned());
    sim.cluster().delete(&resource::POD, NS, "task", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    outcome
}

#[tokio::test]
async fn ghost_needs_its_database_and_a_setup_pod() {
    let sim = cluster().await;
    with_service(&sim, "alone", set("alone", "ghost:6"), None, None);
    with_service(&sim, "blog", set("blog", "ghost:6"), Some("mysql:8.4"), None);
    sim.settle().await;
    let alone = pod(&sim, "alone-0");
    assert_eq!(alone["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 1);
    assert!(runs(&sim, "blog-0"));

    let failed = ("Failed".to_owned(), "the installation has no administrator yet".to_owned());
    assert_eq!(task(&sim, "verify", "blog").await, failed);
    assert_eq!(task(&sim, "setup", "blog").await.0, "Succeeded");
    assert_eq!(task(&sim, "setup", "blog").await.1, "already set up");
    assert_eq!(task(&sim, "verify", "blog").await.0, "Succeeded");

    sim.cluster().delete(&resource::POD, NS, "blog-0", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    assert_eq!(task(&sim, "verify", "blog").await.0, "Succeeded", "the data outlives the pod");
}

#[tokio::test]
async fn wordpress_is_installed_by_its_init_container() {
    let sim = cluster().await;
    let mut install = container("install", "docker.io/library/wordpress:cli-2.12.0-php8.3");
    install["env"] = json!([{"name": "ADMIN_EMAIL", "value": "me@x.test"}]);
    with_service(&sim, "site", set("site", "wordpress:7-apache"), Some("mariadb:11"), Some(install));
    sim.settle().await;
    assert!(runs(&sim, "site-0"), "{:#}", pod(&sim, "site-0")["status"]);
    assert_eq!(task(&sim, "verify", "site").await.0, "Succeeded");
}

#[tokio::test]
async fn n8n_keeps_the_owner_that_its_environment_made_once() {
    let sim = cluster().await;
    let mut flow = set("flow", "docker.n8n.io/n8nio/n8n:2");
    let env = |managed: &str| {
        json!([
            {"name": "N8N_INSTANCE_OWNER_MANAGED_BY_ENV", "value": managed},
            {"name": "N8N_INSTANCE_OWNER_EMAIL", "value": "me@x.test"},
            {"name": "N8N_INSTANCE_OWNER_PASSWORD_HASH", "value": "$2b$10$x"},
        ])
    };
    flow["spec"]["template"]["spec"]["containers"][0]["env"] = env("false");
    with_service(&sim, "flow", flow, None, None);
    sim.settle().await;
    assert_eq!(task(&sim, "verify", "flow").await.0, "Failed");

    for (managed, expected) in [("true", "Succeeded"), ("false", "Succeeded")] {
        let change = |set: &mut Value| set["spec"]["template"]["spec"]["containers"][0]["env"] = env(managed);
        sim.cluster().update(&resource::STATEFUL_SET, NS, "flow", "test", change).expect("changed");
        sim.cluster().delete(&resource::POD, NS, "flow-0", &DeleteOptions::default()).expect("deleted");
        sim.settle().await;
        assert!(runs(&sim, "flow-0"));
        assert_eq!(task(&sim, "verify", "flow").await.0, expected);
    }
}

#[tokio::test]
async fn a_task_waits_for_its_target() {
    let sim = cluster().await;
    let mut app = container("task", "curlimages/curl:8");
    app["env"] = json!([{"name": "LUMBUNG_TARGET", "value": "late"}]);
    let object = json!({
        "metadata": {"name": "task", "annotations": {"lumbung.dev/task": "setup"}},
        "spec": {"restartPolicy": "Never", "containers": [app]},
    });
    create(&sim, &resource::POD, object);
    sim.settle().await;
    assert_eq!(pod(&sim, "task")["status"]["phase"], "Running");
    with_service(&sim, "late", set("late", "linkding:1"), None, None);
    sim.settle().await;
    assert_eq!(pod(&sim, "task")["status"]["phase"], "Succeeded");
}

#[tokio::test]
async fn wordpress_is_not_ready_without_its_database() {
    let sim = cluster().await;
    with_service(&sim, "site", set("site", "wordpress:7-apache"), Some("mariadb:11"), None);
    sim.settle().await;
    assert!(runs(&sim, "site-0"));
    sim.faults().add(Fault::out_of_memory().label("app", "site").container("db"));
    sim.settle().await;
    let site = pod(&sim, "site-0");
    assert_eq!(site["status"]["phase"], "Running");
    assert_eq!(site["status"]["containerStatuses"][0]["ready"], false);
    let db = &site["status"]["initContainerStatuses"][0];
    assert_eq!(db["state"]["waiting"]["reason"], "CrashLoopBackOff");
    assert_eq!(db["lastState"]["terminated"]["reason"], "OOMKilled");
    sim.faults().clear();
    until(&sim, "the site is ready again", |sim| runs(sim, "site-0")).await;
}
