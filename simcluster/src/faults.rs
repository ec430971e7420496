//! Faults as data: what goes wrong in the cluster, for whom and when; the same from Rust and as JSON (`/simcluster/faults`).
//!
//! One list. The API asks it for what a request or a watch meets, the kubelets for the state of nodes, images and
//! containers. Chances and latencies are drawn from a generator seeded with the cluster's seed, so that one seed gives one
//! history. Nothing here touches the store: a fault only changes how others act.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use crate::{dig::Dig, kubelet::Step};

/// Something that goes wrong. As JSON `{"what": {"status": {"code": 500}}, "verb": "patch", "when": {"next": {"times": 3}}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    pub what: What,
    #[serde(default, skip_serializing_if = "always")]
    pub when: When,
    /// All of them must hold. A filter on what the matter does not have (the verb of a node) never holds.
    #[serde(flatten)]
    pub only: BTreeMap<Filter, String>,
}

/// What goes wrong. Of the faults of one request the first that applies counts, after the latencies that are before it in
/// the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum What {
    // The request waits, then is served.
    Latency(Latency),
    // The request is refused; nothing happens.
    Status { code: u16 },
    // The request is done, and then answered so: the client cannot tell that it took effect.
    StatusAfterEffect { code: u16 },
    // The request is done, and the connection ends instead of an answer.
    ConnectionLost,
    // 429 with `Retry-After`; nothing happens.
    Throttled { retry_after: u32 },
    // A watch ends as soon as it is opened.
    WatchDropped,
    // Watches that are open already end.
    WatchesCut,
    // Watches are that late, or silent until the fault is removed.
    WatchStale { ms: Option<u64> },
    // A watch is opened, and told at once that its revision is gone (410 as an event).
    WatchGone,
    // The engine forgets all changes until now, once: watches from older revisions and pages of older lists are 410.
    HistoryForgotten,
    // Without power: containers and kubelet stop.
    NodeDown,
    // Cut off from the API; its containers go on running.
    NodePartitioned,
    // Everything that the kubelet does takes so many times as long.
    NodeSlow { factor: u32 },
    DiskPressure,
    PullFails,
    PullTakes { ms: u64 },
    // A running container ends.
    Crash { exit_code: i32 },
    // A running container is killed for want of memory: exit code 137, reason `OOMKilled`.
    OutOfMemory,
    // The application runs, but its readiness probe never succeeds.
    NeverReady,
    // No probe succeeds: a liveness or startup probe will have it restarted.
    Hangs,
    // No harm by itself: what a container uses of its machine follows this trace.
    Load(Vec<Step>),
}

impl What {
    /// Looked at as often as somebody likes to: there are no occasions that could be counted.
    fn is_state(&self) -> bool {
        let of_node =
            matches!(self, Self::NodeDown | Self::NodePartitioned | Self::NodeSlow { .. } | Self::DiskPressure);
        of_node || matches!(self, Self::NeverReady | Self::Hangs | Self::Load(_) | Self::WatchStale { .. })
    }
}

/// How long a request waits, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Latency {
    Fixed(u64),
    Uniform { from: u64, to: u64 },
    // The long tail of a busy server, cut at `max`.
    Exponential { mean: u64, max: u64 },
}

impl Latency {
    fn draw(self, rng: &mut StdRng) -> u64 {
        match self {
            Self::Fixed(ms) => ms,
            Self::Uniform { from, to } => rng.random_range(from..=to.max(from)),
            Self::Exponential { mean, max } => {
                let share = f64::from(rng.random_range(1..=1_000_000_u32)) / 1e6;
                let span = Duration::from_millis(mean).mul_f64(-share.ln());
                u64::try_from(span.as_millis()).unwrap_or(max).min(max)
            }
        }
    }
}

/// Which of the matching occasions are met. What is a state (of a node, of an application) always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    #[default]
    Always,
    // In parts per million.
    Chance {
        ppm: u32,
    },
    // So many more, then the fault is removed.
    Next {
        times: u64,
    },
}

/// What a fault can be narrowed to. Verbs and resources as RBAC names them (`list`, `pods/log`), a part of an image's
/// reference, `key=value` among a pod's labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    Verb,
    Resource,
    Namespace,
    Node,
    Image,
    Label,
    Container,
    User,
}

/// What tests write often.
#[rustfmt::skip]
impl Fault {
    pub fn new(what: What) -> Self { Self { what, when: When::Always, only: BTreeMap::new() } }
    /// Of all API requests: refused with 500, until told otherwise.
    pub fn api() -> Self { Self::new(What::Status { code: 500 }) }
    pub fn drop_watches() -> Self { Self::new(What::WatchesCut) }
    pub fn forget_history() -> Self { Self::new(What::HistoryForgotten) }
    pub fn kill_node(node: &str) -> Self { Self::new(What::NodeDown).node(node) }
    pub fn partition_node(node: &str) -> Self { Self::new(What::NodePartitioned).node(node) }
    pub fn pulls_fail(image: &str) -> Self { Self::new(What::PullFails).only(Filter::Image, image) }
    pub fn crash(exit_code: i32) -> Self { Self::new(What::Crash { exit_code }) }
    pub fn out_of_memory() -> Self { Self::new(What::OutOfMemory) }
    pub fn never_ready() -> Self { Self::new(What::NeverReady) }

    fn what(self, what: What) -> Self { Self { what, ..self } }
    pub fn status(self, code: u16) -> Self { self.what(What::Status { code }) }
    pub fn status_after_effect(self, code: u16) -> Self { self.what(What::StatusAfterEffect { code }) }
    pub fn connection_lost(self) -> Self { self.what(What::ConnectionLost) }
    pub fn throttled(self, retry_after: u32) -> Self { self.what(What::Throttled { retry_after }) }
    pub fn latency(self, latency: Latency) -> Self { self.what(What::Latency(latency)) }

    pub fn chance(self, ppm: u32) -> Self { Self { when: When::Chance { ppm }, ..self } }
    pub fn times(self, times: u64) -> Self { Self { when: When::Next { times }, ..self } }

    pub fn only(mut self, filter: Filter, value: &str) -> Self {
        self.only.insert(filter, value.to_owned());
        self
    }

    pub fn verb(self, verb: &str) -> Self { self.only(Filter::Verb, verb) }
    pub fn resource(self, resource: &str) -> Self { self.only(Filter::Resource, resource) }
    pub fn node(self, node: &str) -> Self { self.only(Filter::Node, node) }
    pub fn label(self, key: &str, value: &str) -> Self { self.only(Filter::Label, &format!("{key}={value}")) }
    pub fn container(self, container: &str) -> Self { self.only(Filter::Container, container) }
}

fn always(when: &When) -> bool {
    *when == When::Always
}

/// What filters are held against: what is true of a request, a pull, a container.
pub(crate) type Facts<'a> = [(Filter, &'a str)];

struct Entry {
    id: u64,
    fault: Fault,
}

impl Entry {
    fn holds(&self, facts: &Facts<'_>) -> bool {
        let is = |filter, fact: &str, wanted: &str| fact == wanted || filter == Filter::Image && fact.contains(wanted);
        self.fault.only.iter().all(|(filter, wanted)| facts.iter().any(|(f, fact)| f == filter && is(*f, fact, wanted)))
    }
}

struct State {
    entries: Vec<Entry>,
    newest: u64,
    rng: StdRng,
}

/// The cluster's faults. Clones share them.
#[derive(Clone)]
pub struct Faults(Arc<(Mutex<State>, watch::Sender<u64>)>);

impl Faults {
    /// No faults yet; chances will be drawn from this seed.
    pub fn seeded(seed: u64) -> Self {
        let state = State { entries: Vec::new(), newest: 0, rng: StdRng::seed_from_u64(seed) };
        Self(Arc::new((Mutex::new(state), watch::Sender::new(0))))
    }

    pub fn add(&self, fault: Fault) -> u64 {
        self.change(|state| {
            state.newest += 1;
            if fault.when != (When::Next { times: 0 }) {
                state.entries.push(Entry { id: state.newest, fault });
            }
            state.newest
        })
    }

    /// Whether there was such a fault.
    pub fn remove(&self, id: u64) -> bool {
        self.change(|state| state.entries.extract_if(.., |entry| entry.id == id).count() > 0)
    }

    pub fn clear(&self) {
        self.change(|state| state.entries.clear());
    }

    /// The faults in force, with what is left of those that are counted.
    pub fn list(&self) -> Vec<(u64, Fault)> {
        self.state().entries.iter().map(|entry| (entry.id, entry.fault.clone())).collect()
    }

    /// Moves whenever the faults have changed.
    pub fn changed(&self) -> watch::Receiver<u64> {
        self.0.1.subscribe()
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state());
        self.0.1.send_modify(|n| *n += 1);
        result
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Goes through the faults that apply here and now, each counting this as an occasion, until one of them is enough.
    fn each(
        &self,
        facts: &Facts<'_>,
        sort: impl Fn(&What) -> bool,
        mut enough: impl FnMut(&What, &mut StdRng) -> bool,
    ) {
        let State { entries, rng, .. } = &mut *self.state();
        for entry in entries.iter_mut().filter(|entry| sort(&entry.fault.what) && entry.holds(facts)) {
            let applies = match &mut entry.fault.when {
                _ if entry.fault.what.is_state() => true,
                When::Always => true,
                When::Chance { ppm } => rng.random_range(0..1_000_000) < *ppm,
                When::Next { times } => {
                    *times -= 1;
                    true
                }
            };
            if applies && enough(&entry.fault.what, rng) {
                break;
            }
        }
        entries.retain(|entry| entry.fault.when != When::Next { times: 0 });
    }

    /// The first fault of this sort that applies here and now; asking counts as an occasion.
    pub(crate) fn first(&self, facts: &Facts<'_>, sort: impl Fn(&What) -> bool) -> Option<What> {
        let mut first = None;
        self.each(facts, sort, |what, _| first.replace(what.clone()).is_none());
        first
    }
}

/// What the API asks.
impl Faults {
    /// How long a request waits, and what it meets then.
    pub(crate) fn request(&self, facts: &Facts<'_>) -> (Duration, Option<What>) {
        let is_watch = facts.contains(&(Filter::Verb, "watch"));
        let sort = |what: &What| match what {
            What::WatchDropped | What::WatchGone => is_watch,
            What::Latency(_) | What::Status { .. } | What::StatusAfterEffect { .. } => true,
            other => matches!(other, What::ConnectionLost | What::Throttled { .. }),
        };
        let (mut ms, mut met) = (0, None);
        self.each(facts, sort, |what, rng| {
            match what {
                What::Latency(latency) => ms += latency.draw(rng),
                other => met = Some(other.clone()),
            }
            met.is_some()
        });
        (Duration::from_millis(ms), met)
    }

    /// What a watch that begins now gives to `is_cut`.
    pub(crate) fn newest(&self) -> u64 {
        self.state().newest
    }

    pub(crate) fn is_cut(&self, since: u64, facts: &Facts<'_>) -> bool {
        let cuts = |entry: &Entry| entry.id > since && entry.fault.what == What::WatchesCut;
        self.state().entries.iter().any(|entry| cuts(entry) && entry.holds(facts))
    }

    /// How long a watch's events are held back, if at all: at most until the faults change.
    pub(crate) fn staleness(&self, facts: &Facts<'_>) -> Option<Duration> {
        let met = self.first(facts, |what| matches!(what, What::WatchStale { .. }))?;
        if let What::WatchStale { ms: Some(ms) } = met { Some(Duration::from_millis(ms)) } else { Some(Duration::MAX) }
    }
}

/// What the engine and its kubelets ask.
impl Faults {
    /// Whether the history is to be forgotten; asking answers once.
    pub(crate) fn take_expired_history(&self) -> bool {
        self.state().entries.extract_if(.., |entry| entry.fault.what == What::HistoryForgotten).count() > 0
    }

    pub fn node_is_dead(&self, node: &str) -> bool {
        self.first(&[(Filter::Node, node)], |what| *what == What::NodeDown).is_some()
    }

    pub fn is_partitioned(&self, node: &str) -> bool {
        self.first(&[(Filter::Node, node)], |what| *what == What::NodePartitioned).is_some()
    }

    /// The same for a container; nothing is made of it while there are no faults.
    pub(crate) fn of_container(&self, pod: &Value, name: &str, sort: impl Fn(&What) -> bool) -> Option<What> {
        if self.state().entries.is_empty() {
            return None;
        }
        let mut containers = ["spec.containers", "spec.initContainers"].into_iter().flat_map(|list| pod.items(list));
        let image = containers.find(|spec| spec.text("name") == name).map_or("", |spec| spec.text("image"));
        let labels: Vec<String> = pod.fields("metadata.labels").map(|(k, v)| format!("{k}={}", v.text(""))).collect();
        let mut facts: Vec<_> = labels.iter().map(|label| (Filter::Label, label.as_str())).collect();
        facts.extend([(Filter::Namespace, pod.text("metadata.namespace")), (Filter::Node, pod.text("spec.nodeName"))]);
        facts.extend([(Filter::Container, name), (Filter::Image, image)]);
        self.first(&facts, sort)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn faults_are_json_and_unknown_fields_are_refused() {
        let fault = Fault::api().verb("patch").latency(Latency::Exponential { mean: 5, max: 50 }).times(7);
        let latency = json!({"latency": {"exponential": {"mean": 5, "max": 50}}});
        let shown = json!({"what": latency, "when": {"next": {"times": 7}}, "verb": "patch"});
        assert_eq!(serde_json::to_value(&fault).unwrap(), shown);
        assert_eq!(serde_json::from_value::<Fault>(shown).unwrap(), fault);
        for bad in [json!({"what": "hangs", "colour": "red"}), json!({"what": {"crash": {"exit_code": 1, "x": 2}}})] {
            assert!(serde_json::from_value::<Fault>(bad).is_err());
        }
    }

    #[test]
    fn faults_of_containers_are_selected_and_counted() {
        let faults = Faults::seeded(1);
        let images = json!([{"name": "app", "image": "ghost:6"}, {"name": "db", "image": "mysql:8"}]);
        let pod = json!({"metadata": {"labels": {"app.io/x": "y"}}, "spec": {"containers": images}});
        faults.add(Fault::crash(3).label("app.io/x", "y").only(Filter::Image, "ghost").times(1));
        let ask = |name: &str| faults.of_container(&pod, name, |_| true);
        assert_eq!([ask("db"), ask("app"), ask("app")], [None, Some(What::Crash { exit_code: 3 }), None]);
        assert!(faults.list().is_empty());
    }

    #[test]
    fn latencies_add_up_and_chances_follow_the_seed() {
        let draws = |seed| {
            let faults = Faults::seeded(seed);
            faults.add(Fault::api().latency(Latency::Uniform { from: 1, to: 9 }));
            faults.add(Fault::api().latency(Latency::Exponential { mean: 20, max: 100 }).chance(500_000));
            faults.add(Fault::api().status(503).resource("pods").chance(500_000));
            (0..64).map(|_| faults.request(&[(Filter::Resource, "pods")])).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert_ne!(draws(1), draws(2));
        assert!(draws(1).iter().all(|(span, _)| (1..110).contains(&span.as_millis())));
        assert!(draws(1).iter().any(|(span, _)| span.as_millis() > 9));
    }
}
