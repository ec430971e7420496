//! What the server itself adds to a new object: initial status, finalizers, addresses, and what plugins set for
//! everybody. Nobody owns these fields.

use serde_json::{Value, json};

use super::{containers, each_container};
use crate::{
    dig::Dig,
    resource::{self, Kind},
    status::{Cause, Status},
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
        "ClusterRole" if object.has("aggregationRule") => {
            return Err(Status::not_implemented("roles that aggregate others"));
        }
        _ => {}
    }
    Ok(())
}

/// Keeps a field that follows from others.
pub(crate) fn derive(kind: &Kind, object: &mut Value) {
    if kind.kind == "Pod" && object.has("status") {
        let class = qos_class(&object["spec"]);
        object.default("status.qosClass", class);
    }
}

fn append(object: &mut Value, list: &str, item: Value) {
    object.default(list, json!([]));
    if let Some(items) = object.at_mut(list).and_then(Value::as_array_mut) {
        items.push(item);
    }
}

fn protect(object: &mut Value, finalizer: &str) {
    if !object.items("metadata.finalizers").iter().any(|present| present == finalizer) {
        append(object, "metadata.finalizers", finalizer.into());
    }
}

fn service(state: &mut State, service: &mut Value) {
    service.put("status", json!({"loadBalancer": {}}));
    if service.text("spec.type") == "ExternalName" {
        return;
    }
    let dual = service.text("spec.clusterIP") == "None" && !service.has("spec.selector");
    if !service.has("spec.clusterIP") {
        service.put("spec.clusterIP", state.service_address());
    }
    let (families, policy) =
        if dual { (json!(["IPv4", "IPv6"]), "RequireDualStack") } else { (json!(["IPv4"]), "SingleStack") };
    service.put("spec.clusterIPs", json!([service.at("spec.clusterIP")]));
    service.default("spec.ipFamilies", families);
    service.default("spec.ipFamilyPolicy", policy);
    if ["NodePort", "LoadBalancer"].contains(&service.text("spec.type")) {
        let services = state.list(&resource::SERVICE, None);
        let taken = services.iter().flat_map(|service| service.items("spec.ports"));
        let taken: Vec<i64> = taken.filter_map(|port| port.int("nodePort")).collect();
        let free = (30_000..=32_767).filter(|port| !taken.contains(port));
        let unnumbered = service.items_mut("spec.ports").iter_mut().filter(|port| !port.has("nodePort"));
        unnumbered.zip(free).for_each(|(port, free)| port.put("nodePort", free));
    }
}

fn pod(state: &mut State, pod: &mut Value) -> Result<(), Status> {
    let (priority, policy) = priority(state, pod)?;
    pod.put("spec.priority", priority);
    pod.default("spec.preemptionPolicy", policy);
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
            append(pod, "spec.tolerations", wait);
        }
    }
    pod.put("status", json!({"phase": "Pending", "qosClass": qos_class(&pod["spec"])}));
    Ok(())
}

/// The number behind a priority class's name, which must exist.
fn priority(state: &State, pod: &Value) -> Result<(i64, String), Status> {
    let (name, class) = (pod.text("metadata.name"), pod.text("spec.priorityClassName"));
    if class.is_empty() {
        return Ok((0, "PreemptLowerPriority".to_owned()));
    }
    let Some(found) = state.get(&resource::PRIORITY_CLASS, &(String::new(), class.to_owned())) else {
        return Err(Status::forbidden(&resource::POD, name, &format!("no PriorityClass with name {class} was found")));
    };
    let value = found.int("value").unwrap_or(0);
    if pod.int("spec.priority").is_some_and(|given| given != value) {
        let why = format!("the integer value of priority must be the one of PriorityClass {class}");
        return Err(Status::invalid(
            &resource::POD,
            name,
            &[Cause::invalid("spec.priority", pod.at("spec.priority"), &why)],
        ));
    }
    Ok((value, found.text("preemptionPolicy").to_owned()))
}

fn mount_token(spec: &mut Value, volume: &str) {
    const PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
    let mut added = false;
    each_container(spec, |container| {
        if !container.items("volumeMounts").iter().any(|mount| mount["mountPath"] == PATH) {
            append(container, "volumeMounts", json!({"name": volume, "readOnly": true, "mountPath": PATH}));
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
        append(spec, "volumes", json!({"name": volume, "projected": {"defaultMode": 420, "sources": sources}}));
    }
}

/// How a pod's requests and limits make it fare when memory runs out.
pub(super) fn qos_class(spec: &Value) -> &'static str {
    let amounts =
        |container: &Value, side: &str| ["cpu", "memory"].map(|name| container["resources"][side][name].clone());
    let guaranteed = |container: &Value| {
        let limits = amounts(container, "limits");
        limits.iter().all(Value::is_string) && limits == amounts(container, "requests")
    };
    if containers(spec).all(guaranteed) {
        "Guaranteed"
    } else if containers(spec)
        .any(|c| ["requests", "limits"].iter().any(|side| amounts(c, side).iter().any(Value::is_string)))
    {
        "Burstable"
    } else {
        "BestEffort"
    }
}
