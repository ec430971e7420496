//! The engine as the tasks drive it: arrivals, departures, prices now and then.

use anyhow::Result;
use placement::{Cluster, Node, Policy, PolicySpec, Reserve, Resources, WorkloadKey, place, prices};

use crate::fleet::workload;
use crate::random::Random;

/// Requests as they are, nothing kept for setup pods: as the rules beside it.
pub fn policy(reserve: Reserve) -> Policy {
    let spec = PolicySpec {
        reserve,
        setup_reserve: Resources::ZERO,
        ..PolicySpec::default()
    };
    Policy::new(spec).unwrap_or_default()
}

pub struct Ours {
    pub cluster: Cluster,
    pub policy: Policy,
    pub running: Vec<WorkloadKey>,
    pub arrived: usize,
    /// How often a running pod had to move for another one.
    pub moved: usize,
    priced_at: usize,
}

impl Ours {
    pub fn new(nodes: impl IntoIterator<Item = Node>, policy: Policy) -> Result<Self> {
        let mut cluster = Cluster::from_parts(nodes, [])?;
        cluster.reindex();
        Ok(Self {
            cluster,
            policy,
            running: Vec::new(),
            arrived: 0,
            moved: 0,
            priced_at: 32,
        })
    }

    /// Places one pod; whether there was room.
    pub fn arrive(&mut self, request: Resources, _moves_per_arrival: f64) -> Result<bool> {
        self.arrived += 1;
        let arriving = workload(self.arrived as u128, request);
        let Ok(decision) = place(&self.cluster, &self.policy, &arriving) else {
            return Ok(false);
        };
        self.running.push(arriving.id);
        self.cluster.assign_with(arriving, decision.node, decision.backup)?;
        // The server does the same when what runs has changed by a quarter.
        if self.arrived >= self.priced_at {
            self.priced_at = self.arrived + (self.running.len() / 4).max(32);
            let prices = prices(&self.cluster);
            self.cluster.set_prices(prices);
        }
        Ok(true)
    }

    pub fn leave(&mut self, random: &mut Random) {
        if !self.running.is_empty() {
            let leaving = self.running.swap_remove(random.below(self.running.len()));
            self.cluster.remove(leaving);
        }
    }
}
