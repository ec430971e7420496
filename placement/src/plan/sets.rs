//! Which few pods would have to leave so that enough becomes free: the smallest sets, by exact search over their shapes.

use crate::Resources;

/// Pods of more shapes than this are searched by a sample, from the smallest to the largest.
const SHAPES: usize = 20;
/// Partial sets that are looked at.
const EFFORT: usize = 4_000;

/// A pod that may leave, and what it weighs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    pub request: Resources,
    pub weight: i64,
}

/// Sets of exactly `count` items that cover `need`, none of which could stay; the lightest first, at most `limit`.
///
/// Of items of one shape, the first ones are taken.
pub(super) fn covers(items: &[Item], need: Resources, count: usize, limit: usize) -> Vec<Vec<usize>> {
    let shapes = shapes(items);
    let mut search = Search {
        shapes: &shapes,
        need,
        count,
        chosen: Vec::new(),
        found: Vec::new(),
        effort: EFFORT,
    };
    search.extend(0, Resources::ZERO, 0);
    let mut found = search.found;
    found.sort_unstable();
    found.truncate(limit);
    let pick = |(_, chosen): (i64, Vec<usize>)| {
        let mut taken = vec![0; shapes.len()];
        let next = chosen.into_iter().map(|shape| {
            taken[shape] += 1;
            shapes[shape].members[taken[shape] - 1]
        });
        next.collect()
    };
    found.into_iter().map(pick).collect()
}

struct Shape {
    item: Item,
    members: Vec<usize>,
}

/// Lightest first.
fn shapes(items: &[Item]) -> Vec<Shape> {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_by_key(|&at| (items[at].weight, items[at].request, at));
    let same = order.chunk_by(|&one, &other| items[one].request == items[other].request);
    let mut shapes: Vec<Shape> = same
        .map(|members| Shape {
            item: items[members[0]],
            members: members.to_vec(),
        })
        .collect();
    if shapes.len() > SHAPES {
        let last = shapes.len() - 1;
        let mut next = 0;
        // Evenly, both ends included.
        shapes.retain(|_| {
            let at = next;
            next += 1;
            at == 0 || at * (SHAPES - 1) / last != (at - 1) * (SHAPES - 1) / last
        });
    }
    shapes
}

struct Search<'a> {
    shapes: &'a [Shape],
    need: Resources,
    count: usize,
    chosen: Vec<usize>,
    found: Vec<(i64, Vec<usize>)>,
    effort: usize,
}

impl Search<'_> {
    /// Shapes in ascending order, so that each set comes once.
    fn extend(&mut self, from: usize, sum: Resources, weight: i64) {
        let left = self.count - self.chosen.len();
        let missing = sum.shortage(self.need);
        if left == 0 {
            if missing.is_zero() && self.lean(sum) {
                self.found.push((weight, self.chosen.clone()));
            }
            return;
        }
        if missing.is_zero() || self.effort == 0 {
            return;
        }
        self.effort -= 1;
        for at in from..self.shapes.len() {
            let used = self.chosen.iter().filter(|&&shape| shape == at).count();
            if used >= self.shapes[at].members.len() || !self.may_cover(at, left, missing) {
                continue;
            }
            let item = self.shapes[at].item;
            self.chosen.push(at);
            self.extend(at, sum.plus(item.request), weight.saturating_add(item.weight));
            self.chosen.pop();
        }
    }

    /// Whether `left` of the largest that may still follow are enough at all.
    fn may_cover(&self, from: usize, left: usize, missing: Resources) -> bool {
        let most = self.shapes[from..]
            .iter()
            .fold(Resources::ZERO, |most, shape| most.max(shape.item.request));
        let times = i64::try_from(left).unwrap_or(i64::MAX);
        most.times(times).shortage(missing).is_zero()
    }

    /// Whether each of the chosen is needed.
    fn lean(&self, sum: Resources) -> bool {
        let without = |shape: usize| sum.minus(self.shapes[shape].item.request).shortage(self.need);
        self.chosen.iter().all(|&shape| !without(shape).is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(sizes: &[(i64, i64)]) -> Vec<Item> {
        let item = |&(cpu_milli, mem_mib): &(i64, i64)| Item {
            request: amount(cpu_milli, mem_mib),
            weight: cpu_milli + mem_mib,
        };
        sizes.iter().map(item).collect()
    }

    fn amount(cpu_milli: i64, mem_mib: i64) -> Resources {
        Resources {
            cpu_milli,
            mem_mib,
            ..Resources::ZERO
        }
    }

    #[test]
    fn the_lightest_sets_come_first_and_nobody_leaves_for_nothing() {
        let pods = items(&[(1, 1), (2, 2), (4, 1), (1, 4), (8, 8)]);
        assert_eq!(covers(&pods, amount(3, 1), 1, 9), [vec![2], vec![4]]);
        assert_eq!(covers(&pods, amount(4, 4), 1, 9), [vec![4]]);
        assert_eq!(covers(&pods, amount(4, 4), 2, 9), [vec![3, 2]]);
        assert_eq!(covers(&pods, amount(9, 0), 2, 1), [vec![0, 4]]);
    }

    #[test]
    fn more_than_all_of_them_is_never_covered() {
        let pods = items(&[(1, 1), (1, 1)]);
        assert_eq!(covers(&pods, amount(2, 2), 2, 9), [vec![0, 1]]);
        assert!(covers(&pods, amount(3, 0), 2, 9).is_empty());
        assert!(covers(&pods, amount(3, 0), 3, 9).is_empty());
    }

    #[test]
    fn of_many_shapes_the_smallest_and_the_largest_are_tried() {
        let pods: Vec<Item> = items(&(1..=200).map(|size| (size, size)).collect::<Vec<_>>());
        assert_eq!(covers(&pods, amount(200, 0), 1, 9), [vec![199]]);
        assert_eq!(covers(&pods, amount(1, 0), 1, 1), [vec![0]]);
    }
}
