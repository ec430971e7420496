//! The nodes with the most waste are packed again together, until no such group can do with less.

use super::Budget;
use super::columns::{Depth, Pool, relax};
use super::dive::{Rounding, dive};
use super::instance::{Instance, Pattern, Plan};

/// Shapes in a group, at most: as many as the linear program is quick with.
const SHAPES: usize = 120;

/// Nodes in a group, in parts of all nodes.
const PARTS: [usize; 4] = [16, 8, 4, 2];

pub fn improve(instance: &Instance, prices: &[i64], best: &mut Plan, bound: u64, budget: &mut Budget) {
    let mut at = 0;
    while at < PARTS.len() && best.cost(instance) > bound && !budget.spent() {
        match smaller(instance, prices, best, PARTS[at], budget) {
            Some(plan) => (*best, at) = (plan, 0),
            None => at += 1,
        }
    }
}

/// A plan in which one group takes less: first the most wasteful nodes, then those that follow, while together they waste
/// enough for a node.
fn smaller(instance: &Instance, prices: &[i64], best: &Plan, part: usize, budget: &mut Budget) -> Option<Plan> {
    let mut nodes: Vec<&Pattern> = best
        .patterns
        .iter()
        .flat_map(|(pattern, times)| std::iter::repeat_n(pattern, *times as usize))
        .collect();
    nodes.sort_by_key(|pattern| (std::cmp::Reverse(waste(instance, prices, pattern)), *pattern));
    let most = (nodes.len() / part).max(2).min(nodes.len());
    let cheapest = instance.kinds.iter().map(|kind| kind.price).min().unwrap_or(0);
    let mut start = 0;
    while start < nodes.len() && !budget.spent() {
        let size = group(instance, &nodes[start..], most);
        let members = &nodes[start..start + size];
        let wasted: i64 = members.iter().map(|pattern| waste(instance, prices, pattern)).sum();
        if start > 0 && wasted < cheapest {
            return None;
        }
        if let Some(plan) = repacked(instance, members, budget) {
            let kept = nodes[..start].iter().chain(&nodes[start + size..]);
            let mut patterns: Vec<(Pattern, u32)> = kept.map(|&pattern| (pattern.clone(), 1)).collect();
            patterns.extend(plan.patterns);
            return Some(Plan { patterns });
        }
        start += size.div_ceil(2);
    }
    None
}

/// How many of the nodes, from the first on, have no more different shapes than a group may have.
fn group(instance: &Instance, nodes: &[&Pattern], most: usize) -> usize {
    let mut held = vec![false; instance.sizes.len()];
    let mut shapes = 0;
    for (size, pattern) in nodes.iter().take(most).enumerate() {
        for &(at, _) in &pattern.counts {
            shapes += usize::from(!held[at]);
            held[at] = true;
        }
        if shapes > SHAPES && size >= 2 {
            return size;
        }
    }
    most.min(nodes.len())
}

fn repacked(instance: &Instance, members: &[&Pattern], budget: &mut Budget) -> Option<Plan> {
    let mut demand = vec![0; instance.sizes.len()];
    let mut pool = Pool::default();
    for &pattern in members {
        pool.add(pattern.clone());
        for &(at, count) in &pattern.counts {
            demand[at] += count;
        }
    }
    let cost = members.iter().map(|pattern| instance.kinds[pattern.kind].cost).sum();
    let relaxed = relax(instance, &demand, &mut pool, Depth::Group, budget);
    let mut roundings = Rounding::ALL.into_iter().filter(|_| relaxed.bound < cost);
    roundings.find_map(|rounding| dive(instance, &demand, &mut pool, &relaxed, rounding, cost, budget))
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
