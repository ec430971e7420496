//! The simulated kubelets of all nodes.
//!
//! A kubelet renews its node's lease, reports the node's status, and runs the pods that are bound to it: images,
//! containers, probes, restarts, resizes, graceful termination. Containers play scripted applications (`app`), use their
//! machine (`load`) and write to their volumes (`disks`). What runs is known here only, as on a real machine: without power
//! nothing moves; a node that is cut off neither hears nor tells anything, and its containers run and write on.
//!
//! Not simulated: exec, port forwarding, ephemeral containers, lifecycle hooks, what a process does on the network.

mod container;
mod disks;
mod load;
mod needs;
mod node;
mod pod;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use self::load::Trace;
use self::{disks::Disks, pod::Pod};
pub use self::{
    disks::{Corruption, Writer},
    load::{Step, Usage},
};
use crate::{
    controllers::{
        Controller, Ctx, Queue, Requests, Seen, View, claim_names, condition_is_true, is_deleting, is_terminal,
        node_of, uid,
    },
    dig::Dig,
    faults::Faults,
    resource,
    store::{DeleteOptions, Key},
};

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
    /// Who waits for a change of what: plural (or `ready`, `room`) and key, pods as keys of the queue.
    waiting: HashMap<(&'static str, Key), BTreeSet<Key>>,
}

/// What a kubelet knows of its machine.
#[derive(Default)]
struct Machine {
    /// Place among the nodes, in order of appearance; makes its addresses.
    index: usize,
    renews_at: Timestamp,
    evicts_at: Option<Timestamp>,
    powered: bool,
    connected: bool,
    addresses_given: usize,
    images: BTreeSet<String>,
    pods: BTreeMap<String, Pod>,
}

/// What a pod's simulation works with: its object, its node, and the world around it.
struct Scene<'a> {
    ctx: &'a Ctx<'a>,
    pod: &'a Value,
    node: &'a str,
    /// Whether the API server can be reached.
    connected: bool,
    /// How many times longer everything takes on this node.
    slow: u32,
    machine: &'a mut Machine,
    admins: &'a mut BTreeSet<String>,
    waits: Vec<(&'static str, Key)>,
}

/// Keys are nodes (without a first part) and pods (node and uid): one name may run twice, where a node is cut off.
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

    /// Any fault may concern any pod; this is rare, and a look at an unconcerned pod changes nothing.
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
        let (machines, disks, waiting) = (BTreeMap::new(), Disks::default(), HashMap::new());
        Self(Arc::new(Mutex::new(Machines { faults, machines, seen: 0, disks, admins: BTreeSet::new(), waiting })))
    }

    fn lock(&self) -> MutexGuard<'_, Machines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn corruptions(&self) -> Vec<Corruption> {
        self.lock().disks.corruptions.clone()
    }

    /// What a container uses now; `None` if it does not run.
    pub fn usage(&self, pod: &Value, container: &str, now: Timestamp) -> Option<Usage> {
        let all = self.lock();
        let pod = all.machines.get(node_of(pod)?)?.pods.get(uid(pod))?;
        let mut pairs = pod.containers.iter().zip(pod::specs(&pod.object));
        let (container, _) = pairs.find(|(_, spec)| spec.text("name") == container)?;
        Some(container.process()?.load.usage(now))
    }

    /// What a monitoring system reads from the kubelets that it can reach, in the text format of Prometheus.
    pub fn metrics(&self, now: Timestamp) -> String {
        let all = self.lock();
        let reachable = all.machines.iter().filter(|(_, machine)| machine.powered && machine.connected);
        let pods = reachable.flat_map(|(node, machine)| machine.pods.values().map(move |pod| (node, pod)));
        let running: Vec<(String, Usage)> = pods
            .flat_map(|(node, pod)| {
                pod.containers.iter().zip(pod::specs(&pod.object)).filter_map(move |(container, spec)| {
                    let (ns, name) = (pod.object.text("metadata.namespace"), pod.object.text("metadata.name"));
                    let container_name = spec.text("name");
                    let labels =
                        format!("namespace=\"{ns}\",pod=\"{name}\",container=\"{container_name}\",node=\"{node}\"");
                    Some((labels, container.process()?.load.usage(now)))
                })
            })
            .collect();
        let mut page = "# TYPE container_cpu_usage_seconds_total counter\n".to_owned();
        for (labels, Usage { cpu_micros, .. }) in &running {
            let (whole, rest) = (cpu_micros / 1_000_000, cpu_micros % 1_000_000);
            let _ = writeln!(page, "container_cpu_usage_seconds_total{{{labels}}} {whole}.{rest:06}");
        }
        page.push_str("# TYPE container_memory_working_set_bytes gauge\n");
        for (labels, Usage { memory_bytes, .. }) in &running {
            let _ = writeln!(page, "container_memory_working_set_bytes{{{labels}}} {memory_bytes}");
        }
        page
    }
}

impl Machines {
    /// Whether a node's kubelet hears of changes.
    fn hears(&self, node: &str) -> bool {
        !self.faults.node_is_dead(node) && !self.faults.is_partitioned(node)
    }

    fn wake(&mut self, what: &'static str, key: Key, queue: &mut Queue) {
        let waiting = self.waiting.remove(&(what, key));
        waiting.into_iter().flatten().for_each(|pod| queue.add(pod));
    }

    fn observe_pod(&mut self, seen: &Seen<'_>, queue: &mut Queue) {
        let ready = |pod: &Arc<Value>| condition_is_true(pod, "Ready");
        if seen.new.is_some_and(ready) && !seen.old.is_some_and(ready) {
            self.wake("ready", (seen.key.0.clone(), String::new()), queue);
        }
        let (Some(object), Some(node)) = (seen.new.or(seen.old), node_of(seen.latest())) else {
            return;
        };
        if seen.new.is_none_or(|pod| is_terminal(pod)) {
            self.wake("room", (node.to_owned(), String::new()), queue);
        }
        // Of a node that is not there yet the pods are read when it comes.
        if self.hears(node)
            && let Some(machine) = self.machines.get_mut(node)
        {
            machine.see(object, seen.new.is_none());
            queue.add((node.to_owned(), uid(object).to_owned()));
        }
    }

    fn sync_node(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let name = key.1.as_str();
        let (powered, cut_off) = (!ctx.faults.node_is_dead(name), ctx.faults.is_partitioned(name));
        let Some(node) = ctx.view.get(&resource::NODE, "", name) else {
            // Its containers go with a machine that is taken out of the cluster, unless it cannot hear of it.
            if !cut_off {
                self.lose_writers(name);
                self.machines.remove(name);
            }
            return;
        };
        let machine = self.machines.entry(name.to_owned()).or_insert_with(|| {
            self.seen += 1;
            Machine { index: self.seen - 1, powered: true, ..Machine::default() }
        });
        let back = (powered && !machine.powered, powered && !cut_off && !machine.connected);
        (machine.powered, machine.connected) = (powered, powered && !cut_off);
        if back.0 {
            machine.pods.values_mut().for_each(|pod| pod.lose_power(ctx.now));
        }
        if back.1 {
            // Heartbeat at once, then a look at what has become of its pods meanwhile.
            machine.renews_at = ctx.now;
            machine.pods.values_mut().for_each(|pod| pod.gone = true);
            ctx.view.pods_on(name).for_each(|(_, pod)| machine.see(pod, false));
        }
        if back.0 || back.1 {
            machine.pods.keys().for_each(|id| queue.add((name.to_owned(), id.clone())));
        }
        if !powered {
            return self.lose_writers(name);
        }
        let disk_full = ctx.faults.has_disk_pressure(name);
        if machine.connected {
            if machine.renews_at <= ctx.now {
                node::renew(ctx, node);
                machine.renews_at = ctx.now + ctx.delays.lease_interval;
            }
            node::report(ctx, node, machine.index, disk_full);
            queue.add_at(key.clone(), machine.renews_at);
        }
        machine.evicts_at = machine.evicts_at.filter(|_| disk_full);
        if disk_full && machine.evicts_at.is_none_or(|at| at <= ctx.now) {
            let evicted = node::evict_one(ctx, node, machine);
            evicted.into_iter().for_each(|id| queue.add((name.to_owned(), id)));
            machine.evicts_at = Some(ctx.now + ctx.delays.seconds(HOUSEKEEPING));
        }
        machine.evicts_at.into_iter().for_each(|at| queue.add_at(key.clone(), at));
    }

    fn sync_pod(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let (node, id) = (key.0.as_str(), key.1.as_str());
        let (powered, connected) = (!ctx.faults.node_is_dead(node), self.hears(node));
        let Some(machine) = self.machines.get_mut(node).filter(|_| powered) else {
            return;
        };
        let Some(mut pod) = machine.pods.remove(id) else {
            return;
        };
        let object = Arc::clone(&pod.object);
        let (ns, name) = (object.text("metadata.namespace"), object.text("metadata.name"));
        let stored = ctx.view.get(&resource::POD, ns, name).filter(|stored| uid(stored) == id);
        if connected && (pod.gone || stored.is_none()) {
            self.set_writes(&mut pod, node, false, ctx);
            self.admins.remove(id);
            ctx.cluster.logs().forget(id);
            return;
        }
        if is_terminal(&object) {
            // Ended by this kubelet, or declared failed by others: nothing of it runs on.
            self.set_writes(&mut pod, node, false, ctx);
            if is_deleting(&object) && connected {
                forget(ctx, &object);
            }
            return;
        }
        let slow = ctx.faults.slowness(node);
        let (admins, pod_object, waits) = (&mut self.admins, &*object, Vec::new());
        let mut scene = Scene { ctx, pod: pod_object, node, connected, slow, machine, admins, waits };
        let next = pod.advance(&mut scene);
        let shown = status::render(&pod, &scene);
        for (what, wanted) in scene.waits {
            self.waiting.entry((what, wanted)).or_default().insert(key.clone());
        }
        let (runs, ended) = (pod.runs(), pod.outcome.is_some());
        self.set_writes(&mut pod, node, runs, ctx);
        let varies = pod.containers.iter().any(|c| c.process().is_some_and(|process| process.load.varies()));
        if let Some(machine) = self.machines.get_mut(node) {
            machine.pods.insert(id.to_owned(), pod);
        }
        if connected && stored.is_some_and(|stored| stored["status"] != shown) {
            let write = |pod: &mut Value| pod["status"] = shown;
            let _ = ctx.cluster.update_status(&resource::POD, ns, name, "kubelet", write);
        }
        if connected && is_deleting(&object) && ended {
            forget(ctx, &object);
        }
        if varies {
            self.relieve(node, ctx, queue);
        }
        next.into_iter().for_each(|at| queue.add_at(key.clone(), at));
    }

    /// Counts a pod among those who write to its volumes, or no longer.
    fn set_writes(&mut self, pod: &mut Pod, node: &str, writes: bool, ctx: &Ctx<'_>) {
        if pod.writes == writes {
            return;
        }
        pod.writes = writes;
        let text = |path: &str| pod.object.text(path).to_owned();
        let (namespace, name, uid) = (text("metadata.namespace"), text("metadata.name"), text("metadata.uid"));
        let writer = Writer { namespace, pod: name, uid, node: node.to_owned() };
        for (volume, claim) in pod.volumes.iter().zip(claim_names(&pod.object)) {
            if writes {
                let modes = ctx.view.get(&resource::PERSISTENT_VOLUME, "", volume);
                let shared = modes.is_some_and(|v| v.items("spec.accessModes").iter().any(|m| m == "ReadWriteMany"));
                self.disks.start(volume, &claim, &writer, shared, ctx.now);
            } else {
                self.disks.stop(volume, &writer.uid);
            }
        }
    }

    /// The machine does nothing any more: no power, or no machine.
    fn lose_writers(&mut self, node: &str) {
        let pods = self.machines.get_mut(node).into_iter().flat_map(|machine| machine.pods.values_mut());
        for pod in pods.filter(|pod| pod.writes) {
            pod.writes = false;
            pod.volumes.iter().for_each(|volume| self.disks.stop(volume, uid(&pod.object)));
        }
    }

    /// The kernel's way out when the machine's memory is full: it ends processes, the lowest priority first, and of those
    /// the one that exceeds its request most.
    fn relieve(&mut self, node: &str, ctx: &Ctx<'_>, queue: &mut Queue) {
        let object = ctx.view.get(&resource::NODE, "", node);
        let memory = object.map_or(0, |node| Requests::of_list(node.at("status.capacity")).memory);
        let (capacity, now) = (u64::try_from(memory).unwrap_or(0), ctx.now);
        while let Some(machine) = self.machines.get_mut(node) {
            let (mut total, mut worst) = (0, None::<((i64, u64, u64), String, usize)>);
            for (id, pod) in &machine.pods {
                let priority = pod.object.int("spec.priority").unwrap_or(0);
                for (at, process) in pod.containers.iter().enumerate().filter_map(|(at, c)| Some((at, c.process()?))) {
                    let used = process.load.usage(now).memory_bytes;
                    let rank = (priority, process.load.memory_request.saturating_sub(used), u64::MAX - used);
                    total += used;
                    if worst.as_ref().is_none_or(|(least, ..)| rank < *least) {
                        worst = Some((rank, id.clone(), at));
                    }
                }
            }
            let Some((_, id, at)) = worst.filter(|_| total > capacity) else {
                return;
            };
            if let Some(container) = machine.pods.get_mut(&id).and_then(|pod| pod.containers.get_mut(at)) {
                container.kill(container::out_of_memory(), now);
            }
            queue.add((node.to_owned(), id));
        }
    }
}

/// How often a kubelet looks after its machine's disk: seconds.
const HOUSEKEEPING: u64 = 10;

impl Machine {
    /// The kubelet learns of a pod that is bound to its node.
    fn see(&mut self, object: &Arc<Value>, gone: bool) {
        let pod = self.pods.entry(uid(object).to_owned()).or_insert_with(|| Pod::new(Arc::clone(object)));
        (pod.object, pod.gone) = (Arc::clone(object), gone);
    }

    /// The next address of the node's pod network; addresses come again after a long while.
    fn new_address(&mut self) -> String {
        let host = self.addresses_given % 250 + 2;
        self.addresses_given += 1;
        format!("10.{}.{}.{host}", 42 + self.index / 256, self.index % 256)
    }
}

impl<'a> Scene<'a> {
    fn namespace(&self) -> &'a str {
        self.pod.text("metadata.namespace")
    }

    fn uid(&self) -> &'a str {
        uid(self.pod)
    }

    /// `name_namespace(uid)`, as kubelet messages name pods.
    fn full_name(&self) -> String {
        format!("{}_{}({})", self.pod.text("metadata.name"), self.namespace(), self.uid())
    }

    fn restart_policy(&self) -> &'a str {
        self.pod.text("spec.restartPolicy")
    }

    /// When work that takes this long at full speed will be done on this node.
    fn after(&self, work: Duration) -> Timestamp {
        self.ctx.now + work.saturating_mul(self.slow)
    }

    fn wait_for(&mut self, what: &'static str, ns: &str, name: &str) {
        self.waits.push((what, (ns.to_owned(), name.to_owned())));
    }

    fn log(&self, container: &str, line: &str) {
        self.ctx.cluster.logs().append(self.uid(), container, self.ctx.now, line);
    }

    fn normal(&self, reason: &str, message: &str) {
        if self.connected {
            self.ctx.events("kubelet").on_host(self.node).normal(self.pod, reason, message);
        }
    }

    fn warning(&self, reason: &str, message: &str) {
        if self.connected {
            self.ctx.events("kubelet").on_host(self.node).warning(self.pod, reason, message);
        }
    }

    fn host_ip(&self) -> String {
        host_ip(self.machine.index)
    }

    /// The installation of a ready pod behind a service; while there is none, this pod waits for one.
    fn installation_behind(&mut self, ns: &str, service: &str) -> Option<String> {
        let view = self.ctx.view;
        self.wait_for(resource::SERVICE.plural, ns, service);
        self.wait_for("ready", ns, "");
        let selector = view.get(&resource::SERVICE, ns, service)?.at("spec.selector").as_object()?;
        let selected = |pod: &Value| selector.iter().all(|(key, value)| pod.at("metadata.labels")[key] == *value);
        let mut pods = view.in_namespace(&resource::POD, ns).map(|(_, pod)| pod);
        let pod = pods.find(|pod| selected(pod) && condition_is_true(pod, "Ready"))?;
        Some(installation(pod, view).to_owned())
    }
}

/// The uid of the pod's first claim, or its own: what its applications' data lives and dies with.
fn installation<'a>(pod: &'a Value, view: &'a View) -> &'a str {
    let ns = pod.text("metadata.namespace");
    let claim = claim_names(pod).find_map(|name| view.get(&resource::PERSISTENT_VOLUME_CLAIM, ns, &name));
    uid(claim.map_or(pod, |claim| claim))
}

fn host_ip(index: usize) -> String {
    format!("10.0.{}.{}", 10 + index / 250, index % 250 + 1)
}

/// The kubelet's last word on a pod: nothing of it is left, the object may go.
fn forget(ctx: &Ctx<'_>, pod: &Value) {
    let options = DeleteOptions { grace: Some(0), uid: Some(uid(pod).to_owned()), ..DeleteOptions::default() };
    let _ = ctx.cluster.delete(&resource::POD, pod.text("metadata.namespace"), pod.text("metadata.name"), &options);
}
