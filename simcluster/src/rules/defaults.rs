//! What is set on an object when it is read, if the sender did not say: the same answer every time, for every writer.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{default, items, object, workload};
use crate::resource::Kind;

pub(crate) fn defaults(kind: &Kind, whole: &mut Value) {
    let Some(fields) = whole.as_object_mut() else { return };
    match kind.kind {
        "Namespace" => {
            let name = fields["metadata"]["name"].clone();
            let metadata = object(fields, "metadata");
            object(metadata, "labels").insert("kubernetes.io/metadata.name".into(), name);
        }
        "Pod" => {
            workload::pod(fields);
            for condition in items(object(fields, "status"), "conditions") {
                default(condition, "lastProbeTime", Value::Null);
            }
        }
        "Event" => event(fields),
        "StatefulSet" => workload::stateful_set(fields),
        "PersistentVolumeClaim" => workload::claim(fields),
        "PersistentVolume" => workload::volume(fields),
        "LimitRange" => workload::limit_range(fields),
        "Secret" => secret(fields),
        "Service" => service(fields),
        "NetworkPolicy" => network_policy(object(fields, "spec")),
        "StorageClass" => {
            default(fields, "reclaimPolicy", "Delete");
            default(fields, "volumeBindingMode", "Immediate");
        }
        "PriorityClass" => default(fields, "preemptionPolicy", "PreemptLowerPriority"),
        _ => {}
    }
}

/// Times and reporters are shown even if they are not known.
fn event(event: &mut Map<String, Value>) {
    default(event, "source", json!({}));
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        default(event, time, Value::Null);
    }
    for reporter in ["reportingComponent", "reportingInstance"] {
        default(event, reporter, "");
    }
}

/// What is written as text is stored as data.
fn secret(secret: &mut Map<String, Value>) {
    if let Some(Value::Object(texts)) = secret.remove("stringData") {
        let data = object(secret, "data");
        for (key, text) in texts {
            let encoded = STANDARD.encode(text.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
    }
    default(secret, "type", "Opaque");
}

fn service(service: &mut Map<String, Value>) {
    let spec = object(service, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    let external = spec["type"] == "ExternalName";
    if !external {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if spec["type"] == "NodePort" || spec["type"] == "LoadBalancer" {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    for port in items(spec, "ports") {
        default(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or_default();
        default(port, "targetPort", number);
    }
}

fn network_policy(spec: &mut Map<String, Value>) {
    // A policy with rules for egress is about egress; every policy is about ingress unless it says otherwise.
    let types = if spec.contains_key("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
    default(spec, "policyTypes", types);
    for direction in ["ingress", "egress"] {
        for rule in items(spec, direction) {
            items(rule, "ports").for_each(|port| default(port, "protocol", "TCP"));
        }
    }
}
