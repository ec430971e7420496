//! What a pod's simulation works with: its object, its node, and the world around it.

use std::collections::BTreeSet;

use super::prelude::*;
use crate::faults::{Filter, What};

pub(super) struct Scene<'a> {
    pub ctx: &'a Ctx<'a>,
    pub pod: &'a Value,
    pub node: &'a str,
    /// Whether the API server can be reached.
    pub connected: bool,
    /// How many times longer everything takes on this node.
    pub slow: u32,
    pub machine: &'a mut Machine,
    /// The installations that have a first administrator.
    pub admins: &'a mut BTreeSet<String>,
    /// What would move the pod on, beside time: plural and key.
    pub waits: Vec<(&'static str, Key)>,
}

impl<'a> Scene<'a> {
    pub fn namespace(&self) -> &'a str {
        self.pod.text("metadata.namespace")
    }

    pub fn uid(&self) -> &'a str {
        uid(self.pod)
    }

    /// `name_namespace(uid)`, as kubelet messages name pods.
    pub fn full_name(&self) -> String {
        format!("{}_{}({})", self.pod.text("metadata.name"), self.namespace(), self.uid())
    }

    pub fn restart_policy(&self) -> &'a str {
        self.pod.text("spec.restartPolicy")
    }

    pub fn pull_fault(&self, image: &str, sort: impl Fn(&What) -> bool) -> Option<What> {
        self.ctx.faults.first(&[(Filter::Image, image), (Filter::Node, self.node)], sort)
    }

    /// What a container's use of its machine follows.
    pub fn trace(&self, container: &str) -> Option<Vec<Step>> {
        match self.ctx.faults.of_container(self.pod, container, |what| matches!(what, What::Load(_)))? {
            What::Load(trace) => Some(trace),
            _ => None,
        }
    }

    pub fn log(&self, container: &str, line: &str) {
        self.ctx.cluster.logs().append(self.uid(), container, self.ctx.now, line);
    }

    /// Records an event; a kubelet that is cut off tells nothing.
    pub fn tell(&self, kind: &str, reason: &str, message: &str) {
        let events = self.ctx.events("kubelet").on_host(self.node);
        match kind {
            _ if !self.connected => {}
            "Warning" => events.warning(self.pod, reason, message),
            _ => events.normal(self.pod, reason, message),
        }
    }

    pub fn wait_for(&mut self, what: &'static str, ns: &str, name: &str) {
        self.waits.push((what, (ns.to_owned(), name.to_owned())));
    }

    /// An object that is as it must be; until then the pod waits for it.
    pub fn need(&mut self, kind: &Kind, ns: &str, name: &str, is_good: fn(&Value) -> bool) -> Option<&'a Value> {
        let found = self.ctx.view.get(kind, ns, name).map(|object| &**object).filter(|object| is_good(object));
        if found.is_none() {
            self.wait_for(kind.plural, ns, name);
        }
        found
    }

    /// Whose data is behind a service with a ready pod; while there is none, this pod waits for one.
    pub fn installation_behind(&mut self, ns: &str, service: &str) -> Option<String> {
        self.wait_for("ready", ns, "");
        let service = self.need(&resource::SERVICE, ns, service, |service| service.at("spec.selector").is_object())?;
        let labels =
            |pod: &Value| service.fields("spec.selector").all(|(key, value)| pod.at("metadata.labels")[key] == *value);
        let mut pods = self.ctx.view.in_namespace(&resource::POD, ns).map(|(_, pod)| pod);
        let pod = pods.find(|pod| labels(pod) && condition_is_true(pod, "Ready"))?;
        Some(self.installation(pod))
    }

    /// The uid of the pod's first claim, or its own: what its applications' data lives and dies with.
    pub fn installation(&self, pod: &Value) -> String {
        let (view, ns): (&View, _) = (self.ctx.view, pod.text("metadata.namespace"));
        let claim = claim_names(pod).find_map(|name| view.get(&resource::PERSISTENT_VOLUME_CLAIM, ns, &name));
        uid(claim.map_or(pod, |claim| claim)).to_owned()
    }
}

pub(super) fn host_ip(index: usize) -> String {
    format!("10.0.{}.{}", 10 + index / 250, index % 250 + 1)
}
