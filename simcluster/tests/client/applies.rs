//! Server-side apply.

use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, TypeMeta},
};
use serde_json::{Value, json};

use crate::support::{Stage, config_map, refusal, start};

#[tokio::test]
async fn items_of_keyed_lists_have_owners_of_their_own() {
    let stage = start().await;
    let set = all_kinds(&stage).pop().unwrap();
    let sets = dynamic(&stage, &set);
    let apply = PatchParams::apply("lumbung");
    let first = sets.patch("web", &apply, &Patch::Apply(&set)).await.unwrap();
    let side = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "side", "image": "busybox"}, {"name": "app", "env": [{"name": "A", "value": "2"}]}]}}}});
    sets.patch("web", &PatchParams::default(), &Patch::Strategic(side)).await.unwrap();
    let refused = sets.patch("web", &apply, &Patch::Apply(&set)).await.unwrap_err();
    let field = ".spec.template.spec.containers[name=\"app\"].env[name=\"A\"].value";
    assert!(refusal(&refused).1.ends_with(field), "{refused}");
    let after = sets.patch("web", &apply.clone().force(), &Patch::Apply(&set)).await.unwrap();
    let containers = |set: &DynamicObject| set.data["spec"]["template"]["spec"]["containers"].clone();
    let (first, after) = (containers(&first), containers(&after));
    let app = after.as_array().unwrap().iter().find(|container| container["name"] == "app");
    assert_eq!(app, first.get(0), "what is ours is as it was");
    assert_eq!(after.as_array().map(Vec::len), Some(2), "what is not is left alone");
}

/// Everything that Lumbung applies for a customer. Nothing is to run.
fn all_kinds(stage: &Stage) -> Vec<Value> {
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
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta(&stage.namespace)}),
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
            "serviceName": "web", "replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "updateStrategy": {"type": "OnDelete"},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}}),
    ]
}

/// The object's interface, by its own words.
fn dynamic(stage: &Stage, object: &Value) -> Api<DynamicObject> {
    let typed = serde_json::from_value::<TypeMeta>(object.clone()).unwrap();
    let (group, version) = typed.api_version.split_once('/').unwrap_or(("", &typed.api_version));
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &typed.kind));
    match typed.kind.as_str() {
        "Namespace" => Api::all_with(stage.client.clone(), &resource),
        _ => Api::namespaced_with(stage.client.clone(), &stage.namespace, &resource),
    }
}

#[tokio::test]
async fn every_kind_that_lumbung_applies_is_no_write_the_second_time() {
    let stage = start().await;
    let apply = PatchParams::apply("lumbung").force();
    let objects = all_kinds(&stage);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    for object in &objects {
        let api = dynamic(&stage, object);
        api.patch(&name(object), &apply, &Patch::Apply(object)).await.unwrap();
    }
    for object in &objects {
        let api = dynamic(&stage, object);
        // A controller may write between the two requests; an apply that writes would do it each time.
        let what = format!("{} is not written again", object["kind"]);
        stage
            .eventually(&what, async || {
                let before = api.get(&name(object)).await.unwrap().resource_version();
                let after = api.patch(&name(object), &apply, &Patch::Apply(object)).await.unwrap();
                (after.resource_version() == before).then_some(())
            })
            .await;
    }
}
