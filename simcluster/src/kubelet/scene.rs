//! What a pod's simulation works with: its object, its node, and the world around it.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    app::Volumes,
    controllers::{Ctx, View, claim_names, condition_is_true, fnv1a, uid},
    resource,
};

pub(super) struct Scene<'a> {
    pub ctx: &'a Ctx<'a>,
    pub pod: &'a Value,
    pub uid: &'a str,
    pub node: &'a str,
    /// How many times longer everything takes on this node.
    pub slow: u32,
    /// The node's place among the nodes.
    pub index: usize,
    pub addresses_given: &'a mut usize,
    pub images: &'a mut HashSet<(String, String)>,
    pub volumes: &'a mut Volumes,
    /// Where the pod's applications keep their data.
    pub volume: &'a str,
    // What the pod turned out to wait for, beside time.
    pub waits_for_config: bool,
    pub waits_for_volumes: bool,
    pub waits_for_target: bool,
}

impl Scene<'_> {
    pub fn namespace(&self) -> &str {
        self.pod["metadata"]["namespace"].as_str().unwrap_or_default()
    }

    /// `name_namespace(uid)`, as kubelet messages name pods.
    pub fn full_name(&self) -> String {
        let name = self.pod["metadata"]["name"].as_str().unwrap_or_default();
        format!("{name}_{}({})", self.namespace(), self.uid)
    }

    pub fn restart_policy(&self) -> &str {
        self.pod["spec"]["restartPolicy"].as_str().unwrap_or("Always")
    }

    /// When work that takes this long at full speed will be done on this node.
    pub fn after(&self, work: Duration) -> Timestamp {
        self.ctx.now + work.saturating_mul(self.slow)
    }

    pub fn normal(&self, reason: &str, message: &str) {
        self.ctx.events("kubelet").on_host(self.node).normal(self.pod, reason, message);
    }

    pub fn warning(&self, reason: &str, message: &str) {
        self.ctx.events("kubelet").on_host(self.node).warning(self.pod, reason, message);
    }

    pub fn container_id(&self, container: &str, run: u32) -> String {
        let run = run.to_string();
        let part = |salt: &str| fnv1a(&[self.uid, container, &run, salt]);
        format!("containerd://{:016x}{:016x}{:016x}{:016x}", part("a"), part("b"), part("c"), part("d"))
    }

    pub fn host_ip(&self) -> String {
        host_ip(self.index)
    }

    /// The next address of the node's pod network; addresses come again after a long while.
    pub fn new_address(&mut self) -> String {
        let host = *self.addresses_given % 250 + 2;
        *self.addresses_given += 1;
        format!("10.{}.{}.{host}", 42 + self.index / 256, self.index % 256)
    }

    /// The data of a ready pod behind a service; `None` while there is none.
    pub fn volume_behind(&self, ns: &str, service: &str) -> Option<String> {
        let view = self.ctx.view;
        let service = view.get(&resource::SERVICE, ns, service)?;
        let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty())?;
        let selected = |pod: &Value| selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value);
        let mut pods = view.in_namespace(&resource::POD, ns).map(|(_, pod)| pod);
        let pod = pods.find(|pod| selected(pod) && condition_is_true(pod, "Ready"))?;
        Some(volume_key(pod, view))
    }
}

pub(super) fn host_ip(index: usize) -> String {
    format!("10.0.{}.{}", 10 + index / 250, index % 250 + 1)
}

/// The uid of the pod's first claim, or its own: what its applications' data lives and dies with.
pub(super) fn volume_key(pod: &Value, view: &View) -> String {
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let claim = claim_names(pod).find_map(|name| view.get(&resource::PERSISTENT_VOLUME_CLAIM, ns, &name));
    uid(claim.map_or(pod, |claim| claim)).to_owned()
}
