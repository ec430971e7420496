//! The scheduler: gives each pending pod a node, or says in the real scheduler's words why none will do.
//!
//! The filters are in `fit`. Like the real one it looks at the nodes in turn, from where it stopped last, until enough of
//! them fit (all, in a small cluster); of those the pod's preferences decide, then the emptier node. Nothing is preempted.
//! A pod that asks for what is not simulated (required affinity to other pods, a required spread) is given no node, and
//! its condition says why. A pod whose claims wait for their first consumer is bound once they are.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    fit::{Refusal, Wanted},
    prelude::*,
};
use crate::store::Writer;

const WHO: &str = "default-scheduler";
const ZONE: &str = "topology.kubernetes.io/zone";
pub(super) const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// So many nodes that fit are enough to choose from.
const FEW_NODES: usize = 100;

#[derive(Default)]
pub(super) struct Scheduler {
    /// Pending pods that no node would take when they were last tried.
    refused: BTreeSet<Key>,
    /// The node at which the last search ended.
    last: String,
}

impl Controller for Scheduler {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&POD) {
            if seen.new.is_some_and(|pod| is_pending(pod)) {
                queue.add(seen.key.clone());
            } else {
                self.refused.remove(seen.key);
            }
        }
        if may_make_room(seen) {
            queue.add_all(std::mem::take(&mut self.refused).iter().map(|key| (key, ())));
        } else if let Some(claim) = claim_of(seen) {
            queue.add_all(view.pods_linked(claim).filter(|(_, pod)| is_pending(pod)));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(pod) = ctx.view.get(&POD, &key.0, &key.1).filter(|pod| is_pending(pod)) else {
            return;
        };
        if let Some(until) = ctx.waits(pod, "schedule", ctx.delays.schedule) {
            return queue.add_at(key.clone(), until);
        }
        match self.choose(ctx, pod) {
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
    node_of(pod).is_none() && !is_deleting(pod) && !is_terminal(pod) && pod.items("spec.schedulingGates").is_empty()
}

/// Whether a change could let a pending pod fit that did not before. Heartbeats could not.
fn may_make_room(seen: &Seen<'_>) -> bool {
    if seen.is(&NODE) {
        let part = |path: &'static str| move |node: &Value| node.at(path).clone();
        return ["spec", "metadata.labels", "status.allocatable"].iter().any(|path| seen.changes(part(path)));
    }
    seen.is(&POD) && seen.leaves_its_node()
}

/// The claim that a change is about, for those who wait for it.
fn claim_of(seen: &Seen<'_>) -> Option<Link> {
    if seen.is(&PERSISTENT_VOLUME_CLAIM) {
        return Some(Link::Claim(seen.key.0.clone(), seen.key.1.clone()));
    }
    let of = |path: &str| seen.latest().text(path).to_owned();
    seen.is(&PERSISTENT_VOLUME).then(|| Link::Claim(of("spec.claimRef.namespace"), of("spec.claimRef.name")))
}

impl Scheduler {
    /// The node for a pod; `None` while its volumes are being made for the chosen node.
    fn choose(&mut self, ctx: &Ctx<'_>, pod: &Value) -> Result<Option<String>, String> {
        let all = ctx.view.count(&NODE);
        if all == 0 {
            return Err("no nodes available to schedule pods".to_owned());
        }
        let unavailable = |why: &str| format!("0/{all} nodes are available: {why}");
        if let Some(what) = unsupported(pod) {
            return Err(unavailable(&format!("the simulated scheduler does not support {what}.")));
        }
        let claims = claims_of(ctx.view, pod).map_err(|why| unavailable(&format!("{why}. not found")))?;
        let wanted = Wanted::by(pod, ctx.view);
        // A volume that is being made, or can be reached, only at one node: the first to be asked, and then the only one.
        let mut tied = claims.iter().filter(|claim| !claim.has("spec.volumeName") || wanted.is_tied());
        let made_for = tied.find_map(|claim| claim["metadata"]["annotations"][SELECTED_NODE].as_str());
        let home = made_for.and_then(|name| ctx.view.node(name)).filter(|node| wanted.fits(node).is_ok());
        let node = match made_for.zip(home) {
            Some((name, _)) => name.to_owned(),
            None => self.search(ctx.view, &wanted, all).map_err(|refusals| explain(all, &refusals))?,
        };
        let mut bound = true;
        for claim in claims.iter().filter(|claim| !claim.has("spec.volumeName")) {
            bound = false;
            ctx.edit(claim, WHO, |claim| claim["metadata"]["annotations"][SELECTED_NODE] = json!(node));
        }
        Ok(bound.then_some(node))
    }

    fn search(&mut self, view: &View, wanted: &Wanted<'_>, all: usize) -> Result<String, Vec<Refusal>> {
        let enough = all.min(FEW_NODES);
        let mut refusals = Vec::new();
        let mut best: Option<((i64, i64), &String)> = None;
        let (mut fitting, mut last) = (0, "");
        let from = if all <= FEW_NODES { String::new() } else { std::mem::take(&mut self.last) };
        for (name, node) in view.nodes_after(&from) {
            last = name;
            if let Err(refusal) = wanted.fits(node) {
                refusals.push(refusal);
                continue;
            }
            let score = wanted.score(node);
            // Of equals the first one stays.
            if best.is_none_or(|(other, _)| score > other) {
                best = Some((score, name));
            }
            fitting += 1;
            if fitting == enough {
                break;
            }
        }
        let found = best.map(|(_, name)| name.clone());
        last.clone_into(&mut self.last);
        found.ok_or(refusals)
    }
}

/// A demand that would be kinder to ignore than Kubernetes is.
fn unsupported(pod: &Value) -> Option<&'static str> {
    let affinity = pod.at("spec.affinity");
    let required = |kind: &str| affinity[kind].has("requiredDuringSchedulingIgnoredDuringExecution");
    let mut spreads = pod.items("spec.topologySpreadConstraints").iter();
    if required("podAffinity") || required("podAntiAffinity") {
        Some("affinity between pods")
    } else if spreads.any(|constraint| constraint["whenUnsatisfiable"] != "ScheduleAnyway") {
        Some("topology spread constraints")
    } else {
        None
    }
}

/// The pod's claims that are bound to a place, or wait for their first consumer; an error names what blocks the pod.
fn claims_of<'a>(view: &'a View, pod: &Value) -> Result<Vec<&'a Arc<Value>>, String> {
    let mut claims = Vec::new();
    for name in claim_names(pod) {
        let Some(claim) = view.get(&PERSISTENT_VOLUME_CLAIM, pod.text("metadata.namespace"), &name) else {
            return Err(format!("persistentvolumeclaim \"{name}\" not found"));
        };
        if is_deleting(claim) {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let class = view.get(&STORAGE_CLASS, "", claim.text("spec.storageClassName"));
        if class.is_some_and(|class| class["volumeBindingMode"] == "WaitForFirstConsumer") {
            claims.push(claim);
        } else if !claim.has("spec.volumeName") {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
    }
    Ok(claims)
}

/// `0/3 nodes are available: 1 Insufficient memory, 2 node(s) …`, with what preemption would come to.
fn explain(nodes: usize, refusals: &[Refusal]) -> String {
    let count = |reasons: Vec<&'static str>| {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
        let mut lines: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort();
        lines.join(", ")
    };
    let reasons = count(refusals.iter().flat_map(|(reasons, _)| reasons.clone()).collect());
    let help = ["Preemption is not helpful for scheduling", "No preemption victims found for incoming pod"];
    let preemption = count(refusals.iter().map(|(_, in_the_way)| help[usize::from(*in_the_way)]).collect());
    format!(
        "0/{nodes} nodes are available: {reasons}. no new claims to deallocate, preemption: 0/{nodes} nodes are \
         available: {preemption}."
    )
}

fn bind(ctx: &Ctx<'_>, pod: &Value, node: &str) {
    let (ns, name) = (pod.text("metadata.namespace"), pod.text("metadata.name"));
    let condition = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now),
    });
    let zone = ctx.view.get(&NODE, "", node).and_then(|node| node["metadata"]["labels"][ZONE].as_str());
    let place = |pod: &mut Value| {
        pod.put("spec.nodeName", node);
        if let Some(zone) = zone {
            pod["metadata"]["labels"][ZONE] = zone.into();
        }
        set_condition(pod, condition);
        Ok(())
    };
    let (key, writer) = ((ns.to_owned(), name.to_owned()), Writer::component(WHO).on("binding"));
    if ctx.cluster.transact(|state| state.update(&POD, &key, &writer, place)).is_ok() {
        ctx.events(WHO).normal(pod, "Scheduled", &format!("Successfully assigned {ns}/{name} to {node}"));
    }
}

fn refuse(ctx: &Ctx<'_>, pod: &Value, message: &str) {
    let mut conditions = pod.items("status.conditions").iter();
    if conditions.any(|c| c["type"] == "PodScheduled" && c["message"] == message) {
        return;
    }
    let condition = json!({
        "type": "PodScheduled", "status": "False", "observedGeneration": pod.at("metadata.generation"),
        "lastProbeTime": null, "lastTransitionTime": clock::seconds(ctx.now), "reason": "Unschedulable",
        "message": message,
    });
    ctx.edit_status(pod, WHO, |pod| set_condition(pod, condition));
    ctx.events(WHO).warning(pod, "FailedScheduling", message);
}
