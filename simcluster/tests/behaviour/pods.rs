//! Pods on their nodes: states, restarts, probes, termination.

use lumbung_simcluster::{
    Fault,
    faults::{Filter, What},
    resource::*,
};
use serde_json::{Value, json};

use crate::support::{
    NS, bare_pod, cluster, condition, container, create, delete, edit, events, pod, runs, status, until,
};

#[tokio::test]
async fn a_pod_ends_in_steps_until_it_is_gone() {
    let sim = cluster().await;
    create(&sim, &POD, bare_pod("x", container("app", "nginx:1.29")));
    sim.settle().await;
    let revision = sim.cluster().revision();
    delete(&sim, &POD, "x").await;
    let (_, changes) = sim.cluster().since(&POD, revision).expect("remembered");
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
    sim.faults().add(Fault::new(What::PullTakes { ms: 5000 }).only(Filter::Image, "slow"));
    for (name, image, reason, phase, message) in [
        ("crash", "nginx", "CrashLoopBackOff", "Running", "back-off restarting failed container=app pod=crash_shop("),
        ("pull", "nosuch:1", "ImagePullBackOff", "Pending", "Back-off pulling image \"nosuch:1\": ErrImagePull: "),
        ("config", "nginx", "CreateContainerConfigError", "Pending", "secret \"creds\" not found"),
        ("slow", "slow", "ContainerCreating", "Pending", ""),
    ] {
        let mut app = container("app", image);
        if name == "config" {
            app["env"] = json!([{"name": "P", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "password"}}}]);
        }
        create(&sim, &POD, bare_pod(name, app));
        until(&sim, reason, |sim| status(sim, name)["state"]["waiting"]["reason"] == reason).await;
        let told = status(&sim, name)["state"]["waiting"]["message"].clone();
        assert!(told.as_str().unwrap_or_default().starts_with(message), "{told}");
        assert_eq!(pod(&sim, name)["status"]["phase"], phase);
        assert_eq!(condition(&pod(&sim, name), "Ready"), "False ContainersNotReady");
    }
    let last = &status(&sim, "crash")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(3), &json!("Error")));
    assert!(!events(&sim, "crash", "BackOff").is_empty() && !events(&sim, "pull", "Failed").is_empty());

    create(&sim, &SECRET, json!({"metadata": {"name": "creds"}, "data": {"other": "eA=="}}));
    let no_key = format!("couldn't find key password in Secret {NS}/creds");
    until(&sim, "the key is missing", |sim| status(sim, "config")["state"]["waiting"]["message"] == no_key).await;
    edit(&sim, &SECRET, "creds", |secret| secret["data"]["password"] = json!("cA==")).await;
    sim.faults().clear();
    until(&sim, "all run", |sim| ["crash", "pull", "config", "slow"].iter().all(|name| runs(sim, name))).await;
}

#[tokio::test]
async fn init_containers_and_sidecars_start_in_order() {
    let sim = cluster().await;
    let mut database = container("db", "mysql:8");
    database["restartPolicy"] = json!("Always");
    database["startupProbe"] = json!({"exec": {"command": ["true"]}, "periodSeconds": 1, "failureThreshold": 1000});
    sim.faults().add(Fault::new(What::Hangs).container("db"));
    let mut object = bare_pod("x", container("app", "ghost:6"));
    object["spec"]["initContainers"] = json!([container("prepare", "busybox"), database]);
    create(&sim, &POD, object);
    sim.settle().await;
    let held = pod(&sim, "x");
    let init = &held["status"]["initContainerStatuses"];
    assert_eq!((&init[0]["state"]["terminated"]["exitCode"], &init[0]["ready"]), (&json!(0), &json!(true)));
    assert_eq!((init[1]["state"]["running"].is_object(), &init[1]["started"]), (true, &json!(false)));
    assert_eq!(status(&sim, "x")["state"]["waiting"]["reason"], "PodInitializing");
    assert_eq!(condition(&held, "Initialized"), "False ContainersNotInitialized");
    sim.faults().clear();
    until(&sim, "it runs", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn containers_are_restarted_by_a_crash_and_by_a_probe() {
    let sim = cluster().await;
    let mut app = container("app", "n8nio/n8n:2");
    app["livenessProbe"] = json!({"tcpSocket": {"port": 80}, "periodSeconds": 1, "failureThreshold": 1});
    create(&sim, &POD, bare_pod("x", app));
    sim.settle().await;
    sim.faults().add(Fault::out_of_memory().label("app", "x").times(1));
    sim.settle().await;
    let last = &status(&sim, "x")["lastState"]["terminated"];
    assert_eq!((&last["exitCode"], &last["reason"]), (&json!(137), &json!("OOMKilled")));
    assert!(runs(&sim, "x"), "the first restart is immediate");
    let pod = pod(&sim, "x");
    let (_, log) = sim.cluster().logs().numbered(pod["metadata"]["uid"].as_str().unwrap(), "app", true).expect("a log");
    assert!(log.iter().map(|line| &*line.text).eq(["starting n8nio/n8n:2", "ready to serve"]));

    sim.faults().add(Fault::new(What::Hangs).label("app", "x"));
    until(&sim, "a restart", |sim| status(sim, "x")["restartCount"].as_u64() > Some(1)).await;
    assert!(!events(&sim, "x", "Unhealthy").is_empty());
    sim.faults().clear();
    until(&sim, "it runs again", |sim| runs(sim, "x")).await;
}

#[tokio::test]
async fn pods_that_are_not_restarted_end() {
    let sim = cluster().await;
    sim.faults().add(Fault::crash(7).label("app", "failed"));
    for (name, policy, deadline, code, ready) in [
        ("done", "Never", Value::Null, 0, "False PodCompleted"),
        ("failed", "Never", Value::Null, 7, "False PodFailed"),
        ("late", "Always", json!(1), 137, "False PodFailed"),
    ] {
        let mut object = bare_pod(name, container("app", "nginx"));
        object["spec"]["restartPolicy"] = json!(policy);
        object["spec"]["activeDeadlineSeconds"] = deadline;
        create(&sim, &POD, object);
        until(&sim, name, |sim| condition(&pod(sim, name), "Ready") == ready).await;
        assert_eq!(status(&sim, name)["state"]["terminated"]["exitCode"], code);
    }
    assert_eq!(pod(&sim, "late")["status"]["reason"], "DeadlineExceeded");
}
