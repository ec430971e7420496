//! The quota controller: fills a quota's status, and counts again when something was given back.
//!
//! What is taken is counted by admission in the same step as the object is made, so that only deletions, ended pods and
//! changed limits are looked at here.

use super::prelude::*;
use crate::{
    admission::quota::{Usage, amounts, counted_kinds, covers, to_value, usage},
    quantity::Quantity,
};

/// Keys are quotas.
pub(super) struct Quotas;

impl Controller for Quotas {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&RESOURCE_QUOTA) {
            return queue.add(seen.key.clone());
        }
        let ended = seen.is(&POD) && seen.new.is_some_and(|pod| is_terminal(pod));
        let shrunk = seen.is(&PERSISTENT_VOLUME_CLAIM) && seen.old.is_some();
        if (seen.new.is_none() || ended || shrunk) && counted_kinds().iter().any(|kind| seen.is(kind)) {
            queue.add_all(view.in_namespace(&RESOURCE_QUOTA, &seen.key.0));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let Some(quota) = ctx.view.get(&RESOURCE_QUOTA, &key.0, &key.1) else {
            return;
        };
        let (hard, used) = (quota.at("spec.hard"), used(&key.0, quota, ctx));
        if quota.at("status.hard") != hard || amounts(quota.at("status.used")) != used {
            ctx.edit_status(quota, "kube-controller-manager", |quota| {
                quota.put("status.hard", hard.clone());
                quota.put("status.used", to_value(&used));
            });
        }
    }
}

fn used(ns: &str, quota: &Value, ctx: &Ctx<'_>) -> Usage {
    let names = amounts(quota.at("spec.hard")).into_keys();
    let mut sum: Usage = names.map(|name| (name, Quantity::default())).collect();
    for kind in counted_kinds() {
        let counted = ctx.view.in_namespace(kind, ns).filter(|(_, object)| covers(&quota["spec"], kind, object));
        for (name, amount) in counted.flat_map(|(_, object)| usage(kind, object)) {
            if let Some(total) = sum.get_mut(&name) {
                *total = total.plus(amount);
            }
        }
    }
    sum
}
