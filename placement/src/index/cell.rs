//! The nodes of one cell, by rank. Most cells hold a few, and one of full or of empty nodes may hold thousands.

use std::collections::BTreeSet;
use std::ops::Bound;

use super::Rank;

/// From here on, a tree.
const MANY: usize = 256;

#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// Descending, so that what is taken from the front of the order is taken from the end of the list.
    Few(Vec<Rank>),
    Many(BTreeSet<Rank>),
}

impl Default for Cell {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Cell {
    #[inline]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Few(ranks) => ranks.is_empty(),
            Self::Many(ranks) => ranks.is_empty(),
        }
    }

    #[inline]
    pub fn insert(&mut self, rank: Rank) {
        match self {
            Self::Few(ranks) if ranks.len() < MANY => {
                let at = ranks.partition_point(|&other| other > rank);
                ranks.insert(at, rank);
            }
            Self::Few(ranks) => {
                let mut many: BTreeSet<Rank> = ranks.drain(..).collect();
                many.insert(rank);
                *self = Self::Many(many);
            }
            Self::Many(ranks) => {
                ranks.insert(rank);
            }
        }
    }

    #[inline]
    pub fn remove(&mut self, rank: Rank) {
        match self {
            Self::Few(ranks) => {
                let at = ranks.partition_point(|&other| other > rank);
                if ranks.get(at) == Some(&rank) {
                    ranks.remove(at);
                }
            }
            Self::Many(ranks) => {
                ranks.remove(&rank);
                if ranks.len() < MANY / 4 {
                    *self = Self::Few(ranks.iter().rev().copied().collect());
                }
            }
        }
    }

    /// Lowers `best` to the first that fits, if that is above `after` and below `best`.
    #[inline]
    pub fn first_fit(&self, after: Option<Rank>, best: &mut Option<Rank>, fits: impl Fn(u32) -> bool) -> bool {
        match self {
            Self::Few(ranks) => {
                let end = after.map_or(ranks.len(), |after| ranks.partition_point(|&other| other > after));
                lower(ranks[..end].iter().rev().copied(), best, fits)
            }
            Self::Many(ranks) => {
                let from = after.map_or(Bound::Unbounded, Bound::Excluded);
                lower(ranks.range((from, Bound::Unbounded)).copied(), best, fits)
            }
        }
    }
}

#[inline]
fn lower(ranks: impl Iterator<Item = Rank>, best: &mut Option<Rank>, fits: impl Fn(u32) -> bool) -> bool {
    for rank in ranks {
        if best.is_some_and(|best| best <= rank) {
            return false;
        }
        if fits(rank.1) {
            *best = Some(rank);
            return true;
        }
    }
    false
}
