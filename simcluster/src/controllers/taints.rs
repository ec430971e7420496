//! Taint eviction: pods that do not tolerate a `NoExecute` taint of their node, or no longer, are marked for deletion.
//!
//! Marking is all that happens here: on a node that does not answer the pod stays `Terminating` until the node is back
//! or is declared out of service.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    fit::tolerates,
    scheduler::set_condition,
    view::{is_deleting, is_terminal, list, node_of, uid},
};
use crate::{
    clock, resource,
    store::{DeleteOptions, Key},
};

const WHO: &str = "taint-eviction-controller";
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Whether somebody has declared that the machine is off.
pub(super) fn is_out_of_service(node: &Value) -> bool {
    list(&node["spec"]["taints"]).iter().any(|taint| taint["key"] == OUT_OF_SERVICE)
}

/// Keys are pods.
#[derive(Default)]
pub(super) struct TaintEviction {
    /// Since when a pod (by uid) has been on a node with `NoExecute` taints.
    tainted_since: HashMap<String, Timestamp>,
}

impl Controller for TaintEviction {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::NODE) {
            let taints = |node: Option<&std::sync::Arc<Value>>| node.map(|node| node["spec"]["taints"].clone());
            if taints(seen.old).unwrap_or_default() != taints(seen.new).unwrap_or_default() {
                view.pods_on(&seen.key.1).for_each(|(key, _)| queue.add(key.clone()));
            }
        } else if seen.is(&resource::POD) {
            match seen.new {
                None => drop(self.tainted_since.remove(uid(seen.latest()))),
                Some(pod) if node_of(pod).is_some() => queue.add(seen.key.clone()),
                Some(_) => {}
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(pod) = ctx.view.get(&resource::POD, &key.0, &key.1) else {
            return;
        };
        let Some(node) = node_of(pod).and_then(|node| ctx.view.get(&resource::NODE, "", node)) else {
            return;
        };
        let taints: Vec<&Value> =
            list(&node["spec"]["taints"]).iter().filter(|taint| taint["effect"] == "NoExecute").collect();
        if is_deleting(pod) || is_terminal(pod) {
            return;
        }
        let Some(patience) = shortest_patience(pod, &taints) else {
            if self.tainted_since.remove(uid(pod)).is_some() {
                let message = format!("Cancelling deletion of Pod {}/{}", key.0, key.1);
                ctx.events(WHO).normal(pod, "TaintManagerEviction", &message);
            }
            return;
        };
        let since = *self.tainted_since.entry(uid(pod).to_owned()).or_insert(ctx.now);
        let at = since + ctx.delays.seconds(patience);
        if at > ctx.now {
            queue.add_at(key.clone(), at);
        } else {
            evict(ctx, pod);
        }
    }
}

/// For how many seconds the pod bears these taints; `None` for ever.
fn shortest_patience(pod: &Value, taints: &[&Value]) -> Option<u64> {
    let tolerations = list(&pod["spec"]["tolerations"]);
    let patience = |taint: &&Value| -> Option<u64> {
        let mut covering = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).peekable();
        if covering.peek().is_none() {
            return Some(0);
        }
        covering
            .filter_map(|toleration| toleration["tolerationSeconds"].as_i64())
            .map(|s| s.max(0).unsigned_abs())
            .min()
    };
    taints.iter().filter_map(patience).min()
}

fn evict(ctx: &Ctx<'_>, pod: &Value) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let (ns, name) = (text("namespace"), text("name"));
    let condition = json!({
        "type": "DisruptionTarget", "observedGeneration": pod["metadata"]["generation"], "status": "True",
        "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now), "reason": "DeletionByTaintManager",
        "message": "Taint manager: deleting due to NoExecute taint",
    });
    let _ = ctx.cluster.update_status(&resource::POD, ns, name, WHO, |pod| {
        set_condition(pod, condition);
    });
    let options = DeleteOptions { uid: Some(uid(pod).to_owned()), ..DeleteOptions::default() };
    let _ = ctx.cluster.delete(&resource::POD, ns, name, &options);
    ctx.events(WHO).normal(pod, "TaintManagerEviction", &format!("Marking for deletion Pod {ns}/{name}"));
}
