//! A namespace's beginning and end: what every namespace gets by itself, and how it is emptied before it goes.
//!
//! The contents are left alone for `Delays::namespace_linger` after the deletion was asked for. What finalizers or a
//! pod's grace still hold is told in the namespace's conditions, and waited for.

use std::collections::BTreeMap;

use super::prelude::*;

const WHO: &str = "kube-controller-manager";
const ABOUT_ROOT_CA: &str = "Contains a CA bundle for the cluster's internal API addresses. This cluster is simulated.";

/// The ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`. Keys are namespaces.
pub(super) struct Defaults;

impl Controller for Defaults {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if seen.is(&NAMESPACE) {
            queue.add(seen.key.clone());
        } else if seen.new.is_none() && (seen.is(&SERVICE_ACCOUNT) || seen.is(&CONFIG_MAP)) {
            queue.add((String::new(), seen.key.0.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        if ctx.view.get(&NAMESPACE, "", &key.1).is_none_or(|namespace| is_deleting(namespace)) {
            return;
        }
        let about = json!({"kubernetes.io/description": ABOUT_ROOT_CA});
        for (kind, name, object) in [
            (&SERVICE_ACCOUNT, "default", json!({"metadata": {}})),
            (&CONFIG_MAP, "kube-root-ca.crt", json!({"metadata": {"annotations": about}, "data": {"ca.crt": ""}})),
        ] {
            if ctx.view.get(kind, &key.1, name).is_none() {
                let mut object = object;
                object.put("metadata.name", name);
                // Refused only when the namespace goes away, and then nobody needs it.
                let _ = ctx.cluster.create(kind, &key.1, object, WHO);
            }
        }
    }
}

/// Keys are namespaces.
pub(super) struct Termination;

impl Controller for Termination {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        let name = if seen.is(&NAMESPACE) { &seen.key.1 } else { &seen.key.0 };
        let concerns = seen.is(&NAMESPACE) || seen.new.is_none() && !name.is_empty();
        if concerns && view.get(&NAMESPACE, "", name).is_some_and(|namespace| is_deleting(namespace)) {
            queue.add((String::new(), name.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(namespace) = ctx.view.get(&NAMESPACE, "", &key.1).filter(|namespace| is_deleting(namespace)) else {
            return;
        };
        if let Some(until) = ctx.waits(namespace, "linger", ctx.delays.namespace_linger) {
            return queue.add_at(key.clone(), until);
        }
        // How much there still is of each kind, and how much each finalizer holds.
        let (mut kinds, mut held): (BTreeMap<String, usize>, BTreeMap<String, usize>) = Default::default();
        for kind in ALL.iter().filter(|kind| kind.namespaced) {
            for object in ctx.cluster.list(kind, Some(&key.1)).iter().filter(|object| !is_deleting(object)) {
                ctx.delete(object, None);
            }
            for object in ctx.cluster.list(kind, Some(&key.1)) {
                *kinds.entry(format!("{}.{}", kind.plural, kind.group)).or_default() += 1;
                for finalizer in object.items("metadata.finalizers").iter().filter_map(Value::as_str) {
                    *held.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        if kinds.is_empty() {
            if namespace.items("metadata.finalizers").is_empty() {
                ctx.cluster.finalize_namespace(&key.1);
            }
            return;
        }
        let conditions = conditions(&kinds, &held);
        ctx.edit_status(namespace, WHO, |namespace| {
            for (kind, holds, reason, message) in conditions {
                let condition = json!({
                    "type": format!("Namespace{kind}"), "status": if holds { "True" } else { "False" }, "reason": reason, "message": message,
                    "lastTransitionTime": clock::seconds(ctx.now),
                });
                set_condition(namespace, condition);
            }
        });
    }
}

type Condition = (&'static str, bool, &'static str, String);

fn conditions(kinds: &BTreeMap<String, usize>, held: &BTreeMap<String, usize>) -> [Condition; 5] {
    let told = |counts: &BTreeMap<String, usize>, word: &str| {
        let parts: Vec<String> =
            counts.iter().map(|(what, n)| format!("{what} {word} {n} resource instances")).collect();
        parts.join(", ")
    };
    let remaining = format!("Some resources are remaining: {}", told(kinds, "has"));
    let (reason, waiting) = if held.is_empty() {
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        let held = told(held, "in");
        ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {held}"))
    };
    let [discovered, parsed, deleted] = [
        ("DeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
        ("DeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        (
            "DeletionContentFailure",
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
    ]
    .map(|(kind, reason, message)| (kind, false, reason, message.to_owned()));
    let content = ("ContentRemaining", true, "SomeResourcesRemain", remaining);
    [discovered, parsed, deleted, content, ("FinalizersRemaining", !held.is_empty(), reason, waiting)]
}
