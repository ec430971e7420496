//! The node controller: notices nodes that went silent and nodes that came back.
//!
//! A node whose lease was not renewed within the grace period becomes Unknown: its conditions say so, its pods are no
//! longer Ready, and it is tainted `unreachable`, which starts taint eviction. When no node at all answers, the control
//! plane itself is more likely blind: then nothing is tainted `NoExecute`. A cordon and pressure show as taints as well.

use std::collections::BTreeSet;

use super::prelude::*;

const WHO: &str = "node-controller";
const LEASES: &str = "kube-node-lease";
/// The conditions that a kubelet keeps up to date.
const KUBELET_CONDITIONS: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

/// Keys are nodes.
#[derive(Default)]
pub(super) struct NodeLifecycle {
    /// The nodes that answer.
    ready: BTreeSet<String>,
}

impl Controller for NodeLifecycle {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&NODE) {
            queue.add(seen.key.clone());
            let nobody_answered = self.ready.is_empty();
            if seen.new.is_some_and(|node| condition_is_true(node, "Ready")) {
                self.ready.insert(seen.key.1.clone());
            } else {
                self.ready.remove(&seen.key.1);
            }
            // The last one's fate decides whether the others may be given up.
            if nobody_answered != self.ready.is_empty() {
                queue.add_all(view.all(&NODE));
            }
        } else if seen.is(&LEASE) && seen.key.0 == LEASES && !self.ready.contains(&seen.key.1) {
            queue.add((String::new(), seen.key.1.clone()));
        }
    }

    fn observe_faults(&mut self, view: &View, queue: &mut Queue) {
        queue.add_all(view.all(&NODE));
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(node) = ctx.view.get(&NODE, "", &key.1) else {
            return;
        };
        let silent_at = last_heartbeat(ctx, node) + ctx.delays.node_grace;
        let unknown = condition(node, "Ready") == "Unknown";
        if silent_at > ctx.now {
            // Nobody needs to stop for a node that will have renewed its lease by then.
            if ctx.faults.node_is_dead(&key.1) || ctx.faults.is_partitioned(&key.1) {
                queue.add_at(key.clone(), silent_at);
            } else {
                queue.add_beat(key.clone(), silent_at);
            }
        } else if !unknown {
            return declare_unknown(ctx, node);
        }
        if unknown {
            mark_pods(ctx, &key.1);
        }
        self.set_taints(ctx, node);
    }
}

/// The last sign of life: the lease, or the node's creation.
fn last_heartbeat(ctx: &Ctx<'_>, node: &Value) -> Timestamp {
    let time = |object: &Value, path: &str| object.text(path).parse::<Timestamp>().ok();
    let lease = ctx.view.get(&LEASE, LEASES, node.text("metadata.name"));
    let renewed = lease.and_then(|lease| time(lease, "spec.renewTime"));
    renewed.or_else(|| time(node, "metadata.creationTimestamp")).unwrap_or(ctx.now)
}

fn declare_unknown(ctx: &Ctx<'_>, node: &Value) {
    let now = clock::seconds(ctx.now);
    ctx.edit_status(node, WHO, |node| {
        for kind in KUBELET_CONDITIONS {
            let mut conditions = node.items("status.conditions").iter();
            let beat = conditions.find(|c| c["type"] == kind).map(|c| c["lastHeartbeatTime"].clone());
            let condition = json!({
                "type": kind, "status": "Unknown", "lastHeartbeatTime": beat.unwrap_or_else(|| json!(now)),
                "lastTransitionTime": now, "reason": "NodeStatusUnknown",
                "message": "Kubelet stopped posting node status.",
            });
            set_condition(node, condition);
        }
    });
    let message = format!("Node {} status is now: NodeNotReady", node.text("metadata.name"));
    ctx.events(WHO).normal(node, "NodeNotReady", &message);
}

/// Nobody vouches for the pods of a silent node: they are not Ready.
fn mark_pods(ctx: &Ctx<'_>, node: &str) {
    for (_, pod) in ctx.view.pods_on(node) {
        if is_terminal(pod) || !condition_is_true(pod, "Ready") {
            continue;
        }
        let condition = json!({
            "type": "Ready", "observedGeneration": pod.at("metadata.generation"), "status": "False",
            "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now),
        });
        ctx.edit_status(pod, WHO, |pod| set_condition(pod, condition));
        ctx.events(WHO).warning(pod, "NodeNotReady", "Node is not ready");
    }
}

impl NodeLifecycle {
    fn set_taints(&self, ctx: &Ctx<'_>, node: &Value) {
        let status = condition(node, "Ready");
        let (unknown, not_ready) = (status == "Unknown", status == "False" || status.is_empty());
        let somebody_answers = !self.ready.is_empty();
        for (name, effect, wanted) in [
            ("unschedulable", "NoSchedule", node.yes("spec.unschedulable")),
            ("unreachable", "NoSchedule", unknown),
            ("unreachable", "NoExecute", unknown && somebody_answers),
            ("not-ready", "NoSchedule", not_ready),
            ("not-ready", "NoExecute", not_ready && somebody_answers),
            ("disk-pressure", "NoSchedule", condition_is_true(node, "DiskPressure")),
        ] {
            let key = format!("node.kubernetes.io/{name}");
            let is = |taint: &Value| taint["key"] == key.as_str() && taint["effect"] == effect;
            if node.items("spec.taints").iter().any(is) == wanted {
                continue;
            }
            // One write per taint, as the real controller does it: watchers see them come and go in turn.
            ctx.edit(node, WHO, |node| {
                if wanted {
                    let taint = json!({"key": key, "effect": effect, "timeAdded": clock::seconds(ctx.now)});
                    node.push("spec.taints", taint);
                } else {
                    retain(node, "spec.taints", |taint| !is(taint));
                }
            });
        }
    }
}
