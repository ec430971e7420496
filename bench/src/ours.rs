//! The engine as the tasks drive it: arrivals, departures, prices now and then.

use anyhow::{Result, anyhow};
use placement::plan::{apply, make_room};
use placement::{Cluster, Node, Policy, PolicySpec, Reserve, Resources, WorkloadKey, place, prices};

use crate::fleet::workload;
use crate::random::Random;

/// How many others may move for one arrival.
const MOST_MOVES: u32 = 60;

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

    /// Places one pod; whether there was room. At most so many pods that run may move for it, counted over all arrivals.
    pub fn arrive(&mut self, request: Resources, moves_per_arrival: f64) -> Result<bool> {
        self.arrived += 1;
        let arriving = workload(self.arrived as u128, request);
        let allowed = (self.arrived as f64 * moves_per_arrival).floor();
        let budget = (0..=MOST_MOVES)
            .rev()
            .find(|&moves| f64::from(moves) + self.moved as f64 <= allowed)
            .unwrap_or(0);
        let decision = match place(&self.cluster, &self.policy, &arriving) {
            Ok(decision) => decision,
            Err(_) if budget == 0 => return Ok(false),
            Err(_) => match make_room(&self.cluster, &self.policy, &arriving, budget) {
                Ok(made) => {
                    apply(&mut self.cluster, &made.plan).map_err(|why| anyhow!("{why}"))?;
                    self.moved += made.plan.steps.len();
                    made.decision
                }
                Err(_) => return Ok(false),
            },
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

    /// Prices now and never again.
    pub fn price_for_good(&mut self) {
        let prices = prices(&self.cluster);
        self.cluster.set_prices(prices);
        self.priced_at = usize::MAX;
    }

    pub fn leave(&mut self, random: &mut Random) {
        if !self.running.is_empty() {
            let leaving = self.running.swap_remove(random.below(self.running.len()));
            self.cluster.remove(leaving);
        }
    }
}
