//! Nodes filled with workloads of a trace, one by one, by a rule; and how often they would have been over capacity.
//!
//! A filling ends when the rule has refused ten workloads. At the first refusal a single large one would decide how full
//! the node counts, though a scheduler would try the next, smaller one there; what the first refusal gives is reported
//! beside. Every rule of a run is offered the same workloads in the same order.

#![allow(clippy::cast_precision_loss)] // Counts are far below 2^52.

use placement::Load;
use placement::usage::{Predicted, UsageRule};

use crate::baselines::{Baseline, State};
use crate::random::Random;
use crate::report::Figure;
use crate::traces::Trace;

pub const REFUSALS: usize = 10;

/// The engine, or what others use.
pub enum Policy {
    Engine {
        rule: UsageRule,
        loads: Vec<Load>,
        resource: Resource,
    },
    Baseline(Baseline),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Cpu,
    Memory,
}

/// Who was taken, and how many of them before the first refusal.
pub struct Filled {
    pub taken: Vec<usize>,
    pub before_refusal: usize,
}

impl Policy {
    pub fn name(&self) -> &str {
        match self {
            Self::Engine { .. } => "lumbung",
            Self::Baseline(baseline) => &baseline.name,
        }
    }

    pub fn fill(&self, capacity: i64, order: &[usize]) -> Filled {
        match self {
            Self::Engine { rule, loads, resource } => {
                let room = match resource {
                    Resource::Cpu => Predicted {
                        cpu_milli: capacity,
                        mem_mib: i64::MAX / 2,
                    },
                    Resource::Memory => Predicted {
                        cpu_milli: i64::MAX / 2,
                        mem_mib: capacity,
                    },
                };
                let room = rule.room(room);
                let mut sum = Load::default();
                fill(order, |workload| {
                    let next = sum.plus(loads[workload]);
                    let fits = rule.predict(&next).within(room);
                    if fits {
                        sum = next;
                    }
                    fits
                })
            }
            Self::Baseline(baseline) => {
                let mut state = State::default();
                fill(order, |workload| {
                    let next = baseline.with(&state, workload);
                    let fits = baseline.predicted(&next) <= capacity as f64;
                    if fits {
                        state = next;
                    }
                    fits
                })
            }
        }
    }
}

/// Offers workloads in order until ten were refused.
pub fn fill(order: &[usize], mut admit: impl FnMut(usize) -> bool) -> Filled {
    let (mut taken, mut before_refusal, mut refused) = (Vec::new(), None, 0);
    for workload in order {
        if admit(*workload) {
            taken.push(*workload);
            continue;
        }
        before_refusal.get_or_insert(taken.len());
        refused += 1;
        if refused == REFUSALS {
            break;
        }
    }
    Filled {
        before_refusal: before_refusal.unwrap_or(taken.len()),
        taken,
    }
}

/// Shuffled workloads, a fresh order per filling.
pub fn orders(trace: &Trace, count: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut random = Random::new(seed);
    (0..count)
        .map(|_| {
            let mut order: Vec<usize> = (0..trace.past.len()).collect();
            random.shuffle(&mut order);
            order
        })
        .collect()
}

/// Share of the future's steps in which these workloads need more than `capacity`.
pub fn over(trace: &Trace, taken: &[usize], capacity: i64) -> f64 {
    let mut sums = vec![0; trace.future.first().map_or(0, Vec::len)];
    for workload in taken {
        for (sum, value) in sums.iter_mut().zip(&trace.future[*workload]) {
            *sum += value;
        }
    }
    sums.iter().filter(|sum| **sum > capacity).count() as f64 / sums.len().max(1) as f64
}

/// What came of many fillings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcome {
    fillings: f64,
    workloads: f64,
    over: f64,
    /// Fillings with more than one percent of their steps over capacity, and with any.
    bad: f64,
    ever: f64,
}

impl Outcome {
    pub fn add(&mut self, workloads: usize, over: f64) {
        self.fillings += 1.0;
        self.workloads += workloads as f64;
        self.over += over;
        self.bad += f64::from(u8::from(over > 0.01));
        self.ever += f64::from(u8::from(over > 0.0));
    }

    pub fn workloads(&self) -> f64 {
        self.workloads / self.fillings.max(1.0)
    }

    pub fn mean_over(&self) -> f64 {
        self.over / self.fillings.max(1.0)
    }

    pub fn bad_nodes(&self) -> f64 {
        self.bad / self.fillings.max(1.0)
    }

    pub fn nodes_ever_over(&self) -> f64 {
        self.ever / self.fillings.max(1.0)
    }

    /// CPU is squeezed: at most one percent of the steps over capacity on average, and five percent of the nodes beyond
    /// one percent. Memory is not: never.
    pub fn kept(&self, resource: Resource) -> bool {
        match resource {
            Resource::Cpu => self.mean_over() <= 0.01 && self.bad_nodes() <= 0.05,
            Resource::Memory => self.nodes_ever_over() == 0.0,
        }
    }
}

/// The outcomes of a policy after ten refusals and at the first one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes {
    pub full: Outcome,
    pub first: Outcome,
}

impl Outcomes {
    pub fn run(&mut self, policy: &Policy, trace: &Trace, capacity: i64, orders: &[Vec<usize>]) {
        for order in orders {
            let filled = policy.fill(capacity, order);
            self.full.add(filled.taken.len(), over(trace, &filled.taken, capacity));
            let first = &filled.taken[..filled.before_refusal];
            self.first.add(first.len(), over(trace, first, capacity));
        }
    }

    /// A figure in workloads per `unit`.
    pub fn figure(&self, task: &str, data: &str, policy: &str, metric: &str, unit: f64, resource: Resource) -> Figure {
        let mut figure = Figure::new(task, data, policy, metric, self.full.workloads() / unit);
        figure.valid = self.full.kept(resource);
        figure = figure
            .with("over_percent", self.full.mean_over() * 100.0)
            .with("at_first_refusal", self.first.workloads() / unit)
            .with("at_first_refusal_over_percent", self.first.mean_over() * 100.0);
        match resource {
            Resource::Cpu => figure
                .with("bad_nodes_percent", self.full.bad_nodes() * 100.0)
                .with("at_first_refusal_bad_nodes_percent", self.first.bad_nodes() * 100.0),
            Resource::Memory => figure
                .with("nodes_over_percent", self.full.nodes_ever_over() * 100.0)
                .with(
                    "at_first_refusal_nodes_over_percent",
                    self.first.nodes_ever_over() * 100.0,
                ),
        }
    }
}
