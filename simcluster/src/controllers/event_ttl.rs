//! Events are forgotten an hour after they last happened, as a real API server does it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Controller, Ctx, Queue, Seen, View};
use crate::{
    resource,
    store::{DeleteOptions, Key},
};

const TIME_TO_LIVE: Duration = Duration::from_hours(1);
/// How often events are looked through.
const PERIOD: Duration = Duration::from_mins(10);

/// There is one key: the next round.
#[derive(Default)]
pub(super) struct EventTtl {
    begun: bool,
}

impl Controller for EventTtl {
    fn observe(&mut self, _seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if !self.begun {
            self.begun = true;
            queue.add(Key::default());
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        for event in ctx.cluster.list(&resource::EVENT, None) {
            if last_seen(&event).is_some_and(|at| at + TIME_TO_LIVE <= ctx.now) {
                let text = |field: &str| event["metadata"][field].as_str().unwrap_or_default();
                let (ns, name) = (text("namespace"), text("name"));
                let _ = ctx.cluster.delete(&resource::EVENT, ns, name, &DeleteOptions::default());
            }
        }
        queue.add_at(key.clone(), ctx.now + PERIOD);
    }
}

fn last_seen(event: &Value) -> Option<Timestamp> {
    let time = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let repeated = time(&event["series"]["lastObservedTime"]).or_else(|| time(&event["lastTimestamp"]));
    repeated.or_else(|| time(&event["eventTime"])).or_else(|| time(&event["metadata"]["creationTimestamp"]))
}
