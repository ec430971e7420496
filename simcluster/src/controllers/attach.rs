//! Attach and detach: VolumeAttachments for volumes that can move between nodes.
//!
//! A volume is attached where a pod that uses it is bound, and to one node only. It is detached when no pod on that
//! node uses it any more: at once on a living node or on one that is declared out of service, and otherwise only after
//! the six minutes that Kubernetes waits before it risks a second writer.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    events::fnv1a,
    taints::is_out_of_service,
    view::{claim_names, condition_is_true, is_terminal, node_of},
};
use crate::{
    resource::{self, VOLUME_ATTACHMENT as ATTACHMENT},
    store::{DeleteOptions, Key},
};

const WHO: &str = "attachdetach-controller";
/// How long a volume stays attached to a node that does not answer: seconds.
const FORCED_AFTER: u64 = 360;
const MULTI_ATTACH: &str = "Volume is already exclusively attached to one node and can't be attached to another";

/// The one name that an attachment of a volume to a node has.
pub(crate) fn attachment_name(volume: &str, node: &str) -> String {
    format!("csi-{:016x}", fnv1a(&[volume, node]))
}

/// Keys are volumes.
#[derive(Default)]
pub(super) struct Attachments {
    /// Since when an attachment to a node that does not answer is unused.
    unused_since: HashMap<String, Timestamp>,
    /// The nodes to which a volume is attached.
    nodes: BTreeMap<String, BTreeSet<String>>,
}

impl Controller for Attachments {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::POD) {
            if seen.new.or(seen.old).is_some_and(|pod| node_of(pod).is_some()) {
                for claim in claim_names(seen.latest()) {
                    let claim = view.get(&resource::PERSISTENT_VOLUME_CLAIM, &seen.key.0, &claim);
                    if let Some(volume) = claim.and_then(|claim| claim["spec"]["volumeName"].as_str()) {
                        queue.add((String::new(), volume.to_owned()));
                    }
                }
            }
        } else if seen.is(&resource::PERSISTENT_VOLUME) {
            queue.add(seen.key.clone());
        } else if seen.is(&resource::PERSISTENT_VOLUME_CLAIM) {
            if let Some(volume) = seen.latest()["spec"]["volumeName"].as_str() {
                queue.add((String::new(), volume.to_owned()));
            }
        } else if seen.is(&ATTACHMENT) {
            self.observe_attachment(seen, queue);
        } else if seen.is(&resource::NODE) {
            let answers = |node: &Arc<Value>| condition_is_true(node, "Ready") || is_out_of_service(node);
            if seen.old.is_some_and(answers) != seen.new.is_some_and(answers) {
                let here = self.nodes.iter().filter(|(_, nodes)| nodes.contains(&seen.key.1));
                here.for_each(|(volume, _)| queue.add((String::new(), volume.clone())));
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let volume = ctx.view.get(&resource::PERSISTENT_VOLUME, "", &key.1);
        let movable = volume.filter(|volume| volume["spec"]["csi"].is_object());
        let users = movable.map(|volume| users(ctx.view, volume)).unwrap_or_default();
        let nodes: BTreeSet<&str> = users.iter().filter_map(|pod| node_of(pod)).collect();
        let mut attached_elsewhere = false;
        for node in self.nodes.get(&key.1).cloned().unwrap_or_default() {
            if nodes.contains(node.as_str()) {
                attached_elsewhere |= nodes.len() > 1;
            } else if !self.detach(ctx, &node, key, queue) {
                attached_elsewhere = true;
            }
        }
        let Some(volume) = movable else { return };
        for pod in users {
            let node = node_of(pod).unwrap_or_default();
            let name = attachment_name(&key.1, node);
            if ctx.cluster.get(&ATTACHMENT, "", &name).is_some() {
                continue;
            }
            if attached_elsewhere {
                let message = format!("Multi-Attach error for volume \"{}\" {MULTI_ATTACH}", key.1);
                ctx.events(WHO).warning(pod, "FailedAttachVolume", &message);
            } else {
                attach(ctx, volume, node, &name, pod);
                attached_elsewhere = true;
            }
        }
    }
}

/// The pods that keep a volume attached to their node.
fn users<'a>(view: &'a View, volume: &Value) -> Vec<&'a Value> {
    let text = |field: &str| volume["spec"]["claimRef"][field].as_str().unwrap_or_default();
    let (ns, claim) = (text("namespace"), text("name"));
    let pods = view.pods_using_claim(ns, claim).map(|(_, pod)| &**pod);
    pods.filter(|pod| node_of(pod).is_some() && !is_terminal(pod)).collect()
}

fn attach(ctx: &Ctx<'_>, volume: &Value, node: &str, name: &str, pod: &Value) {
    let volume_name = volume["metadata"]["name"].as_str().unwrap_or_default();
    let driver = volume["spec"]["csi"]["driver"].as_str().unwrap_or_default();
    let attachment = json!({
        "metadata": {"name": name},
        "spec": {"attacher": driver, "source": {"persistentVolumeName": volume_name}, "nodeName": node},
        "status": {"attached": false},
    });
    if ctx.cluster.create(&ATTACHMENT, "", attachment, WHO).is_err() {
        return;
    }
    let kind = driver.split('.').nth(1).unwrap_or(driver);
    let attached = json!({
        "attached": true, "attachmentMetadata": {"devicePath": format!("/dev/{kind}/{volume_name}")},
    });
    let _ = ctx.cluster.update_status(&ATTACHMENT, "", name, driver, |a| a["status"] = attached);
    let message = format!("AttachVolume.Attach succeeded for volume \"{volume_name}\" ");
    ctx.events(WHO).normal(pod, "SuccessfulAttachVolume", &message);
}

impl Attachments {
    fn observe_attachment(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let spec = &seen.latest()["spec"];
        let (volume, node) = (text(&spec["source"]["persistentVolumeName"]), text(&spec["nodeName"]));
        if seen.new.is_some() {
            self.nodes.entry(volume).or_default().insert(node);
            return;
        }
        if let Some(nodes) = self.nodes.get_mut(&volume) {
            nodes.remove(&node);
            if nodes.is_empty() {
                self.nodes.remove(&volume);
            }
        }
        queue.add((String::new(), volume));
    }

    /// Takes an unused attachment away if that is safe, or overdue; `false` while it has to stay.
    fn detach(&mut self, ctx: &Ctx<'_>, node: &str, key: &Key, queue: &mut Queue) -> bool {
        let name = attachment_name(&key.1, node);
        let object = ctx.view.get(&resource::NODE, "", node);
        let safe = object.is_none_or(|node| condition_is_true(node, "Ready") || is_out_of_service(node));
        let since = *self.unused_since.entry(name.clone()).or_insert(ctx.now);
        let overdue_at = since + wait(ctx);
        if !safe && overdue_at > ctx.now {
            queue.add_at(key.clone(), overdue_at);
            return false;
        }
        self.unused_since.remove(&name);
        ctx.cluster.delete(&ATTACHMENT, "", &name, &DeleteOptions::default()).is_ok()
    }
}

fn wait(ctx: &Ctx<'_>) -> Duration {
    ctx.delays.seconds(FORCED_AFTER)
}
