//! How many nodes are needed, of which class, and what goes on each: packing from nothing, for what-if and consolidation.
//!
//! [`pack`] takes node classes, of which any number may be opened at a cost each, and counted shapes of pods. It answers
//! with bins at the least cost it could find within its effort, and with a proved lower bound on the cost of any packing,
//! so the caller knows what is left to gain. Whole numbers only; effort is counted in steps, never in time; neither the
//! order of the classes nor of the shapes changes what is found. The result is never worse than first fit decreasing.
//!
//! How: greedy packings first; then the configuration linear program by column generation (Gilmore and Gomory 1961) in
//! fixed point, which also gives the bound; then dives, which fix whole patterns of its solution and solve again for the
//! rest; then re-packing of the bins with the most waste. Prices and dual values guide, they are never trusted: every bin
//! is built by adding up whole amounts.
//!
//! It does not look at nodes that exist, labels or volumes; `place` and `evacuate` do.

mod columns;
mod correction;
mod dive;
mod greedy;
mod instance;
mod knapsack;
mod master;
mod repack;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resources::{Dimension, Resources};
use instance::{Instance, Plan, Reader};

/// Nodes that can be opened, any number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Class {
    pub allocatable: Resources,
    /// What one node costs, in any unit; 1 for all makes the number of nodes what is kept low.
    pub cost: u64,
}

impl Class {
    /// A class where only the number of nodes counts.
    pub fn new(allocatable: Resources) -> Self {
        Self { allocatable, cost: 1 }
    }

    /// The most that a class may cost; the least is 1.
    pub const MAX_COST: u64 = 1 << 32;
}

/// Pods that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub request: Resources,
    pub count: u32,
}

/// How much work a packing may take, in elementary steps: a number of a row updated. A step takes about five
/// nanoseconds; the same effort gives the same packing on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Effort(pub u64);

impl Effort {
    /// Greedy packings only.
    pub const NONE: Self = Self(0);
    /// Some seconds at the most; less where the bound is reached before.
    pub const THOROUGH: Self = Self(1_500_000_000);
}

/// One node and what goes on it: indices of shapes, ascending, with how many of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bin {
    pub class: usize,
    pub contents: Vec<(usize, u32)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packing {
    pub bins: Vec<Bin>,
    /// Shapes that no class can hold, with all their pods.
    pub left_out: Vec<(usize, u32)>,
    /// Of all bins together.
    pub cost: u64,
    /// No packing of what is not left out costs less.
    pub bound: u64,
}

/// What cannot be packed because it is no valid question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackError {
    /// An amount is negative or above [`Resources::MAX_AMOUNT`].
    ClassAmount {
        class: usize,
        dimension: Dimension,
    },
    ShapeAmount {
        shape: usize,
        dimension: Dimension,
    },
    /// A class costs nothing, or more than [`Class::MAX_COST`].
    Cost {
        class: usize,
    },
    /// More pods than [`MAX_PODS`].
    Pods,
}

/// The largest number of pods in one packing.
pub const MAX_PODS: u64 = 1 << 24;

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClassAmount { class, dimension } => write!(f, "class {class}: {dimension} is out of range"),
            Self::ShapeAmount { shape, dimension } => write!(f, "shape {shape}: {dimension} is out of range"),
            Self::Cost { class } => write!(f, "class {class}: the cost has to be between 1 and {}", Class::MAX_COST),
            Self::Pods => write!(f, "more than {MAX_PODS} pods"),
        }
    }
}

impl std::error::Error for PackError {}

/// Packs all pods that fit a class.
pub fn pack(classes: &[Class], shapes: &[Shape], effort: Effort) -> Result<Packing, PackError> {
    let reader = Reader::new(classes, shapes)?;
    let (instance, demand) = (&reader.instance, &reader.demand);
    let mut best = greedy::best(instance, demand);
    let mut bound = instance.volume_bound(demand);
    let mut budget = Budget(effort.0);
    if best.cost(instance) > bound {
        improve(instance, demand, &mut best, &mut bound, &mut budget);
    }
    Ok(reader.written(&best, bound))
}

/// Above so many shapes the linear program over all of them takes too long; parts of the packing are solved instead.
const MANY: usize = 300;

fn improve(instance: &Instance, demand: &[u32], best: &mut Plan, bound: &mut u64, budget: &mut Budget) {
    if instance.sizes.len() > MANY {
        let mut part = budget.part(50);
        correction::improve(instance, demand, best, *bound, 100, &mut part);
        budget.rejoin(part);
        let prices = correction::volume_prices(instance, demand);
        repack::improve(instance, &prices, best, *bound, budget);
        return;
    }
    let mut pool = columns::Pool::default();
    for (pattern, _) in &best.patterns {
        pool.add(pattern.clone());
    }
    // A dive from prices that are nearly right is cheap and often ends at the bound; only if none does, the prices are
    // made right.
    for depth in [columns::Depth::Good, columns::Depth::Full] {
        let relaxed = columns::relax(instance, demand, &mut pool, depth, budget);
        *bound = relaxed.bound.max(*bound);
        for rounding in dive::Rounding::ALL {
            let cutoff = best.cost(instance);
            if cutoff <= *bound || budget.spent() {
                return;
            }
            if let Some(plan) = dive::dive(instance, demand, &mut pool, &relaxed, rounding, cutoff, budget) {
                *best = plan;
            }
        }
        let mut part = budget.part(30);
        repack::improve(instance, &relaxed.prices, best, *bound, &mut part);
        budget.rejoin(part);
    }
}

/// Steps that are left.
#[derive(Debug)]
struct Budget(u64);

impl Budget {
    fn spend(&mut self, steps: u64) {
        self.0 = self.0.saturating_sub(steps);
    }

    /// To begin the search of a knapsack, each shape is looked at for every direction of prices.
    fn filled(&mut self, filling: &knapsack::Filling, shapes: usize) {
        self.spend(filling.steps + shapes as u64 * 200);
    }

    fn spent(&self) -> bool {
        self.0 == 0
    }

    /// This part of it, in parts per hundred, to be spent separately; what stays is given back by [`Self::rejoin`].
    fn part(&mut self, hundredths: u64) -> Self {
        let part = self.0 / 100 * hundredths;
        self.0 -= part;
        Self(part)
    }

    fn rejoin(&mut self, part: Self) {
        self.0 += part.0;
    }
}
