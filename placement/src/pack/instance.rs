//! The question in the form that the packer works on, and its answer in the form that the caller asked in.
//!
//! Equal shapes are one, classes and shapes are sorted, what fits no class is set aside: so the order and the division
//! of the input change nothing.

use std::collections::BTreeMap;

use super::{Bin, Class, MAX_PODS, PackError, Packing, Shape};
use crate::resources::{Dimension, Resources};

/// Amounts in the order of [`Dimension::ALL`].
pub type Size = [i64; 4];

/// One in the fixed point of values and prices.
pub const ONE: i64 = 1 << FRACTION;
pub const FRACTION: u32 = 36;

pub struct Kind {
    pub capacity: Size,
    pub cost: u64,
    /// The cost in units of the largest of all classes, in fixed point.
    pub price: i64,
}

pub struct Instance {
    pub kinds: Vec<Kind>,
    pub sizes: Vec<Size>,
    /// Every cost is a multiple of it.
    unit: u64,
}

/// A way of filling a node of a kind: shapes in ascending order, with how many of each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pattern {
    pub kind: usize,
    pub counts: Vec<(usize, u32)>,
}

/// Patterns, with how many nodes are filled so.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    pub patterns: Vec<(Pattern, u32)>,
}

impl Plan {
    pub fn cost(&self, instance: &Instance) -> u64 {
        self.patterns
            .iter()
            .map(|(pattern, times)| instance.kinds[pattern.kind].cost * u64::from(*times))
            .sum()
    }
}

impl Instance {
    /// Takes away every resource that another one always runs out before, so that states which differ only there are the
    /// same state. The number of pods is such a resource as a rule.
    fn forget_implied(&mut self) {
        let mut kept: Vec<usize> = (0..Dimension::ALL.len()).collect();
        for at in (0..Dimension::ALL.len()).rev() {
            let implied = kept.iter().any(|&by| by != at && self.implies(by, at));
            if implied {
                kept.retain(|&other| other != at);
            }
        }
        for amounts in self
            .sizes
            .iter_mut()
            .chain(self.kinds.iter_mut().map(|kind| &mut kind.capacity))
        {
            *amounts = std::array::from_fn(|at| if kept.contains(&at) { amounts[at] } else { 0 });
        }
    }

    /// Whether on every kind each shape takes at least as large a share of the first resource as of the second.
    fn implies(&self, first: usize, second: usize) -> bool {
        self.kinds.iter().all(|kind| {
            self.sizes.iter().all(|size| {
                let (a, b) = (
                    i128::from(size[first]) * i128::from(kind.capacity[second]),
                    i128::from(size[second]) * i128::from(kind.capacity[first]),
                );
                a >= b && (size[second] == 0 || kind.capacity[second] > 0)
            })
        })
    }

    /// The largest number of pods of this size that fits into what is free.
    pub fn fitting(free: &Size, size: &Size) -> u32 {
        let fitting = free
            .iter()
            .zip(size)
            .filter(|(_, size)| **size > 0)
            .map(|(free, size)| free / size)
            .min();
        fitting.map_or(u32::MAX, |fitting| u32::try_from(fitting.max(0)).unwrap_or(u32::MAX))
    }

    /// The kind in which a pod of this size costs least if there are only such pods, and how many of them, at most
    /// `count`, it holds.
    pub fn cheapest_alone(&self, size: &Size, count: u32) -> Option<(usize, u32)> {
        (0..self.kinds.len())
            .map(|kind| (kind, Self::fitting(&self.kinds[kind].capacity, size).min(count)))
            .filter(|&(_, fitting)| fitting > 0)
            .min_by(|&(a, of_a), &(b, of_b)| {
                let (a, b) = (
                    self.kinds[a].cost * u64::from(of_b),
                    self.kinds[b].cost * u64::from(of_a),
                );
                a.cmp(&b)
            })
    }

    /// No resource can be used more than fully: the cost of the cheapest amount of the scarcest one.
    pub fn volume_bound(&self, demand: &[u32]) -> u64 {
        let bound = (0..Dimension::ALL.len()).map(|at| {
            let asked: i128 = self
                .sizes
                .iter()
                .zip(demand)
                .map(|(size, &count)| i128::from(size[at]) * i128::from(count))
                .sum();
            let costs = self.kinds.iter().filter(|kind| kind.capacity[at] > 0);
            let cheapest = costs.map(|kind| ceiling(asked * i128::from(kind.cost), i128::from(kind.capacity[at])));
            if asked > 0 { cheapest.min().unwrap_or(0) } else { 0 }
        });
        self.whole_cost(bound.max().unwrap_or(0))
    }

    /// The least sum of costs that is not below `cost`, going by the unit of the costs.
    pub fn whole_cost(&self, cost: i128) -> u64 {
        let units = ceiling(cost, i128::from(self.unit));
        u64::try_from(units).unwrap_or(u64::MAX).saturating_mul(self.unit)
    }
}

fn ceiling(numerator: i128, denominator: i128) -> i128 {
    -((-numerator).div_euclid(denominator))
}

/// The instance and the way back from it.
pub struct Reader {
    pub instance: Instance,
    pub demand: Vec<u32>,
    /// Index of the class that the caller gave.
    classes: Vec<usize>,
    /// Indices and counts of the shapes that the caller gave.
    shapes: Vec<Vec<(usize, u32)>>,
    left_out: Vec<(usize, u32)>,
}

impl Reader {
    pub fn new(classes: &[Class], shapes: &[Shape]) -> Result<Self, PackError> {
        validate(classes, shapes)?;
        let mut kinds: Vec<usize> = (0..classes.len()).collect();
        kinds.sort_by_key(|&at| (classes[at].cost, std::cmp::Reverse(classes[at].allocatable), at));
        kinds.dedup_by_key(|at| (classes[*at].cost, classes[*at].allocatable));
        let dearest = kinds.iter().map(|&at| classes[at].cost).max().unwrap_or(1);
        let unit = kinds.iter().map(|&at| classes[at].cost).fold(0, common_divisor).max(1);

        let mut merged: BTreeMap<std::cmp::Reverse<Resources>, Vec<(usize, u32)>> = BTreeMap::new();
        let mut left_out = Vec::new();
        for (at, shape) in shapes.iter().enumerate().filter(|(_, shape)| shape.count > 0) {
            if classes
                .iter()
                .any(|class| class.allocatable.shortage(shape.request).is_zero())
            {
                let alike = merged.entry(std::cmp::Reverse(shape.request)).or_default();
                alike.push((at, shape.count));
            } else {
                left_out.push((at, shape.count));
            }
        }
        let demand = merged
            .values()
            .map(|alike| alike.iter().map(|(_, count)| count).sum())
            .collect();
        let mut instance = Instance {
            kinds: kinds
                .iter()
                .map(|&at| Kind {
                    capacity: size_of(classes[at].allocatable),
                    cost: classes[at].cost,
                    price: fixed(classes[at].cost, dearest),
                })
                .collect(),
            sizes: merged.keys().map(|request| size_of(request.0)).collect(),
            unit,
        };
        instance.forget_implied();
        Ok(Self {
            instance,
            demand,
            classes: kinds,
            shapes: merged.into_values().collect(),
            left_out,
        })
    }

    /// The plan in the caller's indices, bin by bin.
    pub fn written(&self, plan: &Plan, bound: u64) -> Packing {
        let mut patterns: Vec<&(Pattern, u32)> = plan.patterns.iter().collect();
        patterns.sort();
        let mut shapes: Vec<_> = self
            .shapes
            .iter()
            .map(|alike| alike.iter().copied().rev().collect())
            .collect();
        let mut bins = Vec::new();
        for (pattern, times) in patterns {
            for _ in 0..*times {
                let mut contents: Vec<(usize, u32)> = pattern
                    .counts
                    .iter()
                    .flat_map(|&(at, count)| draw(&mut shapes[at], count))
                    .collect();
                contents.sort_unstable();
                bins.push(Bin {
                    class: self.classes[pattern.kind],
                    contents,
                });
            }
        }
        Packing {
            bins,
            left_out: self.left_out.clone(),
            cost: plan.cost(&self.instance),
            bound,
        }
    }
}

/// Takes so many pods from the end of the list.
fn draw(alike: &mut Vec<(usize, u32)>, mut count: u32) -> Vec<(usize, u32)> {
    let mut drawn = Vec::new();
    while count > 0 {
        let (at, left) = alike.pop().expect("a plan packs what was demanded");
        let taken = left.min(count);
        drawn.push((at, taken));
        count -= taken;
        if left > taken {
            alike.push((at, left - taken));
        }
    }
    drawn
}

fn validate(classes: &[Class], shapes: &[Shape]) -> Result<(), PackError> {
    for (at, class) in classes.iter().enumerate() {
        if let Some(dimension) = class.allocatable.out_of_range() {
            return Err(PackError::ClassAmount { class: at, dimension });
        }
        if !(1..=Class::MAX_COST).contains(&class.cost) {
            return Err(PackError::Cost { class: at });
        }
    }
    for (at, shape) in shapes.iter().enumerate() {
        if let Some(dimension) = shape.request.out_of_range() {
            return Err(PackError::ShapeAmount { shape: at, dimension });
        }
    }
    let pods: u64 = shapes.iter().map(|shape| u64::from(shape.count)).sum();
    if pods > MAX_PODS { Err(PackError::Pods) } else { Ok(()) }
}

fn size_of(amounts: Resources) -> Size {
    Dimension::ALL.map(|dimension| amounts.get(dimension))
}

fn fixed(cost: u64, dearest: u64) -> i64 {
    let price = (u128::from(cost) << FRACTION) / u128::from(dearest);
    i64::try_from(price).unwrap_or(ONE).max(1)
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { common_divisor(b, a % b) }
}
