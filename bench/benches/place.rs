//! Decisions per second: one departure, one placement and its commit, on a cluster that is about 85 % full.
//!
//! Ours is the whole engine: constraints, score, runner-up, counts per reason, books. Beside it, in the same run and over
//! the same plans and departures, kube-scheduler's LeastAllocated score (the mean free share of CPU and memory after
//! placing, 0 to 100) as a bare scan over flat arrays without any constraint: what the cheapest spreading rule costs.
//! `cargo bench -p lumbung-bench --bench place`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use placement::{Cluster, Node, NodeKey, Policy, Resources, Workload, WorkloadKey, headroom, place};

const SIZES: [u64; 3] = [3, 100, 5000];

/// CPU and memory of the three machines of the first user, which larger fleets repeat.
const MACHINES: [(i64, i64); 3] = [(22_500, 61_440), (15_500, 30_720), (7_500, 30_720)];

/// Written requests of a mix of plans.
const PLANS: [(i64, i64); 4] = [(250, 512), (250, 512), (500, 1024), (1000, 2048)];

/// Numbers that look random and are the same in every run (the constants are Knuth's MMIX generator).
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits fit") % limit
    }
}

fn machine(index: u64) -> (i64, i64) {
    MACHINES[usize::try_from(index % 3).expect("below 3")]
}

fn node(index: u64) -> Node {
    let (cpu_milli, mem_mib) = machine(index);
    Node {
        storage_classes: ["local-path".to_owned()].into(),
        ..Node::new(
            NodeKey(u128::from(index)),
            Resources {
                cpu_milli,
                mem_mib,
                disk_mib: 1 << 20,
                pods: 110,
            },
        )
    }
}

fn workload(id: u128, (cpu_milli, mem_mib): (i64, i64)) -> Workload {
    let request = Resources {
        cpu_milli,
        mem_mib,
        disk_mib: 0,
        pods: 1,
    };
    Workload::new(WorkloadKey(id), request, request)
}

fn is_filled(used: i64, all: i64) -> bool {
    used * 100 >= all * 85
}

fn all_cpu(nodes: u64) -> i64 {
    (0..nodes).map(|index| machine(index).0).sum()
}

/// Our engine under churn.
struct Ours {
    cluster: Cluster,
    policy: Policy,
    running: Vec<WorkloadKey>,
    next: u128,
    sequence: Sequence,
}

impl Ours {
    fn filled(nodes: u64) -> Self {
        let cluster = Cluster::from_parts((0..nodes).map(node), []).expect("valid nodes");
        let mut ours = Self {
            cluster,
            policy: Policy::default(),
            running: Vec::new(),
            next: 0,
            sequence: Sequence(1),
        };
        let mut used = 0;
        while !is_filled(used, all_cpu(nodes)) {
            used += ours.arrive();
        }
        ours
    }

    /// Places one pod of some plan; returns its CPU.
    fn arrive(&mut self) -> i64 {
        let plan = PLANS[self.sequence.below(PLANS.len())];
        let workload = workload(self.next, plan);
        self.next += 1;
        let Ok(decision) = place(&self.cluster, &self.policy, &workload) else {
            return 0;
        };
        self.running.push(workload.id);
        self.cluster.assign(workload, decision.node).expect("the node exists");
        plan.0
    }

    fn churn(&mut self) {
        let leaving = self.sequence.below(self.running.len());
        self.cluster.remove(self.running.swap_remove(leaving));
        self.arrive();
    }
}

/// LeastAllocated under the same churn.
struct Spread {
    nodes: Vec<[i64; 4]>,
    running: Vec<(usize, (i64, i64))>,
    sequence: Sequence,
}

impl Spread {
    fn filled(nodes: u64) -> Self {
        let rows = (0..nodes).map(machine).map(|(cpu, mem)| [cpu, mem, 0, 0]).collect();
        let mut spread = Self {
            nodes: rows,
            running: Vec::new(),
            sequence: Sequence(1),
        };
        let mut used = 0;
        while !is_filled(used, all_cpu(nodes)) {
            used += spread.arrive();
        }
        spread
    }

    fn arrive(&mut self) -> i64 {
        let (cpu, mem) = PLANS[self.sequence.below(PLANS.len())];
        let mut best: Option<(i64, usize)> = None;
        for (at, &[all_cpu, all_mem, used_cpu, used_mem]) in self.nodes.iter().enumerate() {
            let (free_cpu, free_mem) = (all_cpu - used_cpu - cpu, all_mem - used_mem - mem);
            if free_cpu < 0 || free_mem < 0 {
                continue;
            }
            let score = i64::midpoint(free_cpu * 100 / all_cpu, free_mem * 100 / all_mem);
            if best.is_none_or(|(most, _)| score > most) {
                best = Some((score, at));
            }
        }
        let Some((_, at)) = best else { return 0 };
        self.nodes[at][2] += cpu;
        self.nodes[at][3] += mem;
        self.running.push((at, (cpu, mem)));
        cpu
    }

    fn churn(&mut self) {
        let leaving = self.sequence.below(self.running.len());
        let (at, (cpu, mem)) = self.running.swap_remove(leaving);
        self.nodes[at][2] -= cpu;
        self.nodes[at][3] -= mem;
        self.arrive();
    }
}

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    group.throughput(Throughput::Elements(1));
    for nodes in SIZES {
        let mut ours = Ours::filled(nodes);
        group.bench_function(BenchmarkId::new("lumbung", nodes), |bencher| {
            bencher.iter(|| ours.churn());
        });
        let mut spread = Spread::filled(nodes);
        group.bench_function(BenchmarkId::new("least-allocated", nodes), |bencher| {
            bencher.iter(|| spread.churn());
        });
    }
    group.finish();
}

/// What an operator waits for: head-room of a full fleet, and a refusal with its verified smallest change.
fn answers(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answer");
    for nodes in SIZES {
        let ours = Ours::filled(nodes);
        let kind = workload(u128::MAX, PLANS[0]);
        group.bench_function(BenchmarkId::new("headroom", nodes), |bencher| {
            bencher.iter(|| headroom(&ours.cluster, &ours.policy, &kind));
        });
        let refused = workload(u128::MAX, (22_450, 61_000));
        group.bench_function(BenchmarkId::new("refusal", nodes), |bencher| {
            bencher.iter(|| {
                place(&ours.cluster, &ours.policy, &refused).expect_err("no machine has that beside its setup reserve")
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, answers);
criterion_main!(benches);
