//! What is refused: quotas, Pod Security, injected faults, what is not supported.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, PersistentVolumeClaim, Pod, ResourceQuota};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use lumbung_simcluster::Fault;
use serde_json::{Value, json};

use crate::support::{Stage, config_map, object, pod, refusal, simulated, start};

/// A quota holds once its controller has counted.
async fn counted(stage: &Stage, quotas: &Api<ResourceQuota>, name: &str) {
    stage
        .eventually(&format!("the quota {name} is counted"), async || {
            let status = quotas.get(name).await.unwrap().status?;
            status.used.is_some().then_some(())
        })
        .await;
}

#[tokio::test]
async fn a_quota_refuses_what_goes_beyond() {
    let stage = start().await;
    let quotas = stage.api::<ResourceQuota>();
    let quota =
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.storage": "2Gi", "persistentvolumeclaims": 1}}});
    quotas.create(&PostParams::default(), &object(quota)).await.unwrap();
    counted(&stage, &quotas, "q").await;
    let claims = stage.api::<PersistentVolumeClaim>();
    let claim = |name: &str, size: &str| {
        object::<PersistentVolumeClaim>(json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "storageClassName": "longhorn", "resources": {"requests": {"storage": size}}}}))
    };
    let (code, _, message) = refusal(claims.create(&PostParams::default(), &claim("big", "3Gi")).await.unwrap_err());
    assert_eq!(code, 403);
    assert!(
        message.contains("exceeded quota: q, requested: requests.storage=3Gi, used: requests.storage=0"),
        "{message}"
    );
    claims.create(&PostParams::default(), &claim("ok", "1Gi")).await.unwrap();
    let (code, _, _) = refusal(claims.create(&PostParams::default(), &claim("second", "1Gi")).await.unwrap_err());
    assert_eq!(code, 403);
    let used = quotas.get("q").await.unwrap().status.unwrap().used.unwrap();
    assert_eq!(used["requests.storage"].0, "1Gi");
}

#[tokio::test]
async fn a_scoped_quota_counts_only_its_priority_class() {
    let stage = start().await;
    let quota = |name: &str, operator: &str| {
        let scope = json!({"scopeName": "PriorityClass", "operator": operator, "values": ["system-node-critical"]});
        object::<ResourceQuota>(json!({"metadata": {"name": name}, "spec": {
            "hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}}}))
    };
    let quotas = stage.api::<ResourceQuota>();
    quotas.create(&PostParams::default(), &quota("setup", "In")).await.unwrap();
    quotas.create(&PostParams::default(), &quota("others", "NotIn")).await.unwrap();
    counted(&stage, &quotas, "setup").await;
    counted(&stage, &quotas, "others").await;
    let pods = stage.api::<Pod>();
    let make = |name: &'static str, class: Option<&'static str>| {
        let mut pod = pod(name);
        if let Some(class) = class {
            pod["spec"]["priorityClassName"] = class.into();
        }
        let pods = pods.clone();
        async move { pods.create(&PostParams::default(), &object(pod)).await }
    };
    make("setup", Some("system-node-critical")).await.unwrap();
    make("plain", None).await.unwrap();
    let (_, _, message) = refusal(make("second", None).await.unwrap_err());
    assert!(message.contains("exceeded quota: others"), "{message}");
    let (_, _, message) = refusal(make("third", Some("system-node-critical")).await.unwrap_err());
    assert!(message.contains("exceeded quota: setup"), "{message}");
    let (code, _, message) = refusal(make("fourth", Some("none-such")).await.unwrap_err());
    assert_eq!((code, message.contains("no PriorityClass with name none-such was found")), (403, true), "{message}");
}

#[tokio::test]
async fn a_privileged_pod_is_refused_where_baseline_is_enforced() {
    let stage = start().await;
    let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}});
    Api::<Namespace>::all(stage.client.clone())
        .patch(&stage.namespace, &PatchParams::default(), &Patch::Merge(label))
        .await
        .unwrap();
    let pods = stage.api::<Pod>();
    let make = |context: Value| {
        let mut pod = pod("p");
        pod["spec"]["containers"][0]["securityContext"] = context;
        let pods = pods.clone();
        async move { pods.create(&PostParams::default(), &object(pod)).await }
    };
    let (code, _, message) = stage
        .eventually("the privileged pod is refused", async || {
            let answer = make(json!({"privileged": true})).await;
            if answer.is_ok() {
                // The label has not reached the admission yet.
                pods.delete("p", &DeleteParams::default()).await.unwrap();
            }
            answer.err().map(refusal)
        })
        .await;
    assert_eq!(code, 403);
    assert!(message.contains("violates PodSecurity \"baseline:latest\": privileged"), "{message}");
    make(json!({})).await.unwrap();
}

#[tokio::test]
async fn injected_faults_are_met_before_or_after_the_effect() {
    let Some((cluster, client)) = simulated("only a simulated cluster fails on request").await else {
        return;
    };
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let make = |name: &'static str| {
        let maps = maps.clone();
        async move { maps.create(&PostParams::default(), &object(config_map(name, json!({})))).await }
    };
    cluster.faults().add(Fault::api().verb("create").resource("configmaps").times(1));
    assert_eq!(refusal(make("before").await.unwrap_err()).0, 500);
    assert!(maps.get_opt("before").await.unwrap().is_none());
    cluster.faults().add(Fault::api().verb("create").resource("configmaps").status_after_effect(500).times(1));
    assert_eq!(refusal(make("after").await.unwrap_err()).0, 500);
    assert!(maps.get_opt("after").await.unwrap().is_some());
    cluster.shutdown().await;
}

#[tokio::test]
async fn what_is_not_supported_says_so() {
    let Some((cluster, client)) = simulated("another cluster supports more").await else {
        return;
    };
    let get = |path: &str| http::Request::get(path).body(Vec::new()).unwrap();
    let status = |path: &'static str| {
        let (client, request) = (client.clone(), get(path));
        async move { refusal(client.request::<Value>(request).await.unwrap_err()) }
    };
    assert_eq!(status("/api/v1/pods?frobnicate=1").await.0, 501);
    assert_eq!(status("/api/v1/namespaces/t/pods/p/exec").await.0, 501);
    assert_eq!(status("/api/v1/widgets").await.0, 404);
    let calls = cluster.calls();
    assert!(calls.iter().any(|call| call.verb == "create" && call.resource == "namespaces"), "{calls:?}");
    cluster.shutdown().await;
}
