//! The quota controller: fills a quota's status, and counts again when something was given back.
//!
//! What is taken is counted by admission in the same step as the object is made, so that only deletions, ended pods and
//! changed limits are looked at here.

use serde_json::Value;

use super::{Controller, Ctx, Queue, Seen, View, is_terminal};
use crate::{
    admission::quota::{Usage, amounts, counted_kinds, covers, to_value, usage},
    quantity::Quantity,
    resource,
    store::Key,
};

/// Keys are quotas.
pub(super) struct Quotas;

impl Controller for Quotas {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::RESOURCE_QUOTA) {
            queue.add(seen.key.clone());
            return;
        }
        let counted = counted_kinds().iter().any(|kind| seen.is(kind));
        let ended = seen.is(&resource::POD) && seen.new.is_some_and(|pod| is_terminal(pod));
        let shrunk = seen.is(&resource::PERSISTENT_VOLUME_CLAIM) && seen.old.is_some() && seen.new.is_some();
        if counted && (seen.new.is_none() || ended || shrunk) {
            view.in_namespace(&resource::RESOURCE_QUOTA, &seen.key.0).for_each(|(key, _)| queue.add(key.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let Some(quota) = ctx.view.get(&resource::RESOURCE_QUOTA, &key.0, &key.1) else {
            return;
        };
        let (hard, used) = (quota["spec"]["hard"].clone(), used(&key.0, quota, ctx));
        let status = &quota["status"];
        if status["hard"] == hard && amounts(&status["used"]) == used {
            return;
        }
        // Gone or changed meanwhile: then that change is seen next.
        let _ =
            ctx.cluster.update_status(&resource::RESOURCE_QUOTA, &key.0, &key.1, "kube-controller-manager", |quota| {
                quota["status"]["hard"] = hard;
                quota["status"]["used"] = to_value(&used);
            });
    }
}

fn used(ns: &str, quota: &Value, ctx: &Ctx<'_>) -> Usage {
    let mut sum: Usage = amounts(&quota["spec"]["hard"]).into_keys().map(|name| (name, Quantity::default())).collect();
    for kind in counted_kinds() {
        for (_, object) in ctx.view.in_namespace(kind, ns) {
            if !covers(&quota["spec"], kind, object) {
                continue;
            }
            for (name, amount) in usage(kind, object) {
                if let Some(total) = sum.get_mut(&name) {
                    *total = total.plus(amount);
                }
            }
        }
    }
    sum
}
