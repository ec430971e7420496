//! What the server itself adds to a new object: initial status, finalizers, addresses, and what plugins set for
//! everybody. Nobody owns these fields.

use serde_json::{Map, Value, json};

use super::{default, object};
use crate::{
    resource::{self, Kind},
    status::{Cause, Status},
    store::State,
};

pub(crate) fn fill_in(state: &mut State, kind: &'static Kind, whole: &mut Value) -> Result<(), Status> {
    let name = whole["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let Some(fields) = whole.as_object_mut() else {
        return Ok(());
    };
    match kind.kind {
        "Namespace" => {
            fields.insert("spec".into(), json!({"finalizers": ["kubernetes"]}));
            fields.insert("status".into(), json!({"phase": "Active"}));
        }
        "Pod" => pod(state, &name, fields)?,
        "StatefulSet" => {
            fields.insert("status".into(), json!({"replicas": 0, "availableReplicas": 0}));
        }
        "PersistentVolumeClaim" => claim(state, fields),
        "PersistentVolume" => add_finalizer(fields, "kubernetes.io/pv-protection"),
        "Service" => service(state, fields),
        "Ingress" => {
            fields.insert("status".into(), json!({"loadBalancer": {}}));
            // K3s marks its ingress controller's class as the default.
            default(object(fields, "spec"), "ingressClassName", "traefik");
        }
        "ResourceQuota" => {
            fields.insert("status".into(), json!({}));
        }
        _ => {}
    }
    Ok(())
}

/// Keeps fields that follow from others: the address of a service stays, its shape follows its ports.
pub(crate) fn derive(kind: &Kind, whole: &mut Value) {
    if kind.kind == "Pod" {
        let class = qos_class(&whole["spec"]);
        if whole["status"].is_object() {
            default_at(&mut whole["status"], "qosClass", class.into());
        }
    }
}

fn default_at(parent: &mut Value, field: &str, value: Value) {
    if let Some(fields) = parent.as_object_mut() {
        default(fields, field, value);
    }
}

fn add_finalizer(fields: &mut Map<String, Value>, finalizer: &str) {
    let list = object(fields, "metadata").entry("finalizers").or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|present| present == finalizer)
    {
        list.push(finalizer.into());
    }
}

fn claim(state: &State, claim: &mut Map<String, Value>) {
    add_finalizer(claim, "kubernetes.io/pvc-protection");
    let marked = |class: &Value| {
        let annotations = &class["metadata"]["annotations"];
        annotations["storageclass.kubernetes.io/is-default-class"] == "true"
    };
    let classes = state.list(&resource::STORAGE_CLASS, None);
    if let Some(class) = classes.iter().find(|class| marked(class)) {
        default(object(claim, "spec"), "storageClassName", class["metadata"]["name"].clone());
    }
}

fn service(state: &mut State, service: &mut Map<String, Value>) {
    service.insert("status".into(), json!({"loadBalancer": {}}));
    let spec = object(service, "spec");
    if spec["type"] == "ExternalName" {
        return;
    }
    let headless = spec.get("clusterIP").is_some_and(|ip| ip == "None");
    if !spec.contains_key("clusterIP") {
        let address = state.service_address();
        spec.insert("clusterIP".into(), address.into());
    }
    spec.insert("clusterIPs".into(), json!([spec["clusterIP"]]));
    let unselective = headless && !spec.contains_key("selector");
    let (families, policy) =
        if unselective { (json!(["IPv4", "IPv6"]), "RequireDualStack") } else { (json!(["IPv4"]), "SingleStack") };
    default(spec, "ipFamilies", families);
    default(spec, "ipFamilyPolicy", policy);
    if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
        let taken = node_ports(state);
        let mut free = (30_000..=32_767).filter(|port| !taken.contains(port));
        for port in super::items(spec, "ports") {
            if !port.contains_key("nodePort")
                && let Some(free) = free.next()
            {
                port.insert("nodePort".into(), free.into());
            }
        }
    }
}

fn node_ports(state: &State) -> Vec<i64> {
    let services = state.list(&resource::SERVICE, None);
    let ports = services.iter().filter_map(|service| service["spec"]["ports"].as_array()).flatten();
    ports.filter_map(|port| port["nodePort"].as_i64()).collect()
}

fn pod(state: &mut State, name: &str, pod: &mut Map<String, Value>) -> Result<(), Status> {
    let (priority, policy) = priority(state, name, &pod["spec"])?;
    let token = state.suffix();
    let spec = object(pod, "spec");
    spec.insert("priority".into(), priority.into());
    default(spec, "preemptionPolicy", policy);
    default(spec, "serviceAccountName", "default");
    spec.insert("serviceAccount".into(), spec["serviceAccountName"].clone());
    if spec.get("automountServiceAccountToken") != Some(&Value::Bool(false)) {
        mount_token(spec, &format!("kube-api-access-{token}"));
    }
    for condition in ["not-ready", "unreachable"] {
        tolerate(spec, &format!("node.kubernetes.io/{condition}"));
    }
    let class = qos_class(&Value::Object(spec.clone()));
    pod.insert("status".into(), json!({"phase": "Pending", "qosClass": class}));
    Ok(())
}

/// The number behind a priority class's name, which must exist.
fn priority(state: &State, name: &str, spec: &Value) -> Result<(i64, String), Status> {
    let Some(class) = spec["priorityClassName"].as_str() else {
        return Ok((0, "PreemptLowerPriority".to_owned()));
    };
    let found = state.get(&resource::PRIORITY_CLASS, &(String::new(), class.to_owned()));
    let Some(found) = found else {
        return Err(Status::forbidden(&resource::POD, name, &format!("no PriorityClass with name {class} was found")));
    };
    let value = found["value"].as_i64().unwrap_or(0);
    if spec["priority"].as_i64().is_some_and(|given| given != value) {
        let why = format!("the integer value of priority must be the one of PriorityClass {class}");
        return Err(Status::invalid(&resource::POD, name, &[Cause::invalid("spec.priority", &spec["priority"], &why)]));
    }
    Ok((value, found["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority").to_owned()))
}

/// A pod waits five minutes on a node that is not ready, unless it says otherwise.
fn tolerate(spec: &mut Map<String, Value>, key: &str) {
    let tolerations = spec.entry("tolerations").or_insert_with(|| json!([]));
    let Some(list) = tolerations.as_array_mut() else { return };
    let covers = |toleration: &Value| {
        let keyless = toleration["key"].is_null() && toleration["operator"] == "Exists";
        let effect = toleration["effect"].as_str().unwrap_or("NoExecute");
        (keyless || toleration["key"] == key) && effect == "NoExecute"
    };
    if !list.iter().any(covers) {
        list.push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
    }
}

fn mount_token(spec: &mut Map<String, Value>, volume: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut added = false;
    for list in ["containers", "initContainers"] {
        for container in super::items(spec, list) {
            let mounts = container.entry("volumeMounts").or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else { continue };
            if !mounts.iter().any(|mount| mount["mountPath"] == PATH) {
                mounts.push(json!({"name": volume, "readOnly": true, "mountPath": PATH}));
                added = true;
            }
        }
    }
    if added && let Some(volumes) = spec.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        let field = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
        volumes.push(json!({"name": volume, "projected": {"defaultMode": 420, "sources": [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
        ]}}));
    }
}

/// How a pod's requests and limits make it fare when memory runs out.
fn qos_class(spec: &Value) -> &'static str {
    let lists = ["containers", "initContainers"].iter().filter_map(|list| spec[list].as_array());
    let containers: Vec<&Value> = lists.flatten().collect();
    let amounts = |container: &Value, field: &str| {
        ["cpu", "memory"].map(|name| container["resources"][field][name].as_str().map(ToOwned::to_owned))
    };
    let some = |c: &&Value| amounts(c, "requests").iter().chain(&amounts(c, "limits")).any(Option::is_some);
    let guaranteed = |c: &&Value| {
        let limits = amounts(c, "limits");
        limits.iter().all(Option::is_some) && limits == amounts(c, "requests")
    };
    if containers.iter().all(guaranteed) {
        "Guaranteed"
    } else if containers.iter().any(some) {
        "Burstable"
    } else {
        "BestEffort"
    }
}
