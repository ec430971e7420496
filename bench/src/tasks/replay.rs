//! A hundred thousand orders on 5,000 nodes, with every check on: N+1 certificates, and the independent checker at the end.

use anyhow::Result;
use placement::{Node, Reserve, Workload, check};

use crate::fleet::{draw, seed_like};
use crate::ours::{Ours, policy};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::Context;
use crate::watch;

const NODES: usize = 5_000;
const PODS: usize = 100_000;
/// kube-scheduler's own gate at 5,000 nodes (scheduler_perf, SchedulingBasic with 50,000 pods): 810 pods a second.
const GATE_PER_SECOND: f64 = 810.0;

/// What this process keeps in memory now; nothing where the kernel does not say.
fn resident_mib() -> f64 {
    watch::resident_kib("self").unwrap_or(0) as f64 / 1024.0
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    let nodes = seed_like(NODES);
    let before = resident_mib();
    let began = watch::start();
    let mut random = Random::new(context.seed);
    let mut ours = Ours::new(nodes, policy(Reserve::NPlusOne))?;
    let mut placed = 0;
    for _ in 0..PODS {
        placed += usize::from(ours.arrive(draw(&mut random), 0.0)?);
    }
    let decided = began.elapsed().as_secs_f64();
    let memory = resident_mib() - before;
    let nodes: Vec<Node> = ours.cluster.nodes().cloned().collect();
    let workloads: Vec<Workload> = ours.cluster.workloads().map(|(workload, _)| workload.clone()).collect();
    let placements: Vec<_> = ours.cluster.placements().collect();
    let sound = check(&nodes, &workloads, &placements).is_empty();
    let seconds = began.elapsed().as_secs_f64();

    let data = format!("{PODS} pods of the plan mix on {NODES} seed-like nodes, N+1");
    let mut gate = Figure::new(
        "replay",
        &data,
        "kube-scheduler's gate",
        "seconds",
        PODS as f64 / GATE_PER_SECOND,
    );
    gate.seed = context.seed;
    report.add(gate);
    let mut figure = Figure::new("replay", &data, "lumbung", "seconds", seconds);
    (figure.goal, figure.seconds, figure.seed) = (Some(1.0), seconds, context.seed);
    figure.valid = sound && placed == PODS;
    report.add(
        figure
            .with("memory MiB", memory)
            .with("decisions alone", decided)
            .with("placed", placed as f64),
    );
    Ok(())
}
