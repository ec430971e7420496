//! What CPU, memory and disk are worth on each kind of node, so that a pod goes where it wastes the least.
//!
//! Best fit alone fills a node that has little memory per CPU with pods that want much of it, and strands the CPU. The fluid
//! relaxation (every kind of pod in the proportion in which it occurs, in fractions, over all kinds of nodes) says what is
//! scarce where: its dual prices. A pod's *regret* on a kind of node is what it costs there beyond the cheapest place. In the
//! optimum nothing is placed with regret, so the score prefers none (bid prices of network revenue management: Talluri and
//! van Ryzin 1998).
//!
//! The prices come from multiplicative weights on the loads (Plotkin, Shmoys, Tardos 1995; Garg, Könemann 1998) in whole
//! numbers. They are near the dual ones, so regrets below a tenth count as none. They are a hint: any prices are safe.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Cluster, Resources, cluster::Group};

/// How often all kinds of pods are sent to their cheapest nodes. More brings the prices closer to the dual ones.
const ROUNDS: i64 = 400;
/// A load that fills a resource once raises its weight by one part in so many.
const STEP: i128 = 50;
const ONE: i128 = 1 << 40;
/// Kinds of nodes with less than one part in so many of every resource are left out.
const NEGLIGIBLE: i128 = 50;
/// A regret below one part in so many of the least cost is none.
const TOLERANCE: i64 = 10;
/// Pods of more kinds than this are told apart more coarsely.
const KINDS: usize = 128;

/// Prices per kind of node. Empty: no kind is preferred.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prices(BTreeMap<Group, [i64; 3]>);

impl Prices {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn of(&self, group: Group) -> Option<[i64; 3]> {
        self.0.get(&group).copied()
    }
}

/// At most 3 times 2^60: prices and amounts are at most 2^30 each.
fn cost(prices: [i64; 3], demand: Resources) -> i64 {
    let part = |at: usize, amount: i64| prices[at].saturating_mul(amount);
    let sum = part(0, demand.cpu_milli).saturating_add(part(1, demand.mem_mib));
    sum.saturating_add(part(2, demand.disk_mib))
}

/// What a demand costs on each kind of node beyond the cheapest, in steps of the tolerance: 0 is as good as the best.
#[derive(Clone, Debug)]
pub(crate) struct Regrets {
    /// Most clusters have few kinds of nodes, and a decision should not allocate.
    few: [u32; 8],
    many: Vec<u32>,
}

impl Regrets {
    pub fn new(cluster: &Cluster, demand: Resources) -> Self {
        let prices = cluster.group_prices();
        let mut regrets = Self {
            few: [0; 8],
            many: Vec::new(),
        };
        if prices.is_empty() {
            return regrets;
        }
        let costs = prices.iter().map(|prices| prices.map(|prices| cost(prices, demand)));
        let least = costs.clone().flatten().min().unwrap_or(0);
        let step = (least / TOLERANCE).max(1);
        let regret =
            |cost: Option<i64>| cost.map_or(0, |cost| u32::try_from((cost - least) / step).unwrap_or(u32::MAX));
        if prices.len() > regrets.few.len() {
            regrets.many = costs.map(regret).collect();
        } else {
            for (slot, cost) in regrets.few.iter_mut().zip(costs) {
                *slot = regret(cost);
            }
        }
        regrets
    }

    pub fn of(&self, group: usize) -> u32 {
        let regrets = if self.many.is_empty() {
            &self.few[..]
        } else {
            &self.many[..]
        };
        regrets.get(group).copied().unwrap_or(0)
    }
}

struct Kind {
    demand: [i128; 3],
    pods: i128,
}

struct Offer {
    group: Group,
    total: [i128; 3],
    /// The largest node.
    largest: [i128; 3],
    weight: [i128; 3],
}

/// The prices for what runs now: a pure function of the cluster.
pub fn prices(cluster: &Cluster) -> Prices {
    let mut counts: BTreeMap<[i64; 3], i128> = BTreeMap::new();
    for (workload, _) in cluster.workloads_unordered() {
        let Resources {
            cpu_milli,
            mem_mib,
            disk_mib,
            ..
        } = workload.request;
        *counts.entry([cpu_milli, mem_mib, disk_mib]).or_default() += 1;
    }
    let mut bits = 12;
    while counts.len() > KINDS && bits > 0 {
        bits -= 1;
        let mut coarse: BTreeMap<[i64; 3], i128> = BTreeMap::new();
        for (demand, pods) in &counts {
            *coarse.entry(demand.map(|amount| leading(amount, bits))).or_default() += pods;
        }
        counts = coarse;
    }
    let kinds: Vec<Kind> = counts
        .into_iter()
        .map(|(demand, pods)| Kind {
            demand: demand.map(i128::from),
            pods,
        })
        .collect();
    Prices(solve(offers(cluster), &kinds))
}

/// An amount with only its highest bits, rounded up: nothing may look smaller than it is.
fn leading(amount: i64, bits: u32) -> i64 {
    let drop = (i64::BITS - amount.max(0).leading_zeros()).saturating_sub(bits + 1);
    ((amount + (1 << drop) - 1) >> drop) << drop
}

fn offers(cluster: &Cluster) -> Vec<Offer> {
    let mut offers: BTreeMap<Group, Offer> = BTreeMap::new();
    for (group, free) in cluster.offered() {
        let amounts = [free.cpu_milli, free.mem_mib, free.disk_mib].map(|amount| i128::from(amount.max(0)));
        let offer = offers.entry(group).or_insert(Offer {
            group,
            total: [0; 3],
            largest: [0; 3],
            weight: [ONE; 3],
        });
        for (at, amount) in amounts.into_iter().enumerate() {
            offer.total[at] += amount;
            offer.largest[at] = offer.largest[at].max(amount);
        }
    }
    let mut offers: Vec<Offer> = offers.into_values().collect();
    // A kind of node that hardly counts gets no price: it would be noise.
    let all = |at: usize| offers.iter().map(|offer| offer.total[at]).sum::<i128>();
    let all = [all(0), all(1), all(2)];
    offers.retain(|offer| (0..3).any(|at| offer.total[at] * NEGLIGIBLE > all[at]));
    offers
}

/// A demand's share of an offer, in this many parts.
const SHARE_BITS: u32 = 44;

/// What one kind of pod takes of one offer: per pod, and what one round sends there.
#[derive(Clone, Copy, Default)]
struct Part {
    /// Whether the largest node could hold it.
    able: bool,
    share: [i128; 3],
    /// By how much a weight grows for it.
    growth: [i128; 3],
}

fn parts(offers: &[Offer], kinds: &[Kind]) -> Vec<Vec<Part>> {
    // One round sends as much as would fill the scarcest resource once.
    let wanted = |at: usize| kinds.iter().map(|kind| kind.demand[at] * kind.pods).sum::<i128>();
    let offered = |at: usize| offers.iter().map(|offer| offer.total[at]).sum::<i128>();
    let (demand, capacity) = (0..3)
        .map(|at| (wanted(at), offered(at)))
        .filter(|&(demand, _)| demand > 0)
        .max_by(|a, b| (a.0 * b.1.max(1)).cmp(&(b.0 * a.1.max(1))))
        .unwrap_or((1, 1));
    let part = |kind: &Kind, offer: &Offer| {
        let share = |at: usize| (kind.demand[at] << SHARE_BITS) / offer.total[at].max(1);
        // Never more than one filling of the offer: a small one would otherwise swing.
        let growth = |at: usize| {
            let sent = (share(at) * kind.pods).min(1 << (2 * SHARE_BITS)) / demand * capacity;
            sent.min(1 << SHARE_BITS) / STEP
        };
        Part {
            able: (0..3).all(|at| offer.largest[at] >= kind.demand[at]),
            share: std::array::from_fn(share),
            growth: std::array::from_fn(growth),
        }
    };
    kinds
        .iter()
        .map(|kind| offers.iter().map(|offer| part(kind, offer)).collect())
        .collect()
}

fn solve(mut offers: Vec<Offer>, kinds: &[Kind]) -> BTreeMap<Group, [i64; 3]> {
    if offers.len() < 2 || kinds.is_empty() {
        return BTreeMap::new();
    }
    let parts = parts(&offers, kinds);
    let mut sums: Vec<[i128; 3]> = vec![[0; 3]; offers.len()];
    for round in 0..ROUNDS {
        for parts in &parts {
            let cost = |at: usize| {
                (0..3)
                    .map(|of| offers[at].weight[of] * parts[at].share[of])
                    .sum::<i128>()
            };
            let able = (0..offers.len()).filter(|&at| parts[at].able);
            let Some(cheapest) = able.min_by_key(|&at| cost(at)) else {
                continue;
            };
            for (weight, growth) in offers[cheapest].weight.iter_mut().zip(parts[cheapest].growth) {
                *weight += (*weight * growth) >> SHARE_BITS;
            }
        }
        // Only ratios matter.
        let most = offers.iter().flat_map(|offer| offer.weight).max().unwrap_or(ONE);
        while offers
            .iter()
            .flat_map(|offer| offer.weight)
            .any(|weight| weight > 2 * ONE)
            && most > ONE
        {
            for offer in &mut offers {
                offer.weight = offer.weight.map(|weight| (weight >> 1).max(1));
            }
        }
        if round >= ROUNDS / 2 {
            let total: i128 = offers.iter().flat_map(|offer| offer.weight).sum();
            for (sum, offer) in sums.iter_mut().zip(&offers) {
                for (sum, weight) in sum.iter_mut().zip(offer.weight) {
                    *sum += weight * ONE / total.max(1);
                }
            }
        }
    }
    // The largest price is scaled to 2^30: costs of any demand stay far inside of i128, regrets are ratios.
    let raw: Vec<[i128; 3]> = sums
        .iter()
        .zip(&offers)
        .map(|(sum, offer)| std::array::from_fn(|at| (sum[at] << 20) / offer.total[at].max(1)))
        .collect();
    let most = raw.iter().flatten().copied().max().unwrap_or(1).max(1);
    let scaled = |price: i128| i64::try_from((price << 30) / most).unwrap_or(i64::MAX);
    offers
        .iter()
        .zip(raw)
        .map(|(offer, raw)| (offer.group, raw.map(scaled)))
        .collect()
}
