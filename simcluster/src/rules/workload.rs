//! Defaults of StatefulSets and of claims.

use serde_json::{Map, Value, json};

use super::{containers, default, items, object};

pub(super) fn stateful_set(set: &mut Map<String, Value>) {
    let spec = object(set, "spec");
    default(spec, "replicas", 1);
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "revisionHistoryLimit", 10);
    let strategy = object(spec, "updateStrategy");
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(object(strategy, "rollingUpdate"), "partition", 0);
    }
    let retention = object(spec, "persistentVolumeClaimRetentionPolicy");
    default(retention, "whenDeleted", "Retain");
    default(retention, "whenScaled", "Retain");
    containers::pod_spec(object(object(spec, "template"), "spec"));
    for claim in items(spec, "volumeClaimTemplates") {
        claim.insert("kind".into(), "PersistentVolumeClaim".into());
        claim.insert("apiVersion".into(), "v1".into());
        self::claim(claim);
    }
}

pub(super) fn claim(claim: &mut Map<String, Value>) {
    default(object(claim, "spec"), "volumeMode", "Filesystem");
    default(object(claim, "status"), "phase", "Pending");
}

pub(super) fn volume(volume: &mut Map<String, Value>) {
    let spec = object(volume, "spec");
    default(spec, "persistentVolumeReclaimPolicy", "Retain");
    default(spec, "volumeMode", "Filesystem");
    default(object(volume, "status"), "phase", "Pending");
}

pub(super) fn pod(pod: &mut Map<String, Value>) {
    let spec = object(pod, "spec");
    default(spec, "enableServiceLinks", true);
    containers::pod_spec(spec);
    containers::requests_from_limits(spec);
}

/// A limit range's maximum is the default limit, the default limit the default request.
pub(super) fn limit_range(range: &mut Map<String, Value>) {
    for limit in items(object(range, "spec"), "limits").filter(|limit| limit.get("type") == Some(&json!("Container"))) {
        let amounts = |limit: &Map<String, Value>, field: &str| {
            limit.get(field).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        for (name, amount) in amounts(limit, "max") {
            default(object(limit, "default"), &name, amount);
        }
        for (name, amount) in amounts(limit, "default") {
            default(object(limit, "defaultRequest"), &name, amount);
        }
        for (name, amount) in amounts(limit, "min") {
            default(object(limit, "defaultRequest"), &name, amount);
        }
    }
}
