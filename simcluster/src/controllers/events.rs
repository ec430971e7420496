//! Events: what a component did or met, attached to an object.
//!
//! A repeated event is counted on the object that is there already, as `client-go` does. The scheduler's events have the
//! newer shape (eventTime, reportingComponent, series), everybody else's the older one (count and time-stamps).

use serde_json::{Value, json};

use super::Ctx;
use crate::{clock, resource};

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
        let digest = fnv1a(&[
            metadata["uid"].as_str().unwrap_or_default(),
            about["kind"].as_str().unwrap_or_default(),
            self.component,
            reason,
            message,
        ]);
        let name = format!("{}.{digest:016x}", metadata["name"].as_str().unwrap_or_default());
        let now = clock::seconds(self.ctx.now);
        let by_scheduler = self.component == "default-scheduler";
        if self.ctx.cluster.get(&resource::EVENT, ns, &name).is_some() {
            let micro = clock::micros(self.ctx.now);
            let _ = self.ctx.cluster.update(&resource::EVENT, ns, &name, self.component, |event| {
                if by_scheduler {
                    let count = event["series"]["count"].as_u64().unwrap_or(1) + 1;
                    event["series"] = json!({"count": count, "lastObservedTime": micro});
                } else {
                    event["count"] = json!(event["count"].as_u64().unwrap_or(1) + 1);
                    event["lastTimestamp"] = json!(now);
                }
            });
            return;
        }
        let mut involved = json!({
            "kind": about["kind"], "name": metadata["name"], "uid": metadata["uid"],
            "apiVersion": about["apiVersion"], "resourceVersion": metadata["resourceVersion"],
        });
        if metadata["namespace"].is_string() {
            involved["namespace"] = metadata["namespace"].clone();
        }
        let mut event = json!({
            "metadata": {"name": name, "namespace": ns}, "involvedObject": involved, "reason": reason,
            "message": message, "type": kind, "reportingComponent": self.component,
            "reportingInstance": self.host.unwrap_or_default(),
        });
        if by_scheduler {
            event["source"] = json!({});
            event["firstTimestamp"] = Value::Null;
            event["lastTimestamp"] = Value::Null;
            event["eventTime"] = json!(clock::micros(self.ctx.now));
            event["reportingInstance"] = json!("default-scheduler-simcluster");
            event["action"] = json!(if reason == "Scheduled" { "Binding" } else { "Scheduling" });
        } else {
            event["source"] = json!({"component": self.component});
            if let Some(host) = self.host {
                event["source"]["host"] = json!(host);
            }
            event["firstTimestamp"] = json!(now);
            event["lastTimestamp"] = json!(now);
            event["count"] = json!(1);
            event["eventTime"] = Value::Null;
        }
        // A namespace that is being deleted takes no new events; that must not stop the component.
        let _ = self.ctx.cluster.create(&resource::EVENT, ns, event, self.component);
    }
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
