//! Packings by simple rules: a start, a floor for the quality, and an end when the effort is spent.

use super::instance::{Instance, Pattern, Plan, Size};

/// The best packing of several rules, the first of equals.
pub fn best(instance: &Instance, demand: &[u32]) -> Plan {
    let scarcity = scarcity(instance, demand);
    let mut plans = vec![
        decreasing(instance, demand, |size| largest_share(instance, size)),
        decreasing(instance, demand, |size| sum_of_shares(instance, size)),
        centric(instance, demand, &scarcity, Rule::Dot),
        centric(instance, demand, &scarcity, Rule::Distance),
        centric(instance, demand, &[SHARE; 4], Rule::Distance),
    ];
    let least = plans
        .iter()
        .enumerate()
        .min_by_key(|(at, plan)| (plan.cost(instance), *at))
        .map_or(0, |(at, _)| at);
    plans.swap_remove(least)
}

/// One in the fixed point of shares.
const SHARE: i64 = 1 << 14;

fn share(amount: i64, of: i64) -> i64 {
    let share = (i128::from(amount) << 14) / i128::from(of.max(1));
    i64::try_from(share).unwrap_or(i64::MAX)
}

fn shares(amounts: &Size, of: &Size) -> Size {
    std::array::from_fn(|at| share(amounts[at], of[at]))
}

/// The largest capacity of each resource.
fn reference(instance: &Instance) -> Size {
    instance.kinds.iter().fold([0; 4], |largest, kind| {
        std::array::from_fn(|at| largest[at].max(kind.capacity[at]))
    })
}

fn largest_share(instance: &Instance, size: &Size) -> i64 {
    shares(size, &reference(instance)).into_iter().max().unwrap_or(0)
}

fn sum_of_shares(instance: &Instance, size: &Size) -> i64 {
    shares(size, &reference(instance)).into_iter().sum()
}

/// The weight of one pod of each shape: its shares of the largest node, times the scarcity of each resource.
pub fn weighted_shares(instance: &Instance, demand: &[u32]) -> Vec<i64> {
    let (reference, scarcity) = (reference(instance), scarcity(instance, demand));
    instance
        .sizes
        .iter()
        .map(|size| weight(&shares(size, &reference), &scarcity))
        .collect()
}

/// The weight of a node that is full of what is scarce.
pub fn weight_of_full(instance: &Instance, demand: &[u32]) -> i64 {
    let full: Size = reference(instance).map(|amount| if amount > 0 { SHARE } else { 0 });
    weight(&full, &scarcity(instance, demand))
}

fn weight(shares: &Size, scarcity: &Size) -> i64 {
    shares
        .iter()
        .zip(scarcity)
        .map(|(share, scarcity)| share * scarcity)
        .sum()
}

/// How many of the largest nodes each resource would fill, as shares of the scarcest one.
fn scarcity(instance: &Instance, demand: &[u32]) -> Size {
    let reference = reference(instance);
    let nodes: [i128; 4] = std::array::from_fn(|at| {
        let asked = instance.sizes.iter().zip(demand);
        let asked: i128 = asked
            .map(|(size, &count)| i128::from(size[at]) * i128::from(count))
            .sum();
        (asked << 14) / i128::from(reference[at].max(1))
    });
    let most = nodes.into_iter().max().unwrap_or(1).max(1);
    nodes.map(|nodes| i64::try_from((nodes << 14) / most).unwrap_or(SHARE))
}

struct Open {
    free: Size,
    pattern: Pattern,
}

/// First fit, the largest first; a node that has to be opened is of the kind that is cheapest for the pod.
fn decreasing(instance: &Instance, demand: &[u32], key: impl Fn(&Size) -> i64) -> Plan {
    let mut order: Vec<usize> = (0..demand.len()).collect();
    order.sort_by_key(|&at| (std::cmp::Reverse(key(&instance.sizes[at])), at));
    let mut nodes: Vec<Open> = Vec::new();
    for at in order {
        let size = &instance.sizes[at];
        let mut left = demand[at];
        let mut next = 0;
        while left > 0 {
            if next == nodes.len() {
                let (kind, _) = instance.cheapest_alone(size, left).expect("every shape fits a kind");
                nodes.push(Open {
                    free: instance.kinds[kind].capacity,
                    pattern: Pattern {
                        kind,
                        counts: Vec::new(),
                    },
                });
            }
            let node = &mut nodes[next];
            let count = Instance::fitting(&node.free, size).min(left);
            if count > 0 {
                node.free = less(&node.free, size, count);
                node.pattern.counts.push((at, count));
                left -= count;
            }
            next += 1;
        }
    }
    let mut patterns: Vec<(Pattern, u32)> = nodes
        .into_iter()
        .map(|mut node| {
            node.pattern.counts.sort_unstable();
            (node.pattern, 1)
        })
        .collect();
    patterns.sort();
    patterns.dedup_by(|later, first| {
        let same = later.0 == first.0;
        if same {
            first.1 += later.1;
        }
        same
    });
    Plan { patterns }
}

fn less(free: &Size, size: &Size, count: u32) -> Size {
    std::array::from_fn(|at| free[at] - size[at] * i64::from(count))
}

#[derive(Clone, Copy)]
enum Rule {
    /// The pod that lies best along what is free (Panigrahy, Talwar, Uyeda, Wieder 2011).
    Dot,
    /// The pod that leaves least (the same, norm-based greedy).
    Distance,
}

/// Node by node: the pod that suits what is free, until none fits. Of several kinds, the one that holds most for its
/// cost.
fn centric(instance: &Instance, demand: &[u32], weights: &Size, rule: Rule) -> Plan {
    let reference = reference(instance);
    let mut left = demand.to_vec();
    let mut plan = Plan::default();
    while left.iter().any(|&count| count > 0) {
        let filled = (0..instance.kinds.len())
            .filter_map(|kind| filled(instance, kind, &left, weights, rule))
            .max_by_key(|pattern| {
                let held: i128 = pattern
                    .counts
                    .iter()
                    .map(|&(at, count)| {
                        let shares = shares(&instance.sizes[at], &reference);
                        let weighted = shares
                            .iter()
                            .zip(weights)
                            .map(|(share, weight)| i128::from(share * weight));
                        (weighted.sum::<i128>() + 1) * i128::from(count)
                    })
                    .sum();
                let per_cost = (held << 20) / i128::from(instance.kinds[pattern.kind].cost);
                (per_cost, std::cmp::Reverse(pattern.kind))
            })
            .expect("what is left fits a kind");
        let times = filled
            .counts
            .iter()
            .map(|&(at, count)| left[at] / count)
            .min()
            .unwrap_or(1);
        for &(at, count) in &filled.counts {
            left[at] -= count * times;
        }
        plan.patterns.push((filled, times));
    }
    plan
}

fn filled(instance: &Instance, kind: usize, left: &[u32], weights: &Size, rule: Rule) -> Option<Pattern> {
    let capacity = instance.kinds[kind].capacity;
    let mut free = capacity;
    let mut taken = vec![0_u32; left.len()];
    let mut candidates: Vec<usize> = (0..left.len()).filter(|&at| left[at] > 0).collect();
    loop {
        candidates.retain(|&at| left[at] > taken[at] && Instance::fitting(&free, &instance.sizes[at]) > 0);
        let room = shares(&free, &capacity);
        let chosen = candidates.iter().copied().max_by_key(|&at| {
            let size = shares(&instance.sizes[at], &capacity);
            let score: i64 = (0..room.len())
                .map(|d| match rule {
                    Rule::Dot => weights[d] * size[d] * room[d],
                    Rule::Distance => -weights[d] * (room[d] - size[d]) * (room[d] - size[d]),
                })
                .sum();
            (score, std::cmp::Reverse(at))
        });
        let Some(at) = chosen else { break };
        // What asks for nothing goes in whole; everything else one by one.
        let all = instance.sizes[at].iter().all(|&amount| amount == 0);
        let count = if all { left[at] } else { 1 };
        taken[at] += count;
        free = less(&free, &instance.sizes[at], count);
    }
    let counts: Vec<(usize, u32)> = taken.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
    (!counts.is_empty()).then_some(Pattern { kind, counts })
}
