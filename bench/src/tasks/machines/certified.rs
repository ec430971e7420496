//! The same pods placed by the engine itself, with a certificate for each: what runs, and what would run after any loss.

use anyhow::Result;
use placement::{Cluster, Load, Node, NodeKey, Policy, PolicySpec, Reserve, Resources, Workload, WorkloadKey, place};

use super::{Pod, drawn};
use crate::fleet::{DEFAULT_POD, MACHINES};
use crate::random::Random;
use crate::report::Figure;
use crate::tasks::Context;
use crate::traces::Trace;
use crate::{engine, filling, watch};

const LIMIT: Resources = Resources {
    cpu_milli: 1_000,
    mem_mib: 1_024,
    disk_mib: 0,
    pods: 1,
};

#[derive(Default)]
struct Sums {
    fillings: f64,
    pods: f64,
    /// Node and loss together.
    cases: f64,
    cpu_over: f64,
    memory_over: f64,
    unsound: f64,
}

pub(super) fn measure(context: &Context, days: &[Trace], memory: &Trace) -> Result<Figure> {
    let began = watch::start();
    let fillings = if context.quick { 5 } else { 25 };
    let mut sums = Sums::default();
    for (seed, day) in (context.seed..).zip(days) {
        // One rule for the fleet, tried on its smallest machine: there, single pods weigh the most.
        let smallest = MACHINES.iter().map(|machine| machine.cpu_milli).min().unwrap_or(0);
        let rule = engine::calibrated(day, smallest)?;
        let cpu = engine::cpu_loads(day, &rule);
        let in_memory = engine::memory_loads(memory, &engine::base(memory)?);
        let spec = PolicySpec {
            reserve: Reserve::NPlusOne,
            setup_reserve: Resources::ZERO,
            usage: Some(rule),
            ..PolicySpec::default()
        };
        let policy = Policy::new(spec).unwrap_or_default();
        let load = |(machine, container): Pod| Load {
            mem_mean_mib: in_memory[container].mem_mean_mib,
            mem_peak_mib: in_memory[container].mem_peak_mib,
            ..cpu[machine]
        };
        let mut random = Random::new(seed);
        for _ in 0..fillings {
            let pods = drawn(&mut random, day.past.len(), memory.past.len());
            sums.judge(&fill(&policy, &pods, load)?, &pods, day, memory);
        }
    }
    Ok(sums.figure(context, began.elapsed().as_secs_f64()))
}

/// Keys count from one, in the order of the offered pods.
fn fill(policy: &Policy, pods: &[Pod], load: impl Fn(Pod) -> Load) -> Result<Cluster> {
    let nodes = MACHINES
        .iter()
        .zip(1..)
        .map(|(machine, id)| Node::new(NodeKey(id), *machine));
    let mut cluster = Cluster::from_parts(nodes, [])?;
    cluster.track_loads();
    let mut refused = 0;
    for (id, &pod) in (1..).zip(pods) {
        let load = load(pod);
        let request = policy.written_request_of(&load, DEFAULT_POD, LIMIT);
        let workload = Workload {
            measured: Some(Box::new(load)),
            ..Workload::new(WorkloadKey(id), request, LIMIT)
        };
        match place(&cluster, policy, &workload) {
            Ok(decision) => drop(cluster.assign_with(workload, decision.node, decision.backup)?),
            Err(_) => refused += 1,
        }
        if refused == filling::REFUSALS {
            break;
        }
    }
    Ok(cluster)
}

impl Sums {
    fn judge(&mut self, cluster: &Cluster, pods: &[Pod], day: &Trace, memory: &Trace) {
        self.fillings += 1.0;
        self.pods += cluster.workload_count() as f64;
        let placements: Vec<_> = cluster.placements().collect();
        // Nobody lost, then each machine in turn.
        let losses = std::iter::once(None).chain((1..=3).map(|id| Some(NodeKey(id))));
        for lost in losses {
            for (machine, id) in MACHINES.iter().zip(1..) {
                let here = NodeKey(id);
                if Some(here) == lost {
                    continue;
                }
                let runs = |placement: &&placement::Placement| {
                    placement.node == here || (Some(placement.node) == lost && placement.backup == Some(here))
                };
                let chosen = placements.iter().filter(runs);
                let (on_cpu, in_memory): (Vec<usize>, Vec<usize>) = chosen
                    .map(|placement| pods[usize::try_from(placement.workload.0).unwrap_or(1) - 1])
                    .unzip();
                self.cases += 1.0;
                self.cpu_over += filling::over(day, &on_cpu, machine.cpu_milli);
                self.memory_over += f64::from(u8::from(filling::over(memory, &in_memory, machine.mem_mib) > 0.0));
            }
        }
        let nodes: Vec<Node> = cluster.nodes().cloned().collect();
        let workloads: Vec<Workload> = cluster.workloads().map(|(workload, _)| workload.clone()).collect();
        // The checker adds up what is written: on every node, and after every single loss.
        let sound = placement::check(&nodes, &workloads, &placements).is_empty();
        let insured = placements.iter().all(|placement| placement.backup.is_some());
        self.unsound += f64::from(u8::from(!(sound && insured)));
    }

    fn figure(&self, context: &Context, seconds: f64) -> Figure {
        let over = self.cpu_over / self.cases.max(1.0) * 100.0;
        let data = "GenTD26 memory, PlanetLab CPU, 3900X + 6900HS + i7";
        let pods = self.pods / self.fillings.max(1.0);
        let mut figure = Figure::new(
            "three_machines",
            data,
            "lumbung, certified",
            "pods, one machine's loss away",
            pods,
        )
        .with("cpu_over_percent, before and after a loss", over)
        .with("memory_cases_over", self.memory_over)
        .with("unsound", self.unsound);
        figure.valid = over <= 0.1 && self.memory_over == 0.0 && self.unsound == 0.0;
        (figure.goal, figure.seed, figure.seconds) = (Some(97.0), context.seed, seconds);
        figure
    }
}
