//! Container logs: written by the kubelets, read by `pods/{name}/log`.
//!
//! Kept per pod uid and container, with the run before the current one. Bounded per container; the oldest lines go first,
//! as with log rotation.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;
use tokio::sync::watch;

const MAX_LINES: usize = 2_000;

/// One line, without its line feed.
#[derive(Clone)]
pub struct Line {
    pub at: Timestamp,
    pub text: String,
}

#[derive(Default)]
struct Container {
    current: VecDeque<Line>,
    previous: Option<VecDeque<Line>>,
    /// How many lines the container has ever written before the first of `current`.
    gone: usize,
}

/// All logs of the cluster's pods.
#[derive(Default)]
pub struct Logs {
    pods: Mutex<HashMap<String, HashMap<String, Container>>>,
    changed: watch::Sender<()>,
}

impl Logs {
    fn pods(&self) -> MutexGuard<'_, HashMap<String, HashMap<String, Container>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the current run of a container.
    pub fn append(&self, pod_uid: &str, container: &str, at: Timestamp, text: impl Into<String>) {
        let mut pods = self.pods();
        let log = pods.entry(pod_uid.to_owned()).or_default().entry(container.to_owned()).or_default();
        if log.current.len() == MAX_LINES {
            log.current.pop_front();
            log.gone += 1;
        }
        log.current.push_back(Line { at, text: text.into() });
        self.changed.send_replace(());
    }

    /// A new run of the container begins: what it wrote until now becomes the previous run's log.
    pub fn rotate(&self, pod_uid: &str, container: &str) {
        if let Some(log) = self.pods().get_mut(pod_uid).and_then(|containers| containers.get_mut(container)) {
            log.gone += log.current.len();
            log.previous = Some(std::mem::take(&mut log.current));
        }
    }

    /// How many lines the container wrote before the current run's first, and the lines of the current or previous run;
    /// `None` for one that never was.
    pub fn numbered(&self, pod_uid: &str, container: &str, previous: bool) -> Option<(usize, VecDeque<Line>)> {
        let pods = self.pods();
        let log = pods.get(pod_uid)?.get(container)?;
        let lines = if previous { log.previous.as_ref()? } else { &log.current };
        Some((log.gone, lines.clone()))
    }

    /// Moves with every line that is written.
    pub fn changed(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod_uid: &str) {
        self.pods().remove(pod_uid);
        self.changed.send_replace(());
    }
}
