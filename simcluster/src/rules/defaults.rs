//! What is set on an object when it is read, if the sender did not say: the same answer every time, for every writer.
//!
//! A kind's plain defaults are a shape of the object: fields that are absent are made as the shape has them, the one item
//! of a list stands for all, and what is below a name with `?` is set only where its field is present.

use std::{collections::BTreeMap, sync::LazyLock};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::each_container;
use crate::{dig::Dig, resource::Kind};

static SHAPES: LazyLock<BTreeMap<&'static str, Value>> = LazyLock::new(|| {
    let get = json!({"path": "/", "scheme": "HTTP"});
    let probe = json!({
        "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
        "?httpGet": get, "?grpc": {"service": ""},
    });
    let ports = json!([{"protocol": "TCP"}]);
    let container = json!({
        "resources": {}, "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "ports": ports, "env": [{"?valueFrom": {"?fieldRef": {"apiVersion": "v1"}}}],
        "?livenessProbe": probe, "?readinessProbe": probe, "?startupProbe": probe,
        "?lifecycle": {"?postStart": {"?httpGet": get}, "?preStop": {"?httpGet": get}},
    });
    let file = json!({"defaultMode": 420});
    let projected = json!({"defaultMode": 420, "sources": [{"?serviceAccountToken": {"expirationSeconds": 3600}}]});
    let volume = json!({
        "?secret": file, "?configMap": file, "?downwardAPI": file, "?projected": projected, "?hostPath": {"type": ""},
    });
    let mut template = json!({
        "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
        "securityContext": {}, "schedulerName": "default-scheduler",
        "containers": [container], "initContainers": [container], "volumes": [volume],
    });
    let claim = json!({"spec": {"volumeMode": "Filesystem"}, "status": {"phase": "Pending"}});
    let reclaimed = json!({"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"});
    let mut claim_template = claim.clone();
    claim_template.put("kind", "PersistentVolumeClaim");
    claim_template.put("apiVersion", "v1");
    let set = json!({
        "replicas": 1, "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 10,
        "updateStrategy": {"type": "RollingUpdate"}, "template": {"spec": template},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "volumeClaimTemplates": [claim_template],
    });
    template.put("enableServiceLinks", true);
    let service = json!({
        "type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster", "ports": ports,
    });
    let policy = json!([{"ports": ports}]);
    let group = "rbac.authorization.k8s.io";
    let binding = json!({"roleRef": {"apiGroup": group}});
    let event = json!({
        "source": {}, "eventTime": null, "firstTimestamp": null, "lastTimestamp": null, "reportingComponent": "",
        "reportingInstance": "",
    });
    BTreeMap::from([
        ("Pod", json!({"spec": template, "status": {"conditions": [{"lastProbeTime": null}]}})),
        ("StatefulSet", json!({"spec": set})),
        ("PersistentVolumeClaim", claim),
        ("PersistentVolume", json!({"spec": reclaimed, "status": {"phase": "Pending"}})),
        ("Service", json!({"spec": service})),
        ("NetworkPolicy", json!({"spec": {"ingress": policy, "egress": policy}})),
        ("Secret", json!({"type": "Opaque"})),
        ("StorageClass", json!({"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})),
        ("PriorityClass", json!({"preemptionPolicy": "PreemptLowerPriority"})),
        ("RoleBinding", binding.clone()),
        ("ClusterRoleBinding", binding),
        ("Event", event),
    ])
});

pub(crate) fn defaults(kind: &Kind, object: &mut Value) {
    if let Some(shape) = SHAPES.get(kind.kind) {
        fill(object, shape);
    }
    computed(kind, object);
}

fn fill(object: &mut Value, shape: &Value) {
    match (object, shape) {
        (Value::Object(fields), Value::Object(shape)) => {
            for (name, shape) in shape {
                let present = fields.get_mut(name.trim_start_matches('?'));
                match present {
                    Some(value) => fill(value, shape),
                    None if name.starts_with('?') || shape.is_array() => {}
                    None => {
                        let mut value = if shape.is_object() { json!({}) } else { shape.clone() };
                        fill(&mut value, shape);
                        fields.insert(name.clone(), value);
                    }
                }
            }
        }
        (Value::Array(items), Value::Array(shape)) => items.iter_mut().for_each(|item| fill(item, &shape[0])),
        _ => {}
    }
}

/// Defaults that follow from other fields.
fn computed(kind: &Kind, object: &mut Value) {
    match kind.kind {
        "Namespace" => {
            let name = object.at("metadata.name").clone();
            object.default("metadata.labels", json!({}));
            object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name;
        }
        "Pod" => {
            pod_spec(&mut object["spec"]);
            // Unlike in a template, a limit without a request is the request.
            each_container(&mut object["spec"], |container| {
                copy_missing(container, "resources.limits", "resources.requests");
            });
        }
        "StatefulSet" => {
            if object.text("spec.updateStrategy.type") == "RollingUpdate" {
                object.default("spec.updateStrategy.rollingUpdate.partition", 0);
            }
            pod_spec(&mut object["spec"]["template"]["spec"]);
        }
        "LimitRange" => {
            for limit in object.items_mut("spec.limits").iter_mut().filter(|limit| limit["type"] == "Container") {
                for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
                    copy_missing(limit, from, to);
                }
            }
        }
        "Secret" => {
            // What is written as text is stored as data.
            for (key, text) in object["stringData"].take().as_object().into_iter().flatten() {
                object["data"][key] = STANDARD.encode(text.as_str().unwrap_or_default()).into();
            }
            object.remove("stringData");
        }
        "Service" => {
            for port in object.items_mut("spec.ports") {
                port.default("targetPort", port["port"].clone());
            }
        }
        "NetworkPolicy" => {
            // A policy with rules for egress is about egress; every policy is about ingress unless it says otherwise.
            let types = if object.has("spec.egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            object.default("spec.policyTypes", types);
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let group = object.at("roleRef.apiGroup").clone();
            for subject in object.items_mut("subjects").iter_mut().filter(|s| s["kind"] != "ServiceAccount") {
                subject.default("apiGroup", group.clone());
            }
        }
        _ => {}
    }
}

fn copy_missing(object: &mut Value, from: &str, to: &str) {
    for (name, value) in object.at(from).as_object().cloned().into_iter().flatten() {
        if object.at(to)[&name].is_null() {
            object.default(to, json!({}));
            if let Some(target) = object.at_mut(to) {
                target[&name] = value;
            }
        }
    }
}

fn pod_spec(spec: &mut Value) {
    if spec.has("serviceAccountName") {
        spec["serviceAccount"] = spec["serviceAccountName"].clone();
    }
    each_container(spec, |container| {
        // A tag that may come to mean another image is asked for every time.
        let name = container.text("image").rsplit('/').next().unwrap_or_default();
        let floating = !name.contains('@') && name.split_once(':').is_none_or(|(_, tag)| tag == "latest");
        container.default("imagePullPolicy", if floating { "Always" } else { "IfNotPresent" });
    });
    for volume in spec.items_mut("volumes") {
        if volume.as_object().is_some_and(|fields| fields.len() == 1) {
            volume["emptyDir"] = json!({});
        }
    }
}
