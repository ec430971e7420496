//! The nodes with the most waste are packed again together, until no such group can do with less.

use super::Budget;
use super::columns::{Depth, Pool, relax};
use super::dive::{Rounding, dive};
use super::instance::{Instance, Pattern, Plan};

/// Sizes of the groups, in parts of all nodes.
const PARTS: [usize; 4] = [16, 8, 4, 2];

pub fn improve(instance: &Instance, pool: &mut Pool, prices: &[i64], best: &mut Plan, bound: u64, budget: &mut Budget) {
    let mut at = 0;
    while at < PARTS.len() && best.cost(instance) > bound && !budget.spent() {
        match smaller(instance, pool, prices, best, PARTS[at], budget) {
            Some(plan) => (*best, at) = (plan, 0),
            None => at += 1,
        }
    }
}

fn smaller(
    instance: &Instance,
    pool: &mut Pool,
    prices: &[i64],
    best: &Plan,
    part: usize,
    budget: &mut Budget,
) -> Option<Plan> {
    let mut nodes: Vec<&Pattern> = best
        .patterns
        .iter()
        .flat_map(|(pattern, times)| std::iter::repeat_n(pattern, *times as usize))
        .collect();
    nodes.sort_by_key(|pattern| (std::cmp::Reverse(waste(instance, prices, pattern)), *pattern));
    let (group, kept) = nodes.split_at((nodes.len() / part).max(2).min(nodes.len()));
    let mut demand = vec![0; instance.sizes.len()];
    for &(at, count) in group.iter().flat_map(|pattern| &pattern.counts) {
        demand[at] += count;
    }
    let cost = group.iter().map(|pattern| instance.kinds[pattern.kind].cost).sum();
    let relaxed = relax(instance, &demand, pool, Depth::Short, budget);
    if relaxed.bound >= cost {
        return None;
    }
    for rounding in Rounding::ALL {
        if let Some(plan) = dive(instance, &demand, pool, &relaxed, rounding, cost, budget) {
            let mut patterns: Vec<(Pattern, u32)> = kept.iter().map(|&pattern| (pattern.clone(), 1)).collect();
            patterns.extend(plan.patterns);
            return Some(Plan { patterns });
        }
    }
    None
}

/// What a node costs beyond the worth of what it holds.
fn waste(instance: &Instance, prices: &[i64], pattern: &Pattern) -> i64 {
    let held: i64 = pattern
        .counts
        .iter()
        .map(|&(at, count)| prices[at].saturating_mul(i64::from(count)))
        .sum();
    instance.kinds[pattern.kind].price - held
}
