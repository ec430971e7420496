//! Decisions per second: one departure, one placement and its commit, on a cluster that is about 85 % full.
//!
//! Ours is what the server calls: constraints, score, books, and certificates in the second row. Beside it, in the same run
//! and over the same plans and departures, kube-scheduler's LeastAllocated score as a bare scan over flat arrays without any
//! constraint: what the cheapest spreading rule costs. The fleets are those of `quality`, whose task `decisions` goes on to
//! 50,000 nodes.
//! `cargo bench -p lumbung-bench --bench place`

// Counts are far below 2^52.
#![allow(clippy::cast_precision_loss)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lumbung_bench::fleet::{DEFAULT_POD, draw, pod, seed_like, workload};
use lumbung_bench::online::{Fleet, LEAST_ALLOCATED, amounts};
use lumbung_bench::ours::Ours;
use lumbung_bench::random::Random;
use lumbung_bench::tasks::decisions::{LOAD, filled};
use placement::{Reserve, headroom, place};

const SIZES: [usize; 3] = [3, 100, 5000];

fn ours(nodes: usize, reserve: Reserve, random: &mut Random) -> Ours {
    let mut ours = filled(nodes, reserve, random).expect("valid nodes");
    ours.price_for_good();
    ours
}

/// The same fleet, filled by LeastAllocated.
fn spread(nodes: usize, random: &mut Random) -> Fleet {
    let mut fleet = Fleet::new(seed_like(nodes).iter().map(|node| node.allocatable));
    let all: i64 = fleet.capacity.iter().map(|node| node[0]).sum();
    let mut used = 0;
    while (used as f64) < LOAD * all as f64 {
        match arrive(&mut fleet, random) {
            Some(cpu) => used += cpu,
            None => break,
        }
    }
    fleet
}

fn arrive(fleet: &mut Fleet, random: &mut Random) -> Option<i64> {
    let demand = amounts(draw(random));
    let at = fleet.choose(LEAST_ALLOCATED, demand, None)?;
    fleet.put(at, demand);
    Some(demand[0])
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    group.throughput(Throughput::Elements(1));
    for nodes in SIZES {
        for (name, reserve) in [("lumbung", Reserve::None), ("lumbung, N+1", Reserve::NPlusOne)] {
            let mut random = Random::new(1);
            let mut ours = ours(nodes, reserve, &mut random);
            group.bench_function(BenchmarkId::new(name, nodes), |bencher| {
                bencher.iter(|| {
                    ours.leave(&mut random);
                    ours.arrive(draw(&mut random), 0.0).expect("the node exists")
                });
            });
        }
        let mut random = Random::new(1);
        let mut fleet = spread(nodes, &mut random);
        group.bench_function(BenchmarkId::new("least-allocated", nodes), |bencher| {
            bencher.iter(|| {
                fleet.leave(&mut random);
                arrive(&mut fleet, &mut random)
            });
        });
    }
    group.finish();
}

/// What an operator waits for: head-room of a full fleet, and a refusal with its verified smallest change.
fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    for nodes in SIZES {
        let ours = ours(nodes, Reserve::None, &mut Random::new(1));
        let kind = workload(u128::MAX, DEFAULT_POD);
        group.bench_function(BenchmarkId::new("headroom", nodes), |bencher| {
            bencher.iter(|| headroom(&ours.cluster, &ours.policy, &kind));
        });
        let refused = workload(u128::MAX, pod(22_501, 512));
        group.bench_function(BenchmarkId::new("refusal", nodes), |bencher| {
            bencher.iter(|| place(&ours.cluster, &ours.policy, &refused).expect_err("no machine has so much CPU"));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, answers);
criterion_main!(benches);
