//! Whether a pod fits a node: the scheduler's filters, in the real scheduler's order, and its words for each refusal.

use super::{
    prelude::*,
    requests::{Requests, TOO_LITTLE},
};

/// Why a pod does not fit a node: the reasons of the first filter that refuses, and whether removing other pods from
/// the node could help.
pub(super) type Refusal = (Vec<&'static str>, bool);

/// What a pod asks of its node, read once for all nodes.
pub(super) struct Wanted<'a> {
    pub requests: Requests,
    tolerations: &'a [Value],
    selector: &'a Value,
    required: &'a Value,
    preferred: &'a [Value],
    /// Where its volumes can be reached from.
    reach: Vec<&'a Value>,
}

impl<'a> Wanted<'a> {
    pub fn by(pod: &'a Value, view: &'a View) -> Self {
        let affinity = pod.at("spec.affinity.nodeAffinity");
        let ns = pod.text("metadata.namespace");
        let volumes = claim_names(pod).filter_map(|claim| {
            let claim = view.get(&PERSISTENT_VOLUME_CLAIM, ns, &claim)?;
            view.get(&PERSISTENT_VOLUME, "", claim.text("spec.volumeName"))
        });
        Self {
            requests: Requests::of_pod(pod),
            tolerations: pod.items("spec.tolerations"),
            selector: pod.at("spec.nodeSelector"),
            required: affinity.at("requiredDuringSchedulingIgnoredDuringExecution"),
            preferred: affinity.items("preferredDuringSchedulingIgnoredDuringExecution"),
            reach: volumes.map(|v| v.at("spec.nodeAffinity.required")).filter(|terms| terms.is_object()).collect(),
        }
    }

    /// Whether a volume can be reached from some nodes only.
    pub fn is_tied(&self) -> bool {
        !self.reach.is_empty()
    }

    pub fn fits(&self, node: &NodeInfo) -> Result<(), Refusal> {
        if !node.open {
            self.bears(&node.object)?;
        }
        if !self.selects(&node.object) {
            return Err((vec!["node(s) didn't match Pod's node affinity/selector"], false));
        }
        self.has_room(node)?;
        if !self.reach.iter().all(|terms| matches_terms(terms, &node.object)) {
            return Err((vec!["node(s) didn't match PersistentVolume's node affinity"], false));
        }
        Ok(())
    }

    fn bears(&self, node: &Value) -> Result<(), Refusal> {
        let repels = |key: &str, value: &str, effect: &str| {
            matches!(effect, "NoSchedule" | "NoExecute")
                && !self.tolerations.iter().any(|t| covers(t, key, value, effect))
        };
        if node.yes("spec.unschedulable") && repels("node.kubernetes.io/unschedulable", "", "NoSchedule") {
            return Err((vec!["node(s) were unschedulable"], false));
        }
        if node.items("spec.taints").iter().any(|t| repels(t.text("key"), t.text("value"), t.text("effect"))) {
            return Err((vec!["node(s) had untolerated taint(s)"], false));
        }
        Ok(())
    }

    fn selects(&self, node: &Value) -> bool {
        let has = |(key, value): (&String, &Value)| node["metadata"]["labels"][key] == *value;
        self.selector.fields("").all(has) && (self.required.is_null() || matches_terms(self.required, node))
    }

    fn has_room(&self, node: &NodeInfo) -> Result<(), Refusal> {
        let (wanted, used, all) = (self.requests.0, node.used.0, node.allocatable.0);
        let lacks = |at: &usize| wanted[*at] > 0 && wanted[*at].saturating_add(used[*at]) > all[*at];
        let lacking: Vec<usize> = (0..wanted.len()).filter(lacks).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let others_in_the_way = lacking.iter().all(|at| wanted[*at] <= all[*at]);
        Err((lacking.into_iter().map(|at| TOO_LITTLE[at]).collect(), others_in_the_way))
    }

    /// How much a node is liked, more is better: the pod's preferences, then how much of it would stay free.
    pub fn score(&self, node: &NodeInfo) -> (i64, i64) {
        let liked = self.preferred.iter().filter(|wish| matches_term(&wish["preference"], &node.object));
        let free = |at: usize| {
            let all = node.allocatable.0[at];
            all.saturating_sub(node.used.0[at]).saturating_sub(self.requests.0[at]).saturating_mul(10_000) / all.max(1)
        };
        (liked.filter_map(|wish| wish["weight"].as_i64()).sum(), free(1) + free(2))
    }
}

/// Terms are alternatives; what stands inside one must hold together; an empty term matches nothing.
fn matches_terms(selector: &Value, node: &Value) -> bool {
    selector.items("nodeSelectorTerms").iter().any(|term| matches_term(term, node))
}

fn matches_term(term: &Value, node: &Value) -> bool {
    let (expressions, fields) = (term.items("matchExpressions"), term.items("matchFields"));
    let label = |e: &Value| node["metadata"]["labels"][e.text("key")].as_str();
    let field = |e: &Value| Some(node.text("metadata.name")).filter(|_| e.text("key") == "metadata.name");
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|e| holds(e, label(e)))
        && fields.iter().all(|e| holds(e, field(e)))
}

fn holds(expression: &Value, value: Option<&str>) -> bool {
    let values = expression.items("values");
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    match expression.text("operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Others match nothing, so that the pod is seen to find no node.
        _ => false,
    }
}

/// Whether one toleration covers one taint.
pub(super) fn covers(toleration: &Value, key: &str, value: &str, effect: &str) -> bool {
    let (own_key, own_effect) = (toleration.text("key"), toleration.text("effect"));
    let exists = toleration.text("operator") == "Exists";
    (own_effect.is_empty() || own_effect == effect)
        && (own_key == key || own_key.is_empty() && exists)
        && (exists || toleration.text("value") == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_and_tolerations() {
        let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd"}}});
        for (expected, field, key, operator, values) in [
            (true, "matchExpressions", "disk", "In", json!(["ssd", "nvme"])),
            (false, "matchExpressions", "disk", "NotIn", json!(["ssd"])),
            (true, "matchExpressions", "zone", "NotIn", json!(["a"])),
            (true, "matchExpressions", "disk", "Exists", json!([])),
            (false, "matchExpressions", "disk", "DoesNotExist", json!([])),
            (true, "matchFields", "metadata.name", "In", json!(["n1"])),
            (false, "matchFields", "metadata.name", "In", json!(["n2"])),
            (false, "matchNothing", "disk", "Exists", json!([])),
        ] {
            let term = json!({field: [{"key": key, "operator": operator, "values": values}]});
            assert_eq!(matches_term(&term, &node), expected, "{term}");
        }
        for (expected, toleration) in [
            (true, json!({"operator": "Exists"})),
            (true, json!({"key": "k", "value": "v"})),
            (false, json!({"key": "k", "value": "w"})),
            (false, json!({"key": "k", "operator": "Exists", "effect": "NoSchedule"})),
            (false, json!({"key": "other", "operator": "Exists"})),
        ] {
            assert_eq!(covers(&toleration, "k", "v", "NoExecute"), expected, "{toleration}");
        }
    }
}
