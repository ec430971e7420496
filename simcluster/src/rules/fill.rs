//! What the server itself adds to a new object: initial status, finalizers, addresses, and what plugins set for
//! everybody. Nobody owns these fields.

use serde_json::{Value, json};

use super::{containers, each_container};
use crate::{
    admission::quota,
    dig::Dig,
    resource::{self, Kind},
    status::Status,
    store::State,
};

pub(crate) fn fill_in(state: &mut State, kind: &'static Kind, object: &mut Value) -> Result<(), Status> {
    match kind.kind {
        "Namespace" => {
            object.put("spec", json!({"finalizers": ["kubernetes"]}));
            object.put("status", json!({"phase": "Active"}));
        }
        "Pod" => pod(state, object)?,
        "StatefulSet" => object.put("status", json!({"replicas": 0, "availableReplicas": 0})),
        "PersistentVolumeClaim" => {
            protect(object, "kubernetes.io/pvc-protection");
            let classes = state.list(&resource::STORAGE_CLASS, None);
            let default = |annotations: &Value| annotations["storageclass.kubernetes.io/is-default-class"] == "true";
            if let Some(class) = classes.iter().find(|class| default(class.at("metadata.annotations"))) {
                object.default("spec.storageClassName", class.text("metadata.name"));
            }
        }
        "PersistentVolume" => protect(object, "kubernetes.io/pv-protection"),
        "Service" => service(state, object),
        "Ingress" => {
            object.put("status", json!({"loadBalancer": {}}));
            // K3s marks its ingress controller's class as the default.
            object.default("spec.ingressClassName", "traefik");
        }
        "ResourceQuota" => object.put("status", json!({})),
        _ => {}
    }
    Ok(())
}

/// Refuses what would be accepted and have no effect.
pub(crate) fn served(kind: &Kind, object: &Value) -> Result<(), Status> {
    let other = |limit: &Value| limit["type"] != "Container" || limit.has("maxLimitRequestRatio");
    let scopes = object.items("spec.scopeSelector.matchExpressions");
    let what = match kind.kind {
        "ResourceQuota" if object.has("spec.scopes") => "spec.scopes of quotas".to_owned(),
        "ResourceQuota" if scopes.iter().any(|scope| scope["scopeName"] != "PriorityClass") => {
            "scopes of quotas other than PriorityClass".to_owned()
        }
        "ResourceQuota" => match object.fields("spec.hard").find(|(name, _)| !quota::is_counted(name)) {
            Some((name, _)) => format!("quotas on {name}"),
            None => return Ok(()),
        },
        "LimitRange" if object.items("spec.limits").iter().any(other) => {
            "limit ranges other than those of containers, and their ratios".to_owned()
        }
        "ClusterRole" if object.has("aggregationRule") => "roles that aggregate others".to_owned(),
        _ => return Ok(()),
    };
    Err(Status::not_implemented(what))
}

/// Keeps a field that follows from others.
pub(crate) fn derive(kind: &Kind, object: &mut Value) {
    if kind.kind == "Pod" && object.has("status") {
        let class = qos_class(&object["spec"]);
        object.default("status.qosClass", class);
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    if !object.items("metadata.finalizers").iter().any(|present| present == finalizer) {
        object.push("metadata.finalizers", finalizer);
    }
}

fn service(state: &mut State, service: &mut Value) {
    service.put("status", json!({"loadBalancer": {}}));
    if !service.has("spec.clusterIP") {
        service.put("spec.clusterIP", state.service_address());
    }
    service.put("spec.clusterIPs", json!([service.at("spec.clusterIP")]));
    service.default("spec.ipFamilies", json!(["IPv4"]));
    service.default("spec.ipFamilyPolicy", "SingleStack");
}

fn pod(state: &mut State, pod: &mut Value) -> Result<(), Status> {
    priority(state, pod)?;
    pod.default("spec.serviceAccountName", "default");
    let (name, ns) = (pod.text("spec.serviceAccountName").to_owned(), pod.text("metadata.namespace").to_owned());
    pod.put("spec.serviceAccount", name.as_str());
    let account = state.get(&resource::SERVICE_ACCOUNT, &(ns.clone(), name.clone())).cloned();
    // `default` is made by a controller a moment after its namespace.
    if account.is_none() && name != "default" {
        let why = format!("error looking up service account {ns}/{name}: serviceaccount \"{name}\" not found");
        return Err(Status::forbidden(&resource::POD, pod.text("metadata.name"), &why));
    }
    let wishes = [
        pod.at("spec.automountServiceAccountToken"),
        account.as_deref().unwrap_or(&Value::Null).at("automountServiceAccountToken"),
    ];
    if wishes.into_iter().find_map(Value::as_bool).unwrap_or(true) {
        let volume = format!("kube-api-access-{}", state.suffix());
        mount_token(&mut pod["spec"], &volume);
    }
    // A pod waits five minutes on a node that is not ready, unless it says otherwise.
    for condition in ["not-ready", "unreachable"] {
        let key = format!("node.kubernetes.io/{condition}");
        let covers = |toleration: &Value| {
            let keyless = !toleration.has("key") && toleration["operator"] == "Exists";
            (keyless || toleration["key"] == key) && ["", "NoExecute"].contains(&toleration.text("effect"))
        };
        if !pod.items("spec.tolerations").iter().any(covers) {
            let wait = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
            pod.push("spec.tolerations", wait);
        }
    }
    pod.put("status", json!({"phase": "Pending", "qosClass": qos_class(&pod["spec"])}));
    Ok(())
}

/// Sets the number behind the priority class's name; the class must exist.
fn priority(state: &State, pod: &mut Value) -> Result<(), Status> {
    let class = pod.text("spec.priorityClassName").to_owned();
    let found = state.get(&resource::PRIORITY_CLASS, &(String::new(), class.clone()));
    if found.is_none() && !class.is_empty() {
        let why = format!("no PriorityClass with name {class} was found");
        return Err(Status::forbidden(&resource::POD, pod.text("metadata.name"), &why));
    }
    pod.put("spec.priority", found.and_then(|class| class.int("value")).unwrap_or(0));
    let policy = found.map_or("PreemptLowerPriority", |class| class.text("preemptionPolicy"));
    pod.default("spec.preemptionPolicy", policy);
    Ok(())
}

fn mount_token(spec: &mut Value, volume: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut added = false;
    each_container(spec, |container| {
        if !container.items("volumeMounts").iter().any(|mount| mount["mountPath"] == PATH) {
            container.push("volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": PATH}));
            added = true;
        }
    });
    if added {
        let namespace = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
        let sources = json!([
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
        ]);
        spec.push("volumes", json!({"name": volume, "projected": {"defaultMode": 420, "sources": sources}}));
    }
}

/// How a pod's requests and limits make it fare when memory runs out.
pub(super) fn qos_class(spec: &Value) -> &'static str {
    let amounts =
        |container: &Value, side: &str| ["cpu", "memory"].map(|name| container["resources"][side][name].clone());
    let mut class = "Guaranteed";
    let mut any = false;
    for container in containers(spec) {
        let [limits, requests] = ["limits", "requests"].map(|side| amounts(container, side));
        any |= limits.iter().chain(&requests).any(Value::is_string);
        if limits != requests || !limits.iter().all(Value::is_string) {
            class = "Burstable";
        }
    }
    if any { class } else { "BestEffort" }
}
