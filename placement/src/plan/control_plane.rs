//! The machines that decide. While they are gone, what runs goes on running, and nothing can be placed anew.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use crate::NodeKey;

/// The control-plane machines of a cluster with an embedded store: more than half of them must be up (etcd's quorum).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlPlane {
    pub servers: BTreeSet<NodeKey>,
    /// How many of them may be gone at once.
    pub may_lose: u32,
}

impl ControlPlane {
    pub fn new(servers: impl IntoIterator<Item = NodeKey>) -> Self {
        let servers: BTreeSet<NodeKey> = servers.into_iter().collect();
        let may_lose = u32::try_from(servers.len().saturating_sub(1) / 2).unwrap_or(u32::MAX);
        Self { servers, may_lose }
    }

    /// Whether the cluster can still act when this one machine is gone.
    pub fn survives(&self, node: NodeKey) -> bool {
        !self.servers.contains(&node) || self.may_lose > 0
    }
}

impl fmt::Display for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.servers.len(), self.may_lose) {
            (0, _) => f.write_str("No control-plane machine is among these nodes: the loss of any leaves it standing."),
            (1, _) => {
                let only = self.servers.first().map(ToString::to_string).unwrap_or_default();
                write!(
                    f,
                    "Node {only} is the only control-plane machine: while it is down, what runs elsewhere goes on, and \
                     nothing can be placed anew until it returns. Three of them survive the loss of one."
                )
            }
            (2, _) => f.write_str(
                "There are two control-plane machines, and both are needed: the loss of either stops all placement until \
                 it returns. A third one changes that.",
            ),
            (count, lose) => write!(
                f,
                "Of {count} control-plane machines, {lose} may be lost at once: the other {} go on deciding.",
                count - usize::try_from(lose).unwrap_or(0)
            ),
        }
    }
}
