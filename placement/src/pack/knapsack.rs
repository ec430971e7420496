//! The most valuable way of filling one node: a bounded knapsack over all resources, by branch and bound.
//!
//! Bounds come from prices of the resources. For a handful of directions of prices, and every suffix of the shapes, a
//! factor is kept that makes the prices pay for each shape of the suffix; what is free is then worth at least as much as
//! anything that goes into it. What a smaller and no less valuable shape can always replace is left out, and states that
//! were left behind are remembered.

use super::instance::{Instance, Size};

/// What may be taken: sizes, values and the largest number of each.
#[derive(Clone, Copy)]
pub struct Offer<'a> {
    pub sizes: &'a [Size],
    pub values: &'a [i64],
    pub limits: &'a [u32],
}

pub struct Filling {
    /// In ascending order of shapes; empty if nothing was found that is worth more than asked for.
    pub counts: Vec<(usize, u32)>,
    /// No filling is worth more, unless that is no more than what was asked for.
    pub upper: i64,
    pub steps: u64,
    pub complete: bool,
}

/// The best filling that is worth more than `above`, within so many steps.
pub fn fill(capacity: &Size, offer: Offer, above: i64, steps: u64) -> Filling {
    let mut search = Search::new(capacity, offer, above, steps);
    let left = search.left(capacity);
    search.descend(0, capacity, 0, &left);
    let mut counts = search.best_taken;
    counts.sort_unstable();
    Filling {
        counts,
        upper: search.upper.max(search.best),
        steps: steps - search.steps,
        complete: search.upper == 0,
    }
}

/// At most: the best direction, and per resource that direction alone and halfway to it.
const DIRECTIONS: usize = 9;

/// Prices of a direction add up to about 2^PRICE for an empty node, so that no resource is rounded away.
const PRICE: u32 = 44;
/// Fraction bits of the factors.
const FACTOR: u32 = 40;

/// Steps that another state takes; to look at a shape that does not fit takes one.
const CHILD: u64 = 8;

type Left = [i64; DIRECTIONS];

struct Prices {
    of: Size,
    /// Per suffix, or `None` if the prices give a shape of it away.
    factors: Vec<Option<i64>>,
}

struct Search<'a> {
    offer: Offer<'a>,
    /// Shapes in the order of descending value per price.
    order: Vec<usize>,
    prices: Vec<Prices>,
    paid: Vec<Left>,
    steps: u64,
    seen: Seen,
    taken: Vec<(usize, u32)>,
    best: i64,
    best_taken: Vec<(usize, u32)>,
    /// The largest bound of what was not looked at.
    upper: i64,
}

impl<'a> Search<'a> {
    fn new(capacity: &Size, offer: Offer<'a>, above: i64, steps: u64) -> Self {
        let fitting: Vec<usize> = (0..offer.sizes.len())
            .filter(|&at| offer.values[at] > 0 && offer.limits[at] > 0)
            .filter(|&at| Instance::fitting(capacity, &offer.sizes[at]) > 0)
            .collect();
        let mut order: Vec<usize> = fitting
            .iter()
            .copied()
            .filter(|&at| {
                !fitting
                    .iter()
                    .any(|&other| other != at && replaces(capacity, offer, other, at))
            })
            .collect();
        let directions = directions(capacity, offer, &order);
        let main = directions[0];
        order.sort_by(|&a, &b| {
            let (of_a, of_b) = (cost(&main, &offer.sizes[a]), cost(&main, &offer.sizes[b]));
            let (a_more, b_more) = (
                i128::from(offer.values[a]) * i128::from(of_b),
                i128::from(offer.values[b]) * i128::from(of_a),
            );
            b_more.cmp(&a_more).then(a.cmp(&b))
        });
        let prices = directions
            .into_iter()
            .map(|of| Prices::new(of, offer, &order))
            .collect();
        let mut search = Self {
            offer,
            order,
            prices,
            paid: Vec::new(),
            steps,
            seen: Seen::new(steps / CHILD),
            taken: Vec::new(),
            best: above,
            best_taken: Vec::new(),
            upper: 0,
        };
        search.paid = search.order.iter().map(|&at| search.left(&offer.sizes[at])).collect();
        search
    }

    fn left(&self, amounts: &Size) -> Left {
        let mut left = [0; DIRECTIONS];
        for (left, prices) in left.iter_mut().zip(&self.prices) {
            *left = cost(&prices.of, amounts);
        }
        left
    }

    fn bound(&self, from: usize, left: &Left) -> i64 {
        let worth = self.prices.iter().zip(left).filter_map(|(prices, &left)| {
            let worth = (i128::from(prices.factors[from]?) * i128::from(left)) >> FACTOR;
            Some(i64::try_from(worth).unwrap_or(i64::MAX))
        });
        worth.min().unwrap_or(i64::MAX)
    }

    fn descend(&mut self, from: usize, free: &Size, value: i64, left: &Left) {
        if value > self.best {
            self.best = value;
            self.best_taken = self
                .taken
                .iter()
                .map(|&(place, count)| (self.order[place], count))
                .collect();
        }
        if self.seen.better(from, free, value) {
            return;
        }
        for place in from..self.order.len() {
            let at = self.order[place];
            let size = &self.offer.sizes[at];
            self.steps = self.steps.saturating_sub(1);
            if size.iter().zip(free).any(|(size, free)| size > free) {
                continue;
            }
            let bound = value.saturating_add(self.bound(place, left));
            if bound <= self.best {
                return;
            }
            let most = Instance::fitting(free, size).min(self.offer.limits[at]);
            for count in (1..=most).rev() {
                if self.steps == 0 {
                    self.upper = self.upper.max(bound);
                    return;
                }
                self.steps = self.steps.saturating_sub(CHILD);
                let times = i64::from(count);
                let free = std::array::from_fn(|at| free[at] - size[at] * times);
                let rest = std::array::from_fn(|at| left[at] - self.paid[place][at] * times);
                let value = value.saturating_add(self.offer.values[at].saturating_mul(times));
                self.taken.push((place, count));
                self.descend(place + 1, &free, value, &rest);
                self.taken.pop();
            }
        }
    }
}

impl Prices {
    fn new(of: Size, offer: Offer, order: &[usize]) -> Self {
        let mut factors = vec![Some(0); order.len() + 1];
        for (place, &at) in order.iter().enumerate().rev() {
            factors[place] = match (factors[place + 1], cost(&of, &offer.sizes[at])) {
                (Some(after), paid) if paid > 0 => {
                    let factor = (i128::from(offer.values[at]) << FACTOR) / i128::from(paid) + 1;
                    i64::try_from(factor).ok().map(|factor| factor.max(after))
                }
                _ => None,
            };
        }
        Self { of, factors }
    }
}

/// Whether `other` is never worse than `at`: no larger, worth no less, and there are enough of it to fill the node.
fn replaces(capacity: &Size, offer: Offer, other: usize, at: usize) -> bool {
    let (small, large) = (&offer.sizes[other], &offer.sizes[at]);
    let (worth, less) = (offer.values[other], offer.values[at]);
    worth >= less
        && small.iter().zip(large).all(|(small, large)| small <= large)
        && offer.limits[other] >= Instance::fitting(capacity, small)
        && (worth > less || small != large || other < at)
}

fn cost(prices: &Size, amounts: &Size) -> i64 {
    prices.iter().zip(amounts).map(|(price, amount)| price * amount).sum()
}

const WHOLE: i64 = 48;

/// The first direction is the one that bounds the empty node best, found downhill from equal weights: the bound is
/// quasi-convex in the weights. Each resource alone bounds a node that is nearly out of it.
fn directions(capacity: &Size, offer: Offer, order: &[usize]) -> Vec<Size> {
    let active: Vec<usize> = (0..capacity.len())
        .filter(|&at| order.iter().any(|&shape| offer.sizes[shape][at] > 0))
        .collect();
    let worst = |weights: &Size| {
        let of = prices(capacity, weights);
        // Coarse, because it only chooses among directions.
        let factors = order.iter().map(|&at| {
            let paid = cost(&of, &offer.sizes[at]) >> 20;
            if paid > 0 {
                (offer.values[at].min(1 << 42) << 20) / paid
            } else {
                i64::MAX
            }
        });
        factors.max().unwrap_or(0)
    };
    let mut best: Size = std::array::from_fn(|at| i64::from(active.contains(&at)));
    let share = WHOLE / i64::try_from(active.len().max(1)).unwrap_or(1);
    best = best.map(|weight| weight * share);
    let mut least = worst(&best);
    for step in [8, 2] {
        while let Some((bound, weights)) = moved(&active, &best, step)
            .into_iter()
            .map(|weights| (worst(&weights), weights))
            .min()
            .filter(|(bound, _)| *bound < least)
        {
            (least, best) = (bound, weights);
        }
    }
    let mut directions = vec![prices(capacity, &best)];
    for &alone in &active {
        let only: Size = std::array::from_fn(|at| if at == alone { WHOLE } else { 0 });
        let between = std::array::from_fn(|at| i64::midpoint(only[at], best[at]));
        directions.push(prices(capacity, &only));
        directions.push(prices(capacity, &between));
    }
    directions
}

/// Every shift of so much weight from one resource to another.
fn moved(active: &[usize], weights: &Size, step: i64) -> Vec<Size> {
    let pairs = active.iter().flat_map(|&from| active.iter().map(move |&to| (from, to)));
    pairs
        .filter(|&(from, to)| from != to && weights[from] >= step)
        .map(|(from, to)| {
            let mut weights = *weights;
            weights[from] -= step;
            weights[to] += step;
            weights
        })
        .collect()
}

fn prices(capacity: &Size, weights: &Size) -> Size {
    std::array::from_fn(|at| weights[at] * ((1 << PRICE) / capacity[at].max(1)) / WHOLE)
}

/// What is free, from which shape on, at what value: a later state that is no better has nothing new below it. One entry
/// a slot; what is overwritten is looked at again.
struct Seen {
    slots: Vec<(Size, u32, i64)>,
}

impl Seen {
    fn new(steps: u64) -> Self {
        let slots = usize::try_from(steps.clamp(1 << 8, 1 << 18)).unwrap_or(1 << 8);
        Self {
            slots: vec![([-1; 4], 0, 0); slots.next_power_of_two()],
        }
    }

    fn better(&mut self, from: usize, free: &Size, value: i64) -> bool {
        let mixed = free.iter().fold(0_u64, |mixed, amount| {
            (mixed.rotate_left(23) ^ amount.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[usize::try_from(mixed >> 40).unwrap_or(0) & mask];
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        if slot.0 == *free && slot.1 <= from && slot.2 >= value {
            return true;
        }
        *slot = (*free, from, value);
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The most that the shapes from `from` on are worth, by trying every number of each.
    fn exact(free: Size, offer: Offer, from: usize) -> i64 {
        if from == offer.sizes.len() {
            return 0;
        }
        let size = &offer.sizes[from];
        let most = Instance::fitting(&free, size).min(offer.limits[from]);
        let worth = (0..=most).map(|count| {
            let times = i64::from(count);
            let rest = std::array::from_fn(|at| free[at] - size[at] * times);
            times * offer.values[from] + exact(rest, offer, from + 1)
        });
        worth.max().unwrap_or(0)
    }

    proptest! {
        #[test]
        fn the_best_filling_is_found_and_cut_short_its_worth_is_bounded(
            shapes in prop::collection::vec(((1..=40_i64, 0..=40_i64, 0..=40_i64), 0..=1_000_i64, 0..=4_u32), 1..=7),
            above in 0..=500_i64,
        ) {
            let sizes: Vec<Size> = shapes.iter().map(|&((cpu, mem, disk), _, _)| [cpu, mem, disk, 1]).collect();
            let values: Vec<i64> = shapes.iter().map(|&(_, value, _)| value << 20).collect();
            let limits: Vec<u32> = shapes.iter().map(|&(_, _, limit)| limit).collect();
            let offer = Offer { sizes: &sizes, values: &values, limits: &limits };
            let capacity = [60, 50, 70, 6];
            let (most, above) = (exact(capacity, offer, 0), above << 20);
            let whole = fill(&capacity, offer, above, 10_000_000);
            let worth: i64 = whole.counts.iter().map(|&(at, count)| values[at] * i64::from(count)).sum();
            prop_assert!(whole.complete);
            prop_assert_eq!(worth, if most > above { most } else { 0 });
            for (at, capacity) in capacity.into_iter().enumerate() {
                prop_assert!(whole.counts.iter().map(|&(of, count)| sizes[of][at] * i64::from(count)).sum::<i64>() <= capacity);
            }
            for steps in [0, 5, 20, 100] {
                prop_assert!(fill(&capacity, offer, above, steps).upper >= most.max(above));
            }
        }
    }
}
