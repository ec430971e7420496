//! How many nodes pods need at least.
//!
//! The configuration linear program (Gilmore and Gomory 1961): every way of filling a node may be used a fractional
//! number of times. Solved in its dual, where each way is a constraint on the values of the pods; the constraint that is
//! violated most is a knapsack problem. Values v that break no constraint by more than a factor f give the bound
//! (sum of count × value) / f at any time (Farley 1990), so stopping early costs tightness, never validity.

use microlp::{ComparisonOp, OptimizationDirection, Problem, Solution, Variable};
use placement::{Dimension, Resources};

use super::knapsack::{Filling, Item, fill};

/// A proved lower bound.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Cost of the nodes, with a cost of 1 a node their number, not rounded up.
    pub cost: f64,
    /// Whether it is the optimum of the linear program, up to one part in 10^6.
    pub complete: bool,
    /// Knapsack problems solved.
    pub rounds: usize,
}

impl Bound {
    /// The number of nodes, where each costs 1.
    pub fn nodes(&self) -> f64 {
        (self.cost - 1e-6).ceil()
    }
}

/// For one class: no resource can be used more than fully.
pub fn bins_by_volume(class: Resources, shapes: &[(Resources, usize)]) -> f64 {
    Dimension::ALL
        .into_iter()
        .map(|dimension| {
            let asked: f64 = shapes
                .iter()
                .map(|&(shape, count)| shape.get(dimension) as f64 * count as f64)
                .sum();
            if asked > 0.0 {
                asked / class.get(dimension) as f64
            } else {
                0.0
            }
        })
        .fold(0.0, f64::max)
}

/// For classes (allocatable, cost) of which any number may be opened, and counted shapes of which each fits a class.
/// `rounds` knapsack problems of `nodes` steps at most, fewer steps while that finds anything, and a hundred times as many
/// over all rounds. Of many shapes the linear programs are slow, so there are fewer rounds.
///
/// # Panics
/// If a linear program cannot be solved, which is a defect.
pub fn bins(classes: &[(Resources, f64)], shapes: &[(Resources, usize)], rounds: usize, nodes: u64) -> Bound {
    bins_until(classes, shapes, rounds, nodes, f64::INFINITY)
}

/// The same, but it ends as soon as the bound, not rounded up, is above `enough`: with whole costs, where a packing is
/// known that costs one more, nothing is left to prove.
///
/// # Panics
/// If a linear program cannot be solved, which is a defect.
pub fn bins_until(
    classes: &[(Resources, f64)],
    shapes: &[(Resources, usize)],
    rounds: usize,
    nodes: u64,
    enough: f64,
) -> Bound {
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let values: Vec<Variable> = shapes
        .iter()
        .map(|&(shape, count)| problem.add_var(count as f64, (0.0, cost_alone(classes, shape))))
        .collect();
    let mut solution = solved(problem.solve());
    let mut best = Bound {
        cost: 0.0,
        complete: false,
        rounds: 0,
    };
    let rounds = rounds.min(300_000 / shapes.len().max(1));
    let mut steps = nodes.min(20_000);
    let mut left = nodes.saturating_mul(100);
    while best.rounds < rounds && left > 0 && best.cost <= enough + 1e-3 {
        let priced: Vec<f64> = values.iter().map(|&value| solution.var_value(value).max(0.0)).collect();
        let fillings: Vec<Filling> = classes
            .iter()
            .map(|&(class, _)| priciest(class, shapes, &priced, steps))
            .collect();
        best.rounds += 1;
        left = left.saturating_sub(fillings.iter().map(|filling| filling.nodes).sum());
        let excess = fillings
            .iter()
            .zip(classes)
            .map(|(filling, (_, cost))| filling.upper / cost)
            .fold(1e-12, f64::max);
        let total: f64 = shapes
            .iter()
            .zip(&priced)
            .map(|(&(_, count), value)| count as f64 * value)
            .sum();
        best.cost = best.cost.max(total / excess);
        best.complete = excess <= 1.0 + 1e-6;
        let violated: Vec<_> = fillings
            .iter()
            .zip(classes)
            .filter(|(filling, (_, cost))| filling.value > cost * (1.0 + 1e-7))
            .collect();
        if best.complete || (violated.is_empty() && steps == nodes) {
            break;
        }
        if violated.is_empty() {
            steps = nodes.min(steps * 8);
        }
        for (filling, &(_, cost)) in violated {
            let row: Vec<(Variable, f64)> = filling
                .taken
                .iter()
                .map(|&(shape, count)| (values[shape], count as f64))
                .collect();
            solution = solved(solution.add_constraint(row, ComparisonOp::Le, cost));
        }
    }
    best
}

/// The least cost of a share of a node that is filled with this shape only.
fn cost_alone(classes: &[(Resources, f64)], shape: Resources) -> f64 {
    classes
        .iter()
        .filter(|(class, _)| class.shortage(shape).is_zero())
        .map(|&(class, cost)| {
            let fitting = Dimension::ALL
                .into_iter()
                .filter(|&dimension| shape.get(dimension) > 0)
                .map(|dimension| class.get(dimension) / shape.get(dimension))
                .min();
            fitting.map_or(0.0, |fitting| cost / fitting as f64)
        })
        .min_by(f64::total_cmp)
        .expect("each shape fits a class")
}

fn priciest(class: Resources, shapes: &[(Resources, usize)], values: &[f64], nodes: u64) -> Filling {
    let items: Vec<Item> = shapes
        .iter()
        .zip(values)
        .map(|(&(size, count), &value)| Item { size, value, count })
        .collect();
    fill(class, &items, nodes)
}

fn solved(outcome: Result<microlp::SolveOutcome, microlp::Error>) -> Solution {
    let outcome = outcome.unwrap_or_else(|error| panic!("the configuration bound: {error}"));
    outcome
        .into_solution()
        .unwrap_or_else(|_| unreachable!("no limit was set"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::pod;

    fn node(cpu_milli: i64, mem_mib: i64) -> Resources {
        Resources {
            pods: 100,
            ..pod(cpu_milli, mem_mib)
        }
    }

    /// Three pods of 0.6 nodes need three nodes, though their volume is 1.8.
    #[test]
    fn pods_that_cannot_share_a_node() {
        let shapes = [(pod(600, 600), 3)];
        let bound = bins(&[(node(1000, 1000), 1.0)], &shapes, 100, 1000);
        assert!((bound.cost - 3.0).abs() < 1e-5 && bound.complete, "{bound:?}");
        assert!((bins_by_volume(node(1000, 1000), &shapes) - 1.8).abs() < 1e-9);
    }

    /// 0.5 + 0.3 + 0.2 fill a node exactly: 10 of each are 10 nodes; 2 × 0.5 + 5 × 0.2 do as well.
    #[test]
    fn perfect_fillings_are_found() {
        let shapes = [(pod(500, 500), 10), (pod(300, 300), 10), (pod(200, 200), 10)];
        let bound = bins(&[(node(1000, 1000), 1.0)], &shapes, 100, 10_000);
        assert!((bound.cost - 10.0).abs() < 1e-4 && bound.complete, "{bound:?}");
        assert!((bound.nodes() - 10.0).abs() < f64::EPSILON);
    }

    /// 0.4 twice a node: seven pods are 3.5 nodes in the linear program, so four.
    #[test]
    fn fractions_are_rounded_up_to_whole_nodes() {
        let bound = bins(&[(node(1000, 1000), 1.0)], &[(pod(400, 100), 7)], 100, 1000);
        assert!(
            (bound.cost - 3.5).abs() < 1e-5 && (bound.nodes() - 4.0).abs() < f64::EPSILON,
            "{bound:?}"
        );
    }

    /// The large node costs 1.5 and holds four, the small costs 1 and holds two.
    #[test]
    fn the_cheaper_class_is_used() {
        let classes = [(node(1000, 1000), 1.0), (node(2000, 2000), 1.5)];
        let bound = bins(&classes, &[(pod(500, 500), 8)], 100, 1000);
        assert!((bound.cost - 3.0).abs() < 1e-5, "{bound:?}");
    }

    #[test]
    fn stopped_early_it_is_lower_and_valid() {
        let shapes = [
            (pod(450, 200), 10),
            (pod(310, 500), 10),
            (pod(200, 130), 10),
            (pod(130, 370), 10),
        ];
        let classes = [(node(1000, 1000), 1.0)];
        let whole = bins(&classes, &shapes, 1000, 100_000);
        assert!(whole.complete);
        for rounds in 1..5 {
            let early = bins(&classes, &shapes, rounds, 2);
            assert!(
                early.cost <= whole.cost + 1e-6 && early.cost > 0.0,
                "{early:?} {whole:?}"
            );
        }
    }
}
