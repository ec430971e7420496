//! The node controller: notices nodes that went silent and nodes that came back.
//!
//! A node whose lease was not renewed within the grace period becomes Unknown: its conditions say so, its pods are no
//! longer Ready, and it is tainted `unreachable`, which starts taint eviction. When no node at all answers, the control
//! plane itself is more likely blind: then nothing is tainted `NoExecute`. A cordon shows as a taint as well.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    scheduler::set_condition,
    view::{condition_is_true, is_terminal, list},
};
use crate::{clock, resource, store::Key};

const WHO: &str = "node-controller";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// The conditions that a kubelet keeps up to date.
const KUBELET_CONDITIONS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// Keys are nodes.
pub(super) struct NodeLifecycle;

impl Controller for NodeLifecycle {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::NODE) {
            // One node's fate decides whether the others may be given up.
            let ready = |node: &Arc<Value>| condition_is_true(node, "Ready");
            if seen.old.is_some_and(ready) == seen.new.is_some_and(ready) {
                queue.add(seen.key.clone());
            } else {
                view.all(&resource::NODE).for_each(|(key, _)| queue.add(key.clone()));
            }
        } else if seen.is(&resource::LEASE) && seen.key.0 == "kube-node-lease" {
            queue.add((String::new(), seen.key.1.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(node) = ctx.view.get(&resource::NODE, "", &key.1) else {
            return;
        };
        let heard_of = last_heartbeat(ctx, node);
        let silent_at = heard_of + ctx.delays.node_grace;
        let silent = silent_at <= ctx.now;
        if silent && ready_status(node) != "Unknown" {
            declare_unknown(ctx, node);
            return;
        }
        if !silent {
            queue.add_at(key.clone(), silent_at);
        }
        if ready_status(node) == "Unknown" {
            mark_pods(ctx, &key.1);
        }
        set_taints(ctx, node);
    }
}

/// The last sign of life: the lease, or the node's creation.
fn last_heartbeat(ctx: &Ctx<'_>, node: &Value) -> Timestamp {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let lease = ctx.view.get(&resource::LEASE, "kube-node-lease", name);
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let renewed = lease.and_then(|lease| time(&lease["spec"]["renewTime"]));
    renewed.or_else(|| time(&node["metadata"]["creationTimestamp"])).unwrap_or(ctx.now)
}

fn ready_status(node: &Value) -> &str {
    let ready = list(&node["status"]["conditions"]).iter().find(|c| c["type"] == "Ready");
    ready.and_then(|c| c["status"].as_str()).unwrap_or_default()
}

fn declare_unknown(ctx: &Ctx<'_>, node: &Value) {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let now = clock::seconds(ctx.now);
    let _ = ctx.cluster.update_status(&resource::NODE, "", name, WHO, |node| {
        for kind in KUBELET_CONDITIONS {
            let conditions = list(&node["status"]["conditions"]);
            let beat = conditions.iter().find(|c| c["type"] == kind).map(|c| c["lastHeartbeatTime"].clone());
            let condition = json!({
                "type": kind, "status": "Unknown", "lastHeartbeatTime": beat.unwrap_or_else(|| json!(now)),
                "lastTransitionTime": now, "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            });
            set_condition(node, condition);
        }
    });
    ctx.events(WHO).normal(node, "NodeNotReady", &format!("Node {name} status is now: NodeNotReady"));
}

/// Nobody vouches for the pods of a silent node: they are not Ready.
fn mark_pods(ctx: &Ctx<'_>, node: &str) {
    for (key, pod) in ctx.view.pods_on(node) {
        if is_terminal(pod) || !condition_is_true(pod, "Ready") {
            continue;
        }
        let condition = json!({
            "type": "Ready", "observedGeneration": pod["metadata"]["generation"], "status": "False",
            "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now),
        });
        let _ = ctx.cluster.update_status(&resource::POD, &key.0, &key.1, WHO, |pod| {
            set_condition(pod, condition);
        });
        ctx.events(WHO).warning(pod, "NodeNotReady", "Node is not ready");
    }
}

fn set_taints(ctx: &Ctx<'_>, node: &Value) {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let somebody_answers = ctx.view.all(&resource::NODE).any(|(_, node)| condition_is_true(node, "Ready"));
    let status = ready_status(node);
    let unknown = status == "Unknown";
    let not_ready = status == "False" || status.is_empty();
    let wanted = [
        (UNSCHEDULABLE, "NoSchedule", node["spec"]["unschedulable"] == true),
        (UNREACHABLE, "NoSchedule", unknown),
        (UNREACHABLE, "NoExecute", unknown && somebody_answers),
        (NOT_READY, "NoSchedule", not_ready),
        (NOT_READY, "NoExecute", not_ready && somebody_answers),
    ];
    let is = |taint: &Value, key: &str, effect: &str| taint["key"] == key && taint["effect"] == effect;
    let has = |key: &str, effect: &str| list(&node["spec"]["taints"]).iter().any(|taint| is(taint, key, effect));
    for (key, effect, wanted) in wanted {
        if has(key, effect) == wanted {
            continue;
        }
        let taint = json!({"key": key, "effect": effect, "timeAdded": clock::seconds(ctx.now)});
        // One write per taint, as the real controller does it: watchers see them come and go in turn.
        let _ = ctx.cluster.update(&resource::NODE, "", name, WHO, |node| {
            if !node["spec"]["taints"].is_array() {
                node["spec"]["taints"] = json!([]);
            }
            let Some(taints) = node["spec"]["taints"].as_array_mut() else {
                return;
            };
            taints.retain(|taint| !is(taint, key, effect));
            if wanted {
                taints.push(taint);
            }
            if taints.is_empty()
                && let Some(spec) = node["spec"].as_object_mut()
            {
                spec.remove("taints");
            }
        });
    }
}
