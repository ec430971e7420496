//! The end of a namespace: its contents are deleted, and when nothing is left it goes itself.
//!
//! The contents are left alone for `Delays::namespace_linger` after the deletion was asked for. What finalizers or a
//! pod's grace still hold is told in the namespace's conditions, and waited for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Controller, Ctx, Queue, Seen, View, is_deleting, list};
use crate::{
    clock,
    resource::{self, Kind},
    store::{DeleteOptions, Key},
};

/// Keys are namespaces.
pub(super) struct Namespaces;

impl Controller for Namespaces {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        let name = if seen.is(&resource::NAMESPACE) { &seen.key.1 } else { &seen.key.0 };
        let ending = |name: &str| view.get(&resource::NAMESPACE, "", name).is_some_and(|ns| is_deleting(ns));
        if !name.is_empty() && ending(name) {
            queue.add((String::new(), name.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(namespace) = ctx.view.get(&resource::NAMESPACE, "", &key.1) else {
            return;
        };
        let asked =
            namespace["metadata"]["deletionTimestamp"].as_str().and_then(|at| at.parse::<jiff::Timestamp>().ok());
        let Some(asked) = asked else { return };
        let due = asked.checked_add(ctx.delays.namespace_linger).unwrap_or(asked);
        if ctx.now < due {
            queue.add_at(key.clone(), due);
            return;
        }
        let remaining = empty(&key.1, ctx);
        if remaining.is_empty() {
            ctx.cluster.finalize_namespace(&key.1);
            return;
        }
        // Gone or changed meanwhile: then that change is seen next.
        let now = clock::seconds(ctx.now);
        let _ = ctx.cluster.update_status(&resource::NAMESPACE, "", &key.1, "kube-controller-manager", |namespace| {
            tell(&mut namespace["status"], &remaining, &now);
        });
    }
}

/// Deletes what is in a namespace; the answer is what is still there.
fn empty(ns: &str, ctx: &Ctx<'_>) -> Vec<(&'static Kind, Vec<String>)> {
    let mut remaining = Vec::new();
    for kind in resource::ALL.iter().filter(|kind| kind.namespaced) {
        for object in ctx.cluster.list(kind, Some(ns)) {
            if !is_deleting(&object) {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                // Gone already is what is wanted.
                let _ = ctx.cluster.delete(kind, ns, name, &DeleteOptions::default());
            }
        }
        for object in ctx.cluster.list(kind, Some(ns)) {
            let finalizers = list(&object["metadata"]["finalizers"]).iter();
            remaining.push((*kind, finalizers.filter_map(Value::as_str).map(ToOwned::to_owned).collect()));
        }
    }
    remaining
}

fn tell(status: &mut Value, remaining: &[(&'static Kind, Vec<String>)], now: &str) {
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<&str, usize> = BTreeMap::new();
    for (kind, held_by) in remaining {
        *kinds.entry(format!("{}.{}", kind.plural, kind.group)).or_default() += 1;
        for finalizer in held_by {
            *finalizers.entry(finalizer).or_default() += 1;
        }
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, n)| format!("{kind} has {n} resource instances")).collect();
    let held: Vec<String> =
        finalizers.iter().map(|(finalizer, n)| format!("{finalizer} in {n} resource instances")).collect();
    let content = format!("Some resources are remaining: {}", kinds.join(", "));
    let (is_held, waiting) = if held.is_empty() {
        (false, "All content-preserving finalizers finished".to_owned())
    } else {
        (true, format!("Some content in the namespace has finalizers remaining: {}", held.join(", ")))
    };
    let conditions = [
        ("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", true, "SomeResourcesRemain", content.as_str()),
        if is_held {
            ("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain", waiting.as_str())
        } else {
            ("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", waiting.as_str())
        },
    ];
    let old = status["conditions"].take();
    let conditions = conditions.map(|(kind, holds, reason, message)| {
        let value = if holds { "True" } else { "False" };
        let same = list(&old).iter().find(|c| c["type"] == kind && c["status"] == value);
        let since = same.map_or_else(|| now.into(), |c| c["lastTransitionTime"].clone());
        json!({"type": kind, "status": value, "lastTransitionTime": since, "reason": reason, "message": message})
    });
    status["conditions"] = conditions.into_iter().collect();
}
