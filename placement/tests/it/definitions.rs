//! What place has to answer, written down naively from the definitions in placement/README.md.

use lumbung_placement::{
    Admission, Availability, Cluster, Node, NodeKey, Placement, Policy, Reserve, Resources, TaintEffect, Workload,
    check,
};

/// May the node take the workload (which is not placed), with room for setup pods left? From the definitions.
fn may_take(cluster: &Cluster, policy: &Policy, workload: &Workload, node: &Node) -> bool {
    let hard = |effect| effect != TaintEffect::PreferNoSchedule;
    if node.availability != Availability::Ready
        || node.admission != Admission::Open
        || node
            .taints
            .iter()
            .any(|taint| hard(taint.effect) && !workload.tolerates(taint))
    {
        return false;
    }
    let setup = policy.setup_reserve();
    let shrunk = |node: &Node| Node {
        allocatable: node.allocatable.minus(setup),
        ..node.clone()
    };
    let nodes: Vec<Node> = cluster.nodes().map(shrunk).collect();
    let mut workloads: Vec<Workload> = cluster.workloads().map(|(workload, _)| workload.clone()).collect();
    workloads.push(workload.clone());
    let mut placements: Vec<Placement> = cluster.placements().collect();
    placements.push(Placement {
        workload: workload.id,
        node: node.id,
        backup: None,
    });
    check(&nodes, &workloads, &placements).is_empty()
}

/// Would the reserve still be there? From the definition.
fn keeps_reserve(cluster: &Cluster, policy: &Policy, workload: &Workload) -> bool {
    let Reserve::FractionPpm(fraction) = policy.reserve() else {
        return true;
    };
    let amounts = |of: Resources| [of.cpu_milli, of.mem_mib, of.pods];
    (0..3).all(|i| {
        let (mut total, mut free) = (0, 0);
        for node in cluster.nodes() {
            total += amounts(node.allocatable)[i];
            if node.availability == Availability::Ready
                && matches!(node.admission, Admission::Open | Admission::Standby)
            {
                let taken: i64 = cluster
                    .workloads_on(node.id)
                    .map(|workload| amounts(workload.request)[i])
                    .sum();
                free += amounts(node.allocatable)[i]
                    - amounts(policy.setup_reserve())[i]
                    - amounts(node.foreign)[i]
                    - taken;
            }
        }
        let demand = amounts(workload.request)[i];
        demand == 0 || (free - demand) * 1_000_000 >= total * fraction
    })
}

/// The nodes that may take a workload that is not placed, the best first: by wishes, then by absolute residual.
pub fn ranking(cluster: &Cluster, policy: &Policy, workload: &Workload) -> Vec<NodeKey> {
    if !keeps_reserve(cluster, policy, workload) {
        return Vec::new();
    }
    let parts = |of: Resources| [of.cpu_milli, of.mem_mib, of.disk_mib, of.pods];
    let largest = |i: usize| {
        cluster
            .nodes()
            .map(|node| parts(node.allocatable)[i])
            .max()
            .unwrap_or(0)
            .max(1)
    };
    let disk_is_asked_for =
        workload.request.disk_mib > 0 || cluster.workloads().any(|(workload, _)| workload.request.disk_mib > 0);
    let key = |node: &Node| {
        let soft = |effect| effect == TaintEffect::PreferNoSchedule;
        let wishes = node
            .taints
            .iter()
            .filter(|taint| soft(taint.effect) && !workload.tolerates(taint))
            .count();
        // What is free now orders the nodes as what would stay free does: the demand is the same for all of them.
        let free = (0..if disk_is_asked_for { 3 } else { 2 }).map(|i| {
            let free = parts(node.allocatable)[i] - parts(cluster.occupied(node.id).unwrap())[i];
            free.max(0) * ((1 << 32) / largest(i))
        });
        (wishes, free.sum::<i64>(), node.id)
    };
    let may = |node: &&Node| may_take(cluster, policy, workload, node);
    let mut ranked: Vec<_> = cluster.nodes().filter(may).map(key).collect();
    ranked.sort_unstable();
    ranked.into_iter().map(|(_, _, node)| node).collect()
}
