//! What applications have stored, per volume.
//!
//! The key is the uid of the pod's first claim, or of the pod itself when it has none: data on a claim outlives pods,
//! restarts and nodes, data in the container's own file system goes with the pod.

use std::collections::BTreeMap;

/// The stored state of one installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppData {
    /// The first administrator, once one exists.
    pub owner: Option<String>,
    /// How often a server came up on this volume.
    pub starts: u64,
}

/// All volumes of the cluster.
#[derive(Debug, Default)]
pub struct Volumes(BTreeMap<String, AppData>);

impl Volumes {
    pub fn get(&self, key: &str) -> Option<&AppData> {
        self.0.get(key)
    }

    /// Records the first administrator; an installation that has one keeps it. Returns whether this call made it.
    pub fn claim_ownership(&mut self, key: &str, owner: &str) -> bool {
        let data = self.0.entry(key.to_owned()).or_default();
        let free = data.owner.is_none();
        if free {
            data.owner = Some(owner.to_owned());
        }
        free
    }

    pub fn count_start(&mut self, key: &str) {
        self.0.entry(key.to_owned()).or_default().starts += 1;
    }

    /// The volume is gone, and its data with it.
    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}
