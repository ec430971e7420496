//! Faults as data: what goes wrong in the cluster, when and for whom.
//!
//! A test or a demo switches faults on and off through `Faults`; the API asks for the fault that a request meets, the
//! engine asks what state nodes, images and containers are in. Chances are drawn from a generator seeded with the
//! cluster's seed, so one seed gives one history. Nothing here touches the store: a fault only changes how others act.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::watch;

/// What an API request meets instead of, before or after its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiFault {
    /// The request waits, then is served.
    Latency(Duration),
    /// The request is refused with this code (such as 409, 429, 500, 503); nothing happens.
    Status(u16),
    /// The request is done, and then answered with this code: the client cannot tell that it took effect.
    StatusAfterEffect(u16),
    /// A watch is opened and cut at once.
    DropWatch,
}

/// When a rule about API requests applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// To the next so many matching requests, then the rule is gone.
    Next(usize),
    /// To each matching request with this chance in parts per million, until `clear_api`.
    Chance { ppm: u32 },
}

/// A rule about API requests; `None` matches everything.
#[derive(Clone, Debug)]
pub struct ApiRule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: Option<String>,
    /// The plural name, such as `statefulsets`.
    pub resource: Option<String>,
    pub namespace: Option<String>,
    pub when: When,
    pub fault: ApiFault,
}

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
        Self {
            label: Some((key.to_owned(), value.to_owned())),
            ..Self::default()
        }
    }

    fn matches(&self, pod: &Value, container: &str) -> bool {
        let metadata = &pod["metadata"];
        self.namespace.as_deref().is_none_or(|ns| metadata["namespace"] == ns)
            && self
                .label
                .as_ref()
                .is_none_or(|(key, value)| metadata["labels"][key] == value.as_str())
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
        f.debug_struct("Faults")
            .field("dead_nodes", &state.dead_nodes)
            .field("api", &state.api)
            .finish_non_exhaustive()
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
        });
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
        self.state()
            .failing_pulls
            .iter()
            .any(|part| image.contains(part.as_str()))
    }

    /// Running containers of the selection end with `exit_code`: each time that one runs, `times` times in all or,
    /// with `None`, until `stop_crashes`.
    pub fn crash(&self, selector: ContainerSelector, exit_code: i32, times: Option<usize>) {
        self.add_crash(
            selector,
            Crash {
                exit_code,
                out_of_memory: false,
            },
            times,
        );
    }

    /// As `crash`, by the kernel for want of memory (exit code 137, reason `OOMKilled`).
    pub fn out_of_memory(&self, selector: ContainerSelector, times: Option<usize>) {
        self.add_crash(
            selector,
            Crash {
                exit_code: 137,
                out_of_memory: true,
            },
            times,
        );
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
        let at = state
            .crashes
            .iter()
            .position(|(selector, ..)| selector.matches(pod, container))?;
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
        self.state()
            .sick
            .iter()
            .find(|(selector, _)| selector.matches(pod, container))
            .map(|(_, sickness)| *sickness)
    }
}

/// The API.
impl Faults {
    /// The next `times` requests with this verb and resource (`*` for any) meet `fault`.
    pub fn inject_api(&self, verb: &str, resource: &str, times: usize, fault: ApiFault) {
        let unless_any = |text: &str| (text != "*").then(|| text.to_owned());
        let (verb, resource) = (unless_any(verb), unless_any(resource));
        self.add_api_rule(ApiRule {
            verb,
            resource,
            namespace: None,
            when: When::Next(times),
            fault,
        });
    }

    /// Adds a rule; the first rule that applies to a request wins.
    pub fn add_api_rule(&self, rule: ApiRule) {
        if rule.when != When::Next(0) {
            self.state().api.push(rule);
        }
    }

    /// Drops all rules about API requests.
    pub fn clear_api(&self) {
        self.state().api.clear();
    }

    /// The fault that this request meets, if any. `resource` is the plural name.
    pub fn api(
        &self,
        verb: &str,
        _group: &str,
        resource: &str,
        ns: Option<&str>,
        _name: Option<&str>,
    ) -> Option<ApiFault> {
        let mut state = self.state();
        if state.api.is_empty() {
            return None;
        }
        let wanted = |rule: &ApiRule| {
            rule.verb.as_deref().is_none_or(|v| v == verb)
                && rule.resource.as_deref().is_none_or(|r| r == resource)
                && rule.namespace.as_deref().is_none_or(|n| ns == Some(n))
                && (rule.fault != ApiFault::DropWatch || verb == "watch")
                && match rule.when {
                    When::Next(_) => true,
                    When::Chance { ppm } => self.draw_ppm() < ppm,
                }
        };
        let at = state.api.iter().position(wanted)?;
        let fault = state.api[at].fault.clone();
        if let When::Next(left) = &mut state.api[at].when {
            *left -= 1;
            if *left == 0 {
                state.api.remove(at);
            }
        }
        Some(fault)
    }

    fn draw_ppm(&self) -> u32 {
        self.0
            .rng
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .random_range(0..1_000_000)
    }

    /// Cuts every open watch.
    pub fn drop_watches(&self) {
        self.0.watch_epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Moves whenever all open watches are to be cut.
    pub fn watch_epoch(&self) -> watch::Receiver<u64> {
        self.0.watch_epoch.subscribe()
    }

    /// Forgets the past once the engine has noticed (`settle`): a watch that resumes from an older resourceVersion is
    /// told 410 Expired.
    pub fn expire_watch_history(&self) {
        self.change(|s| s.expire_history = true);
    }

    /// Whether the watch history is to be forgotten; asking answers once.
    pub(crate) fn take_expired_history(&self) -> bool {
        std::mem::take(&mut self.state().expire_history)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_counted_rule_is_used_up_and_a_chance_follows_the_seed() {
        let faults = Faults::seeded(7);
        faults.inject_api("create", "pods", 2, ApiFault::Status(500));
        assert_eq!(faults.api("get", "", "pods", None, None), None);
        assert_eq!(
            faults.api("create", "", "pods", None, None),
            Some(ApiFault::Status(500))
        );
        assert_eq!(
            faults.api("create", "", "pods", None, None),
            Some(ApiFault::Status(500))
        );
        assert_eq!(faults.api("create", "", "pods", None, None), None);

        let draws = |seed| {
            let faults = Faults::seeded(seed);
            let when = When::Chance { ppm: 500_000 };
            let fault = ApiFault::Status(503);
            faults.add_api_rule(ApiRule {
                verb: None,
                resource: None,
                namespace: None,
                when,
                fault,
            });
            (0..64)
                .map(|_| faults.api("get", "", "pods", None, None).is_some())
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert!(draws(1).contains(&true) && draws(1).contains(&false));
    }

    #[test]
    fn crashes_are_selected_and_counted() {
        let faults = Faults::default();
        let pod = json!({"metadata": {"namespace": "a", "labels": {"app": "x"}}});
        let selector = ContainerSelector {
            container: Some("app".into()),
            ..ContainerSelector::label("app", "x")
        };
        faults.crash(selector, 3, Some(1));
        assert_eq!(faults.take_crash(&pod, "db"), None);
        assert_eq!(
            faults.take_crash(&pod, "app"),
            Some(Crash {
                exit_code: 3,
                out_of_memory: false
            })
        );
        assert_eq!(faults.take_crash(&pod, "app"), None);
    }
}
