//! Container logs: written by the kubelets, read by `pods/{name}/log`.
//!
//! Kept per pod uid and container, with the run before the current one (`previous=true`). Bounded per container; the
//! oldest lines go first, as with log rotation.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

const MAX_LINES: usize = 2_000;

/// One line, without its line feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub at: Timestamp,
    pub text: String,
}

#[derive(Default)]
struct Container {
    current: VecDeque<Line>,
    previous: Option<VecDeque<Line>>,
}

/// All logs of the cluster's pods.
#[derive(Default)]
pub struct Logs(Mutex<HashMap<String, HashMap<String, Container>>>);

impl Logs {
    /// Adds a line to the current run of a container.
    pub fn append(&self, pod_uid: &str, container: &str, at: Timestamp, text: impl Into<String>) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = pods.entry(pod_uid.to_owned()).or_default().entry(container.to_owned()).or_default();
        if log.current.len() == MAX_LINES {
            log.current.pop_front();
        }
        log.current.push_back(Line { at, text: text.into() });
    }

    /// A new run of the container begins: what it wrote until now becomes the previous run's log.
    pub fn rotate(&self, pod_uid: &str, container: &str) {
        let mut pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = pods.get_mut(pod_uid).and_then(|c| c.get_mut(container)) {
            log.previous = Some(std::mem::take(&mut log.current));
        }
    }

    /// The lines of the current or previous run; `None` for a previous run that never was.
    pub fn read(&self, pod_uid: &str, container: &str, previous: bool) -> Option<Vec<Line>> {
        let pods = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let log = pods.get(pod_uid).and_then(|c| c.get(container));
        if previous {
            log.and_then(|l| l.previous.as_ref()).map(|l| l.iter().cloned().collect())
        } else {
            Some(log.map(|l| l.current.iter().cloned().collect()).unwrap_or_default())
        }
    }

    /// Forgets a pod that is gone.
    pub fn forget(&self, pod_uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(pod_uid);
    }
}
