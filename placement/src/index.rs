//! Finding the best fit among thousands of nodes without looking at each.
//!
//! Best fit by what stays free means: of the nodes where it fits, the one with the smallest weighted free room, whatever is
//! asked for. So nodes are kept by that sum, in buckets of equal width; within a bucket, a word says which levels of free
//! CPU occur. Of a bucket, only a range of levels can hold a fit: enough CPU, and (since the sum is known) not so much that
//! memory and disk would be short. Buckets are walked upwards; the first one with a fit holds the best.
//!
//! Every candidate is looked at exactly, so the answer is the scan's, not an approximation of it.

mod cell;

use cell::Cell;

/// Room as the scan reads it: CPU, memory, disk, pods.
pub(crate) type Room = [i32; 4];

/// Does it fit? What is not asked for is not looked at: there, `need` is the smallest number.
// Without branches: which resource is short is anybody's guess.
#[allow(clippy::needless_bitwise_bool)]
#[inline]
pub(crate) fn fits(room: Room, need: Room) -> bool {
    (room[0] >= need[0]) & (room[1] >= need[1]) & (room[2] >= need[2]) & (room[3] >= need[3])
}

/// What one unit of each resource weighs in the sum of what is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weights(pub [i64; 3]);

impl Weights {
    /// The weighted sum; below zero nothing is free.
    #[inline]
    pub fn key(&self, room: Room) -> i64 {
        let term = |at: usize| i64::from(room[at].max(0)) * self.0[at];
        term(0) + term(1) + term(2)
    }
}

/// One node's rank: the sum, then its position. What is the least in this order is the best fit.
pub(crate) type Rank = (i64, u32);

const LEVELS: usize = 64;
/// Up to so many nodes are one list: walking it costs less than the buckets.
const SMALL: usize = 64;
/// Below it, sums are the same: a fraction of a thousandth of a CPU of the largest node there may be.
const UNIT: u32 = 14;
/// Buckets per octave, as a power of two.
const FINE: u32 = 6;
/// Levels per octave, as a power of two.
const COARSE: u32 = 3;

/// Steps that grow with the amount, as in a floating-point number: most nodes are nearly full, and there a small difference
/// decides.
#[inline]
fn step(amount: u64, bits: u32) -> usize {
    let mut step = amount;
    if amount >> bits > 0 {
        let high = amount.ilog2() - bits;
        step = (u64::from(high + 1) << bits) | ((amount >> high) & ((1 << bits) - 1));
    }
    usize::try_from(step).unwrap_or(usize::MAX)
}

/// The least amount of a step.
#[inline]
fn least_of(step: usize, bits: u32) -> u64 {
    let step = u64::try_from(step).unwrap_or(u64::MAX);
    match step >> bits {
        0 => step,
        high => ((1 << bits) | (step & ((1 << bits) - 1))) << (high - 1),
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    weights: Weights,
    /// Sums and free CPU are counted in units of so many bits; what is above the top step is on it.
    unit: u32,
    cpu_unit: u32,
    /// Which levels of CPU occur in a bucket.
    levels: Vec<u64>,
    /// Which buckets are not empty.
    occupied: Vec<u64>,
    /// By bucket and level. Many nodes may have the same sum (full ones, empty ones), so a cell has to bear thousands.
    cells: Vec<Cell>,
}

impl Index {
    /// For about so many nodes, whose sums are at most `most` and whose free CPU is at most `most_cpu`.
    pub fn new(weights: Weights, nodes: usize, most: i64, most_cpu: i64) -> Self {
        if nodes <= SMALL {
            // One ordered list.
            return Self::with_units(weights, 62, 62, 1);
        }
        let buckets = step(u64::try_from(most >> UNIT).unwrap_or(0), FINE) + 1;
        let mut cpu_unit = 0;
        while step(u64::try_from(most_cpu >> cpu_unit).unwrap_or(0), COARSE) >= LEVELS {
            cpu_unit += 1;
        }
        Self::with_units(weights, UNIT, cpu_unit, buckets)
    }

    fn with_units(weights: Weights, unit: u32, cpu_unit: u32, buckets: usize) -> Self {
        Self {
            weights,
            unit,
            cpu_unit,
            levels: vec![0; buckets],
            occupied: vec![0; buckets.div_ceil(64)],
            cells: vec![Cell::default(); buckets * LEVELS],
        }
    }

    #[inline]
    fn bucket(&self, key: i64) -> usize {
        step(u64::try_from(key >> self.unit).unwrap_or(0), FINE).min(self.levels.len() - 1)
    }

    #[inline]
    fn level(&self, cpu: i64) -> u32 {
        let level = step(u64::try_from(cpu >> self.cpu_unit).unwrap_or(0), COARSE).min(LEVELS - 1);
        u32::try_from(level).unwrap_or(0)
    }

    #[inline]
    pub fn insert(&mut self, node: u32, key: i64, room: Room) {
        let (bucket, level) = (self.bucket(key), self.level(i64::from(room[0])));
        self.cells[bucket * LEVELS + level as usize].insert((key, node));
        self.levels[bucket] |= 1 << level;
        self.occupied[bucket / 64] |= 1 << (bucket % 64);
    }

    #[inline]
    pub fn remove(&mut self, node: u32, key: i64, room: Room) {
        let (bucket, level) = (self.bucket(key), self.level(i64::from(room[0])));
        let cell = &mut self.cells[bucket * LEVELS + level as usize];
        cell.remove((key, node));
        if cell.is_empty() {
            self.levels[bucket] &= !(1 << level);
            if self.levels[bucket] == 0 {
                self.occupied[bucket / 64] &= !(1 << (bucket % 64));
            }
        }
    }

    /// The best fit that `accept` takes, if its rank is below `bound`.
    #[inline]
    pub fn first(
        &self,
        rooms: &[Room],
        need: Room,
        bound: Option<Rank>,
        mut accept: impl FnMut(u32) -> bool,
    ) -> Option<Rank> {
        let least = self.weights.key(need);
        let mut bucket = self.next_occupied(self.bucket(least))?;
        let last = bound.map_or(usize::MAX, |(key, _)| self.bucket(key));
        while bucket <= last {
            let mask = self.levels[bucket] & self.possible(bucket, need, least);
            // Below the least sum nothing fits.
            let mut after = Some((least - 1, u32::MAX));
            while let Some(rank) = self.best_of(bucket, mask, rooms, need, after, bound) {
                if accept(rank.1) {
                    return Some(rank);
                }
                after = Some(rank);
            }
            bucket = self.next_occupied(bucket + 1)?;
        }
        None
    }

    /// The levels of free CPU that a fit in this bucket can have.
    #[inline]
    fn possible(&self, bucket: usize, need: Room, least: i64) -> u64 {
        let low = self.level(i64::from(need[0].max(0)));
        let above = u64::MAX << low;
        if bucket + 1 == self.levels.len() || self.weights.0[0] == 0 {
            return above;
        }
        // All of the sum that is not needed elsewhere, as CPU.
        let top = (i64::try_from(least_of(bucket + 1, FINE)).unwrap_or(i64::MAX) << self.unit) - 1;
        let cpu = (top - (least - i64::from(need[0].max(0)) * self.weights.0[0])) / self.weights.0[0];
        if cpu < 0 {
            return 0;
        }
        let high = self.level(cpu);
        above & (u64::MAX >> (63 - high))
    }

    #[inline]
    fn best_of(
        &self,
        bucket: usize,
        mut mask: u64,
        rooms: &[Room],
        need: Room,
        after: Option<Rank>,
        bound: Option<Rank>,
    ) -> Option<Rank> {
        let mut best = bound;
        let mut found = false;
        while mask != 0 {
            let level = mask.trailing_zeros() as usize;
            mask &= mask - 1;
            let cell = &self.cells[bucket * LEVELS + level];
            found |= cell.first_fit(after, &mut best, |node| fits(rooms[node as usize], need));
        }
        best.filter(|_| found)
    }

    #[inline]
    fn next_occupied(&self, from: usize) -> Option<usize> {
        let mut word = from / 64;
        let mut bits = self.occupied.get(word)? & (u64::MAX << (from % 64));
        while bits == 0 {
            word += 1;
            bits = *self.occupied.get(word)?;
        }
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room of many nodes: full ones, empty ones, short of memory, and some of anything between.
    fn rooms(count: u32, sequence: &mut impl FnMut(u64) -> i32) -> Vec<Room> {
        let room = |_| match sequence(5) {
            0 => [0, 0, 0, 0],
            1 => [22_500, 61_440, 1 << 20, 110],
            2 => [sequence(20_000), sequence(300), 1 << 20, sequence(50)],
            3 => [sequence(400), sequence(60_000), 1 << 20, sequence(50)],
            _ => [sequence(22_500), sequence(61_440), sequence(1 << 20), sequence(110)],
        };
        (0..count).map(room).collect()
    }

    #[test]
    fn the_buckets_give_what_a_look_at_every_node_gives() {
        let mut state = 1_u64;
        let mut sequence = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            i32::try_from((state >> 33) % bound).unwrap()
        };
        for (count, disk) in [(40, 0), (300, 0), (300, 4096), (3000, 0), (3000, 4096)] {
            let weights = Weights([(1 << 32) / 22_500, (1 << 32) / 61_440, disk]);
            let mut rooms = rooms(count, &mut sequence);
            let most = weights.key([22_500, 61_440, 1 << 20, 0]);
            let mut index = Index::new(weights, rooms.len(), most, 22_500);
            for (node, room) in (0..).zip(&rooms) {
                index.insert(node, weights.key(*room), *room);
            }
            for _ in 0..400 {
                // Nodes change under the index.
                let node = usize::try_from(sequence(u64::from(count))).unwrap();
                let other = rooms[usize::try_from(sequence(u64::from(count))).unwrap()];
                let number = u32::try_from(node).unwrap();
                index.remove(number, weights.key(rooms[node]), rooms[node]);
                rooms[node] = other;
                index.insert(number, weights.key(other), other);

                let need = [1 + sequence(22_500), 1 + sequence(61_440), i32::MIN, 1];
                let refused = u32::try_from(sequence(7)).unwrap();
                let accept = |node: u32| node % 7 != refused;
                let all = (0..)
                    .zip(&rooms)
                    .filter(|&(node, room)| fits(*room, need) && accept(node));
                let best = all.map(|(node, room)| (weights.key(*room), node)).min();
                assert_eq!(index.first(&rooms, need, None, accept), best, "{count} nodes, {need:?}");
                assert_eq!(
                    index.first(&rooms, need, best, accept),
                    None,
                    "nothing is below the best"
                );
            }
        }
    }
}
