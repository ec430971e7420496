//! The simulated kubelets of all nodes.
//!
//! A kubelet renews its node's lease, reports the node's status, and runs the pods that are bound to it: images,
//! containers, probes, restarts, resizes, graceful termination. Containers play scripted applications (`app`), use their
//! machine (`load`) and write to their volumes (`disks`). What runs is known here only, as on a real machine: without power
//! nothing moves; a node that is cut off neither hears nor tells anything, and its containers run and write on.
//! Not simulated: exec, port forwarding, ephemeral containers, lifecycle hooks, what a process does on the network.

mod container;
mod disks;
mod load;
mod needs;
mod node;
mod pod;
mod scene;
mod status;

mod prelude {
    pub(super) use std::{collections::BTreeMap, sync::Arc, time::Duration};

    pub(super) use jiff::Timestamp;
    pub(super) use serde_json::{Value, json};

    pub(super) use super::{Machine, container::*, disks::*, load::*, pod::*, scene::*};
    pub(super) use crate::{
        app::{self, Database, Does, Role, Script},
        clock,
        controllers::*,
        dig::Dig,
        resource::{self, *},
        store::Key,
    };
}

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::prelude::*;
pub use self::{
    disks::{Corruption, Writer},
    load::Step,
};
use crate::faults::{Faults, Filter, What};

/// How often a kubelet looks after its machine's disk: seconds.
const HOUSEKEEPING: u64 = 10;

/// The machines of the cluster with all that runs on them. Clones are handles on the same ones.
#[derive(Clone)]
pub(crate) struct Kubelets(Arc<Mutex<Machines>>);

struct Machines {
    faults: Faults,
    machines: BTreeMap<String, Machine>,
    /// How many machines there have been.
    seen: usize,
    disks: Disks,
    /// The claims or pods (by uid) whose installation has a first administrator.
    admins: BTreeSet<String>,
    /// Which pods wait for a change of what: plural (or `ready`, `room`) and key.
    waiting: HashMap<(&'static str, Key), BTreeSet<Key>>,
}

#[derive(Default)]
struct Machine {
    /// Place among the nodes, in order of appearance; makes its addresses.
    index: usize,
    renews_at: Timestamp,
    evicts_at: Timestamp,
    powered: bool,
    connected: bool,
    addresses_given: usize,
    images: BTreeSet<String>,
    /// By uid: one name may run twice, where a node is cut off.
    pods: BTreeMap<String, Pod>,
}

/// Keys are nodes (without a first part) and pods (node and uid).
impl Controller for Kubelets {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        let mut all = self.lock();
        if seen.is(&resource::NODE) {
            queue.add(seen.key.clone());
        } else if seen.is(&resource::POD) {
            all.observe_pod(seen, queue);
        } else if seen.is(&resource::PERSISTENT_VOLUME_CLAIM) && seen.new.is_none() {
            all.admins.remove(uid(seen.latest()));
        }
        all.wake(seen.kind.plural, seen.key.clone(), queue);
    }

    fn observe_faults(&mut self, view: &View, queue: &mut Queue) {
        view.all(&resource::NODE).for_each(|(key, _)| queue.add(key.clone()));
        for (node, machine) in &self.lock().machines {
            machine.pods.keys().for_each(|id| queue.add((node.clone(), id.clone())));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let mut all = self.lock();
        if key.0.is_empty() { all.sync_node(key, ctx, queue) } else { all.sync_pod(key, ctx, queue) }
    }
}

impl Kubelets {
    pub fn new(faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(Machines {
            faults,
            machines: BTreeMap::new(),
            seen: 0,
            disks: Disks::default(),
            admins: BTreeSet::new(),
            waiting: HashMap::new(),
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn corruptions(&self) -> Vec<Corruption> {
        self.lock().disks.corruptions.clone()
    }

    /// What a monitoring system reads from the kubelets that it can reach, in the text format of Prometheus.
    pub fn metrics(&self, now: Timestamp) -> String {
        const CPU: &str = "container_cpu_usage_seconds_total";
        const MEMORY: &str = "container_memory_working_set_bytes";
        let all = self.lock();
        let mut lines = [vec![format!("# TYPE {CPU} counter\n")], vec![format!("# TYPE {MEMORY} gauge\n")]];
        let reachable = all.machines.iter().filter(|(_, machine)| machine.connected);
        for (node, pod) in reachable.flat_map(|(node, machine)| machine.pods.values().map(move |pod| (node, pod))) {
            let (ns, name) = (pod.object.text("metadata.namespace"), pod.object.text("metadata.name"));
            for (container, spec) in pod.containers.iter().zip(specs(&pod.object)) {
                let Some(process) = container.process() else {
                    continue;
                };
                let (container, cpu) = (spec.text("name"), process.load.cpu_micros(now));
                let labels = format!("namespace=\"{ns}\",pod=\"{name}\",container=\"{container}\",node=\"{node}\"");
                let (seconds, micros) = (cpu / 1_000_000, cpu % 1_000_000);
                lines[0].push(format!("{CPU}{{{labels}}} {seconds}.{micros:06}\n"));
                lines[1].push(format!("{MEMORY}{{{labels}}} {}\n", process.load.memory(now)));
            }
        }
        lines.concat().concat()
    }
}

impl Machines {
    fn wake(&mut self, what: &'static str, key: Key, queue: &mut Queue) {
        self.waiting.remove(&(what, key)).into_iter().flatten().for_each(|pod| queue.add(pod));
    }

    fn hears(&self, node: &str) -> bool {
        !self.faults.node_is_dead(node) && !self.faults.is_partitioned(node)
    }

    fn observe_pod(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let ready = |pod: &Arc<Value>| condition_is_true(pod, "Ready");
        if seen.new.is_some_and(ready) && !seen.old.is_some_and(ready) {
            self.wake("ready", (seen.key.0.clone(), String::new()), queue);
        }
        let (Some(object), Some(node)) = (seen.new.or(seen.old), node_of(seen.latest())) else {
            return;
        };
        // Of a node that is not there yet the pods are read when it comes.
        if self.hears(node)
            && let Some(machine) = self.machines.get_mut(node)
        {
            machine.see(object);
            queue.add((node.to_owned(), uid(object).to_owned()));
        }
    }

    fn sync_node(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let name = key.1.as_str();
        let (powered, connected) = (!ctx.faults.node_is_dead(name), self.hears(name));
        let Some(node) = ctx.view.get(&resource::NODE, "", name) else {
            // Its containers go with a machine that is taken out of the cluster, unless it cannot hear of it.
            if connected || !powered {
                self.disks.stop_node(name);
                self.machines.remove(name);
            }
            return;
        };
        let machine = self.machines.entry(name.to_owned()).or_insert_with(|| {
            self.seen += 1;
            Machine { index: self.seen - 1, powered: true, ..Machine::default() }
        });
        if powered && !machine.powered {
            machine.pods.values_mut().for_each(|pod| pod.lose_power(ctx.now));
        }
        if connected && !machine.connected {
            // Heartbeat at once, then a look at what has become of its pods meanwhile.
            machine.renews_at = ctx.now;
            ctx.view.pods_on(name).for_each(|(_, pod)| machine.see(pod));
        }
        if (powered, connected) != (machine.powered, machine.connected) {
            machine.pods.keys().for_each(|id| queue.add((name.to_owned(), id.clone())));
        }
        (machine.powered, machine.connected) = (powered, connected);
        if connected {
            if machine.renews_at <= ctx.now {
                node::renew(ctx, node);
                machine.renews_at = ctx.now + ctx.delays.lease_interval;
            }
            let disk_full = ctx.faults.first(&[(Filter::Node, name)], |what| *what == What::DiskPressure).is_some();
            node::report(ctx, node, machine.index, disk_full);
            queue.add_beat(key.clone(), machine.renews_at);
            if disk_full {
                if machine.evicts_at <= ctx.now {
                    if let Some(id) = node::evict_one(ctx, node, machine) {
                        queue.add((name.to_owned(), id));
                    }
                    machine.evicts_at = ctx.now + ctx.delays.seconds(HOUSEKEEPING);
                }
                queue.add_at(key.clone(), machine.evicts_at);
            }
        } else if !powered {
            self.disks.stop_node(name);
        }
    }

    fn sync_pod(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let (node, id, connected) = (key.0.as_str(), key.1.as_str(), self.hears(&key.0));
        let powered = connected || !ctx.faults.node_is_dead(node);
        let Some(machine) = self.machines.get_mut(node).filter(|_| powered) else {
            return;
        };
        let Some(mut pod) = machine.pods.remove(id) else {
            return;
        };
        let object = Arc::clone(&pod.object);
        let (ns, name) = (object.text("metadata.namespace"), object.text("metadata.name"));
        let stored = ctx.view.get(&resource::POD, ns, name).filter(|stored| uid(stored) == id && connected);
        let gone = connected && stored.is_none();
        // Ended by this kubelet, or declared failed by others: nothing of it runs on.
        if gone || is_terminal(&object) {
            self.set_writes(&mut pod, node, false, ctx);
            self.wake("room", (node.to_owned(), String::new()), queue);
            if gone {
                self.admins.remove(id);
                ctx.cluster.logs().forget(id);
            } else if connected && is_deleting(&object) {
                // The kubelet's last word on a pod: nothing of it is left.
                ctx.delete(&object, Some(0));
            }
            return;
        }
        let slow = match ctx.faults.first(&[(Filter::Node, node)], |what| matches!(what, What::NodeSlow { .. })) {
            Some(What::NodeSlow { factor }) => factor.max(1),
            _ => 1,
        };
        let admins = &mut self.admins;
        let mut scene = Scene { ctx, pod: &object, node, connected, slow, machine, admins, waits: Vec::new() };
        let before = pod.allocated;
        let next = pod.advance(&mut scene);
        let shown = status::render(&pod, &scene);
        for wait in scene.waits {
            self.waiting.entry(wait).or_default().insert(key.clone());
        }
        if pod.allocated != before {
            self.wake("room", (node.to_owned(), String::new()), queue);
        }
        let runs = pod.runs();
        self.set_writes(&mut pod, node, runs, ctx);
        if let Some(stored) = stored {
            if stored["status"] != shown {
                ctx.edit_status(stored, "kubelet", |pod| pod["status"] = shown);
            }
            if is_deleting(&object) && pod.succeeded.is_some() {
                ctx.delete(&object, Some(0));
            }
        }
        if let Some(machine) = self.machines.get_mut(node) {
            machine.pods.insert(id.to_owned(), pod);
        }
        if let Some(at) = next {
            queue.add_at(key.clone(), at);
        }
    }

    /// Counts a pod among those who write to its volumes, or no longer.
    fn set_writes(&mut self, pod: &mut Pod, node: &str, writes: bool, ctx: &Ctx<'_>) {
        if std::mem::replace(&mut pod.writes, writes) == writes {
            return;
        }
        let text = |path: &str| pod.object.text(path).to_owned();
        let [namespace, name, uid] = ["metadata.namespace", "metadata.name", "metadata.uid"].map(text);
        let writer = Writer { namespace, pod: name, uid, node: node.to_owned() };
        for (volume, claim) in pod.volumes.iter().zip(claim_names(&pod.object)) {
            if writes {
                self.disks.start(volume, &claim, &writer, ctx.now);
            } else {
                self.disks.stop(volume, &writer.uid);
            }
        }
    }
}

impl Machine {
    /// The kubelet learns of a pod that is bound to its node.
    fn see(&mut self, object: &Arc<Value>) {
        let pod = self.pods.entry(uid(object).to_owned()).or_insert_with(|| Pod::new(object));
        pod.object = Arc::clone(object);
    }

    /// The next address of the node's pod network; addresses come again after a long while.
    fn new_address(&mut self) -> String {
        let host = self.addresses_given % 250 + 2;
        self.addresses_given += 1;
        format!("10.{}.{}.{host}", 42 + self.index / 256, self.index % 256)
    }
}
