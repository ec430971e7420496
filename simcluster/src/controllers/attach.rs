//! Attach and detach: VolumeAttachments for volumes that can move between nodes.
//!
//! A volume is attached where a pod that uses it is bound, and to one node only. It is detached when no pod on that
//! node uses it any more: at once on a living node or on one that is declared out of service, and otherwise only after
//! the six minutes that Kubernetes waits before it risks a second writer.

use std::collections::BTreeSet;

use super::{events::fnv1a, evict::is_out_of_service, prelude::*};

const WHO: &str = "attachdetach-controller";
/// How long a volume stays attached to a node that does not answer: seconds.
const FORCED_AFTER: u64 = 360;
const MULTI_ATTACH: &str = "Volume is already exclusively attached to one node and can't be attached to another";

/// The one name that an attachment of a volume to a node has.
pub(crate) fn attachment_name(volume: &str, node: &str) -> String {
    format!("csi-{:016x}", fnv1a(&[volume, node]))
}

/// Keys are volumes.
pub(super) struct Attachments;

impl Controller for Attachments {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        let mut look_at = |volume: &str| queue.add((String::new(), volume.to_owned()));
        if seen.is(&POD) {
            if seen.changes(|pod| (node_of(pod).map(str::to_owned), is_terminal(pod))) {
                for claim in claim_names(seen.latest()) {
                    if let Some(claim) = view.get(&PERSISTENT_VOLUME_CLAIM, &seen.key.0, &claim) {
                        look_at(claim.text("spec.volumeName"));
                    }
                }
            }
        } else if seen.is(&PERSISTENT_VOLUME) {
            look_at(&seen.key.1);
        } else if seen.is(&PERSISTENT_VOLUME_CLAIM) {
            look_at(seen.latest().text("spec.volumeName"));
        } else if seen.is(&VOLUME_ATTACHMENT) && seen.new.is_none() {
            look_at(seen.latest().text("spec.source.persistentVolumeName"));
        } else if seen.is(&NODE) && seen.changes(lets_go) {
            let here = view.linked(Link::Node(seen.key.1.clone())).filter(|(kind, ..)| kind.is(&VOLUME_ATTACHMENT));
            here.for_each(|(.., attachment)| look_at(attachment.text("spec.source.persistentVolumeName")));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let volume = ctx.view.get(&PERSISTENT_VOLUME, "", &key.1).filter(|volume| volume.has("spec.csi"));
        let users = volume.map(|volume| users(ctx.view, volume)).unwrap_or_default();
        let nodes: BTreeSet<&str> = users.iter().filter_map(|pod| node_of(pod)).collect();
        let mut attached: BTreeSet<&str> = BTreeSet::new();
        for (.., attachment) in ctx.view.linked(Link::Volume(key.1.clone())) {
            let node = attachment.text("spec.nodeName");
            if nodes.contains(node) {
                ctx.forget(attachment, "detach");
                attached.insert(node);
            } else if let Some(until) = stays_until(ctx, attachment, node) {
                queue.add_at(key.clone(), until);
                attached.insert(node);
            } else {
                ctx.delete(attachment, None);
            }
        }
        let Some(volume) = volume else { return };
        for pod in users {
            let node = node_of(pod).unwrap_or_default();
            if attached.is_empty() {
                attach(ctx, volume, node, pod);
                attached.insert(node);
            } else if !attached.contains(node) {
                let message = format!("Multi-Attach error for volume \"{}\" {MULTI_ATTACH}", key.1);
                ctx.events(WHO).warning(pod, "FailedAttachVolume", &message);
            }
        }
    }
}

/// Whether what was attached to the node can be taken away safely.
fn lets_go(node: &Value) -> bool {
    condition_is_true(node, "Ready") || is_out_of_service(node)
}

/// Until when an attachment that nobody uses any more stays; `None` if it may go now.
fn stays_until(ctx: &Ctx<'_>, attachment: &Value, node: &str) -> Option<Timestamp> {
    let silent = ctx.view.get(&NODE, "", node).is_some_and(|node| !lets_go(node));
    let until = ctx.waits(attachment, "detach", ctx.delays.seconds(FORCED_AFTER));
    until.filter(|_| silent)
}

/// The pods that keep a volume attached to their node.
fn users<'a>(view: &'a View, volume: &Value) -> Vec<&'a Arc<Value>> {
    let of = |part: &str| volume.at("spec.claimRef").text(part).to_owned();
    let pods = view.pods_linked(Link::Claim(of("namespace"), of("name"))).map(|(_, pod)| pod);
    pods.filter(|pod| node_of(pod).is_some() && !is_terminal(pod)).collect()
}

fn attach(ctx: &Ctx<'_>, volume: &Value, node: &str, pod: &Value) {
    let (name, driver) = (volume.text("metadata.name"), volume.text("spec.csi.driver"));
    let attachment = json!({
        "metadata": {"name": attachment_name(name, node)},
        "spec": {"attacher": driver, "source": {"persistentVolumeName": name}, "nodeName": node},
        "status": {"attached": false},
    });
    let Ok(attachment) = ctx.cluster.create(&VOLUME_ATTACHMENT, "", attachment, WHO) else {
        return;
    };
    let device = format!("/dev/{}/{name}", driver.split('.').nth(1).unwrap_or(driver));
    let attached = json!({"attached": true, "attachmentMetadata": {"devicePath": device}});
    ctx.edit_status(&attachment, driver, |attachment| attachment["status"] = attached);
    let message = format!("AttachVolume.Attach succeeded for volume \"{name}\" ");
    ctx.events(WHO).normal(pod, "SuccessfulAttachVolume", &message);
}
