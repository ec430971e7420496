//! Events: what a component did or met, attached to an object, and forgotten an hour after it last happened.
//!
//! A repeated event is counted on the object that is there already, as `client-go` does. The scheduler's events have the
//! newer shape (eventTime, reportingComponent, series), everybody else's the older one (count and time-stamps). There is
//! room for so many; beyond that the oldest go before their time.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Controller, Ctx, Queue, Seen, View, uid};
use crate::{clock, dig::Dig, resource::EVENT, store::Key};

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
        let metadata = &about["metadata"];
        // Events about cluster-scoped objects live in `default`.
        let ns = metadata["namespace"].as_str().unwrap_or("default");
        let digest = fnv1a(&[uid(about), about.text("kind"), self.component, reason, message]);
        let name = format!("{}.{digest:016x}", metadata.text("name"));
        let (now, micros) = (clock::seconds(self.ctx.now), clock::micros(self.ctx.now));
        let by_scheduler = self.component == SCHEDULER;
        let repeated = self.ctx.cluster.get(&EVENT, ns, &name).is_some_and(|event| {
            self.ctx.edit(&event, self.component, |event| {
                let field = if by_scheduler { "series.count" } else { "count" };
                event.put(field, event.int(field).unwrap_or(1) + 1);
                if by_scheduler {
                    event.put("series.lastObservedTime", micros.as_str());
                } else {
                    event.put("lastTimestamp", now.as_str());
                }
            })
        });
        if repeated {
            return;
        }
        let mut event = json!({
            "metadata": {"name": name, "namespace": ns}, "reason": reason, "message": message, "type": kind,
            "involvedObject": {
                "kind": about["kind"], "apiVersion": about["apiVersion"], "name": metadata["name"],
                "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
            },
            "reportingComponent": self.component,
        });
        if metadata["namespace"].is_string() {
            event.put("involvedObject.namespace", ns);
        }
        let shape = if by_scheduler {
            let action = if reason == "Scheduled" { "Binding" } else { "Scheduling" };
            json!({
                "source": {}, "firstTimestamp": null, "lastTimestamp": null, "eventTime": micros, "action": action,
                "reportingInstance": "default-scheduler-simcluster",
            })
        } else {
            json!({
                "source": {"component": self.component}, "firstTimestamp": now, "lastTimestamp": now, "count": 1,
                "eventTime": null, "reportingInstance": self.host.unwrap_or_default(),
            })
        };
        for (field, value) in shape.fields("") {
            event[field] = value.clone();
        }
        if let Some(host) = self.host {
            event.put("source.host", host);
        }
        // A namespace that is being deleted takes no new events; that must not stop the component.
        let _ = self.ctx.cluster.create(&EVENT, ns, event, self.component);
    }
}

/// Forgets events. There is one key: the next look.
#[derive(Default)]
pub(super) struct Expiry {
    /// When each event is to be looked at again.
    due: BTreeSet<(Timestamp, Key)>,
    known: HashSet<Key>,
}

impl Controller for Expiry {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if !seen.is(&EVENT) {
            return;
        }
        let Some(event) = seen.new else {
            self.known.remove(seen.key);
            return;
        };
        if self.known.insert(seen.key.clone()) {
            self.due.insert((expires(event), seen.key.clone()));
            if self.due.len() == 1 || self.due.len() > AT_MOST {
                queue.add(Key::default());
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        while let Some((at, (ns, name))) = self.due.first().cloned() {
            let too_many = self.due.len() > AT_MOST;
            if at > ctx.now && !too_many {
                queue.add_beat(key.clone(), at);
                return;
            }
            self.due.pop_first();
            match ctx.cluster.get(&EVENT, &ns, &name) {
                Some(event) if expires(&event) > ctx.now && !too_many => {
                    self.due.insert((expires(&event), (ns, name)));
                }
                Some(event) => drop(ctx.delete(&event, None)),
                None => {}
            }
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
