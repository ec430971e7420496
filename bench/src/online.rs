//! The rules that others place by, one pod at a time, over flat arrays and without any constraint but room.

use placement::Resources;

use crate::random::Random;

/// CPU, memory, disk, pods.
pub type Amounts = [i64; 4];

pub fn amounts(of: Resources) -> Amounts {
    [of.cpu_milli, of.mem_mib, of.disk_mib, of.pods]
}

/// Less is better.
pub type Score = fn(free: Amounts, capacity: Amounts, demand: Amounts, largest: Amounts) -> f64;

fn shares(free: Amounts, capacity: Amounts, demand: Amounts) -> [f64; 2] {
    [0, 1].map(|at| (free[at] - demand[at]) as f64 / capacity[at].max(1) as f64)
}

/// kube-scheduler's default: LeastAllocated and BalancedAllocation, equally.
fn kube_default(free: Amounts, capacity: Amounts, demand: Amounts, _: Amounts) -> f64 {
    let [cpu, mem] = shares(free, capacity, demand);
    // The deviation of two shares from their mean is half of their difference.
    -(f64::midpoint(cpu, mem) + (1.0 - (cpu - mem).abs() / 2.0))
}

fn least_allocated(free: Amounts, capacity: Amounts, demand: Amounts, _: Amounts) -> f64 {
    let [cpu, mem] = shares(free, capacity, demand);
    -f64::midpoint(cpu, mem)
}

fn most_allocated(free: Amounts, capacity: Amounts, demand: Amounts, _: Amounts) -> f64 {
    let [cpu, mem] = shares(free, capacity, demand);
    f64::midpoint(cpu, mem)
}

fn best_fit(free: Amounts, _: Amounts, demand: Amounts, largest: Amounts) -> f64 {
    (0..3)
        .map(|at| (free[at] - demand[at]) as f64 / largest[at].max(1) as f64)
        .sum()
}

/// Tetris: the node whose free room points where the demand points, and is the largest.
fn dot_product(free: Amounts, _: Amounts, demand: Amounts, largest: Amounts) -> f64 {
    let scaled = |of: Amounts, at: usize| of[at] as f64 / largest[at].max(1) as f64;
    -(0..3).map(|at| scaled(free, at) * scaled(demand, at)).sum::<f64>()
}

fn first_fit(_: Amounts, _: Amounts, _: Amounts, _: Amounts) -> f64 {
    0.0
}

pub const RULES: [(&str, Score); 6] = [
    ("kube default", kube_default),
    ("LeastAllocated", least_allocated),
    ("MostAllocated", most_allocated),
    ("first fit", first_fit),
    ("dot product", dot_product),
    ("best fit", best_fit),
];

pub const BEST_FIT: Score = best_fit;
pub const LEAST_ALLOCATED: Score = least_allocated;

/// Nodes and what is free on them.
#[derive(Clone, Debug)]
pub struct Fleet {
    pub capacity: Vec<Amounts>,
    pub free: Vec<Amounts>,
    /// Node and demand of everything that runs.
    pub running: Vec<(usize, Amounts)>,
    largest: Amounts,
}

impl Fleet {
    pub fn new(nodes: impl IntoIterator<Item = Resources>) -> Self {
        let capacity: Vec<Amounts> = nodes.into_iter().map(amounts).collect();
        let largest = std::array::from_fn(|at| capacity.iter().map(|node| node[at]).max().unwrap_or(0));
        Self {
            free: capacity.clone(),
            capacity,
            running: Vec::new(),
            largest,
        }
    }

    /// The best node by a rule; the first of equals.
    pub fn choose(&self, score: Score, demand: Amounts, except: Option<usize>) -> Option<usize> {
        let fits = |&at: &usize| (0..4).all(|of| self.free[at][of] >= demand[of]) && Some(at) != except;
        let scored = (0..self.free.len())
            .filter(fits)
            .map(|at| (score(self.free[at], self.capacity[at], demand, self.largest), at));
        scored.min_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, at)| at)
    }

    pub fn put(&mut self, at: usize, demand: Amounts) {
        for (free, demand) in self.free[at].iter_mut().zip(demand) {
            *free -= demand;
        }
        self.running.push((at, demand));
    }

    pub fn leave(&mut self, random: &mut Random) {
        if self.running.is_empty() {
            return;
        }
        let (at, demand) = self.running.swap_remove(random.below(self.running.len()));
        for (free, demand) in self.free[at].iter_mut().zip(demand) {
            *free += demand;
        }
    }

    /// Whether everything on a node finds another one, largest first, by best fit.
    pub fn absorbs(&self, lost: usize) -> bool {
        let mut rest = self.clone();
        let mut leaving: Vec<Amounts> = self
            .running
            .iter()
            .filter(|(at, _)| *at == lost)
            .map(|(_, demand)| *demand)
            .collect();
        leaving.sort_unstable_by_key(|demand| std::cmp::Reverse((demand[0].max(demand[1]), *demand)));
        leaving
            .into_iter()
            .all(|demand| match rest.choose(best_fit, demand, Some(lost)) {
                Some(at) => {
                    rest.put(at, demand);
                    true
                }
                None => false,
            })
    }
}
