//! The scheduler: gives each pending pod a node, or says in the real scheduler's words why none will do.
//!
//! The filters are in `fit`. Among the nodes that fit, the pod's preferences decide, then the emptier node, then the
//! name. Nothing is preempted. A pod that asks for what is not simulated (required affinity to other pods, a required
//! spread over a topology) is never given a node, and its condition says why. A pod whose claims wait for their first consumer is bound once they are: the choice is
//! written on the claim, and the volume's place then binds the pod.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    fit::{self, Refusal},
    requests::Requests,
    view::{claim_names, is_deleting, is_terminal, list, node_of, uid},
};
use crate::{
    clock, resource,
    store::{Key, Writer},
};

const WHO: &str = "default-scheduler";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[derive(Default)]
pub(super) struct Scheduler {
    /// When a pending pod (by uid) was first seen.
    seen_at: HashMap<String, Timestamp>,
    /// Pending pods that no node would take when they were last tried.
    refused: BTreeSet<Key>,
}

impl Controller for Scheduler {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::POD) {
            if seen.new.is_some_and(|pod| is_pending(pod)) {
                queue.add(seen.key.clone());
            } else {
                self.seen_at.remove(uid(seen.latest()));
                self.refused.remove(seen.key);
            }
        }
        if may_make_room(seen) {
            for key in std::mem::take(&mut self.refused) {
                queue.add(key);
            }
        } else if let Some((ns, claim)) = claim_of(seen) {
            let waiting = view.pods_using_claim(&ns, &claim).filter(|(_, pod)| is_pending(pod));
            waiting.for_each(|(key, _)| queue.add(key.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(pod) = ctx.view.get(&resource::POD, &key.0, &key.1).filter(|pod| is_pending(pod)) else {
            return;
        };
        let due_at = *self.seen_at.entry(uid(pod).to_owned()).or_insert(ctx.now) + ctx.delays.schedule;
        if due_at > ctx.now {
            queue.add_at(key.clone(), due_at);
            return;
        }
        match choose(ctx, pod) {
            Ok(Some(node)) => bind(ctx, pod, &node),
            Ok(None) => {}
            Err(message) => {
                self.refused.insert(key.clone());
                refuse(ctx, pod, &message);
            }
        }
    }
}

fn is_pending(pod: &Value) -> bool {
    node_of(pod).is_none() && !is_deleting(pod) && !is_terminal(pod) && list(&pod["spec"]["schedulingGates"]).is_empty()
}

/// Whether a change could let a pending pod fit that did not before. Heartbeats could not.
fn may_make_room(seen: &Seen<'_>) -> bool {
    if seen.is(&resource::NODE) {
        let parts = |node: &Value| {
            (node["spec"].clone(), node["metadata"]["labels"].clone(), node["status"]["allocatable"].clone())
        };
        return seen.old.map(|o| parts(o)) != seen.new.map(|n| parts(n));
    }
    if seen.is(&resource::POD) {
        let counts = |pod: &Arc<Value>| node_of(pod).is_some() && !is_terminal(pod);
        return seen.old.is_some_and(counts) && !seen.new.is_some_and(counts);
    }
    false
}

/// The claim that a change is about, for those who wait for it.
fn claim_of(seen: &Seen<'_>) -> Option<Key> {
    if seen.is(&resource::PERSISTENT_VOLUME_CLAIM) {
        return Some(seen.key.clone());
    }
    let claim = &seen.latest()["spec"]["claimRef"];
    let text = |field: &str| claim[field].as_str().map(str::to_owned);
    if seen.is(&resource::PERSISTENT_VOLUME) { text("namespace").zip(text("name")) } else { None }
}

/// The node for a pod; `None` while its volumes are being made for the chosen node.
fn choose(ctx: &Ctx<'_>, pod: &Value) -> Result<Option<String>, String> {
    let nodes: Vec<&Arc<Value>> = ctx.view.all(&resource::NODE).map(|(_, node)| node).collect();
    if nodes.is_empty() {
        return Err("no nodes available to schedule pods".to_owned());
    }
    if let Some(what) = unsupported(&pod["spec"]) {
        return Err(format!("0/{} nodes are available: the simulated scheduler does not support {what}.", nodes.len()));
    }
    let waiting = waiting_claims(ctx.view, pod)
        .map_err(|why| format!("0/{} nodes are available: {why}. not found", nodes.len()))?;
    let requests = Requests::of_pod(pod);
    let mut refusals = Vec::new();
    let mut fitting = Vec::new();
    for node in &nodes {
        match fit::fits(pod, &requests, node, ctx.view) {
            Ok(()) => fitting.push(*node),
            Err(refusal) => refusals.push(refusal),
        }
    }
    // The first of equals is the one with the lower name: `max_by` would take the last.
    let better = |a: &&Arc<Value>, b: &&Arc<Value>| fit::compare(pod, &requests, ctx.view, a, b);
    let Some(node) = fitting.into_iter().rev().max_by(better) else {
        return Err(explain(nodes.len(), &refusals));
    };
    let node = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    for claim in &waiting {
        let select = |claim: &mut Value| claim["metadata"]["annotations"][SELECTED_NODE] = json!(node);
        let _ = ctx.cluster.update(&resource::PERSISTENT_VOLUME_CLAIM, ns, claim, WHO, select);
    }
    Ok(waiting.is_empty().then_some(node))
}

/// A demand that would be kinder to ignore than Kubernetes is.
fn unsupported(spec: &Value) -> Option<&'static str> {
    let required =
        |kind: &str| !list(&spec["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"]).is_empty();
    let spreads = list(&spec["topologySpreadConstraints"]).iter();
    if required("podAffinity") || required("podAntiAffinity") {
        Some("affinity between pods")
    } else if spreads.into_iter().any(|constraint| constraint["whenUnsatisfiable"] != "ScheduleAnyway") {
        Some("topology spread constraints")
    } else {
        None
    }
}

/// The pod's claims that wait for their first consumer; an error names a claim that blocks the pod.
fn waiting_claims(view: &View, pod: &Value) -> Result<Vec<String>, String> {
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let mut waiting = Vec::new();
    for name in claim_names(pod) {
        let claim = view.get(&resource::PERSISTENT_VOLUME_CLAIM, ns, &name);
        let Some(claim) = claim else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if is_deleting(claim) {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        if claim["status"]["phase"] == "Bound" || claim["spec"]["volumeName"].is_string() {
            continue;
        }
        let class = claim["spec"]["storageClassName"].as_str().unwrap_or_default();
        let class = view.get(&resource::STORAGE_CLASS, "", class);
        if class.is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer") {
            waiting.push(name);
        } else {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
    }
    Ok(waiting)
}

/// `0/3 nodes are available: 1 Insufficient memory, 2 node(s) …`, with what preemption would come to.
fn explain(nodes: usize, refusals: &[Refusal]) -> String {
    let histogram = |reasons: &mut dyn Iterator<Item = &str>| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        reasons.for_each(|reason| *counts.entry(reason).or_default() += 1);
        let mut lines: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort();
        lines.join(", ")
    };
    let reasons = histogram(&mut refusals.iter().flat_map(|r| r.reasons.iter().map(String::as_str)));
    let preemption = histogram(&mut refusals.iter().map(|refusal| {
        if refusal.others_in_the_way {
            "No preemption victims found for incoming pod"
        } else {
            "Preemption is not helpful for scheduling"
        }
    }));
    format!(
        "0/{nodes} nodes are available: {reasons}. no new claims to deallocate, preemption: 0/{nodes} nodes are \
         available: {preemption}."
    )
}

fn bind(ctx: &Ctx<'_>, pod: &Value, node: &str) {
    let (ns, name) = (text(pod, "namespace"), text(pod, "name"));
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now),
    });
    let zone =
        ctx.view.get(&resource::NODE, "", node).map(|n| n["metadata"]["labels"]["topology.kubernetes.io/zone"].clone());
    let key = (ns.to_owned(), name.to_owned());
    let place = |pod: &mut Value| {
        pod["spec"]["nodeName"] = json!(node);
        if let Some(zone) = zone.filter(Value::is_string) {
            pod["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone;
        }
        set_condition(pod, condition);
        Ok(())
    };
    let writer = Writer::update(WHO).on("binding");
    let bound = ctx.cluster.transact(|state| state.update(&resource::POD, &key, &writer, place));
    if bound.is_ok() {
        ctx.events(WHO).normal(pod, "Scheduled", &format!("Successfully assigned {ns}/{name} to {node}"));
    }
}

fn refuse(ctx: &Ctx<'_>, pod: &Value, message: &str) {
    let conditions = list(&pod["status"]["conditions"]);
    if conditions.iter().any(|c| c["type"] == "PodScheduled" && c["message"] == message) {
        return;
    }
    let condition = json!({
        "type": "PodScheduled", "status": "False", "observedGeneration": pod["metadata"]["generation"],
        "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now), "reason": "Unschedulable",
        "message": message,
    });
    let (ns, name) = (text(pod, "namespace"), text(pod, "name"));
    let _ = ctx.cluster.update_status(&resource::POD, ns, name, WHO, |pod| {
        set_condition(pod, condition);
    });
    ctx.events(WHO).warning(pod, "FailedScheduling", message);
}

/// Puts a condition in the place of the one of its type, which keeps its transition time if the status is the same.
pub(crate) fn set_condition(object: &mut Value, mut condition: Value) {
    if !object["status"]["conditions"].is_array() {
        object["status"]["conditions"] = json!([]);
    }
    let Some(conditions) = object["status"]["conditions"].as_array_mut() else {
        return;
    };
    match conditions.iter_mut().find(|c| c["type"] == condition["type"]) {
        Some(old) => {
            if old["status"] == condition["status"] && old["lastTransitionTime"].is_string() {
                condition["lastTransitionTime"] = old["lastTransitionTime"].clone();
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}
