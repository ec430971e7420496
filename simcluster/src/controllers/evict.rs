//! Taint eviction, and the pod garbage collector: who marks pods for deletion, and who removes what nobody else can.
//!
//! A pod that does not tolerate a `NoExecute` taint of its node, or no longer, is only marked: on a node that does not
//! answer it stays `Terminating` until the node is back or is declared out of service. The pod garbage collector comes in
//! rounds, for pods of a node that no longer exists, pods that are to be deleted and were never given a node, and pods
//! that are to be deleted on a node that does not answer and is out of service.

use std::time::Duration;

use super::{fit::covers, prelude::*};

const WHO: &str = "taint-eviction-controller";

/// Whether somebody has declared that the machine is off.
pub(super) fn is_out_of_service(node: &Value) -> bool {
    node.items("spec.taints").iter().any(|taint| taint["key"] == "node.kubernetes.io/out-of-service")
}

fn node_object<'a>(view: &'a View, pod: &Value) -> Option<&'a Value> {
    Some(&view.node(node_of(pod)?)?.object)
}

/// Keys are pods.
pub(super) struct TaintEviction;

impl Controller for TaintEviction {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&NODE) && seen.changes(|node| node.at("spec.taints").clone()) {
            queue.add_all(view.pods_on(&seen.key.1));
        } else if seen.is(&POD) {
            let node = seen.new.and_then(|pod| node_object(view, pod));
            if node.is_some_and(|node| node.has("spec.taints")) {
                queue.add(seen.key.clone());
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let pod = ctx.view.get(&POD, &key.0, &key.1).filter(|pod| !is_deleting(pod) && !is_terminal(pod));
        let Some((pod, node)) = pod.and_then(|pod| Some((pod, node_object(ctx.view, pod)?))) else {
            return;
        };
        if let Some(patience) = shortest_patience(pod, node) {
            match ctx.waits(pod, "eviction", ctx.delays.seconds(patience)) {
                Some(until) => queue.add_at(key.clone(), until),
                None => evict(ctx, pod, key),
            }
        } else if ctx.forget(pod, "eviction") {
            let message = format!("Cancelling deletion of Pod {}/{}", key.0, key.1);
            ctx.events(WHO).normal(pod, "TaintManagerEviction", &message);
        }
    }
}

/// For how many seconds the pod bears its node's taints; `None` for ever.
fn shortest_patience(pod: &Value, node: &Value) -> Option<u64> {
    let patience = |taint: &Value| -> Option<u64> {
        let covers = |t: &&Value| covers(t, taint.text("key"), taint.text("value"), "NoExecute");
        let covering: Vec<&Value> = pod.items("spec.tolerations").iter().filter(covers).collect();
        if covering.is_empty() {
            return Some(0);
        }
        covering.iter().filter_map(|t| t.int("tolerationSeconds")).map(|s| s.max(0).unsigned_abs()).min()
    };
    let taints = node.items("spec.taints").iter().filter(|taint| taint["effect"] == "NoExecute");
    taints.filter_map(patience).min()
}

fn evict(ctx: &Ctx<'_>, pod: &Value, key: &Key) {
    let condition = json!({
        "type": "DisruptionTarget", "observedGeneration": pod.at("metadata.generation"), "status": "True",
        "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now), "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
    });
    ctx.edit_status(pod, WHO, |pod| set_condition(pod, condition));
    ctx.delete(pod, None);
    let message = format!("Marking for deletion Pod {}/{}", key.0, key.1);
    ctx.events(WHO).normal(pod, "TaintManagerEviction", &message);
}

/// Keys are pods.
pub(super) struct PodGc;

impl Controller for PodGc {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&POD) && seen.new.is_some_and(|pod| is_garbage(view, pod)) {
            queue.add(seen.key.clone());
        } else if seen.is(&NODE) && seen.changes(|node| is_out_of_service(node) && !condition_is_true(node, "Ready")) {
            queue.add_all(view.pods_on(&seen.key.1));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(pod) = ctx.view.get(&POD, &key.0, &key.1).filter(|pod| is_garbage(ctx.view, pod)) else {
            return;
        };
        let round = next_round(ctx.since(pod, "garbage"), ctx.delays.pod_gc_period);
        if round > ctx.now {
            return queue.add_at(key.clone(), round);
        }
        if !is_terminal(pod) {
            ctx.edit_status(pod, "pod-garbage-collector", |pod| pod.put("status.phase", "Failed"));
        }
        ctx.delete(pod, Some(0));
    }
}

fn is_garbage(view: &View, pod: &Value) -> bool {
    if node_of(pod).is_none() {
        return is_deleting(pod);
    }
    let given_up = |node: &Value| is_out_of_service(node) && !condition_is_true(node, "Ready");
    node_object(view, pod).is_none_or(|node| is_deleting(pod) && given_up(node))
}

/// Rounds are at whole multiples of the period; without a period there is one at any time.
fn next_round(now: Timestamp, period: Duration) -> Timestamp {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
    let past = now.as_millisecond().checked_rem_euclid(period);
    past.map_or(now, |past| now + Duration::from_millis((period - past).unsigned_abs()))
}
