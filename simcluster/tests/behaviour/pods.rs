//! Pods on their nodes: states, restarts, probes, termination.

use lumbung_simcluster::{DeleteOptions, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, condition, container, create, events, is_ready, pod, runs, set, until};

fn delete(sim: &SimCluster, name: &str) {
    sim.cluster().delete(&resource::POD, NS, name, &DeleteOptions::default()).expect("deleted");
}

fn waiting(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["state"]["waiting"]
}

#[tokio::test]
async fn a_bare_pod_runs_and_goes() {
    let sim = cluster().await;
    create(&sim, &resource::POD, bare_pod("ok", container("app", "nginx:1.29")));
    sim.settle().await;
    let running = pod(&sim, "ok");
    assert!(is_ready(&running));
    let status = &running["status"]["containerStatuses"][0];
    assert_eq!(status["allocatedResources"], json!({"cpu": "100m", "memory": "64Mi"}));
    assert!(status["state"]["running"]["startedAt"].is_string());
    let order: Vec<&str> = running["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|condition| condition["type"].as_str())
        .collect();
    let expected = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"];
    assert_eq!(order, expected);

    delete(&sim, "ok");
    sim.settle().await;
    assert!(sim.cluster().get(&resource::POD, NS, "ok").is_none());
}

#[tokio::test]
async fn a_crash_loop_backs_off_and_recovers() {
    let sim = cluster().await;
    sim.faults().add(Fault::crash(3).label("app", "x"));
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    sim.settle().await;
    let looping = pod(&sim, "x");
    let status = &looping["status"]["containerStatuses"][0];
    assert_eq!(looping["status"]["phase"], "Running");
    assert_eq!(waiting(&looping)["reason"], "CrashLoopBackOff");
    assert_eq!(status["restartCount"], 1);
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 3);
    assert_eq!(status["lastState"]["terminated"]["reason"], "Error");
    assert_eq!(condition(&looping, "Ready"), ("False".into(), "ContainersNotReady".into()));
    assert!(!events(&sim, "x", "BackOff").is_empty());

    sim.faults().clear();
    until(&sim, "the container runs again", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn out_of_memory_is_told_from_a_crash() {
    let sim = cluster().await;
    sim.faults().add(Fault::out_of_memory().times(1));
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    sim.settle().await;
    let pod = pod(&sim, "x");
    let last = &pod["status"]["containerStatuses"][0]["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("OOMKilled")));
    assert!(is_ready(&pod), "the first restart is immediate: {pod:#}");
}

#[tokio::test]
async fn a_failed_pull_is_healed_by_a_corrected_specification() {
    let sim = cluster().await;
    sim.faults().add(Fault::pulls_fail("nosuch"));
    create(&sim, &resource::STATEFUL_SET, set("db", "nosuch:1"));
    let reason = |sim: &SimCluster| {
        sim.cluster().get(&resource::POD, NS, "db-0").map(|pod| waiting(&pod)["reason"].as_str().map(str::to_owned))
    };
    until(&sim, "the pull backs off", |sim| reason(sim) == Some(Some("ImagePullBackOff".to_owned()))).await;
    let broken = pod(&sim, "db-0");
    assert_eq!(waiting(&broken)["message"], "Back-off pulling image \"nosuch:1\": ErrImagePull: nosuch:1: not found");
    assert_eq!(broken["status"]["phase"], "Pending");

    let correct = |set: &mut Value| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("postgres:18");
    sim.cluster().update(&resource::STATEFUL_SET, NS, "db", "test", correct).expect("corrected");
    sim.settle().await;
    assert!(!runs(&sim, "db-0"), "an unhealthy pod is not replaced by itself");
    delete(&sim, "db-0");
    sim.settle().await;
    assert!(runs(&sim, "db-0"));
}

#[tokio::test]
async fn a_missing_secret_is_a_configuration_error_until_it_is_there() {
    let sim = cluster().await;
    let mut app = container("app", "nginx");
    app["env"] = json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}}]);
    create(&sim, &resource::POD, bare_pod("x", app));
    sim.settle().await;
    let missing = pod(&sim, "x");
    assert_eq!(
        waiting(&missing),
        &json!({"reason": "CreateContainerConfigError", "message": "secret \"creds\" not found"})
    );

    create(&sim, &resource::SECRET, json!({"metadata": {"name": "creds"}, "data": {"other": "eA=="}}));
    sim.settle().await;
    assert_eq!(waiting(&pod(&sim, "x"))["message"], format!("couldn't find key password in Secret {NS}/creds"));

    let add = |secret: &mut Value| secret["data"]["password"] = json!("cA==");
    sim.cluster().update(&resource::SECRET, NS, "creds", "test", add).expect("added");
    sim.settle().await;
    assert!(runs(&sim, "x"));
}

#[tokio::test]
async fn init_containers_and_sidecars_start_in_order() {
    let sim = cluster().await;
    let mut database = container("db", "mysql:8");
    database["restartPolicy"] = json!("Always");
    database["startupProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1000});
    sim.faults().add(Fault::hangs().container("db"));
    create(
        &sim,
        &resource::POD,
        json!({
            "metadata": {"name": "x"},
            "spec": {
                "initContainers": [container("prepare", "busybox"), database],
                "containers": [container("app", "ghost:6")],
            },
        }),
    );
    sim.settle().await;
    let held = pod(&sim, "x");
    let init = &held["status"]["initContainerStatuses"];
    assert_eq!(init[0]["state"]["terminated"]["exitCode"], 0);
    assert_eq!(init[0]["ready"], true);
    assert!(init[1]["state"]["running"].is_object());
    assert_eq!(init[1]["started"], false);
    assert_eq!(waiting(&held)["reason"], "PodInitializing");
    assert_eq!(condition(&held, "Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    assert_eq!(held["status"]["phase"], "Pending");

    sim.faults().clear();
    sim.settle().await;
    assert!(runs(&sim, "x"));
}

#[tokio::test]
async fn a_container_that_hangs_is_restarted_by_its_liveness_probe() {
    let sim = cluster().await;
    let mut app = container("app", "nginx");
    app["livenessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1});
    create(&sim, &resource::POD, bare_pod("x", app));
    sim.settle().await;
    assert!(runs(&sim, "x"));
    sim.faults().add(Fault::hangs().label("app", "x"));
    let restarts = |sim: &SimCluster| pod(sim, "x")["status"]["containerStatuses"][0]["restartCount"].as_u64();
    until(&sim, "a restart", |sim| restarts(sim) > Some(0)).await;
    assert!(!events(&sim, "x", "Unhealthy").is_empty());
    sim.faults().clear();
    until(&sim, "it runs again", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn pods_that_are_not_restarted_end() {
    let sim = cluster().await;
    for (name, code) in [("done", "0"), ("failed", "7")] {
        let mut object = bare_pod(name, container("app", "nginx"));
        object["metadata"]["annotations"] = json!({"lumbung.dev/sim-exit-code": code});
        object["spec"]["restartPolicy"] = json!("Never");
        create(&sim, &resource::POD, object);
    }
    sim.settle().await;
    let (done, failed) = (pod(&sim, "done"), pod(&sim, "failed"));
    assert_eq!(done["status"]["phase"], "Succeeded");
    assert_eq!(condition(&done, "Initialized"), ("True".into(), "PodCompleted".into()));
    assert_eq!(failed["status"]["phase"], "Failed");
    assert_eq!(failed["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"], 7);
    assert_eq!(condition(&failed, "Ready"), ("False".into(), "PodFailed".into()));
}

#[tokio::test]
async fn a_pod_past_its_deadline_fails() {
    let sim = cluster().await;
    let mut object = bare_pod("x", container("app", "nginx"));
    object["spec"]["activeDeadlineSeconds"] = json!(1);
    create(&sim, &resource::POD, object);
    until(&sim, "the pod fails", |sim| pod(sim, "x")["status"]["phase"] == "Failed").await;
    assert_eq!(pod(&sim, "x")["status"]["reason"], "DeadlineExceeded");
}

#[tokio::test]
async fn logs_keep_the_run_before() {
    let sim = cluster().await;
    create(&sim, &resource::POD, bare_pod("x", container("app", "n8nio/n8n:2")));
    sim.settle().await;
    let uid = pod(&sim, "x")["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let text = |previous| -> Vec<String> {
        let lines = sim.cluster().logs().read(&uid, "app", previous).unwrap_or_default();
        lines.into_iter().map(|line| line.text).collect()
    };
    assert!(text(false).contains(&"Editor is now accessible".to_owned()));
    assert!(text(true).is_empty());
    sim.faults().add(Fault::crash(1).label("app", "x").times(1));
    sim.settle().await;
    assert!(!text(true).is_empty());
}

#[tokio::test]
async fn an_image_changed_in_place_restarts_the_container() {
    let sim = cluster().await;
    sim.faults().add(Fault::pulls_fail("nosuch"));
    create(&sim, &resource::POD, bare_pod("x", container("app", "nosuch:1")));
    sim.settle().await;
    let change = |image: &'static str| {
        let change = move |pod: &mut Value| pod["spec"]["containers"][0]["image"] = json!(image);
        sim.cluster().update(&resource::POD, NS, "x", "test", change).expect("changed")
    };
    change("nginx:1");
    sim.settle().await;
    assert!(runs(&sim, "x"));
    change("nginx:2");
    sim.settle().await;
    let changed = pod(&sim, "x");
    let status = &changed["status"]["containerStatuses"][0];
    assert_eq!((&status["image"], &status["restartCount"]), (&json!("nginx:2"), &json!(1)));
    assert!(runs(&sim, "x"));
}

#[tokio::test]
async fn graceful_termination_is_seen_step_by_step() {
    let sim = cluster().await;
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    sim.settle().await;
    let revision = sim.cluster().revision();
    delete(&sim, "x");
    sim.settle().await;
    let (_, changes) = sim.cluster().since(&resource::POD, revision).expect("remembered");
    let steps: Vec<(String, String)> = changes
        .iter()
        .map(|change| {
            let phase = change.object["status"]["phase"].as_str().unwrap_or_default();
            let grace = &change.object["metadata"]["deletionGracePeriodSeconds"];
            (format!("{:?}", change.change), format!("{phase} {grace}"))
        })
        .collect();
    let expected = [
        ("Modified", "Running 30"),
        ("Modified", "Succeeded 30"),
        ("Modified", "Succeeded 0"),
        ("Deleted", "Succeeded 0"),
    ];
    assert_eq!(steps, expected.map(|(change, state)| (change.to_owned(), state.to_owned())));
}
