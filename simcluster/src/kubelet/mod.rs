//! The simulated kubelets of all nodes.
//!
//! A kubelet renews its node's lease, reports the node's status, and runs the pods that are bound to it: images,
//! containers, probes, restarts, graceful termination. Containers play scripted applications (`app`). What runs is known
//! here only, as on a real machine: a killed node stops moving its pods, and their objects stay as they were.
//!
//! Not simulated: resource use, CPU throttling, exec, port forwarding, ephemeral containers, lifecycle hooks.

mod container;
mod env;
mod mounts;
mod node;
mod pod;
mod process;
mod scene;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;
use serde_json::Value;

use self::{
    pod::Pod,
    scene::{Scene, volume_key},
};
use crate::{
    app::Volumes,
    controllers::{Controller, Ctx, Queue, Seen, View, condition_is_true, is_deleting, is_terminal, node_of, uid},
    resource,
    store::{DeleteOptions, Key},
};

#[derive(Default)]
pub(crate) struct Kubelets {
    /// What runs, by pod uid.
    pods: HashMap<String, Pod>,
    machines: BTreeMap<String, Machine>,
    /// Node and image.
    images: HashSet<(String, String)>,
    volumes: Volumes,
    waits_for_config: BTreeSet<Key>,
    waits_for_volumes: BTreeSet<Key>,
    waits_for_target: BTreeSet<Key>,
}

/// What a kubelet knows of its machine.
struct Machine {
    /// Place among the nodes, in order of appearance; makes its addresses.
    index: usize,
    renews_at: Timestamp,
    dead: bool,
    addresses_given: usize,
}

impl Controller for Kubelets {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        let woken: Vec<Key> = if seen.is(&resource::NODE) {
            vec![seen.key.clone()]
        } else if seen.is(&resource::POD) {
            self.observe_pod(seen);
            let ready = |pod: &Arc<Value>| condition_is_true(pod, "Ready");
            if seen.new.is_some_and(ready) && !seen.old.is_some_and(ready) {
                self.waits_for_target.iter().for_each(|key| queue.add(key.clone()));
            }
            seen.new.filter(|pod| node_of(pod).is_some()).map(|_| seen.key.clone()).into_iter().collect()
        } else if seen.is(&resource::SECRET) || seen.is(&resource::CONFIG_MAP) {
            let (config, volumes) = (&self.waits_for_config, &self.waits_for_volumes);
            config.iter().chain(volumes).filter(|key| key.0 == seen.key.0).cloned().collect()
        } else if seen.is(&resource::VOLUME_ATTACHMENT) || seen.is(&resource::PERSISTENT_VOLUME_CLAIM) {
            if seen.new.is_none() && seen.is(&resource::PERSISTENT_VOLUME_CLAIM) {
                self.volumes.forget(uid(seen.latest()));
            }
            self.waits_for_volumes.iter().cloned().collect()
        } else if seen.is(&resource::SERVICE) {
            self.waits_for_target.iter().cloned().collect()
        } else {
            Vec::new()
        };
        let exists = |key: &Key| key.0.is_empty() || view.get(&resource::POD, &key.0, &key.1).is_some();
        woken.into_iter().filter(exists).for_each(|key| queue.add(key));
    }

    /// Any fault may concern any pod; this is rare, and a look at an unconcerned pod changes nothing.
    fn observe_faults(&mut self, view: &View, queue: &mut Queue) {
        view.all(&resource::NODE).for_each(|(key, _)| queue.add(key.clone()));
        let bound = view.all(&resource::POD).filter(|(_, pod)| node_of(pod).is_some());
        bound.for_each(|(key, _)| queue.add(key.clone()));
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        if key.0.is_empty() {
            self.sync_node(key, ctx, queue);
        } else {
            self.sync_pod(key, ctx, queue);
        }
    }
}

impl Kubelets {
    fn observe_pod(&mut self, seen: &Seen<'_>) {
        if seen.new.is_none() {
            let gone = uid(seen.latest());
            self.pods.remove(gone);
            self.volumes.forget(gone);
            for waiting in [&mut self.waits_for_config, &mut self.waits_for_volumes, &mut self.waits_for_target] {
                waiting.remove(seen.key);
            }
        }
    }

    fn sync_node(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(node) = ctx.view.get(&resource::NODE, "", &key.1) else {
            self.machines.remove(&key.1);
            return;
        };
        let index = self.machines.values().map(|machine| machine.index + 1).max().unwrap_or(0);
        let machine = self.machines.entry(key.1.clone()).or_insert(Machine {
            index,
            renews_at: ctx.now,
            dead: false,
            addresses_given: 0,
        });
        let dead = ctx.faults.node_is_dead(&key.1);
        if machine.dead && !dead {
            // Back again: heartbeat at once, then its pods, whose processes are gone.
            machine.renews_at = ctx.now;
            for (pod_key, pod) in ctx.view.pods_on(&key.1) {
                if let Some(running) = self.pods.get_mut(uid(pod)) {
                    running.lose_power(pod, ctx.now);
                }
                queue.add(pod_key.clone());
            }
        }
        machine.dead = dead;
        if dead {
            return;
        }
        if machine.renews_at <= ctx.now {
            node::renew(ctx, node);
            machine.renews_at = ctx.now + ctx.delays.lease_interval;
        }
        node::report(ctx, node, &scene::host_ip(machine.index));
        queue.add_beat(key.clone(), machine.renews_at);
    }

    fn sync_pod(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(object) = ctx.view.get(&resource::POD, &key.0, &key.1) else {
            return;
        };
        let Some(node) = node_of(object) else { return };
        let Some(machine) = self.machines.get_mut(node).filter(|machine| !machine.dead) else {
            return;
        };
        let id = uid(object);
        if is_terminal(object) && !self.pods.contains_key(id) {
            if is_deleting(object) {
                forget(ctx, object);
            }
            return;
        }
        let mut running = self.pods.remove(id).unwrap_or_else(|| Pod::new(object, ctx.now));
        let volume = volume_key(object, ctx.view);
        let mut scene = Scene {
            ctx,
            pod: object,
            uid: id,
            node,
            slow: ctx.faults.slowness(node),
            index: machine.index,
            addresses_given: &mut machine.addresses_given,
            images: &mut self.images,
            volumes: &mut self.volumes,
            volume: &volume,
            waits_for_config: false,
            waits_for_volumes: false,
            waits_for_target: false,
        };
        let next = running.advance(&mut scene);
        for (waiting, waits) in [
            (&mut self.waits_for_config, scene.waits_for_config),
            (&mut self.waits_for_volumes, scene.waits_for_volumes),
            (&mut self.waits_for_target, scene.waits_for_target),
        ] {
            if waits {
                waiting.insert(key.clone());
            } else {
                waiting.remove(key);
            }
        }
        let shown = status::render(&running, &scene);
        if shown != object["status"] {
            let write = |pod: &mut Value| pod["status"] = shown;
            let _ = ctx.cluster.update_status(&resource::POD, &key.0, &key.1, "kubelet", write);
        }
        if is_deleting(object) && running.outcome.is_some() {
            forget(ctx, object);
            return;
        }
        self.pods.insert(id.to_owned(), running);
        if let Some(at) = next {
            queue.add_at(key.clone(), at);
        }
    }
}

/// The kubelet's last word on a pod: nothing of it is left, the object may go.
fn forget(ctx: &Ctx<'_>, pod: &Value) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
    let options = DeleteOptions { grace: Some(0), uid: Some(uid(pod).to_owned()), ..DeleteOptions::default() };
    let _ = ctx.cluster.delete(&resource::POD, text("namespace"), text("name"), &options);
    ctx.cluster.logs().forget(uid(pod));
}
