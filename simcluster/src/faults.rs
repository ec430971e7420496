//! Faults as data: what goes wrong in the cluster, when and for whom.
//!
//! A test or a demo switches faults on and off through `Faults`; the API asks for the fault that a request meets, the
//! engine asks what state nodes, images and containers are in. Chances are drawn from a generator seeded with the
//! cluster's seed, so one seed gives one history. Nothing here touches the store: a fault only changes how others act.

mod api;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub use api::{ApiFault, ApiRule, When};
use rand::{SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::watch;

use crate::kubelet::Trace;

/// Which containers a fault is about. `ContainerSelector::default()` is about all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerSelector {
    pub namespace: Option<String>,
    /// A label that the pod carries.
    pub label: Option<(String, String)>,
    /// The container's name.
    pub container: Option<String>,
}

impl ContainerSelector {
    /// All containers of pods with this label.
    pub fn label(key: &str, value: &str) -> Self {
        Self { label: Some((key.to_owned(), value.to_owned())), ..Self::default() }
    }

    fn matches(&self, pod: &Value, container: &str) -> bool {
        let metadata = &pod["metadata"];
        self.namespace.as_deref().is_none_or(|ns| metadata["namespace"] == ns)
            && self.label.as_ref().is_none_or(|(key, value)| metadata["labels"][key] == value.as_str())
            && self.container.as_deref().is_none_or(|name| name == container)
    }
}

/// How a container is made to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    pub exit_code: i32,
    /// Killed for want of memory: reason `OOMKilled`.
    pub out_of_memory: bool,
}

/// How an application misbehaves while its process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sickness {
    /// Its readiness probe never succeeds.
    NeverReady,
    /// No probe succeeds: a liveness or startup probe will have it restarted.
    Hangs,
}

#[derive(Default)]
struct State {
    api: Vec<ApiRule>,
    expire_history: bool,
    dead_nodes: BTreeSet<String>,
    slow_nodes: BTreeMap<String, u32>,
    partitioned: BTreeSet<String>,
    full_disks: BTreeSet<String>,
    loads: Vec<(ContainerSelector, Trace)>,
    failing_pulls: BTreeSet<String>,
    crashes: Vec<(ContainerSelector, Crash, Option<usize>)>,
    sick: Vec<(ContainerSelector, Sickness)>,
}

struct Inner {
    state: Mutex<State>,
    rng: Mutex<StdRng>,
    changed: watch::Sender<u64>,
    watch_epoch: watch::Sender<u64>,
}

/// The cluster's faults. Cloning shares them.
#[derive(Clone)]
pub struct Faults(Arc<Inner>);

impl Default for Faults {
    fn default() -> Self {
        Self::seeded(0)
    }
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Faults").field("dead_nodes", &state.dead_nodes).field("api", &state.api).finish_non_exhaustive()
    }
}

impl Faults {
    /// No faults yet; chances will be drawn from this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Inner {
            state: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            changed: watch::Sender::new(0),
            watch_epoch: watch::Sender::new(0),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// Moves whenever a fault that the engine must act on was switched on or off.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}

/// Nodes.
impl Faults {
    /// Cuts a node's power: its containers and kubelet stop, its lease is no longer renewed.
    pub fn kill_node(&self, node: &str) {
        self.change(|s| {
            s.dead_nodes.insert(node.to_owned());
        });
    }

    /// Gives a node its power and its full speed back; its kubelet restarts the containers that should run.
    pub fn heal_node(&self, node: &str) {
        self.change(|s| {
            s.dead_nodes.remove(node);
            s.slow_nodes.remove(node);
            s.partitioned.remove(node);
            s.full_disks.remove(node);
        });
    }

    pub fn partition_node(&self, node: &str) {
        self.change(|s| {
            s.partitioned.insert(node.to_owned());
        });
    }

    pub fn fill_disk(&self, node: &str) {
        self.change(|s| {
            s.full_disks.insert(node.to_owned());
        });
    }

    pub fn is_partitioned(&self, node: &str) -> bool {
        self.state().partitioned.contains(node)
    }

    pub fn has_disk_pressure(&self, node: &str) -> bool {
        self.state().full_disks.contains(node)
    }

    pub fn set_load(&self, selector: ContainerSelector, trace: Trace) {
        self.change(|s| s.loads.push((selector, trace)));
    }

    pub fn load(&self, pod: &Value, container: &str) -> Option<Trace> {
        let state = self.state();
        let found = state.loads.iter().rev().find(|(selector, _)| selector.matches(pod, container));
        found.map(|(_, trace)| Trace::clone(trace))
    }

    /// Everything that a kubelet does on this node takes `factor` times as long.
    pub fn slow_node(&self, node: &str, factor: u32) {
        self.change(|s| {
            s.slow_nodes.insert(node.to_owned(), factor.max(1));
        });
    }

    pub fn node_is_dead(&self, node: &str) -> bool {
        self.state().dead_nodes.contains(node)
    }

    /// 1 for a node at full speed.
    pub fn slowness(&self, node: &str) -> u32 {
        self.state().slow_nodes.get(node).copied().unwrap_or(1)
    }
}

/// Images and containers.
impl Faults {
    /// Pulls of images whose reference contains `part` fail from now on.
    pub fn fail_pulls(&self, part: &str) {
        self.change(|s| {
            s.failing_pulls.insert(part.to_owned());
        });
    }

    /// Ends `fail_pulls` with the same `part`.
    pub fn mend_pulls(&self, part: &str) {
        self.change(|s| {
            s.failing_pulls.remove(part);
        });
    }

    pub fn pull_fails(&self, image: &str) -> bool {
        self.state().failing_pulls.iter().any(|part| image.contains(part.as_str()))
    }

    /// Running containers of the selection end with `exit_code`: each time that one runs, `times` times in all or,
    /// with `None`, until `stop_crashes`.
    pub fn crash(&self, selector: ContainerSelector, exit_code: i32, times: Option<usize>) {
        self.add_crash(selector, Crash { exit_code, out_of_memory: false }, times);
    }

    /// As `crash`, by the kernel for want of memory (exit code 137, reason `OOMKilled`).
    pub fn out_of_memory(&self, selector: ContainerSelector, times: Option<usize>) {
        self.add_crash(selector, Crash { exit_code: 137, out_of_memory: true }, times);
    }

    fn add_crash(&self, selector: ContainerSelector, crash: Crash, times: Option<usize>) {
        if times != Some(0) {
            self.change(|s| s.crashes.push((selector, crash, times)));
        }
    }

    /// Ends `crash` and `out_of_memory` for good.
    pub fn stop_crashes(&self) {
        self.change(|s| s.crashes.clear());
    }

    /// How this running container must end now, if it must; counts as one of the fault's times.
    pub fn take_crash(&self, pod: &Value, container: &str) -> Option<Crash> {
        let mut state = self.state();
        let at = state.crashes.iter().position(|(selector, ..)| selector.matches(pod, container))?;
        let (_, crash, times) = &mut state.crashes[at];
        let crash = *crash;
        if let Some(left) = times {
            *left -= 1;
            if *left == 0 {
                state.crashes.remove(at);
            }
        }
        Some(crash)
    }

    /// The applications of the selection run, but are never ready.
    pub fn never_ready(&self, selector: ContainerSelector) {
        self.change(|s| s.sick.push((selector, Sickness::NeverReady)));
    }

    /// The applications of the selection answer no probe at all.
    pub fn hang(&self, selector: ContainerSelector) {
        self.change(|s| s.sick.push((selector, Sickness::Hangs)));
    }

    /// Ends `never_ready` and `hang` for good.
    pub fn cure(&self) {
        self.change(|s| s.sick.clear());
    }

    pub fn sickness(&self, pod: &Value, container: &str) -> Option<Sickness> {
        self.state().sick.iter().find(|(selector, _)| selector.matches(pod, container)).map(|(_, sickness)| *sickness)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn crashes_are_selected_and_counted() {
        let faults = Faults::default();
        let pod = json!({"metadata": {"namespace": "a", "labels": {"app": "x"}}});
        let selector = ContainerSelector { container: Some("app".into()), ..ContainerSelector::label("app", "x") };
        faults.crash(selector, 3, Some(1));
        assert_eq!(faults.take_crash(&pod, "db"), None);
        assert_eq!(faults.take_crash(&pod, "app"), Some(Crash { exit_code: 3, out_of_memory: false }));
        assert_eq!(faults.take_crash(&pod, "app"), None);
    }
}
