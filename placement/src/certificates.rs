//! The books of N+1: what each node would have to take over when one other node dies.
//!
//! `S(a, b)` is the sum over the workloads on `a` whose certificate names `b`; `R(b)` is the largest `S(a, b)` of any `a`,
//! resource by resource, since only one node dies at a time. Kept exact under every change: one small tournament tree per
//! node that carries a reserve, so that a departure costs a logarithm and not a look at all the others.

use crate::{Resources, usage::Load};

/// What is compared component by component.
pub(crate) trait Amount: Copy + PartialEq {
    const NONE: Self;
    fn larger(self, other: Self) -> Self;
}

impl Amount for Resources {
    const NONE: Self = Self::ZERO;
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
}

impl Amount for Load {
    const NONE: Self = Self::ZERO;
    fn larger(self, other: Self) -> Self {
        self.max(other)
    }
}

/// The component-wise maximum over leaves that change one at a time.
#[derive(Clone, Debug)]
struct Tree<T> {
    /// A heap: the children of `i` are `2i` and `2i + 1`, the leaves are the upper half.
    heap: Vec<T>,
}

impl<T: Amount> Tree<T> {
    fn new() -> Self {
        Self { heap: vec![T::NONE; 2] }
    }

    fn leaves(&self) -> usize {
        self.heap.len() / 2
    }

    fn get(&self, leaf: usize) -> T {
        self.heap.get(self.leaves() + leaf).copied().unwrap_or(T::NONE)
    }

    fn largest(&self) -> T {
        self.heap[1]
    }

    fn grow(&mut self, leaf: usize) {
        if leaf < self.leaves() {
            return;
        }
        let leaves = (leaf + 1).next_power_of_two();
        let mut heap = vec![T::NONE; 2 * leaves];
        heap[leaves..leaves + self.leaves()].copy_from_slice(&self.heap[self.leaves()..]);
        for at in (1..leaves).rev() {
            heap[at] = heap[2 * at].larger(heap[2 * at + 1]);
        }
        self.heap = heap;
    }

    fn set(&mut self, leaf: usize, value: T) {
        self.grow(leaf);
        let mut at = self.leaves() + leaf;
        self.heap[at] = value;
        while at > 1 {
            at /= 2;
            let value = self.heap[2 * at].larger(self.heap[2 * at + 1]);
            if self.heap[at] == value {
                break;
            }
            self.heap[at] = value;
        }
    }

    /// The maximum as it would be with another value in one leaf.
    fn with(&self, leaf: usize, value: T) -> T {
        let mut at = self.leaves() + leaf;
        let mut most = value;
        while at > 1 {
            most = most.larger(self.heap[at ^ 1]);
            at /= 2;
        }
        most
    }
}

/// What one node would take over, by the node that dies.
#[derive(Clone, Debug)]
pub(crate) struct Carrier {
    requests: Tree<Resources>,
    loads: Option<Tree<Load>>,
    /// The dying node of each leaf; `None` is free for the next one.
    sources: Vec<Option<u32>>,
}

impl Carrier {
    /// R(b).
    pub fn reserve(&self) -> Resources {
        self.requests.largest()
    }

    pub fn load(&self) -> Load {
        self.loads.as_ref().map_or(Load::ZERO, Tree::largest)
    }

    /// The nodes whose loss brings something here.
    pub fn sources(&self) -> impl Iterator<Item = u32> + '_ {
        self.sources.iter().flatten().copied()
    }
}

#[derive(Clone, Copy, Debug)]
struct Pair {
    carrier: u32,
    leaf: u32,
    workloads: u32,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Certificates {
    carriers: Vec<Option<Box<Carrier>>>,
    /// The nodes that carry a reserve, ascending.
    listed: Vec<u32>,
    /// By the node that dies.
    pairs: Vec<Vec<Pair>>,
    /// How many workloads have one.
    pub count: usize,
    track_loads: bool,
}

impl Certificates {
    pub fn new(nodes: usize, track_loads: bool) -> Self {
        Self {
            carriers: vec![None; nodes],
            pairs: vec![Vec::new(); nodes],
            track_loads,
            ..Self::default()
        }
    }

    pub fn push_node(&mut self) {
        self.carriers.push(None);
        self.pairs.push(Vec::new());
    }

    pub fn carriers(&self) -> &[u32] {
        &self.listed
    }

    pub fn carrier(&self, node: u32) -> Option<&Carrier> {
        self.carriers[node as usize].as_deref()
    }

    fn pair(&self, from: u32, to: u32) -> Option<&Pair> {
        self.pairs.get(from as usize)?.iter().find(|pair| pair.carrier == to)
    }

    /// S(from, to).
    pub fn inflow(&self, from: u32, to: u32) -> Resources {
        let found = self.pair(from, to).zip(self.carrier(to));
        found.map_or(Resources::ZERO, |(pair, carrier)| {
            carrier.requests.get(pair.leaf as usize)
        })
    }

    pub fn load_inflow(&self, from: u32, to: u32) -> Load {
        let found = self.pair(from, to).zip(self.carrier(to));
        let loads = found.and_then(|(pair, carrier)| Some((pair, carrier.loads.as_ref()?)));
        loads.map_or(Load::ZERO, |(pair, loads)| loads.get(pair.leaf as usize))
    }

    /// R(to) as it would be with another S(from, to).
    pub fn reserve_with(&self, from: u32, to: u32, inflow: Resources) -> Resources {
        match (self.carrier(to), self.pair(from, to)) {
            (None, _) => inflow.max(Resources::ZERO),
            (Some(carrier), None) => carrier.reserve().max(inflow),
            (Some(carrier), Some(pair)) => carrier.requests.with(pair.leaf as usize, inflow),
        }
    }

    pub fn load_with(&self, from: u32, to: u32, inflow: Load) -> Load {
        match (self.carrier(to), self.pair(from, to)) {
            (None, _) => inflow,
            (Some(carrier), Some(pair)) => match &carrier.loads {
                Some(loads) => loads.with(pair.leaf as usize, inflow),
                None => inflow,
            },
            (Some(carrier), None) => carrier.load().max(inflow),
        }
    }

    /// A workload on `from` gets a certificate for `to`.
    pub fn add(&mut self, from: u32, to: u32, request: Resources, load: Option<&Load>) {
        self.count += 1;
        let track = self.track_loads;
        let listed = &mut self.listed;
        let carrier = self.carriers[to as usize].get_or_insert_with(|| {
            let at = listed.partition_point(|&other| other < to);
            listed.insert(at, to);
            Box::new(Carrier {
                requests: Tree::new(),
                loads: track.then(Tree::new),
                sources: Vec::new(),
            })
        });
        let pairs = &mut self.pairs[from as usize];
        let at = pairs.iter().position(|pair| pair.carrier == to).unwrap_or_else(|| {
            let leaf = carrier
                .sources
                .iter()
                .position(Option::is_none)
                .unwrap_or(carrier.sources.len());
            if leaf == carrier.sources.len() {
                carrier.sources.push(None);
            }
            carrier.sources[leaf] = Some(from);
            let leaf = u32::try_from(leaf).unwrap_or(u32::MAX);
            pairs.push(Pair {
                carrier: to,
                leaf,
                workloads: 0,
            });
            pairs.len() - 1
        });
        pairs[at].workloads += 1;
        let leaf = pairs[at].leaf as usize;
        carrier.requests.set(leaf, carrier.requests.get(leaf).plus(request));
        if let (Some(loads), Some(load)) = (&mut carrier.loads, load) {
            loads.set(leaf, loads.get(leaf).plus(*load));
        }
    }

    /// And loses it.
    pub fn remove(&mut self, from: u32, to: u32, request: Resources, load: Option<&Load>) {
        let pairs = &mut self.pairs[from as usize];
        let Some(at) = pairs.iter().position(|pair| pair.carrier == to) else {
            return;
        };
        let Some(carrier) = &mut self.carriers[to as usize] else {
            return;
        };
        self.count -= 1;
        pairs[at].workloads -= 1;
        let leaf = pairs[at].leaf as usize;
        let last = pairs[at].workloads == 0;
        let rest = if last {
            Resources::ZERO
        } else {
            carrier.requests.get(leaf).minus(request)
        };
        carrier.requests.set(leaf, rest);
        if let (Some(loads), Some(load)) = (&mut carrier.loads, load) {
            let rest = if last { Load::ZERO } else { loads.get(leaf).minus(*load) };
            loads.set(leaf, rest);
        }
        if last {
            pairs.swap_remove(at);
            carrier.sources[leaf] = None;
            if carrier.sources.iter().all(Option::is_none) {
                self.carriers[to as usize] = None;
                self.listed.retain(|&other| other != to);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(cpu_milli: i64) -> Resources {
        Resources {
            cpu_milli,
            ..Resources::ZERO
        }
    }

    fn mem(mem_mib: i64) -> Resources {
        Resources {
            mem_mib,
            ..Resources::ZERO
        }
    }

    #[test]
    fn the_reserve_is_the_worst_single_loss_resource_by_resource() {
        let mut books = Certificates::new(4, false);
        books.add(0, 3, cpu(100), None);
        books.add(0, 3, cpu(50), None);
        books.add(1, 3, mem(7), None);
        books.add(2, 3, cpu(20), None);
        let reserve = |books: &Certificates| books.carrier(3).map(Carrier::reserve);
        assert_eq!(reserve(&books), Some(cpu(150).plus(mem(7))));
        assert_eq!(books.reserve_with(0, 3, cpu(10)), cpu(20).plus(mem(7)));
        books.remove(0, 3, cpu(100), None);
        assert_eq!(reserve(&books), Some(cpu(50).plus(mem(7))));
        books.remove(0, 3, cpu(50), None);
        books.remove(1, 3, mem(7), None);
        assert_eq!(reserve(&books), Some(cpu(20)));
        books.remove(2, 3, cpu(20), None);
        assert_eq!((reserve(&books), books.carriers(), books.count), (None, &[][..], 0));
    }
}
