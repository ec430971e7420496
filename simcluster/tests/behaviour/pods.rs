//! Pods on their nodes: states, restarts, probes, termination.

use lumbung_simcluster::{DeleteOptions, Fault, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, condition, container, create, events, pod, runs, until};

fn status(sim: &SimCluster, name: &str) -> Value {
    pod(sim, name)["status"]["containerStatuses"][0].clone()
}

#[tokio::test]
async fn a_pod_reads_as_on_a_real_node_until_it_is_gone() {
    let sim = cluster().await;
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx:1.29")));
    sim.settle().await;
    let shown = pod(&sim, "x")["status"].clone();
    let conditions = shown["conditions"].as_array().unwrap().iter();
    let conditions: Vec<_> =
        conditions.map(|c| [&c["type"], &c["status"]].map(|text| text.as_str().unwrap())).collect();
    let expected = ["PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodScheduled"];
    assert_eq!((conditions, &shown["phase"]), (expected.map(|kind| [kind, "True"]).to_vec(), &json!("Running")));
    let (running, resources) = (status(&sim, "x"), json!({"requests": {"cpu": "100m", "memory": "64Mi"}}));
    let expected = json!({
        "name": "app", "state": {"running": {"startedAt": shown["startTime"]}}, "lastState": {}, "ready": true,
        "restartCount": 0, "image": "nginx:1.29", "imageID": running["imageID"], "started": true,
        "containerID": running["containerID"], "resources": resources, "allocatedResources": resources["requests"],
    });
    assert_eq!(running, expected);

    let revision = sim.cluster().revision();
    sim.cluster().delete(&resource::POD, NS, "x", &DeleteOptions::default()).expect("deleted");
    sim.settle().await;
    let (_, changes) = sim.cluster().since(&resource::POD, revision).expect("remembered");
    let steps = changes.iter().map(|change| {
        let grace = &change.object["metadata"]["deletionGracePeriodSeconds"];
        format!("{:?} {} {grace}", change.change, change.object["status"]["phase"].as_str().unwrap())
    });
    let expected = ["Modified Running 30", "Modified Succeeded 30", "Modified Succeeded 0", "Deleted Succeeded 0"];
    assert_eq!(steps.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_does_not_run_says_why_and_runs_when_it_can() {
    let sim = cluster().await;
    sim.faults().add(Fault::crash(3).label("app", "crash"));
    sim.faults().add(Fault::pulls_fail("nosuch"));
    let pull = "Back-off pulling image \"nosuch:1\": ErrImagePull: nosuch:1: not found";
    for (name, image, reason, phase, message) in [
        ("crash", "nginx", "CrashLoopBackOff", "Running", "back-off restarting failed container=app pod=crash_shop("),
        ("pull", "nosuch:1", "ImagePullBackOff", "Pending", pull),
        ("config", "nginx", "CreateContainerConfigError", "Pending", "secret \"creds\" not found"),
    ] {
        let mut app = container("app", image);
        if name == "config" {
            app["env"] = json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}}]);
        }
        create(&sim, &resource::POD, bare_pod(name, app));
        until(&sim, reason, |sim| status(sim, name)["state"]["waiting"]["reason"] == reason).await;
        let told = status(&sim, name)["state"]["waiting"]["message"].as_str().unwrap().to_owned();
        assert!(told.starts_with(message), "{told}");
        let shown = pod(&sim, name);
        assert_eq!(
            (&shown["status"]["phase"], condition(&shown, "Ready").1.as_str()),
            (&json!(phase), "ContainersNotReady")
        );
    }
    let last = &status(&sim, "crash")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(3), &json!("Error")));
    assert!(!events(&sim, "crash", "BackOff").is_empty() && !events(&sim, "pull", "Failed").is_empty());

    create(&sim, &resource::SECRET, json!({"metadata": {"name": "creds"}, "data": {"other": "eA=="}}));
    let no_key = format!("couldn't find key password in Secret {NS}/creds");
    until(&sim, "the key is missing", |sim| status(sim, "config")["state"]["waiting"]["message"] == no_key).await;
    let add = |secret: &mut Value| secret["data"]["password"] = json!("cA==");
    sim.cluster().update(&resource::SECRET, NS, "creds", "test", add).expect("added");
    sim.faults().clear();
    until(&sim, "all run", |sim| ["crash", "pull", "config"].iter().all(|name| runs(sim, name))).await;
}

#[tokio::test]
async fn init_containers_and_sidecars_start_in_order() {
    let sim = cluster().await;
    let mut database = container("db", "mysql:8");
    database["restartPolicy"] = json!("Always");
    database["startupProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1000});
    sim.faults().add(Fault::hangs().container("db"));
    let mut object = bare_pod("x", container("app", "ghost:6"));
    object["spec"]["initContainers"] = json!([container("prepare", "busybox"), database]);
    create(&sim, &resource::POD, object);
    sim.settle().await;
    let held = pod(&sim, "x")["status"].clone();
    let init = &held["initContainerStatuses"];
    assert_eq!((&init[0]["state"]["terminated"]["exitCode"], &init[0]["ready"]), (&json!(0), &json!(true)));
    assert_eq!((init[1]["state"]["running"].is_object(), &init[1]["started"]), (true, &json!(false)));
    assert_eq!(
        (&status(&sim, "x")["state"]["waiting"]["reason"], &held["phase"]),
        (&json!("PodInitializing"), &json!("Pending"))
    );
    assert_eq!(condition(&pod(&sim, "x"), "Initialized"), ("False".into(), "ContainersNotInitialized".into()));
    sim.faults().clear();
    until(&sim, "it runs", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn containers_are_restarted_by_a_probe_by_a_crash_and_for_a_new_image() {
    let sim = cluster().await;
    let mut app = container("app", "n8nio/n8n:2");
    app["livenessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1});
    create(&sim, &resource::POD, bare_pod("x", app));
    sim.settle().await;
    let uid = pod(&sim, "x")["metadata"]["uid"].as_str().unwrap().to_owned();
    let log = |previous| {
        let lines = sim.cluster().logs().read(&uid, "app", previous).unwrap_or_default();
        lines.into_iter().map(|line| line.text).collect::<Vec<_>>()
    };
    assert_eq!((log(false).len(), log(true).len()), (2, 0));
    sim.faults().add(Fault::out_of_memory().label("app", "x").times(1));
    sim.settle().await;
    let last = &status(&sim, "x")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("OOMKilled")));
    assert!(runs(&sim, "x"), "the first restart is immediate");
    assert_eq!(log(true), ["starting n8nio/n8n:2", "ready to serve"]);

    let change = |pod: &mut Value| pod["spec"]["containers"][0]["image"] = json!("n8nio/n8n:3");
    sim.cluster().update(&resource::POD, NS, "x", "test", change).expect("changed");
    sim.settle().await;
    let changed = status(&sim, "x");
    assert_eq!((&changed["image"], &changed["restartCount"]), (&json!("n8nio/n8n:3"), &json!(2)));

    sim.faults().add(Fault::hangs().label("app", "x"));
    until(&sim, "a restart", |sim| status(sim, "x")["restartCount"].as_u64() > Some(2)).await;
    assert!(!events(&sim, "x", "Unhealthy").is_empty());
    sim.faults().clear();
    until(&sim, "it runs again", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn pods_that_are_not_restarted_end() {
    let sim = cluster().await;
    for (name, code, deadline, phase, reason) in [
        ("done", json!("0"), Value::Null, "Succeeded", "PodCompleted"),
        ("failed", json!("7"), Value::Null, "Failed", "PodFailed"),
        ("late", Value::Null, json!(1), "Failed", "PodFailed"),
    ] {
        let mut object = bare_pod(name, container("app", "nginx"));
        if code.is_string() {
            object["metadata"]["annotations"] = json!({"lumbung.dev/sim-exit-code": code});
            object["spec"]["restartPolicy"] = json!("Never");
        }
        object["spec"]["activeDeadlineSeconds"] = deadline;
        create(&sim, &resource::POD, object);
        until(&sim, name, |sim| pod(sim, name)["status"]["phase"] == phase).await;
        assert_eq!(condition(&pod(&sim, name), "Ready"), ("False".into(), reason.into()));
    }
    let codes = ["done", "failed", "late"].map(|name| status(&sim, name)["state"]["terminated"]["exitCode"].as_i64());
    assert_eq!(codes, [Some(0), Some(7), Some(137)]);
    assert_eq!(pod(&sim, "late")["status"]["reason"], "DeadlineExceeded");
}
