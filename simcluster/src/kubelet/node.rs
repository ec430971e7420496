//! The kubelet's own heartbeat: its Lease, and the node's status.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    clock,
    controllers::{Ctx, list, set_condition, uid},
    resource,
};

const LEASES: &str = "kube-node-lease";

/// Conditions of a healthy machine: type, status, reason, message.
const HEALTHY: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// Renews the lease.
pub(super) fn renew(ctx: &Ctx<'_>, node: &Value) {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let spec = json!({
        "holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": clock::micros(ctx.now),
    });
    let renewed = ctx.cluster.update(&resource::LEASE, LEASES, name, "kubelet", |lease| {
        lease["spec"]["renewTime"] = spec["renewTime"].clone();
    });
    if renewed.is_err() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid(node)});
        let lease = json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec});
        let _ = ctx.cluster.create(&resource::LEASE, LEASES, lease, "kubelet");
    }
}

/// Writes the node's status where it is not what a living kubelet says.
pub(super) fn report(ctx: &Ctx<'_>, node: &Value, address: &str) {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = list(&node["status"]["conditions"]);
    let stands = |(kind, status, ..): &(&str, &str, &str, &str)| {
        conditions.iter().any(|c| c["type"] == *kind && c["status"] == *status)
    };
    if HEALTHY.iter().all(stands) && node["status"]["nodeInfo"].is_object() {
        return;
    }
    let _ = ctx.cluster.update_status(&resource::NODE, "", name, "kubelet", |node| {
        fill(node, name, address, ctx.now);
    });
}

fn fill(node: &mut Value, name: &str, address: &str, now: Timestamp) {
    let now = clock::seconds(now);
    for (kind, status, reason, message) in HEALTHY {
        let condition = json!({
            "type": kind, "status": status, "lastHeartbeatTime": now, "lastTransitionTime": now, "reason": reason,
            "message": message,
        });
        set_condition(node, condition);
    }
    node["status"]["addresses"] =
        json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]);
    node["status"]["daemonEndpoints"] = json!({"kubeletEndpoint": {"Port": 10250}});
    node["status"]["nodeInfo"] = json!({
        "machineID": name, "systemUUID": name, "bootID": name, "kernelVersion": "6.12.0-simulated",
        "osImage": "Simulated Linux", "containerRuntimeVersion": "containerd://2.1.4-k3s1",
        "kubeletVersion": "v1.36.2+k3s1", "kubeProxyVersion": "", "operatingSystem": "linux", "architecture": "amd64",
    });
}
