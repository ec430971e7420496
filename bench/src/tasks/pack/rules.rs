//! The rules that others pack by, for nodes of one class.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use placement::{Dimension, Resources};

use super::Assignment;

type Rule = fn(Resources, &[Resources]) -> Assignment;

pub const ALL: [(&str, Rule); 8] = [
    ("first fit", |class, pods| first_fit(class, pods, &in_order(pods))),
    ("best fit", |class, pods| fullest_fit(class, pods, &Dimension::ALL)),
    ("MostAllocated", |class, pods| fullest_fit(class, pods, &KUBE)),
    ("LeastAllocated", least_allocated),
    ("FFD max", |class, pods| {
        decreasing(class, pods, |shares| shares.into_iter().fold(0.0, f64::max))
    }),
    ("FFD sum", |class, pods| {
        decreasing(class, pods, |shares| shares.into_iter().sum())
    }),
    ("bin-centric dot", |class, pods| centric(class, pods, dot)),
    ("bin-centric L2", |class, pods| centric(class, pods, distance)),
];

/// What kube-scheduler's scores look at.
const KUBE: [Dimension; 2] = [Dimension::Cpu, Dimension::Memory];

fn in_order(pods: &[Resources]) -> Vec<usize> {
    (0..pods.len()).collect()
}

fn fits(free: Resources, pod: Resources) -> bool {
    free.shortage(pod).is_zero()
}

/// Shares of the class; resources that it has none of count nothing.
fn shares(amounts: Resources, class: Resources) -> [f64; 4] {
    Dimension::ALL.map(|dimension| amounts.get(dimension) as f64 / class.get(dimension).max(1) as f64)
}

fn first_fit(class: Resources, pods: &[Resources], order: &[usize]) -> Assignment {
    let mut free: Vec<Resources> = Vec::new();
    let mut assignment = vec![0; pods.len()];
    for &at in order {
        let bin = free.iter().position(|free| fits(*free, pods[at])).unwrap_or(free.len());
        if bin == free.len() {
            free.push(class);
        }
        free[bin] = free[bin].minus(pods[at]);
        assignment[at] = bin;
    }
    assignment
}

fn decreasing(class: Resources, pods: &[Resources], size: fn([f64; 4]) -> f64) -> Assignment {
    let mut order = in_order(pods);
    order.sort_by(|&a, &b| size(shares(pods[b], class)).total_cmp(&size(shares(pods[a], class))));
    first_fit(class, pods, &order)
}

/// The free share, added up over the resources that are looked at, in 2^-40: on nodes of one class the order by it is the
/// order by what stays free after placing, whatever the pod.
fn free_share(free: Resources, class: Resources, over: &[Dimension]) -> i64 {
    let share =
        |dimension: &Dimension| (i128::from(free.get(*dimension)) << 40) / i128::from(class.get(*dimension).max(1));
    over.iter().map(|dimension| share(dimension) as i64).sum()
}

/// Nodes in the order of what is free on them.
struct Nodes<'a> {
    class: Resources,
    over: &'a [Dimension],
    free: Vec<Resources>,
    by_share: BTreeSet<(i64, usize)>,
}

impl<'a> Nodes<'a> {
    fn new(class: Resources, over: &'a [Dimension], count: usize) -> Self {
        let mut nodes = Self {
            class,
            over,
            free: Vec::new(),
            by_share: BTreeSet::new(),
        };
        for _ in 0..count {
            nodes.open();
        }
        nodes
    }

    fn open(&mut self) -> usize {
        self.by_share
            .insert((free_share(self.class, self.class, self.over), self.free.len()));
        self.free.push(self.class);
        self.free.len() - 1
    }

    fn take(&mut self, at: usize, pod: Resources) {
        self.by_share
            .remove(&(free_share(self.free[at], self.class, self.over), at));
        self.free[at] = self.free[at].minus(pod);
        self.by_share
            .insert((free_share(self.free[at], self.class, self.over), at));
    }
}

fn fullest_fit(class: Resources, pods: &[Resources], over: &[Dimension]) -> Assignment {
    let mut nodes = Nodes::new(class, over, 0);
    let place = |&pod: &Resources| {
        let fullest = nodes
            .by_share
            .iter()
            .map(|&(_, at)| at)
            .find(|&at| fits(nodes.free[at], pod));
        let at = fullest.unwrap_or_else(|| nodes.open());
        nodes.take(at, pod);
        at
    };
    pods.iter().map(place).collect()
}

/// The emptiest node of a given number of them; the least number that takes all pods.
fn least_allocated(class: Resources, pods: &[Resources]) -> Assignment {
    let spread = |count: usize| -> Option<Assignment> {
        let mut nodes = Nodes::new(class, &KUBE, count);
        let place = |&pod: &Resources| {
            let mut emptiest = nodes.by_share.iter().rev().map(|&(_, at)| at);
            let at = emptiest.find(|&at| fits(nodes.free[at], pod))?;
            nodes.take(at, pod);
            Some(at)
        };
        pods.iter().map(place).collect()
    };
    let (mut refused, mut taken) = (0, pods.len());
    let mut best = in_order(pods);
    while taken - refused > 1 {
        let middle = usize::midpoint(refused, taken);
        match spread(middle) {
            Some(assignment) => (taken, best) = (middle, assignment),
            None => refused = middle,
        }
    }
    best
}

type Score = fn(weights: [f64; 4], pod: [f64; 4], free: [f64; 4]) -> f64;

fn dot(weights: [f64; 4], pod: [f64; 4], free: [f64; 4]) -> f64 {
    (0..4).map(|at| weights[at] * pod[at] * free[at]).sum()
}

fn distance(weights: [f64; 4], pod: [f64; 4], free: [f64; 4]) -> f64 {
    -(0..4).map(|at| weights[at] * (free[at] - pod[at]).powi(2)).sum::<f64>()
}

/// Node by node, always the pod with the highest score for what is free (Panigrahy, Talwar, Uyeda, Wieder 2011; weights
/// are the mean demands).
fn centric(class: Resources, pods: &[Resources], score: Score) -> Assignment {
    let mut left: Vec<(Resources, Vec<usize>)> = Vec::new();
    let mut order = in_order(pods);
    order.sort_by_key(|&at| (Reverse(pods[at]), at));
    for at in order {
        match left.last_mut() {
            Some((shape, alike)) if *shape == pods[at] => alike.push(at),
            _ => left.push((pods[at], vec![at])),
        }
    }
    let sum = pods.iter().fold([0.0; 4], |sum: [f64; 4], pod| {
        let shares = shares(*pod, class);
        std::array::from_fn(|at| sum[at] + shares[at])
    });
    let weights = sum.map(|sum| sum / pods.len() as f64);
    let mut assignment = vec![0; pods.len()];
    let mut bin = 0;
    while !left.is_empty() {
        let mut free = class;
        loop {
            let room = shares(free, class);
            let best = left
                .iter_mut()
                .filter(|(shape, alike)| !alike.is_empty() && fits(free, *shape))
                .map(|(shape, alike)| (score(weights, shares(*shape, class), room), *shape, alike))
                .max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            let Some((_, shape, alike)) = best else { break };
            let pod = alike.pop().expect("there is one");
            assignment[pod] = bin;
            free = free.minus(shape);
        }
        left.retain(|(_, alike)| !alike.is_empty());
        bin += 1;
    }
    assignment
}
