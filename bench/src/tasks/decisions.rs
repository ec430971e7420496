//! How fast the engine decides: one departure, one placement and its commit, on a fleet that is about 85 % full.

use std::time::Instant;

use anyhow::Result;
use placement::{Cluster, Policy, PolicySpec, Reserve, Resources, WorkloadKey, place, prices};

use crate::fleet::{draw, seed_like, workload};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;

/// Nodes, with certificates or without, decisions per second that are the goal.
const SIZES: [(usize, Reserve, f64); 5] = [
    (100, Reserve::None, 5e6),
    (5_000, Reserve::None, 1e6),
    (50_000, Reserve::None, 1e5),
    (100, Reserve::NPlusOne, 2e5),
    (5_000, Reserve::NPlusOne, 2e5),
];

pub fn policy(reserve: Reserve) -> Policy {
    let spec = PolicySpec {
        reserve,
        setup_reserve: Resources::ZERO,
        ..PolicySpec::default()
    };
    Policy::new(spec).unwrap_or_default()
}

/// A fleet under churn.
pub struct Churn {
    pub cluster: Cluster,
    policy: Policy,
    running: Vec<WorkloadKey>,
    random: Random,
    next: u128,
}

impl Churn {
    /// Filled to a share of its CPU.
    pub fn filled(nodes: usize, reserve: Reserve, load: f64, seed: u64) -> Result<Self> {
        let fleet = seed_like(nodes);
        let all: i64 = fleet.iter().map(|node| node.allocatable.cpu_milli).sum();
        let mut churn = Self {
            cluster: Cluster::from_parts(fleet, [])?,
            policy: policy(reserve),
            running: Vec::new(),
            random: Random::new(seed),
            next: 0,
        };
        churn.cluster.reindex();
        let mut used = 0;
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        while (used as f64) < load * all as f64 {
            let Some(taken) = churn.arrive() else { break };
            used += taken;
        }
        let prices = prices(&churn.cluster);
        churn.cluster.set_prices(prices);
        Ok(churn)
    }

    fn arrive(&mut self) -> Option<i64> {
        let request = draw(&mut self.random);
        self.next += 1;
        let arriving = workload(self.next, request);
        let decision = place(&self.cluster, &self.policy, &arriving).ok()?;
        self.running.push(arriving.id);
        self.cluster
            .assign_with(arriving, decision.node, decision.backup)
            .ok()?;
        Some(request.cpu_milli)
    }

    /// One leaves, one comes. Whether it found a place.
    pub fn step(&mut self) -> bool {
        let leaving = self.random.below(self.running.len());
        let leaving = self.running.swap_remove(leaving);
        self.cluster.remove(leaving);
        self.arrive().is_some()
    }
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for (nodes, reserve, goal) in SIZES {
        let mut churn = Churn::filled(nodes, reserve, 0.85, context.seed)?;
        let steps = if context.quick { 20_000 } else { 400_000 };
        let mut best = f64::MAX;
        let mut refused = 0_u32;
        let began = Instant::now();
        for _ in 0..5 {
            let round = Instant::now();
            for _ in 0..steps / 5 {
                refused += u32::from(!churn.step());
            }
            best = best.min(round.elapsed().as_secs_f64() / f64::from(steps / 5));
        }
        let certified = if reserve == Reserve::NPlusOne { " with N+1" } else { "" };
        let data = format!("plan mix, {nodes} nodes{certified}");
        let mut figure = Figure::new("decisions", &data, "lumbung", "decisions per second", 1.0 / best);
        figure.goal = Some(goal);
        figure.seconds = began.elapsed().as_secs_f64();
        figure.seed = context.seed;
        figure.valid = refused == 0;
        report.add(
            figure
                .with("microseconds", best * 1e6)
                .with("refused", f64::from(refused)),
        );
    }
    Ok(())
}
