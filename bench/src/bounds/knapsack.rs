//! The most valuable way of filling one node: bounded knapsack over all resources, by branch and bound.

use placement::{Dimension, Resources};

/// A kind of pod that may be taken up to `count` times.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub size: Resources,
    pub value: f64,
    pub count: usize,
}

/// What was found: how often each item is taken and what it is worth, and a value that no filling exceeds.
#[derive(Clone, Debug)]
pub struct Filling {
    pub taken: Vec<(usize, usize)>,
    pub value: f64,
    pub upper: f64,
    /// Nodes of the tree that were seen.
    pub nodes: u64,
}

/// The best filling of `capacity`, exact (`upper` = `value`) unless more than `nodes` of the tree would have to be seen.
pub fn fill(capacity: Resources, items: &[Item], nodes: u64) -> Filling {
    let mut search = Search::new(capacity, items, nodes);
    search.descend(0, capacity, 0.0, &search.projections(capacity));
    Filling {
        upper: search.upper.max(search.best),
        nodes: nodes - search.nodes,
        value: search.best,
        taken: search.best_taken,
    }
}

/// Prices of the resources, and for every suffix of the items the factor that makes these prices pay for each of them:
/// what is left of the node, at these prices times the factor, is then worth at least as much as anything that goes in.
struct Prices {
    of: [f64; 4],
    factor: Vec<f64>,
}

/// States that were already left behind: what is free, from which item on, with what value. A later state that is no
/// better in the last two has nothing new below it. One entry a slot, so an old one may be forgotten.
struct Seen {
    slots: Vec<(Resources, usize, f64)>,
}

impl Seen {
    fn new(nodes: u64) -> Self {
        let size = usize::try_from(nodes.clamp(1 << 8, 1 << 20))
            .unwrap_or(1 << 8)
            .next_power_of_two();
        Self {
            slots: vec![(Resources::ZERO, usize::MAX, -1.0); size],
        }
    }

    fn better(&mut self, from: usize, free: Resources, value: f64) -> bool {
        let mixed = Dimension::ALL.into_iter().fold(0_u64, |mixed, dimension| {
            (mixed.rotate_left(23) ^ free.get(dimension).cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[(mixed >> 32) as usize & mask];
        if slot.0 == free && slot.1 <= from && slot.2 >= value {
            return true;
        }
        *slot = (free, from, value);
        false
    }
}

struct Search<'a> {
    items: &'a [Item],
    /// Items in the order of descending value per price.
    order: Vec<usize>,
    prices: Vec<Prices>,
    sizes: Vec<Vec<f64>>,
    nodes: u64,
    seen: Seen,
    taken: Vec<(usize, usize)>,
    best: f64,
    best_taken: Vec<(usize, usize)>,
    /// The largest bound of what was not looked at.
    upper: f64,
}

impl<'a> Search<'a> {
    fn new(capacity: Resources, items: &'a [Item], nodes: u64) -> Self {
        let useful: Vec<usize> = (0..items.len())
            .filter(|&at| items[at].value > 0.0 && items[at].count > 0 && capacity.shortage(items[at].size).is_zero())
            .collect();
        let useful: Vec<usize> = useful
            .iter()
            .copied()
            .filter(|&at| {
                !useful
                    .iter()
                    .any(|&other| other != at && replaces(capacity, items, other, at))
            })
            .collect();
        let unit: [f64; 4] = std::array::from_fn(|at| 1.0 / (capacity.get(Dimension::ALL[at]).max(1) as f64));
        let directions = directions(&useful, items, unit);
        let main = directions[0];
        let mut order = useful;
        let efficiency = |at: usize| items[at].value / dot(main, items[at].size);
        order.sort_by(|&a, &b| efficiency(b).total_cmp(&efficiency(a)).then(a.cmp(&b)));
        let prices = directions
            .into_iter()
            .map(|of| {
                let mut factor = vec![0.0_f64; order.len() + 1];
                for (place, &at) in order.iter().enumerate().rev() {
                    factor[place] = factor[place + 1].max(items[at].value / dot(of, items[at].size));
                }
                Prices { of, factor }
            })
            .collect();
        let mut search = Self {
            items,
            order,
            prices,
            sizes: Vec::new(),
            nodes,
            seen: Seen::new(nodes),
            taken: Vec::new(),
            best: 0.0,
            best_taken: Vec::new(),
            upper: 0.0,
        };
        search.sizes = search
            .order
            .iter()
            .map(|&at| search.projections(items[at].size))
            .collect();
        search
    }

    fn projections(&self, amounts: Resources) -> Vec<f64> {
        self.prices.iter().map(|prices| dot(prices.of, amounts)).collect()
    }

    /// No filling of what is left with the items from `from` on is worth more.
    fn bound(&self, from: usize, left: &[f64]) -> f64 {
        let worth = self.prices.iter().zip(left).map(|(prices, left)| {
            let factor = prices.factor[from];
            if factor == 0.0 { 0.0 } else { factor * left }
        });
        worth.fold(f64::INFINITY, f64::min)
    }

    fn descend(&mut self, from: usize, free: Resources, value: f64, left: &[f64]) {
        if self.seen.better(from, free, value) {
            return;
        }
        if value > self.best {
            self.best = value;
            self.best_taken = self
                .taken
                .iter()
                .map(|&(place, count)| (self.order[place], count))
                .collect();
        }
        for place in from..self.order.len() {
            let bound = value + self.bound(place, left);
            if bound <= self.best + 1e-9 {
                return;
            }
            if self.nodes == 0 {
                self.upper = self.upper.max(bound);
                return;
            }
            let item = self.items[self.order[place]];
            for count in (1..=fitting(free, item)).rev() {
                self.nodes = self.nodes.saturating_sub(1);
                let times = i64::try_from(count).expect("a count of pods");
                let rest: Vec<f64> = left
                    .iter()
                    .zip(&self.sizes[place])
                    .map(|(left, size)| left - size * count as f64)
                    .collect();
                self.taken.push((place, count));
                self.descend(
                    place + 1,
                    free.minus(item.size.times(times)),
                    value + item.value * count as f64,
                    &rest,
                );
                self.taken.pop();
            }
        }
    }
}

/// Whether `other` is never worse than `at`: no larger, worth no less, and there are enough to fill the node with.
fn replaces(capacity: Resources, items: &[Item], other: usize, at: usize) -> bool {
    let (a, b) = (items[other], items[at]);
    let unlimited = Item { count: usize::MAX, ..a };
    b.size.minus(a.size).out_of_range().is_none()
        && a.value >= b.value
        && a.count >= fitting(capacity, unlimited)
        && (a.value > b.value || a.size != b.size || other < at)
}

fn fitting(free: Resources, item: Item) -> usize {
    Dimension::ALL
        .into_iter()
        .filter(|&dimension| item.size.get(dimension) > 0)
        .map(|dimension| usize::try_from(free.get(dimension) / item.size.get(dimension)).unwrap_or(0))
        .fold(item.count, usize::min)
}

fn dot(prices: [f64; 4], amounts: Resources) -> f64 {
    Dimension::ALL
        .into_iter()
        .zip(prices)
        .map(|(dimension, price)| price * amounts.get(dimension) as f64)
        .sum()
}

/// Prices to bound with; the first are the ones under which the empty node is bounded best. The others are each resource
/// alone, which bounds a node that is nearly out of it, and the steps between.
fn directions(useful: &[usize], items: &[Item], unit: [f64; 4]) -> Vec<[f64; 4]> {
    const STEPS: usize = 16;
    let active: Vec<usize> = (0..4)
        .filter(|&at| useful.iter().any(|&item| items[item].size.get(Dimension::ALL[at]) > 0))
        .collect();
    let worst = |weights: &[usize]| {
        let of = weighted(&active, weights, unit);
        let factor = useful
            .iter()
            .map(|&item| items[item].value / dot(of, items[item].size))
            .fold(0.0, f64::max);
        factor * weights.iter().sum::<usize>() as f64
    };
    let mut chosen: Vec<Vec<usize>> = Vec::new();
    let mut weights = vec![STEPS; active.len()];
    // From equal weights downhill: the bound is quasi-convex in the weights, so no other valley is missed.
    loop {
        let here = worst(&weights);
        let mut moves = Vec::new();
        for from in 0..active.len() {
            for to in 0..active.len() {
                for step in [1, 4] {
                    if from != to && weights[from] >= step {
                        let mut other = weights.clone();
                        other[from] -= step;
                        other[to] += step;
                        moves.push(other);
                    }
                }
            }
        }
        let best = moves.into_iter().min_by(|a, b| worst(a).total_cmp(&worst(b)));
        match best {
            Some(best) if worst(&best) < here => weights = best,
            _ => break,
        }
    }
    chosen.push(weights.clone());
    for at in 0..active.len() {
        let mut alone = vec![0; active.len()];
        alone[at] = weights.iter().sum();
        let between = alone.iter().zip(&weights).map(|(a, b)| a + b).collect();
        chosen.push(alone);
        chosen.push(between);
    }
    chosen
        .into_iter()
        .map(|weights| weighted(&active, &weights, unit))
        .collect()
}

fn weighted(active: &[usize], weights: &[usize], unit: [f64; 4]) -> [f64; 4] {
    let mut of = [0.0; 4];
    for (&at, &weight) in active.iter().zip(weights) {
        of[at] = weight as f64 * unit[at];
    }
    of
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::pod;

    #[test]
    fn the_best_filling_is_not_the_densest_first() {
        let capacity = Resources {
            pods: 10,
            ..pod(10, 10)
        };
        let item = |size: Resources, value| Item { size, value, count: 9 };
        let found = fill(capacity, &[item(pod(6, 6), 6.6), item(pod(5, 5), 5.0)], 1000);
        assert_eq!(found.taken, [(1, 2)]);
        assert!((found.value - 10.0).abs() < 1e-9 && (found.upper - 10.0).abs() < 1e-9);
    }

    #[test]
    fn counts_and_every_resource_limit() {
        let capacity = Resources { pods: 4, ..pod(10, 10) };
        let items = [
            Item {
                size: pod(1, 0),
                value: 1.0,
                count: 2,
            },
            Item {
                size: pod(0, 1),
                value: 0.9,
                count: 9,
            },
            Item {
                size: pod(11, 0),
                value: 99.0,
                count: 1,
            },
        ];
        let found = fill(capacity, &items, 1000);
        assert_eq!(found.taken, [(0, 2), (1, 2)]);
    }

    #[test]
    fn cut_short_it_still_knows_what_cannot_be_exceeded() {
        let capacity = Resources {
            pods: 99,
            ..pod(100, 100)
        };
        let items: Vec<Item> = (0..20)
            .map(|at| Item {
                size: pod(11 + at, 37 - at),
                value: 1.0 + at as f64 / 50.0,
                count: 5,
            })
            .collect();
        let (short, whole) = (fill(capacity, &items, 3), fill(capacity, &items, 10_000_000));
        assert!(short.upper >= whole.value && whole.value >= short.value);
        assert!((whole.upper - whole.value).abs() < 1e-9);
    }
}
