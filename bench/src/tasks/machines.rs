//! How many default pods the first user's three machines take by use, each machine on its own.
//!
//! A pod is a PlanetLab machine's CPU and a GenTD26 container's memory, drawn together: no public trace has both of
//! small services. The value is what all machines take less what the largest takes: with equal pods that many can run
//! and lose any machine. The N+1 engine turns it into certificates; here each machine is filled to its brim, so the
//! violations are those after a loss, not those of a normal day.

#![allow(clippy::cast_precision_loss)] // Counts are far below 2^52.

mod certified;

use anyhow::Result;
use placement::usage::{Predicted, UsageRule};
use placement::{Load, Resources};

use crate::baselines::{self, Baseline, State};
use crate::filling::{self, Filled};
use crate::fleet::{DEFAULT_POD, MACHINES};
use crate::random::Random;
use crate::report::{Figure, Report};
use crate::tasks::{Context, memory};
use crate::traces::{DAY_STEPS, FIVE_MINUTES, Row, Trace, planetlab};
use crate::{data, engine, watch};

/// More than any of the machines takes.
const OFFERED: usize = 400;
const CPU_LIMIT: f64 = 1000.0;

/// A machine's CPU trace and a container's memory trace, by their numbers.
type Pod = (usize, usize);

enum Policy {
    Engine {
        rule: UsageRule,
        cpu: Vec<Load>,
        memory: Vec<Load>,
    },
    Baselines {
        cpu: Baseline,
        memory: Baseline,
    },
}

pub fn run(context: &Context, report: &mut Report) -> Result<()> {
    let Some(dir) = &context.data else {
        report.skip("machines: needs planetlab_cpu.csv.gz and gentd26_*.csv.gz");
        return Ok(());
    };
    let cpu_files = data::find(dir, "planetlab_cpu", ".csv.gz")?;
    let memory_files = data::find(dir, "gentd26_", ".csv.gz")?;
    let (Some(cpu_file), Some(memory_file)) = (cpu_files.first(), memory_files.first()) else {
        report.skip("machines: needs planetlab_cpu.csv.gz and gentd26_*.csv.gz");
        return Ok(());
    };
    let memory = memory::halves(memory_file)?;
    let days: Vec<Trace> = planetlab(cpu_file)?
        .iter()
        .map(|day| {
            let rows: Vec<Row> = day.rows.values().cloned().collect();
            Trace::cut(&day.date, &rows, FIVE_MINUTES, [0, DAY_STEPS / 2, DAY_STEPS])
        })
        .filter(|day| !day.past.is_empty())
        .collect();
    for name in [
        "lumbung",
        "gauss-corr z4, sum of peaks + 2 %",
        "N-sigma 5, sum of peaks + 2 %",
        "requests",
    ] {
        report.add(measure(context, &days, &memory, name)?);
    }
    report.add(certified::measure(context, &days, &memory)?);
    Ok(())
}

fn measure(context: &Context, days: &[Trace], memory: &Trace, name: &str) -> Result<Figure> {
    let began = watch::start();
    let fillings = if context.quick { 10 } else { 50 };
    let mut sums = Sums::default();
    for (seed, day) in (context.seed..).zip(days) {
        let policies = MACHINES
            .iter()
            .map(|machine| policy(name, day, memory, machine.cpu_milli))
            .collect::<Result<Vec<_>>>()?;
        let mut random = Random::new(seed);
        for _ in 0..fillings {
            let pods = drawn(&mut random, day.past.len(), memory.past.len());
            let full: Vec<Vec<Pod>> = MACHINES
                .iter()
                .zip(&policies)
                .map(|(machine, policy)| policy.fill(*machine, &pods))
                .collect();
            sums.add(day, memory, &full);
            sums.unwritten += policies
                .iter()
                .zip(MACHINES)
                .zip(&full)
                .filter(|((policy, machine), pods)| !policy.written_fits(*machine, pods))
                .count();
        }
    }
    let mut figure = sums.figure(name);
    figure.goal = (name == "lumbung").then_some(97.0);
    (figure.seed, figure.seconds) = (context.seed, began.elapsed().as_secs_f64());
    Ok(figure)
}

/// Nobody twice as long as there are others.
fn drawn(random: &mut Random, machines: usize, containers: usize) -> Vec<Pod> {
    let mut shuffled = |count: usize| {
        let mut all: Vec<usize> = (0..count).collect();
        random.shuffle(&mut all);
        all
    };
    let (machines, containers) = (shuffled(machines), shuffled(containers));
    let pairs = machines.into_iter().cycle().zip(containers.into_iter().cycle());
    pairs.take(OFFERED).collect()
}

fn policy(name: &str, day: &Trace, memory: &Trace, cpu_milli: i64) -> Result<Policy> {
    let peaks = |margin| baselines::sum_of_peaks("", memory, margin);
    Ok(match name {
        "lumbung" => {
            let rule = engine::calibrated(day, cpu_milli)?;
            Policy::Engine {
                cpu: engine::cpu_loads(day, &rule),
                memory: engine::memory_loads(memory, &engine::base(memory)?),
                rule,
            }
        }
        "requests" => Policy::Baselines {
            cpu: baselines::fixed("", day, DEFAULT_POD.cpu_milli as f64),
            memory: baselines::fixed("", memory, DEFAULT_POD.mem_mib as f64),
        },
        "N-sigma 5, sum of peaks + 2 %" => Policy::Baselines {
            cpu: baselines::n_sigma("", day, 5.0, CPU_LIMIT),
            memory: peaks(1.02),
        },
        _ => Policy::Baselines {
            cpu: baselines::gauss_corr("", day, 4.0),
            memory: peaks(1.02),
        },
    })
}

impl Policy {
    fn fill(&self, machine: Resources, pods: &[Pod]) -> Vec<Pod> {
        let order: Vec<usize> = (0..pods.len()).collect();
        let most = usize::try_from(machine.pods).unwrap_or(usize::MAX);
        let mut count = 0;
        let mut counted = |fits: bool| {
            let fits = fits && count < most;
            count += usize::from(fits);
            fits
        };
        let filled: Filled = match self {
            Self::Engine { rule, .. } => {
                let room = rule.room(capacity(machine));
                let mut sum = Load::default();
                filling::fill(&order, |at| {
                    let next = sum.plus(self.load(pods[at]));
                    let fits = counted(rule.predict(&next).within(room));
                    if fits {
                        sum = next;
                    }
                    fits
                })
            }
            Self::Baselines { cpu, memory } => {
                let (mut on_cpu, mut in_memory) = (State::default(), State::default());
                filling::fill(&order, |at| {
                    let next = (cpu.with(&on_cpu, pods[at].0), memory.with(&in_memory, pods[at].1));
                    let fits = cpu.predicted(&next.0) <= machine.cpu_milli as f64
                        && memory.predicted(&next.1) <= machine.mem_mib as f64;
                    let fits = counted(fits);
                    if fits {
                        (on_cpu, in_memory) = next;
                    }
                    fits
                })
            }
        };
        filled.taken.into_iter().map(|at| pods[at]).collect()
    }

    fn load(&self, (machine, container): Pod) -> Load {
        match self {
            Self::Engine { cpu, memory, .. } => Load {
                mem_mean_mib: memory[container].mem_mean_mib,
                mem_peak_mib: memory[container].mem_peak_mib,
                ..cpu[machine]
            },
            Self::Baselines { .. } => Load::default(),
        }
    }

    /// Whether kube-scheduler, which adds up what is written, would find room for all of them.
    fn written_fits(&self, machine: Resources, pods: &[Pod]) -> bool {
        let Self::Engine { rule, .. } = self else { return true };
        let sum = pods
            .iter()
            .map(|pod| rule.written(&self.load(*pod)))
            .fold(Predicted::default(), |sum, written| Predicted {
                cpu_milli: sum.cpu_milli + written.cpu_milli,
                mem_mib: sum.mem_mib + written.mem_mib,
            });
        sum.within(capacity(machine))
    }
}

fn capacity(machine: Resources) -> Predicted {
    Predicted {
        cpu_milli: machine.cpu_milli,
        mem_mib: machine.mem_mib,
    }
}

#[derive(Default)]
struct Sums {
    fillings: f64,
    safe: f64,
    pods: [f64; 3],
    cpu_over: [f64; 3],
    memory_ever_over: f64,
    unwritten: usize,
}

impl Sums {
    fn add(&mut self, day: &Trace, memory: &Trace, full: &[Vec<Pod>]) {
        let mut counts = [0.0; 3];
        for (at, (pods, machine)) in full.iter().zip(MACHINES).enumerate() {
            let (on_cpu, in_memory): (Vec<usize>, Vec<usize>) = pods.iter().copied().unzip();
            counts[at] = pods.len() as f64;
            self.pods[at] += counts[at];
            self.cpu_over[at] += filling::over(day, &on_cpu, machine.cpu_milli);
            let over = filling::over(memory, &in_memory, machine.mem_mib);
            self.memory_ever_over += f64::from(u8::from(over > 0.0));
        }
        self.safe += counts.iter().sum::<f64>() - counts.iter().copied().fold(0.0, f64::max);
        self.fillings += 1.0;
    }

    fn figure(&self, name: &str) -> Figure {
        let count = self.fillings.max(1.0);
        let over = self.cpu_over.iter().sum::<f64>() / count / 3.0 * 100.0;
        let data = "GenTD26 memory, PlanetLab CPU, 3900X + 6900HS + i7";
        let mut figure = Figure::new(
            "three_machines",
            data,
            name,
            "pods, one machine's loss away",
            self.safe / count,
        )
        .with("on_3900x", self.pods[0] / count)
        .with("on_6900hs", self.pods[1] / count)
        .with("on_i7", self.pods[2] / count)
        .with("cpu_over_percent", over)
        .with("cpu_over_percent_i7", self.cpu_over[2] / count * 100.0)
        .with("memory_nodes_over_percent", self.memory_ever_over / count / 3.0 * 100.0)
        .with("written_requests_too_large", self.unwritten as f64);
        figure.valid = over <= 0.1 && self.memory_ever_over == 0.0 && self.unwritten == 0;
        figure
    }
}
