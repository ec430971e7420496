//! What is refused: quotas by priority class, and Pod Security.

use k8s_openapi::api::core::v1::{Namespace, Pod, ResourceQuota};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::support::{object, refusal, start};

/// A pod that no node takes, so that no cluster pulls or runs anything for it.
fn pod(name: &str, priority: Option<&str>, context: Value) -> Pod {
    let container = json!({"name": "app", "image": "nginx:1.29", "securityContext": context});
    object(json!({"metadata": {"name": name}, "spec": {"priorityClassName": priority,
        "nodeSelector": {"lumbung.dev/test": "nowhere"}, "containers": [container]}}))
}

#[tokio::test]
async fn a_scoped_quota_counts_only_its_priority_class() {
    let stage = start().await;
    let quotas = stage.api::<ResourceQuota>();
    for (name, operator) in [("setup", "In"), ("others", "NotIn")] {
        let scope = json!({"scopeName": "PriorityClass", "operator": operator, "values": ["system-node-critical"]});
        let spec = json!({"hard": {"pods": "1"}, "scopeSelector": {"matchExpressions": [scope]}});
        let quota = object(json!({"metadata": {"name": name}, "spec": spec}));
        quotas.create(&PostParams::default(), &quota).await.unwrap();
        // A quota holds once its controller has counted.
        let counted = async || quotas.get(name).await.unwrap().status?.used.map(|_| ());
        stage.eventually("the quota is counted", counted).await;
    }
    let critical = Some("system-node-critical");
    let attempts = [
        ("setup", critical, ""),
        ("plain", None, ""),
        ("second", None, "exceeded quota: others"),
        ("third", critical, "exceeded quota: setup"),
        ("fourth", Some("none-such"), "no PriorityClass with name none-such was found"),
    ];
    for (name, priority, expected) in attempts {
        let answer = stage.api::<Pod>().create(&PostParams::default(), &pod(name, priority, json!({}))).await;
        let refused = answer.as_ref().err().map(refusal);
        let as_expected = refused.map_or(expected.is_empty(), |(code, why)| code == 403 && why.contains(expected));
        assert!(as_expected && refused.is_some() != expected.is_empty(), "{name}: {refused:?}");
    }
}

#[tokio::test]
async fn a_privileged_pod_is_refused_where_baseline_is_enforced() {
    let stage = start().await;
    let label = Patch::Merge(json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}}));
    let namespaces = Api::<Namespace>::all(stage.client.clone());
    namespaces.patch(&stage.namespace, &PatchParams::default(), &label).await.unwrap();
    let pods = stage.api::<Pod>();
    let refused = async || {
        let answer = pods.create(&PostParams::default(), &pod("p", None, json!({"privileged": true}))).await;
        if answer.is_ok() {
            // The label has not reached the admission yet.
            pods.delete("p", &DeleteParams::default()).await.unwrap();
        }
        answer.err()
    };
    let refused = stage.eventually("the privileged pod is refused", refused).await;
    assert!(refusal(&refused).1.contains("violates PodSecurity \"baseline:latest\": privileged"), "{refused}");
    pods.create(&PostParams::default(), &pod("p", None, json!({}))).await.unwrap();
}
