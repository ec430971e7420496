//! Server-side apply.

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::ConfigMap};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta},
};
use serde_json::{Value, json};

use crate::support::{config_map, refusal, start, stateful_set};

#[tokio::test]
async fn a_second_apply_of_the_same_is_no_write() {
    let (cluster, client) = start().await;
    let sets = Api::<StatefulSet>::namespaced(client, "t");
    let apply = PatchParams::apply("lumbung");
    let first = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:18")))
        .await
        .unwrap();
    cluster.settle().await;
    let settled = sets.get("db").await.unwrap();
    let again = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:18")))
        .await
        .unwrap();
    assert_eq!(again.resource_version(), settled.resource_version());
    assert_eq!(first.metadata.generation, Some(1));
    let next = sets
        .patch("db", &apply, &Patch::Apply(stateful_set("db", "postgres:19")))
        .await
        .unwrap();
    assert_eq!(next.metadata.generation, Some(2));
    assert_ne!(next.resource_version(), settled.resource_version());
    cluster.shutdown().await;
}

#[tokio::test]
async fn applies_conflict_share_and_give_up_fields() {
    let (cluster, client) = start().await;
    let maps = Api::<ConfigMap>::namespaced(client, "t");
    let apply = |who: &str, data: Value| {
        let (maps, params) = (maps.clone(), PatchParams::apply(who));
        async move { maps.patch("m", &params, &Patch::Apply(config_map("m", data))).await }
    };
    apply("one", json!({"a": "1", "b": "1"})).await.unwrap();
    let (code, reason, message) = refusal(apply("two", json!({"a": "2"})).await.unwrap_err());
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert_eq!(message, "Apply failed with 1 conflict: conflict with \"one\": .data.a");
    apply("two", json!({"a": "1"})).await.unwrap();
    let left = apply("one", json!({})).await.unwrap();
    let data = left.data.unwrap();
    assert_eq!(data.keys().collect::<Vec<_>>(), ["a"], "b had one owner, a has another");
    cluster.shutdown().await;
}

/// Everything that Lumbung applies for a customer.
fn all_kinds() -> Vec<Value> {
    let probe = json!({"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 5});
    let resources = json!({"requests": {"cpu": "0.5", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}});
    let affinity = json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["ryzen-3900x"]}]}]}}});
    let pod = json!({
        "automountServiceAccountToken": false, "affinity": affinity, "terminationGracePeriodSeconds": 120,
        "securityContext": {"fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
        "hostAliases": [{"ip": "10.43.0.20", "hostnames": ["x.n8n.example.test"]}],
        "tolerations": [{"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
        "initContainers": [{"name": "db", "image": "mysql:8", "restartPolicy": "Always", "resources": resources,
            "startupProbe": {"exec": {"command": ["mysqladmin", "ping"]}}, "volumeMounts": [{"name": "data", "mountPath": "/var/lib/mysql", "subPath": "db"}]}],
        "containers": [{"name": "app", "image": "ghost:6", "ports": [{"name": "http", "containerPort": 2368}],
            "env": [{"name": "A", "value": "1"}, {"name": "P", "valueFrom": {"secretKeyRef": {"name": "s", "key": "PASSWORD"}}},
                {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "envFrom": [{"configMapRef": {"name": "m"}}], "readinessProbe": probe, "resources": resources,
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1024Mi"}}],
    });
    let meta = |name: &str| json!({"name": name, "labels": {"app.kubernetes.io/managed-by": "lumbung"}});
    let scope = json!({"matchExpressions": [{"scopeName": "PriorityClass", "operator": "DoesNotExist"}]});
    let backend = json!({"service": {"name": "web", "port": {"name": "http"}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta("t")}),
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("q"), "spec": {"scopeSelector": scope,
            "hard": {"pods": 5, "requests.cpu": "4000m", "limits.memory": "8192Mi"}}}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": meta("l"), "spec": {"limits": [
            {"type": "Container", "default": {"memory": "128Mi"}, "defaultRequest": {"cpu": "0.1"}}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": meta("p"), "spec": {
            "podSelector": {}, "policyTypes": ["Ingress", "Egress"], "egress": [{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53}],
                "to": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}]},
                {"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}]}]}}),
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": meta("s"), "type": "Opaque", "data": {"PASSWORD": "aHVudGVyMg=="}}),
        config_map("m", json!({"k": "v"})),
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta("data"), "spec": {"storageClassName": "longhorn",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": meta("web"), "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta("web"), "spec": {
            "ingressClassName": "traefik", "rules": [{"host": "x.ghost.example.test", "http": {"paths": [path]}}]}}),
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta("web"), "spec": {
            "serviceName": "web", "replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}}),
    ]
}

#[tokio::test]
async fn every_kind_that_lumbung_applies_is_no_write_the_second_time() {
    let (cluster, client) = start().await;
    let apply = PatchParams::apply("lumbung").force();
    let mut seen = Vec::new();
    for round in ["first", "second"] {
        for object in all_kinds() {
            let typed = serde_json::from_value::<TypeMeta>(object.clone()).unwrap();
            let (group, version) = typed.api_version.split_once('/').unwrap_or(("", &typed.api_version));
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &typed.kind));
            let api: Api<DynamicObject> = match typed.kind.as_str() {
                "Namespace" => Api::all_with(client.clone(), &resource),
                _ => Api::namespaced_with(client.clone(), "t", &resource),
            };
            let name = object["metadata"]["name"].as_str().unwrap();
            if round == "second" {
                let before = api.get(name).await.unwrap().resource_version();
                let after = api.patch(name, &apply, &Patch::Apply(&object)).await.unwrap();
                assert_eq!(after.resource_version(), before, "{} was written again", typed.kind);
                seen.push(typed.kind.clone());
            } else {
                api.patch(name, &apply, &Patch::Apply(&object)).await.unwrap();
            }
        }
        cluster.settle().await;
    }
    assert_eq!(seen.len(), all_kinds().len());
    cluster.shutdown().await;
}
