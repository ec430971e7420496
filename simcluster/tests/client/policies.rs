//! What is refused: quotas by priority class, and Pod Security.

use k8s_openapi::api::core::v1::{LimitRange, Namespace, Pod, ResourceQuota};
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

/// Quotas and rules come first, as on a real server: whoever repeats a creation has to know both answers.
#[tokio::test]
async fn a_name_that_is_taken_is_told_last_and_counts_for_nothing() {
    let stage = start().await;
    let (pods, quotas) = (stage.api::<Pod>(), stage.api::<ResourceQuota>());
    let quota = object(json!({"metadata": {"name": "q"}, "spec": {"hard": {"pods": "2"}}}));
    quotas.create(&PostParams::default(), &quota).await.unwrap();
    let used = async || quotas.get("q").await.unwrap().status?.used?.get("pods").map(|n| n.0.clone());
    stage.eventually("the quota is counted", used).await;
    let create = async |name| pods.create(&PostParams::default(), &pod(name, None, json!({}))).await;
    create("a").await.unwrap();
    assert_eq!(refusal(&create("a").await.unwrap_err()).0, 409);
    create("b").await.unwrap();
    assert_eq!(refusal(&create("a").await.unwrap_err()).0, 403, "the quota is full");
}

/// Only here: another cluster has them.
#[tokio::test]
async fn what_would_have_no_effect_is_refused() {
    let stage = start().await;
    if stage.sim("another cluster has them").is_none() {
        return;
    }
    for (hard, selector) in [
        (json!({"count/statefulsets.apps": "1"}), Value::Null),
        (json!({"pods": "1"}), json!({"matchExpressions": [{"scopeName": "BestEffort", "operator": "Exists"}]})),
    ] {
        let spec = json!({"hard": hard, "scopeSelector": selector});
        let quota = object(json!({"metadata": {"name": "q"}, "spec": spec}));
        let refused = stage.api::<ResourceQuota>().create(&PostParams::default(), &quota).await.unwrap_err();
        assert_eq!(refusal(&refused).0, 501, "{refused}");
    }
    for limit in [json!({"type": "Pod"}), json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}})] {
        let range = object(json!({"metadata": {"name": "l"}, "spec": {"limits": [limit]}}));
        let refused = stage.api::<LimitRange>().create(&PostParams::default(), &range).await.unwrap_err();
        assert_eq!(refusal(&refused).0, 501, "{refused}");
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
