//! How fast the engine decides: one departure, one placement and its commit, on a fleet that is about 85 % full.

use anyhow::Result;
use placement::Reserve;

use crate::fleet::{draw, seed_like};
use crate::ours::{Ours, policy};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

/// Nodes, with certificates or without, decisions per second that are the goal.
const SIZES: [(usize, Reserve, f64); 5] = [
    (100, Reserve::None, 5e6),
    (5_000, Reserve::None, 1e6),
    (50_000, Reserve::None, 1e5),
    (100, Reserve::NPlusOne, 2e5),
    (5_000, Reserve::NPlusOne, 2e5),
];

/// The share of its CPU that a fleet is filled to.
pub const LOAD: f64 = 0.85;

/// A fleet under that load.
pub fn filled(nodes: usize, reserve: Reserve, random: &mut Random) -> Result<Ours> {
    let fleet = seed_like(nodes);
    let all: i64 = fleet.iter().map(|node| node.allocatable.cpu_milli).sum();
    let mut ours = Ours::new(fleet, policy(reserve))?;
    let mut used = 0;
    while (used as f64) < LOAD * all as f64 {
        let request = draw(random);
        if !ours.arrive(request, 0.0)? {
            break;
        }
        used += request.cpu_milli;
    }
    Ok(ours)
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    for (nodes, reserve, goal) in SIZES {
        let mut random = Random::new(context.seed);
        let mut ours = filled(nodes, reserve, &mut random)?;
        // The mix stays what it is: pricing is measured on its own.
        let began = watch::start();
        ours.price_for_good();
        let pricing = began.elapsed().as_secs_f64();
        let steps = if context.quick { 20_000 } else { 400_000 };
        let mut best = f64::MAX;
        let mut refused = 0_u32;
        let began = watch::start();
        for _ in 0..5 {
            let round = watch::start();
            for _ in 0..steps / 5 {
                ours.leave(&mut random);
                refused += u32::from(!ours.arrive(draw(&mut random), 0.0)?);
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
                .with("milliseconds to price", pricing * 1e3)
                .with("refused", f64::from(refused)),
        );
    }
    Ok(())
}
