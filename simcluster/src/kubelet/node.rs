//! The kubelet's word on its machine: the Lease, the node's status, and whom it gives up when the disk is full.

use super::prelude::*;

const LEASES: &str = "kube-node-lease";
/// Pods from this priority on are never given up.
const CRITICAL: i64 = 2_000_000_000;

/// What a kubelet says of a machine: type, status, reason, message.
type Condition = [&'static str; 4];

const HEALTHY: [Condition; 4] = [
    ["MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"],
    ["DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"],
    ["PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"],
    ["Ready", "True", "KubeletReady", "kubelet is posting ready status"],
];
const DISK_FULL: Condition = ["DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure"];

pub(super) fn renew(ctx: &Ctx<'_>, node: &Value) {
    let (name, now) = (node.text("metadata.name"), clock::micros(ctx.now));
    let put = |lease: &mut Value| lease.put("spec.renewTime", now.as_str());
    if ctx.cluster.update(&resource::LEASE, LEASES, name, "kubelet", put).is_err() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid(node)});
        let spec = json!({"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now});
        let lease = json!({"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec});
        let _ = ctx.cluster.create(&resource::LEASE, LEASES, lease, "kubelet");
    }
}

/// Writes the node's status where it is not what a living kubelet says; the taint of a full disk is the node controller's.
pub(super) fn report(ctx: &Ctx<'_>, node: &Value, index: usize, disk_full: bool) {
    let (name, now) = (node.text("metadata.name"), clock::seconds(ctx.now));
    let conditions = HEALTHY.map(|healthy| if disk_full && healthy[0] == DISK_FULL[0] { DISK_FULL } else { healthy });
    let stands = |said: &Condition| {
        let mut shown = node.items("status.conditions").iter();
        shown.any(|shown| shown.text("type") == said[0] && shown.text("status") == said[1])
    };
    if !conditions.iter().all(stands) || !node.has("status.nodeInfo") {
        ctx.edit_status(node, "kubelet", |node| {
            for [kind, status, reason, message] in conditions {
                let condition = json!({
                    "type": kind, "status": status, "lastHeartbeatTime": now, "lastTransitionTime": now,
                    "reason": reason, "message": message,
                });
                set_condition(node, condition);
            }
            let address = host_ip(index);
            let addresses = json!([{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]);
            node.put("status.addresses", addresses);
            node.put("status.daemonEndpoints", json!({"kubeletEndpoint": {"Port": 10250}}));
            node.put(
                "status.nodeInfo",
                json!({
                    "machineID": name, "systemUUID": name, "bootID": name, "kernelVersion": "6.12.0-simulated",
                    "osImage": "Simulated Linux", "containerRuntimeVersion": "containerd://2.1.4-k3s1",
                    "kubeletVersion": "v1.36.2+k3s1", "kubeProxyVersion": "", "operatingSystem": "linux",
                    "architecture": "amd64",
                }),
            );
        });
    }
}

/// Gives up one pod for the disk: best-effort before others, then the lowest priority. The answer is its uid.
pub(super) fn evict_one(ctx: &Ctx<'_>, node: &Value, machine: &mut Machine) -> Option<String> {
    let rank = |pod: &Value| (pod.text("status.qosClass") != "BestEffort", pod.int("spec.priority").unwrap_or(0));
    let candidates = machine.pods.iter_mut().filter(|(_, pod)| pod.runs() && !is_terminal(&pod.object));
    let candidates = candidates.filter(|(_, pod)| rank(&pod.object).1 < CRITICAL);
    let (id, pod) = candidates.min_by_key(|(_, pod)| rank(&pod.object))?;
    let threshold = Requests::of_list(node.at("status.capacity")).0[3] / 10 / 1024;
    let message = format!(
        "The node was low on resource: ephemeral-storage. Threshold quantity: {threshold}Ki, available: {}Ki. ",
        threshold / 2
    );
    ctx.events("kubelet").on_host(node.text("metadata.name")).warning(&pod.object, "Evicted", &message);
    pod.evicted = Some(("Evicted", message));
    Some(id.clone())
}
