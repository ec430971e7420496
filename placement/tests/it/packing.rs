//! The offline packer: everything once, nothing over, never worse than first fit decreasing, the bound below the truth,
//! and the truth where it can be found by trying everything.

use std::cmp::Reverse;

use lumbung_placement::Resources;
use lumbung_placement::pack::{Bin, Class, Effort, MAX_PODS, PackError, Packing, Shape, pack};
use proptest::prelude::*;

use crate::support::amounts;

const EFFORT: Effort = Effort(2_000_000);

fn shape(request: Resources, count: u32) -> Shape {
    Shape { request, count }
}

fn sum(bin: &Bin, shapes: &[Shape]) -> Resources {
    bin.contents.iter().fold(Resources::ZERO, |sum, &(at, count)| {
        sum.plus(shapes[at].request.times(i64::from(count)))
    })
}

/// Each pod of each shape once, on a node or left out; no node over its class; the cost is what the bins cost.
fn assert_whole(packing: &Packing, classes: &[Class], shapes: &[Shape]) {
    let mut left: Vec<i64> = shapes.iter().map(|shape| i64::from(shape.count)).collect();
    for &(at, count) in &packing.left_out {
        assert!(
            classes
                .iter()
                .all(|class| !class.allocatable.shortage(shapes[at].request).is_zero())
        );
        left[at] -= i64::from(count);
    }
    for bin in &packing.bins {
        let free = classes[bin.class].allocatable.minus(sum(bin, shapes));
        assert_eq!(free.out_of_range(), None, "{bin:?}");
        assert!(!bin.contents.is_empty() && bin.contents.is_sorted());
        for &(at, count) in &bin.contents {
            assert!(count > 0);
            left[at] -= i64::from(count);
        }
    }
    assert!(left.iter().all(|&left| left == 0), "{left:?}");
    let cost: u64 = packing.bins.iter().map(|bin| classes[bin.class].cost).sum();
    assert_eq!(cost, packing.cost);
    assert!(packing.bound <= packing.cost, "{} > {}", packing.bound, packing.cost);
}

/// The least cost, by trying every node that is open and every class for every pod.
fn exact(classes: &[Class], pods: &[Resources], open: &mut Vec<Resources>, cost: u64, best: &mut u64) {
    let Some((pod, rest)) = pods.split_first() else {
        *best = cost.min(*best);
        return;
    };
    if cost >= *best {
        return;
    }
    for at in 0..open.len() {
        if open[at].shortage(*pod).is_zero() {
            let before = open[at];
            open[at] = before.minus(*pod);
            exact(classes, rest, open, cost, best);
            open[at] = before;
        }
    }
    for class in classes {
        if class.allocatable.shortage(*pod).is_zero() {
            open.push(class.allocatable.minus(*pod));
            exact(classes, rest, open, cost + class.cost, best);
            open.pop();
        }
    }
}

fn pods(shapes: &[Shape]) -> Vec<Resources> {
    shapes
        .iter()
        .flat_map(|shape| std::iter::repeat_n(shape.request, shape.count as usize))
        .collect()
}

/// First fit, the largest share of the class first.
fn first_fit_decreasing(class: Resources, shapes: &[Shape]) -> u64 {
    let mut pods = pods(shapes);
    let share =
        |pod: &Resources| (pod.cpu_milli * 1_000_000 / class.cpu_milli).max(pod.mem_mib * 1_000_000 / class.mem_mib);
    pods.sort_by_key(|pod| Reverse((share(pod), *pod)));
    let mut open: Vec<Resources> = Vec::new();
    for pod in pods {
        match open.iter_mut().find(|free| free.shortage(pod).is_zero()) {
            Some(free) => *free = free.minus(pod),
            None => open.push(class.minus(pod)),
        }
    }
    open.len() as u64
}

fn some_shapes(kinds: usize, most: u32) -> impl Strategy<Value = Vec<Shape>> {
    let request = (1..=60_i64, 0..=60_i64, 0..=40_i64).prop_map(|(cpu, mem, disk)| amounts(cpu, mem, disk, 1));
    prop::collection::vec(
        (request, 1..=most).prop_map(|(request, count)| shape(request, count)),
        1..=kinds,
    )
}

fn some_classes() -> impl Strategy<Value = Vec<Class>> {
    let class = (40..=100_i64, 40..=100_i64, 3..=9_u64).prop_map(|(cpu, mem, cost)| Class {
        allocatable: amounts(cpu, mem, 100, 8),
        cost,
    });
    prop::collection::vec(class, 1..=2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_bound_is_below_and_the_packing_close_to_the_best_there_is(
        classes in some_classes(),
        shapes in some_shapes(4, 2),
    ) {
        let packing = pack(&classes, &shapes, EFFORT).unwrap();
        assert_whole(&packing, &classes, &shapes);
        let fitting: Vec<Resources> = pods(&shapes)
            .into_iter()
            .filter(|pod| classes.iter().any(|class| class.allocatable.shortage(*pod).is_zero()))
            .collect();
        let mut best = u64::MAX;
        exact(&classes, &fitting, &mut Vec::new(), 0, &mut best);
        prop_assert!(packing.bound <= best);
        let dearest = classes.iter().map(|class| class.cost).max().unwrap();
        prop_assert!(packing.cost < best + dearest, "{} where {best} is possible", packing.cost);
        if packing.cost == packing.bound {
            prop_assert_eq!(packing.cost, best);
        }
    }

    #[test]
    fn everything_is_packed_once_and_never_worse_than_first_fit_decreasing(shapes in some_shapes(30, 40)) {
        let classes = [Class::new(amounts(100, 100, 100, 20))];
        let packing = pack(&classes, &shapes, EFFORT).unwrap();
        assert_whole(&packing, &classes, &shapes);
        prop_assert!(packing.left_out.is_empty());
        prop_assert!(packing.cost <= first_fit_decreasing(classes[0].allocatable, &shapes));
        let greedy = pack(&classes, &shapes, Effort::NONE).unwrap();
        assert_whole(&greedy, &classes, &shapes);
        prop_assert!(packing.cost <= greedy.cost && packing.bound >= greedy.bound);
    }

    /// The same bins, whichever order the classes and shapes come in and however equal pods are divided over entries.
    #[test]
    fn the_order_of_the_input_changes_nothing(
        classes in some_classes(),
        (shapes, shuffled) in some_shapes(12, 6).prop_flat_map(|shapes| (Just(shapes.clone()), Just(shapes).prop_shuffle())),
    ) {
        let effort = Effort(300_000);
        let told = |classes: &[Class], shapes: &[Shape]| {
            let packing = pack(classes, shapes, effort).unwrap();
            let mut bins: Vec<_> = packing.bins.iter().map(|bin| {
                let mut contents = bin.contents.iter()
                    .flat_map(|&(at, count)| std::iter::repeat_n(shapes[at].request, count as usize))
                    .collect::<Vec<_>>();
                contents.sort();
                (classes[bin.class], contents)
            }).map(|(class, contents)| (class.cost, class.allocatable, contents)).collect();
            bins.sort();
            (bins, packing.bound)
        };
        let expected = told(&classes, &shapes);
        let mut turned = classes.clone();
        turned.reverse();
        prop_assert_eq!(&told(&turned, &shuffled), &expected);
        let single: Vec<Shape> = pods(&shuffled).into_iter().map(|request| shape(request, 1)).collect();
        prop_assert_eq!(&told(&classes, &single), &expected);
    }
}

/// Ten sets of 50, 30 and 20 percent fill ten nodes exactly, as 50 + 50 and 30 + 30 + 20 + 20 would not.
#[test]
fn perfect_fillings_are_found() {
    let shapes = [
        shape(amounts(500, 200, 0, 1), 10),
        shape(amounts(300, 500, 0, 1), 10),
        shape(amounts(200, 300, 0, 1), 10),
    ];
    let packing = pack(&[Class::new(amounts(1000, 1000, 0, 100))], &shapes, EFFORT).unwrap();
    assert_eq!((packing.bins.len(), packing.bound), (10, 10));
}

/// Three of 60 percent need three nodes, though their volume is less than two: the bound knows.
#[test]
fn the_bound_is_not_by_volume_alone() {
    let shapes = [shape(amounts(600, 100, 0, 1), 3)];
    let packing = pack(&[Class::new(amounts(1000, 1000, 0, 100))], &shapes, EFFORT).unwrap();
    assert_eq!((packing.cost, packing.bound), (3, 3));
}

/// A node of twice the size for less than twice the price is taken, and not where one small node is enough.
#[test]
fn cost_decides_between_classes() {
    let small = Class {
        allocatable: amounts(1000, 1000, 0, 10),
        cost: 10,
    };
    let large = Class {
        allocatable: amounts(2000, 2000, 0, 20),
        cost: 15,
    };
    let classes = [small, large];
    let packing = pack(&classes, &[shape(amounts(500, 500, 0, 1), 9)], EFFORT).unwrap();
    let of_class = |class| packing.bins.iter().filter(|bin| bin.class == class).count();
    assert_eq!((of_class(0), of_class(1), packing.cost), (1, 2, 40));
}

#[test]
fn disk_and_pods_limit_like_the_others() {
    let classes = [Class::new(amounts(10_000, 10_000, 1000, 4))];
    let by_disk = pack(&classes, &[shape(amounts(10, 10, 400, 1), 6)], EFFORT).unwrap();
    let by_pods = pack(&classes, &[shape(amounts(10, 10, 10, 1), 12)], EFFORT).unwrap();
    assert_eq!((by_disk.cost, by_pods.cost), (3, 3));
}

#[test]
fn what_fits_no_class_is_left_out_and_nothing_needs_nothing() {
    let classes = [Class::new(amounts(1000, 1000, 0, 10))];
    let shapes = [
        shape(amounts(1001, 1, 0, 1), 5),
        shape(amounts(1, 1, 1, 1), 2),
        shape(amounts(900, 1, 0, 1), 1),
    ];
    let packing = pack(&classes, &shapes, EFFORT).unwrap();
    assert_eq!(packing.left_out, [(0, 5), (1, 2)]);
    assert_eq!(
        packing.bins,
        [Bin {
            class: 0,
            contents: vec![(2, 1)]
        }]
    );
    let none = pack(&classes, &[], EFFORT).unwrap();
    assert_eq!((none.bins.len(), none.cost, none.bound), (0, 0, 0));
    assert_eq!(pack(&[], &shapes, EFFORT).unwrap().left_out.len(), 3);
}

/// Pods that ask for nothing at all still need one node to be on.
#[test]
fn pods_that_ask_for_nothing_share_one_node() {
    let classes = [Class::new(amounts(1000, 1000, 0, 10))];
    let packing = pack(&classes, &[shape(Resources::ZERO, 1000)], EFFORT).unwrap();
    assert_eq!(
        packing.bins,
        [Bin {
            class: 0,
            contents: vec![(0, 1000)]
        }]
    );
}

#[test]
fn amounts_at_the_limits_neither_overflow_nor_lose_pods() {
    let most = Resources::MAX_AMOUNT;
    let classes = [Class {
        allocatable: amounts(most, most, most, most),
        cost: Class::MAX_COST,
    }];
    let shapes = [
        shape(amounts(most, 1, 1, 1), 3),
        shape(amounts(most / 2, most / 3, 1, 1), 1000),
        shape(amounts(1, 1, most / 7, 1), 100_000),
        shape(amounts(1, 0, 0, 0), 1_000_000),
    ];
    let packing = pack(&classes, &shapes, EFFORT).unwrap();
    assert_whole(&packing, &classes, &shapes);
    assert!(packing.cost >= 14_286 * Class::MAX_COST && packing.bound >= 14_286 * Class::MAX_COST);
}

#[test]
fn what_is_no_question_is_refused() {
    let good = Class::new(amounts(1000, 1000, 0, 10));
    let free = Class { cost: 0, ..good };
    let negative = Class::new(amounts(-1, 0, 0, 0));
    assert_eq!(pack(&[good, free], &[], EFFORT), Err(PackError::Cost { class: 1 }));
    assert!(matches!(
        pack(&[negative], &[], EFFORT),
        Err(PackError::ClassAmount { class: 0, .. })
    ));
    let large = shape(amounts(Resources::MAX_AMOUNT + 1, 0, 0, 0), 1);
    assert!(matches!(
        pack(&[good], &[large], EFFORT),
        Err(PackError::ShapeAmount { shape: 0, .. })
    ));
    let many = [shape(amounts(1, 1, 0, 1), u32::MAX); 2];
    assert!(u64::from(u32::MAX) > MAX_PODS);
    assert_eq!(pack(&[good], &many, EFFORT), Err(PackError::Pods));
}
