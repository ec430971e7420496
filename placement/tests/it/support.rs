//! Short names for building clusters, and the lists that the independent check wants.

use lumbung_placement::{
    Cluster, Labels, Node, NodeKey, Placement, Policy, PolicySpec, Reserve, Resources, Violation, Workload,
    WorkloadKey, check, place,
};

pub fn amounts(cpu_milli: i64, mem_mib: i64, disk_mib: i64, pods: i64) -> Resources {
    Resources {
        cpu_milli,
        mem_mib,
        disk_mib,
        pods,
    }
}

/// A ready, open node with 4 CPUs, 4 GiB, 10 GiB of disk and 10 pods.
pub fn node(id: u128) -> Node {
    Node {
        name: format!("node-{id}"),
        storage_classes: ["local-path".to_owned()].into(),
        ..Node::new(NodeKey(id), amounts(4000, 4096, 10240, 10))
    }
}

/// A pod of 1 CPU, 1 GiB and 1 GiB of disk.
pub fn workload(id: u128) -> Workload {
    Workload::new(WorkloadKey(id), amounts(1000, 1024, 1024, 1), amounts(2000, 2048, 0, 0))
}

pub fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// One of the first user's size.
pub fn machine(id: u128, cpu_milli: i64, mem_gib: i64) -> Node {
    Node {
        allocatable: amounts(cpu_milli, mem_gib * 1024, 1 << 20, 110),
        ..node(id)
    }
}

/// The first user's three: allocatable is assumed as 22.5 threads and 60 GiB, 15.5 and 30, 7.5 and 30.
pub fn machines() -> Cluster {
    cluster([machine(1, 22_500, 60), machine(2, 15_500, 30), machine(3, 7_500, 30)])
}

/// Any single node may die; nothing is kept for setup pods.
pub fn certified() -> Policy {
    with_reserve(Reserve::NPlusOne)
}

/// A pod without disk.
pub fn pod(id: u128, cpu_milli: i64, mem_mib: i64) -> Workload {
    Workload {
        request: amounts(cpu_milli, mem_mib, 0, 1),
        ..workload(id)
    }
}

/// No reserve of any kind.
pub fn bare() -> Policy {
    with_reserve(Reserve::None)
}

pub fn with_reserve(reserve: Reserve) -> Policy {
    Policy::new(PolicySpec {
        reserve,
        setup_reserve: Resources::ZERO,
        ..PolicySpec::default()
    })
    .unwrap()
}

pub fn cluster(nodes: impl IntoIterator<Item = Node>) -> Cluster {
    Cluster::from_parts(nodes, []).unwrap()
}

/// Places copies of the workload, with keys of their own, until one is refused.
pub fn fill(cluster: &mut Cluster, policy: &Policy, kind: &Workload) -> Vec<NodeKey> {
    let mut chosen = Vec::new();
    loop {
        let next = Workload {
            id: WorkloadKey(1_000_000 + chosen.len() as u128),
            ..kind.clone()
        };
        let Ok(decision) = place(cluster, policy, &next) else {
            return chosen;
        };
        cluster.assign(next, decision.node).unwrap();
        chosen.push(decision.node);
        assert!(chosen.len() < 100_000, "a finite cluster fills");
    }
}

pub fn violations(cluster: &Cluster) -> Vec<Violation> {
    let nodes: Vec<Node> = cluster.nodes().cloned().collect();
    let workloads: Vec<Workload> = cluster.workloads().map(|(workload, _)| workload.clone()).collect();
    let placements: Vec<Placement> = cluster.placements().collect();
    check(&nodes, &workloads, &placements)
}
