//! How many pods of a mix a fleet can hold if pods may be cut into pieces.

use microlp::{ComparisonOp, OptimizationDirection, Problem};
use placement::{Dimension, Resources};

/// The largest number of pods, in the proportions of `mix` (shares need not add up to 1), that `classes` (allocatable,
/// how many nodes) can hold. Nodes of one class are one pool, and a pod uses only classes whose single node could hold
/// it. Infinite if the mix asks for nothing that is limited.
///
/// # Panics
/// If the linear program cannot be solved, which is a defect.
pub fn fluid(classes: &[(Resources, usize)], mix: &[(Resources, f64)]) -> f64 {
    let total: f64 = mix.iter().map(|(_, share)| share.max(0.0)).sum();
    let kinds: Vec<(Resources, f64)> = merged(mix.iter().map(|&(kind, share)| (kind, share.max(0.0) / total)));
    let classes = merged(classes.iter().map(|&(class, count)| (class, count)));
    let mut problem = Problem::new(OptimizationDirection::Maximize);
    let pods = problem.add_var(1.0, (0.0, f64::INFINITY));
    let mut of_kind = vec![vec![(pods, 0.0)]; kinds.len()];
    for (of_kind, (_, share)) in of_kind.iter_mut().zip(&kinds) {
        of_kind[0].1 = -share;
    }
    for &(capacity, count) in classes.iter().filter(|(_, count)| *count > 0) {
        let mut rows = vec![Vec::new(); Dimension::ALL.len()];
        for ((kind, _), of_kind) in kinds.iter().zip(&mut of_kind) {
            if !capacity.shortage(*kind).is_zero() {
                continue;
            }
            let here = problem.add_var(0.0, (0.0, f64::INFINITY));
            of_kind.push((here, 1.0));
            for (row, dimension) in rows.iter_mut().zip(Dimension::ALL) {
                if kind.get(dimension) > 0 {
                    row.push((here, float(kind.get(dimension)) / float(capacity.get(dimension))));
                }
            }
        }
        for row in rows.into_iter().filter(|row| !row.is_empty()) {
            problem.add_constraint(row, ComparisonOp::Le, count as f64);
        }
    }
    for of_kind in of_kind {
        problem.add_constraint(of_kind, ComparisonOp::Eq, 0.0);
    }
    match problem.solve() {
        Ok(outcome) => outcome.solution().expect("no limit was set").objective(),
        Err(microlp::Error::Unbounded) => f64::INFINITY,
        Err(error) => panic!("the fluid bound: {error}"),
    }
}

/// The largest number of pods for which everything still fits when one node, of whichever class, is gone.
pub fn fluid_n_plus_one(classes: &[(Resources, usize)], mix: &[(Resources, f64)]) -> f64 {
    let classes = merged(classes.iter().map(|&(class, count)| (class, count)));
    (0..classes.len())
        .filter(|&gone| classes[gone].1 > 0)
        .map(|gone| {
            let mut left = classes.clone();
            left[gone].1 -= 1;
            fluid(&left, mix)
        })
        .min_by(f64::total_cmp)
        .unwrap_or(0.0)
}

/// Equal amounts once, in ascending order.
fn merged<N: std::ops::AddAssign + Copy>(items: impl Iterator<Item = (Resources, N)>) -> Vec<(Resources, N)> {
    let mut all = std::collections::BTreeMap::new();
    for (amounts, count) in items {
        all.entry(amounts).and_modify(|sum| *sum += count).or_insert(count);
    }
    all.into_iter().collect()
}

fn float(amount: i64) -> f64 {
    amount as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::{DEFAULT_POD, MACHINES, pod};

    fn machines(each: usize) -> Vec<(Resources, usize)> {
        MACHINES
            .into_iter()
            .map(|machine| (Resources { pods: 250, ..machine }, each))
            .collect()
    }

    fn near(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-6 * expected, "{value} is not {expected}");
    }

    #[test]
    fn default_pods_on_the_three_machines() {
        let mix = [(DEFAULT_POD, 1.0)];
        near(fluid(&machines(1), &mix), 180.0);
        near(fluid_n_plus_one(&machines(1), &mix), 90.0);
        near(fluid_n_plus_one(&machines(33), &mix), 5_850.0);
        near(fluid_n_plus_one(&machines(333), &mix), 59_850.0);
    }

    /// Two kinds that complement each other: 1 CPU/3 GiB and 3 CPU/1 GiB on 4 CPU/4 GiB pair up, one of each a node.
    #[test]
    fn complementary_pods_share_a_node() {
        let node = Resources {
            pods: 10,
            ..pod(4000, 4096)
        };
        near(
            fluid(&[(node, 5)], &[(pod(1000, 3072), 1.0), (pod(3000, 1024), 1.0)]),
            10.0,
        );
        near(fluid(&[(node, 5)], &[(pod(1000, 3072), 1.0)]), 20.0 / 3.0);
    }

    /// A pod that only the large node could hold does not count the small ones; the pods' own limit binds too.
    #[test]
    fn single_nodes_and_the_number_of_pods_limit() {
        let small = Resources {
            pods: 3,
            ..pod(1000, 1024)
        };
        let large = Resources {
            pods: 3,
            ..pod(4000, 4096)
        };
        near(fluid(&[(small, 100), (large, 2)], &[(pod(2000, 1024), 7.0)]), 4.0);
        near(fluid(&[(large, 2)], &[(pod(100, 100), 1.0)]), 6.0);
        assert!(fluid(&[], &[(pod(100, 100), 1.0)]) == 0.0);
    }
}
