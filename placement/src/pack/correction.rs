//! Sequential value correction (Mukhacheva, Belov): nodes are filled one after the other with what is worth most; what
//! ended up on wasteful nodes is worth more the next time, so that it chooses earlier.
//!
//! For sets of so many different shapes that the linear program would take too long.

use super::Budget;
use super::greedy;
use super::instance::{Instance, ONE, Pattern, Plan};
use super::knapsack::{Offer, fill};

const STEPS: u64 = 12_000;

/// The best of so many passes, if one costs less than `best`; and what it is judged by, prices by volume.
pub fn improve(instance: &Instance, demand: &[u32], best: &mut Plan, bound: u64, passes: usize, budget: &mut Budget) {
    let volume = volume_prices(instance, demand);
    let mut values = volume.clone();
    for _ in 0..passes {
        if best.cost(instance) <= bound || budget.spent() {
            return;
        }
        let Some(plan) = pass(instance, demand, &values, budget) else {
            return;
        };
        correct(instance, &plan, &volume, &mut values);
        if plan.cost(instance) < best.cost(instance) {
            *best = plan;
        }
    }
}

/// What a pod of each shape takes of the largest node, in fixed point, where a scarce resource counts more.
pub fn volume_prices(instance: &Instance, demand: &[u32]) -> Vec<i64> {
    let worth = greedy::weighted_shares(instance, demand);
    let full = greedy::weight_of_full(instance, demand).max(1);
    let price = |worth: i64| i64::try_from(i128::from(worth) * i128::from(ONE) / i128::from(full)).unwrap_or(ONE);
    worth.into_iter().map(|worth| price(worth).max(1)).collect()
}

fn pass(instance: &Instance, demand: &[u32], values: &[i64], budget: &mut Budget) -> Option<Plan> {
    let mut shapes: Vec<usize> = (0..demand.len()).filter(|&at| demand[at] > 0).collect();
    let mut left = demand.to_vec();
    let mut plan = Plan::default();
    while !shapes.is_empty() {
        if budget.spent() {
            return None;
        }
        let sizes: Vec<_> = shapes.iter().map(|&at| instance.sizes[at]).collect();
        let worth: Vec<i64> = shapes.iter().map(|&at| values[at]).collect();
        let limits: Vec<u32> = shapes.iter().map(|&at| left[at]).collect();
        let offer = Offer {
            sizes: &sizes,
            values: &worth,
            limits: &limits,
        };
        let mut best: Option<(i128, Pattern)> = None;
        for (kind, of) in instance.kinds.iter().enumerate() {
            let filling = fill(&of.capacity, offer, 0, STEPS);
            budget.filled(&filling, sizes.len());
            let counts = filling.counts.iter().map(|&(at, count)| (shapes[at], count)).collect();
            let pattern = Pattern { kind, counts };
            let per_cost = i128::from(worth_of(&pattern, values)) * i128::from(ONE) / i128::from(of.price);
            if !pattern.counts.is_empty() && best.as_ref().is_none_or(|(least, _)| per_cost > *least) {
                best = Some((per_cost, pattern));
            }
        }
        let (_, pattern) = best?;
        let times = pattern.counts.iter().map(|&(at, count)| left[at] / count).min()?;
        for &(at, count) in &pattern.counts {
            left[at] -= count * times;
        }
        plan.patterns.push((pattern, times));
        shapes.retain(|&at| left[at] > 0);
    }
    Some(plan)
}

fn worth_of(pattern: &Pattern, values: &[i64]) -> i64 {
    let worth = pattern
        .counts
        .iter()
        .map(|&(at, count)| values[at].saturating_mul(i64::from(count)));
    worth.fold(0, i64::saturating_add)
}

/// Half the old value, half its share of what its node cost; over all nodes that hold the shape, by how many they hold.
fn correct(instance: &Instance, plan: &Plan, volume: &[i64], values: &mut [i64]) {
    let mut sums = vec![(0_i128, 0_i128); values.len()];
    for (pattern, times) in &plan.patterns {
        let held = i128::from(worth_of(pattern, volume).max(1));
        let price = i128::from(instance.kinds[pattern.kind].price);
        for &(at, count) in &pattern.counts {
            let weight = i128::from(count) * i128::from(*times);
            // Half of a full node at least: the last node may be nearly empty, and that says nothing.
            let share = (i128::from(volume[at]) * price / held).min(2 * i128::from(volume[at]));
            sums[at].0 += share * weight;
            sums[at].1 += weight;
        }
    }
    for (value, (sum, weight)) in values.iter_mut().zip(sums) {
        if weight > 0 {
            let mean = i64::try_from(sum / weight).unwrap_or(*value);
            *value = i64::midpoint(*value, mean).max(1);
        }
    }
}
