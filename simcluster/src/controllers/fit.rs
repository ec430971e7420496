//! Whether a pod fits a node: the scheduler's filters, in the real scheduler's order, and its words for each refusal.

use std::{cmp::Ordering, sync::Arc};

use serde_json::Value;

use super::{
    View,
    requests::Requests,
    view::{claim_names, list},
};
use crate::resource;

/// Why a pod does not fit a node: the reasons of the first filter that refuses, and whether removing other pods from
/// the node could help.
pub(super) struct Refusal {
    pub reasons: Vec<String>,
    pub others_in_the_way: bool,
}

impl Refusal {
    fn one(reason: &str) -> Result<(), Self> {
        Err(Self { reasons: vec![reason.to_owned()], others_in_the_way: false })
    }
}

pub(super) fn fits(pod: &Value, requests: &Requests, node: &Value, view: &View) -> Result<(), Refusal> {
    let tolerations = list(&pod["spec"]["tolerations"]);
    let cordon = serde_json::json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"});
    if node["spec"]["unschedulable"] == true && !tolerations.iter().any(|t| tolerates(t, &cordon)) {
        return Refusal::one("node(s) were unschedulable");
    }
    let repels = |taint: &&Value| taint["effect"] == "NoSchedule" || taint["effect"] == "NoExecute";
    let taints = list(&node["spec"]["taints"]);
    if taints.iter().filter(repels).any(|taint| !tolerations.iter().any(|t| tolerates(t, taint))) {
        return Refusal::one("node(s) had untolerated taint(s)");
    }
    if !matches_affinity(&pod["spec"], node) {
        return Refusal::one("node(s) didn't match Pod's node affinity/selector");
    }
    has_room(requests, node, view)?;
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    for claim in claim_names(pod) {
        if volume_of(view, ns, &claim).is_some_and(|volume| !volume_reaches(volume, node)) {
            return Refusal::one("node(s) didn't match PersistentVolume's node affinity");
        }
    }
    Ok(())
}

fn has_room(wanted: &Requests, node: &Value, view: &View) -> Result<(), Refusal> {
    let allocatable = Requests::of_list(&node["status"]["allocatable"]);
    let used = view.used_on(node["metadata"]["name"].as_str().unwrap_or_default());
    let mut reasons = Vec::new();
    let mut others_in_the_way = true;
    for (name, wanted, used, all) in [
        ("Too many pods", wanted.pods, used.pods, allocatable.pods),
        ("Insufficient cpu", wanted.cpu, used.cpu, allocatable.cpu),
        ("Insufficient memory", wanted.memory, used.memory, allocatable.memory),
        ("Insufficient ephemeral-storage", wanted.storage, used.storage, allocatable.storage),
    ] {
        if wanted > 0 && wanted + used > all {
            reasons.push(name.to_owned());
            others_in_the_way &= wanted <= all;
        }
    }
    if reasons.is_empty() { Ok(()) } else { Err(Refusal { reasons, others_in_the_way }) }
}

/// How much a node is liked, more is better: first the pod's preferences, then the emptier node.
pub(super) fn compare(pod: &Value, requests: &Requests, view: &View, a: &Arc<Value>, b: &Arc<Value>) -> Ordering {
    let liked = |node: &Value| {
        let node_affinity = &pod["spec"]["affinity"]["nodeAffinity"];
        list(&node_affinity["preferredDuringSchedulingIgnoredDuringExecution"])
            .iter()
            .filter(|wish| matches_term(&wish["preference"], node))
            .map(|wish| wish["weight"].as_i64().unwrap_or(0))
            .sum::<i64>()
    };
    let free_ppm = |node: &Value| {
        let all = Requests::of_list(&node["status"]["allocatable"]);
        let used = view.used_on(node["metadata"]["name"].as_str().unwrap_or_default());
        let share = |all: i128, used: i128, wanted: i128| (all - used - wanted) * 1_000_000 / all.max(1);
        share(all.cpu, used.cpu, requests.cpu) + share(all.memory, used.memory, requests.memory)
    };
    liked(a).cmp(&liked(b)).then_with(|| free_ppm(a).cmp(&free_ppm(b)))
}

/// The bound volume of a claim.
pub(super) fn volume_of<'a>(view: &'a View, ns: &str, claim: &str) -> Option<&'a Arc<Value>> {
    let claim = view.get(&resource::PERSISTENT_VOLUME_CLAIM, ns, claim)?;
    view.get(&resource::PERSISTENT_VOLUME, "", claim["spec"]["volumeName"].as_str()?)
}

fn volume_reaches(volume: &Value, node: &Value) -> bool {
    let required = &volume["spec"]["nodeAffinity"]["required"];
    required.is_null() || matches_terms(required, node)
}

/// `nodeSelector` and the required node affinity.
fn matches_affinity(spec: &Value, node: &Value) -> bool {
    let labels = &node["metadata"]["labels"];
    let selector = spec["nodeSelector"].as_object();
    let required = &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    selector.into_iter().flatten().all(|(key, value)| labels[key] == *value)
        && (required.is_null() || matches_terms(required, node))
}

/// Terms are alternatives; what stands inside one must hold together; an empty term matches nothing.
fn matches_terms(selector: &Value, node: &Value) -> bool {
    list(&selector["nodeSelectorTerms"]).iter().any(|term| matches_term(term, node))
}

fn matches_term(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (list(&term["matchExpressions"]), list(&term["matchFields"]));
    let label = |key: &str| node["metadata"]["labels"][key].as_str();
    let field = |key: &str| {
        if key == "metadata.name" { node["metadata"]["name"].as_str() } else { None }
    };
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|e| holds(e, label(e["key"].as_str().unwrap_or_default())))
        && fields.iter().all(|e| holds(e, field(e["key"].as_str().unwrap_or_default())))
}

fn holds(expression: &Value, value: Option<&str>) -> bool {
    let values = list(&expression["values"]);
    let listed = || value.is_some_and(|v| values.iter().any(|w| w == v));
    let bound = || values.first().and_then(Value::as_str).and_then(|v| v.parse::<i64>().ok());
    let compare = |wanted: Ordering| {
        let number = value.and_then(|v| v.parse::<i64>().ok());
        number.zip(bound()).is_some_and(|(number, bound)| number.cmp(&bound) == wanted)
    };
    match expression["operator"].as_str().unwrap_or_default() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(Ordering::Greater),
        "Lt" => compare(Ordering::Less),
        _ => false,
    }
}

/// Whether one toleration covers one taint.
pub(super) fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
    let effect = text(toleration, "effect");
    let key = text(toleration, "key");
    let exists = toleration["operator"] == "Exists";
    (effect.is_empty() || effect == text(taint, "effect"))
        && (key == text(taint, "key") || key.is_empty() && exists)
        && (exists || text(toleration, "value") == text(taint, "value"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn node_selector_terms_are_alternatives_of_conjunctions() {
        let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}});
        let term = |expressions: Value| json!({"matchExpressions": expressions});
        let one = |op: &str, key: &str, values: Value| term(json!([{"key": key, "operator": op, "values": values}]));
        for (expected, term) in [
            (true, one("In", "disk", json!(["ssd", "nvme"]))),
            (false, one("NotIn", "disk", json!(["ssd"]))),
            (true, one("NotIn", "zone", json!(["a"]))),
            (true, one("Exists", "disk", json!([]))),
            (true, one("DoesNotExist", "zone", json!([]))),
            (true, one("Gt", "cores", json!(["4"]))),
            (false, one("Lt", "cores", json!(["8"]))),
            (true, json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]})),
            (false, json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]})),
            (false, json!({})),
        ] {
            assert_eq!(matches_term(&term, &node), expected, "{term}");
        }
    }

    #[test]
    fn tolerations_cover_by_key_value_and_effect() {
        let taint = json!({"key": "k", "value": "v", "effect": "NoExecute"});
        for (expected, toleration) in [
            (true, json!({"operator": "Exists"})),
            (true, json!({"key": "k", "operator": "Exists"})),
            (true, json!({"key": "k", "operator": "Equal", "value": "v", "effect": "NoExecute"})),
            (true, json!({"key": "k", "value": "v"})),
            (false, json!({"key": "k", "value": "w"})),
            (false, json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})),
            (false, json!({"key": "other", "operator": "Exists"})),
        ] {
            assert_eq!(tolerates(&toleration, &taint), expected, "{toleration}");
        }
    }
}
