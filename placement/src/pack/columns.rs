//! Column generation: the linear program over all ways of filling a node, which are too many to write down. Those that
//! matter are found as they are wanted, as the filling that is worth most at the prices of the moment.

use std::collections::BTreeSet;

use super::Budget;
use super::instance::{FRACTION, Instance, Pattern};
use super::knapsack::{Offer, fill};
use super::master::{Column, Master};

/// Patterns that were found useful so far, in the order in which they were found.
#[derive(Default)]
pub struct Pool {
    patterns: Vec<Pattern>,
    known: BTreeSet<Pattern>,
}

impl Pool {
    pub fn add(&mut self, pattern: Pattern) -> bool {
        let new = self.known.insert(pattern.clone());
        if new {
            self.patterns.push(pattern);
        }
        new
    }
}

/// The linear program's answer.
pub struct Relaxed {
    /// Patterns and how often, in fixed point.
    pub patterns: Vec<(Pattern, i64)>,
    /// What one more pod of each shape costs, in fixed point; 0 where there is no demand.
    pub prices: Vec<i64>,
    /// A proved lower bound on the cost.
    pub bound: u64,
}

/// How hard to look for better patterns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Until there is provably none, as far as the budget goes.
    Full,
    /// Until a good look finds none.
    Good,
    /// A look at part of a packing.
    Group,
    /// A few rounds: for the rest of a dive.
    Short,
}

impl Depth {
    /// Rounds, and steps of a knapsack: at first, at most.
    fn limits(self) -> (usize, u64, u64) {
        match self {
            Self::Full => (100_000, 160_000, 40_000_000),
            Self::Good => (100_000, 160_000, 160_000),
            Self::Group => (500, 40_000, 160_000),
            Self::Short => (60, 40_000, 40_000),
        }
    }
}

/// The linear program over the rows that are in demand.
struct Rows<'a> {
    instance: &'a Instance,
    demand: &'a [u32],
    /// Shapes in demand, and the row of each shape.
    shapes: Vec<usize>,
    row_of: Vec<Option<usize>>,
    master: Master,
    /// What the columns that were added to the master stand for.
    patterns: Vec<Pattern>,
    alone: Vec<Pattern>,
}

pub fn relax(instance: &Instance, demand: &[u32], pool: &mut Pool, depth: Depth, budget: &mut Budget) -> Relaxed {
    let mut rows = Rows::new(instance, demand);
    for pattern in &pool.patterns {
        rows.add(pattern);
    }
    let (rounds, mut steps, most_steps) = depth.limits();
    let mut bound = 0;
    for _ in 0..rounds {
        rows.master.optimise(budget);
        if budget.spent() {
            break;
        }
        let (found, proved, complete) = rows.price(steps, budget);
        bound = bound.max(proved);
        if found.is_empty() {
            if complete || steps >= most_steps {
                break;
            }
            steps = (steps * 8).min(most_steps);
        }
        for pattern in found {
            rows.add(&pattern);
            pool.add(pattern);
        }
    }
    rows.relaxed(bound)
}

impl<'a> Rows<'a> {
    fn new(instance: &'a Instance, demand: &'a [u32]) -> Self {
        let shapes: Vec<usize> = (0..demand.len()).filter(|&at| demand[at] > 0).collect();
        let mut row_of = vec![None; demand.len()];
        let mut alone = Vec::new();
        for (row, &at) in shapes.iter().enumerate() {
            row_of[at] = Some(row);
            let cheapest = instance.cheapest_alone(&instance.sizes[at], demand[at]);
            let (kind, count) = cheapest.expect("every shape fits a kind");
            alone.push(Pattern {
                kind,
                counts: vec![(at, count)],
            });
        }
        let given = shapes.iter().zip(&alone).map(|(&at, pattern)| {
            let price = instance.kinds[pattern.kind].price;
            (demand[at], price, pattern.counts[0].1)
        });
        let master = Master::new(given);
        Self {
            instance,
            demand,
            shapes,
            row_of,
            master,
            patterns: Vec::new(),
            alone,
        }
    }

    /// The pattern as far as there is demand for it.
    fn add(&mut self, pattern: &Pattern) {
        let wanted = within(pattern, self.demand);
        if wanted.counts.is_empty() {
            return;
        }
        let entries = wanted
            .counts
            .iter()
            .filter_map(|&(at, count)| Some((self.row_of[at]?, i64::from(count))));
        self.master.add(Column {
            price: self.instance.kinds[wanted.kind].price,
            entries: entries.collect(),
        });
        self.patterns.push(wanted);
    }

    /// Patterns that cost less than what they hold is worth, the bound that the prices prove, and whether there is
    /// certainly no further pattern.
    fn price(&self, steps: u64, budget: &mut Budget) -> (Vec<Pattern>, u64, bool) {
        let prices: Vec<i64> = self.master.prices().iter().map(|&price| price.max(0)).collect();
        let sizes: Vec<_> = self.shapes.iter().map(|&at| self.instance.sizes[at]).collect();
        let limits: Vec<u32> = self.shapes.iter().map(|&at| self.demand[at]).collect();
        let offer = Offer {
            sizes: &sizes,
            values: &prices,
            limits: &limits,
        };
        let total: i128 = prices
            .iter()
            .zip(&limits)
            .map(|(&price, &count)| i128::from(price) * i128::from(count))
            .sum();
        let mut found = Vec::new();
        let mut complete = true;
        let mut proved = i128::MAX;
        for (at, kind) in self.instance.kinds.iter().enumerate() {
            let filling = fill(&kind.capacity, offer, kind.price + (kind.price >> 20) + 1, steps);
            budget.filled(&filling, sizes.len());
            complete &= filling.complete;
            let ceiling = i128::from(filling.upper);
            proved = proved.min((total * i128::from(kind.cost) - 1).div_euclid(ceiling) + 1);
            if !filling.counts.is_empty() {
                found.push(Pattern {
                    kind: at,
                    counts: filling
                        .counts
                        .iter()
                        .map(|&(row, count)| (self.shapes[row], count))
                        .collect(),
                });
            }
        }
        (found, self.instance.whole_cost(proved), complete)
    }

    fn relaxed(self, bound: u64) -> Relaxed {
        let rows = self.shapes.len();
        let patterns = self
            .master
            .amounts()
            .filter(|&(column, amount)| column >= rows && amount > 0)
            .map(|(column, amount)| {
                let pattern = match column.checked_sub(self.master.given()) {
                    Some(added) => self.patterns[added].clone(),
                    None => self.alone[column - rows].clone(),
                };
                (pattern, amount)
            });
        let mut prices = vec![0; self.demand.len()];
        for (&at, &price) in self.shapes.iter().zip(self.master.prices()) {
            prices[at] = price.max(0);
        }
        Relaxed {
            patterns: patterns.collect(),
            prices,
            bound,
        }
    }
}

/// What of the pattern is in demand.
pub fn within(pattern: &Pattern, demand: &[u32]) -> Pattern {
    let counts = pattern.counts.iter().map(|&(at, count)| (at, count.min(demand[at])));
    Pattern {
        kind: pattern.kind,
        counts: counts.filter(|&(_, count)| count > 0).collect(),
    }
}

/// A whole number of times, where a trifle of rounding does not count.
pub fn whole_times(amount: i64) -> u32 {
    u32::try_from((amount + (1 << (FRACTION - 10))) >> FRACTION).unwrap_or(0)
}
