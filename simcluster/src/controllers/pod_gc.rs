//! The pod garbage collector: in rounds, it removes pods that nobody else can remove.
//!
//! These are pods of a node that no longer exists, pods that are to be deleted and were never given a node, and pods
//! that are to be deleted on a node that does not answer and is declared out of service.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    taints::is_out_of_service,
    view::{condition_is_true, is_deleting, is_terminal, node_of, uid},
};
use crate::{
    resource,
    store::{DeleteOptions, Key},
};

/// Keys are pods.
#[derive(Default)]
pub(super) struct PodGc {
    /// The round that will collect a pod (by uid).
    rounds: HashMap<String, Timestamp>,
}

impl Controller for PodGc {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::POD) {
            if seen.new.is_none() {
                self.rounds.remove(uid(seen.latest()));
            }
            if seen.new.is_some_and(|pod| is_garbage(view, pod)) {
                queue.add(seen.key.clone());
            }
        } else if seen.is(&resource::NODE) {
            let garbage = view.pods_on(&seen.key.1).filter(|(_, pod)| is_garbage(view, pod));
            garbage.for_each(|(key, _)| queue.add(key.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(pod) = ctx.view.get(&resource::POD, &key.0, &key.1).filter(|pod| is_garbage(ctx.view, pod)) else {
            return;
        };
        let period = ctx.delays.pod_gc_period;
        let round = *self.rounds.entry(uid(pod).to_owned()).or_insert_with(|| next_round(ctx.now, period));
        if round > ctx.now {
            queue.add_at(key.clone(), round);
            return;
        }
        if !is_terminal(pod) {
            let fail = |pod: &mut Value| pod["status"]["phase"] = json!("Failed");
            let _ = ctx.cluster.update_status(&resource::POD, &key.0, &key.1, "pod-garbage-collector", fail);
        }
        let options = DeleteOptions { grace: Some(0), uid: Some(uid(pod).to_owned()), ..DeleteOptions::default() };
        let _ = ctx.cluster.delete(&resource::POD, &key.0, &key.1, &options);
    }
}

fn is_garbage(view: &View, pod: &Value) -> bool {
    let Some(name) = node_of(pod) else {
        return is_deleting(pod);
    };
    let Some(node) = view.get(&resource::NODE, "", name) else {
        return true;
    };
    is_deleting(pod) && is_out_of_service(node) && !condition_is_true(node, "Ready")
}

/// Rounds are at whole multiples of the period; without a period there is one at any time.
fn next_round(now: Timestamp, period: Duration) -> Timestamp {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
    if period == 0 {
        return now;
    }
    let past = now.as_millisecond().rem_euclid(period);
    now + Duration::from_millis((period - past).unsigned_abs())
}
