//! From proportions to whole nodes: patterns that the linear program uses at least once are fixed that often, the program
//! is solved again for what is left, and where it uses none a whole time, its most used ones are fixed once.

use super::Budget;
use super::columns::{Depth, Pool, Relaxed, relax, whole_times, within};
use super::greedy;
use super::instance::{Instance, ONE, Pattern, Plan};
use super::knapsack::{Offer, fill};

/// From which use on a pattern counts as used once, where none is used a whole time.
#[derive(Clone, Copy)]
pub struct Rounding(i64);

impl Rounding {
    pub const ALL: [Self; 4] = [Self(ONE * 7 / 8), Self(ONE), Self(ONE * 3 / 4), Self(ONE * 5 / 8)];
}

/// A plan that costs less than `cutoff`, if this dive ends in one.
pub fn dive(
    instance: &Instance,
    demand: &[u32],
    pool: &mut Pool,
    first: &Relaxed,
    rounding: Rounding,
    cutoff: u64,
    budget: &mut Budget,
) -> Option<Plan> {
    let mut left = demand.to_vec();
    let mut plan = Plan::default();
    let mut chosen = chosen(first, rounding);
    let mut prices = first.prices.clone();
    loop {
        for (pattern, times) in chosen {
            fix(instance, &pattern, times, &mut left, &prices, &mut plan, budget);
        }
        let spent = plan.cost(instance);
        if left.iter().all(|&count| count == 0) {
            return Some(plan).filter(|_| spent < cutoff);
        }
        if spent + instance.volume_bound(&left) >= cutoff {
            return None;
        }
        let rest = greedy::best(instance, &left);
        if spent + rest.cost(instance) < cutoff && rest.cost(instance) <= instance.volume_bound(&left) || budget.spent()
        {
            plan.patterns.extend(rest.patterns);
            return Some(plan).filter(|plan| plan.cost(instance) < cutoff);
        }
        let relaxed = relax(instance, &left, pool, Depth::Short, budget);
        if spent + relaxed.bound >= cutoff {
            return None;
        }
        chosen = self::chosen(&relaxed, rounding);
        prices = relaxed.prices;
    }
}

/// Patterns to fix, and how often: whole times, else those used most.
fn chosen(relaxed: &Relaxed, rounding: Rounding) -> Vec<(Pattern, u32)> {
    let mut used: Vec<&(Pattern, i64)> = relaxed.patterns.iter().collect();
    used.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let whole: Vec<(Pattern, u32)> = used
        .iter()
        .map(|(pattern, amount)| (pattern.clone(), whole_times(*amount)))
        .filter(|(_, times)| *times > 0)
        .collect();
    if !whole.is_empty() {
        return whole;
    }
    let once = used
        .iter()
        .enumerate()
        .take_while(|(at, (_, amount))| *at == 0 || *amount >= rounding.0);
    once.map(|(_, (pattern, _))| (pattern.clone(), 1)).collect()
}

/// Opens nodes with this pattern. Once there is no demand for all of it, what room that leaves is filled again.
fn fix(
    instance: &Instance,
    pattern: &Pattern,
    times: u32,
    left: &mut [u32],
    prices: &[i64],
    plan: &mut Plan,
    budget: &mut Budget,
) {
    let whole = pattern
        .counts
        .iter()
        .map(|&(at, count)| left[at] / count)
        .min()
        .unwrap_or(0)
        .min(times);
    if whole > 0 {
        open(pattern.clone(), whole, left, plan);
    }
    if whole < times {
        let part = within(pattern, left);
        let refilled = refilled(instance, part, left, prices, budget);
        // What is only partly in demand is worth a node only if it is a good part of it; else the program decides again.
        let worth: i64 = refilled
            .counts
            .iter()
            .map(|&(at, count)| prices[at] * i64::from(count))
            .sum();
        if !refilled.counts.is_empty() && worth >= instance.kinds[refilled.kind].price * 15 / 16 {
            open(refilled, 1, left, plan);
        }
    }
}

fn open(pattern: Pattern, times: u32, left: &mut [u32], plan: &mut Plan) {
    for &(at, count) in &pattern.counts {
        left[at] -= count * times;
    }
    plan.patterns.push((pattern, times));
}

/// The pattern and the most valuable of what still goes in with it.
fn refilled(instance: &Instance, pattern: Pattern, left: &[u32], prices: &[i64], budget: &mut Budget) -> Pattern {
    let mut limits = left.to_vec();
    let mut free = instance.kinds[pattern.kind].capacity;
    for &(at, count) in &pattern.counts {
        limits[at] -= count;
        free = std::array::from_fn(|d| free[d] - instance.sizes[at][d] * i64::from(count));
    }
    let values: Vec<i64> = prices.iter().map(|&price| price + 1).collect();
    let offer = Offer {
        sizes: &instance.sizes,
        values: &values,
        limits: &limits,
    };
    let added = fill(&free, offer, 0, 40_000);
    budget.filled(&added, limits.len());
    let mut counts = pattern.counts;
    for (at, count) in added.counts {
        match counts.binary_search_by_key(&at, |&(at, _)| at) {
            Ok(place) => counts[place].1 += count,
            Err(place) => counts.insert(place, (at, count)),
        }
    }
    Pattern {
        kind: pattern.kind,
        counts,
    }
}
