//! Events: what a component did or met, attached to an object, and forgotten an hour after it last happened.
//!
//! A repeated event is counted on the object that is there already, as `client-go` does. The scheduler's events have the
//! newer shape (eventTime, reportingComponent, series), everybody else's the older one (count and time-stamps). There is
//! room for so many; beyond that the oldest go before their time.

use std::{collections::VecDeque, time::Duration};

use super::prelude::*;

const TIME_TO_LIVE: Duration = Duration::from_hours(1);
const AT_MOST: usize = 20_000;
const SCHEDULER: &str = "default-scheduler";

/// Records events of one component.
pub(crate) struct Recorder<'a> {
    ctx: &'a Ctx<'a>,
    component: &'a str,
    host: Option<&'a str>,
}

impl<'a> Recorder<'a> {
    pub fn new(ctx: &'a Ctx<'a>, component: &'a str) -> Self {
        Self { ctx, component, host: None }
    }

    /// The node on which the component runs.
    pub fn on_host(mut self, host: &'a str) -> Self {
        self.host = Some(host);
        self
    }

    pub fn normal(&self, about: &Value, reason: &str, message: &str) {
        self.record(about, "Normal", reason, message);
    }

    pub fn warning(&self, about: &Value, reason: &str, message: &str) {
        self.record(about, "Warning", reason, message);
    }

    fn record(&self, about: &Value, kind: &str, reason: &str, message: &str) {
        let Self { ctx, component, host } = self;
        let metadata = &about["metadata"];
        // Events about cluster-scoped objects live in `default`.
        let ns = metadata["namespace"].as_str().unwrap_or("default");
        let digest = fnv1a(&[uid(about), about.text("kind"), component, reason, message]);
        let name = format!("{}.{digest:016x}", metadata.text("name"));
        let (now, micros) = (clock::seconds(ctx.now), clock::micros(ctx.now));
        let by_scheduler = *component == SCHEDULER;
        if let Some(event) = ctx.cluster.get(&EVENT, ns, &name) {
            let (count, last, now) = if by_scheduler {
                ("series.count", "series.lastObservedTime", micros)
            } else {
                ("count", "lastTimestamp", now)
            };
            ctx.edit(&event, component, |event| {
                event.put(count, event.int(count).unwrap_or(1) + 1);
                event.put(last, now);
            });
            return;
        }
        let mut event = json!({
            "metadata": {"name": name, "namespace": ns}, "reason": reason, "message": message, "type": kind,
            "involvedObject": {
                "kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"],
                "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
            },
            "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": null,
            "reportingComponent": component, "reportingInstance": host.unwrap_or_default(),
        });
        if metadata["namespace"].is_string() {
            event.put("involvedObject.namespace", ns);
        }
        if by_scheduler {
            event.put("eventTime", micros);
            event.put("action", if reason == "Scheduled" { "Binding" } else { "Scheduling" });
            event.put("reportingInstance", "default-scheduler-simcluster");
        } else {
            event.put("firstTimestamp", now.as_str());
            event.put("lastTimestamp", now);
            event.put("count", 1);
            event.put("source.component", *component);
            if let Some(host) = host {
                event.put("source.host", *host);
            }
        }
        // A namespace that is being deleted takes no new events; that must not stop the component.
        let _ = ctx.cluster.create(&EVENT, ns, event, component);
    }
}

/// Forgets events. There is one key: the next look.
#[derive(Default)]
pub(super) struct Expiry {
    /// When an event will have to go, for each time that it happened.
    due: VecDeque<(Timestamp, Key)>,
}

impl Controller for Expiry {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if let Some(event) = seen.new.filter(|_| seen.is(&EVENT)) {
            self.due.push_back((expires(event), seen.key.clone()));
            queue.add(Key::default());
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        while let Some((at, (ns, name))) = self.due.front() {
            if *at > ctx.now && self.due.len() <= AT_MOST {
                return queue.add_beat(key.clone(), *at);
            }
            if let Some(event) = ctx.cluster.get(&EVENT, ns, name).filter(|event| expires(event) <= *at) {
                ctx.delete(&event, None);
            }
            self.due.pop_front();
        }
    }
}

/// An hour after it was last seen.
fn expires(event: &Value) -> Timestamp {
    let times = ["series.lastObservedTime", "lastTimestamp", "eventTime", "metadata.creationTimestamp"];
    let last_seen = times.iter().find_map(|path| event.text(path).parse::<Timestamp>().ok());
    last_seen.and_then(|at| at.checked_add(TIME_TO_LIVE).ok()).unwrap_or(Timestamp::MAX)
}

/// A small stable hash (FNV-1a, 64 bit): the names that it makes must not change between runs.
pub(crate) fn fnv1a(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in parts.iter().flat_map(|part| part.bytes().chain([0])) {
        hash ^= u64::from(byte);
        hash = hash.wrapping_mul(0x0100_0000_01b3);
    }
    hash
}
