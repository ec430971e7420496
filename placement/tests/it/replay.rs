//! A million events give the same bytes: twice here, and on every machine.

use lumbung_placement::{
    Availability, Cluster, Node, NodeKey, Policy, PolicySpec, Reserve, Resources, Workload, WorkloadKey, place, prices,
};

use crate::support::{amounts, node, violations, workload};

/// SplitMix64: the events are the same everywhere.
struct Sequence(u64);

impl Sequence {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// FNV-1a over everything that was decided.
struct Digest(u64);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

const SHAPES: [(i64, i64); 5] = [(250, 512), (500, 1024), (250, 1024), (1000, 1024), (2000, 4096)];

fn run(events: u64, indexed: bool) -> (u64, Cluster) {
    let machines = [(22_500, 61_440), (15_500, 30_720), (7_500, 30_720)];
    let nodes = (0..66_u128)
        .zip(machines.into_iter().cycle())
        .map(|(id, (cpu, mem))| Node {
            allocatable: amounts(cpu, mem, 1 << 20, 110),
            ..node(id + 1)
        });
    let mut cluster = Cluster::from_parts(nodes, []).unwrap();
    if indexed {
        cluster.reindex();
    }
    let policy = Policy::new(PolicySpec {
        reserve: Reserve::NPlusOne,
        setup_reserve: Resources::ZERO,
        ..PolicySpec::default()
    });
    let policy = policy.unwrap();
    let (mut sequence, mut digest) = (Sequence(7), Digest(0xcbf2_9ce4_8422_2325));
    let mut running: Vec<WorkloadKey> = Vec::new();
    for event in 0..events {
        match sequence.below(1000) {
            0 => cluster.set_prices(prices(&cluster)),
            1 => {
                let key = NodeKey(u128::from(sequence.below(66)) + 1);
                let mut node = cluster.node(key).unwrap().clone();
                let back = node.availability != Availability::Ready;
                node.availability = if back {
                    Availability::Ready
                } else {
                    Availability::Suspect
                };
                cluster.upsert_node(node).unwrap();
            }
            2..=480 if !running.is_empty() => {
                let at = usize::try_from(sequence.below(running.len() as u64)).unwrap();
                cluster.remove(running.swap_remove(at));
            }
            _ => {
                let (cpu, mem) = SHAPES[usize::try_from(sequence.below(5)).unwrap()];
                let arriving = Workload {
                    request: amounts(cpu, mem, 0, 1),
                    ..workload(u128::from(event) + 1)
                };
                let Some(decision) = place(&cluster, &policy, &arriving).ok() else {
                    digest.add(b"no");
                    // A full fleet loses a tenth, so that most events are decisions.
                    for _ in 0..running.len() / 10 {
                        let at = usize::try_from(sequence.below(running.len() as u64)).unwrap();
                        cluster.remove(running.swap_remove(at));
                    }
                    continue;
                };
                digest.add(&decision.node.0.to_le_bytes());
                digest.add(&decision.backup.map_or(0, |node| node.0).to_le_bytes());
                digest.add(&decision.score.residual_ppm.to_le_bytes());
                running.push(arriving.id);
                cluster.assign_with(arriving, decision.node, decision.backup).unwrap();
            }
        }
    }
    (digest.0, cluster)
}

#[test]
fn a_million_events_give_the_same_bytes() {
    let (digest, cluster) = run(1_000_000, true);
    // Changes only with the rules by which the engine decides.
    assert_eq!(format!("{digest:016x}"), "0f5ecdf15925071d");
    let over = violations(&cluster)
        .into_iter()
        .filter(|found| !found.to_string().contains("certificate"));
    assert_eq!(over.collect::<Vec<_>>(), []);
}

#[test]
fn the_scan_gives_the_bytes_of_the_index() {
    assert_eq!(run(40_000, true).0, run(40_000, false).0);
}
