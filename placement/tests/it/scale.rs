//! A fleet of a thousand nodes under churn: the books stay right, and best fit packs what the unequal machines allow.

use lumbung_placement::{Node, NodeKey, Policy, Workload, WorkloadKey, headroom, place};

use crate::support::{amounts, cluster, fill, node, violations, workload};

#[test]
fn a_thousand_nodes_under_churn_stay_consistent_and_full() {
    let sizes = [(22_500, 61_440), (15_500, 30_720), (7_500, 30_720)];
    let fleet = (0..999_u128).zip(sizes.into_iter().cycle());
    let mut fleet = cluster(fleet.map(|(id, (cpu_milli, mem_mib))| Node {
        allocatable: amounts(cpu_milli, mem_mib, 1 << 20, 110),
        ..node(id)
    }));
    let policy = Policy::default();
    let kind = |id: u128| {
        let size = 1 << (id * 7 % 3);
        Workload {
            id: WorkloadKey(id),
            request: amounts(250 * size, 512 * size, 0, 1),
            ..workload(0)
        }
    };
    let mut running = 0_i64;
    for id in 0..20_000_u128 {
        let arriving = kind(id);
        let decision = place(&fleet, &policy, &arriving).expect("the fleet is far from full");
        fleet.assign(arriving, decision.node).unwrap();
        running += 1;
        // Every third leaves again, from all over the fleet.
        if id % 3 == 2 {
            running -= i64::from(fleet.remove(WorkloadKey(id * 5 / 7)).is_some());
        }
    }
    assert_eq!(i64::try_from(fleet.placements().count()), Ok(running));
    assert_eq!(violations(&fleet), []);

    let small = kind(0);
    let told = headroom(&fleet, &policy, &small);
    assert_eq!(i64::try_from(fill(&mut fleet, &policy, &small).len()), Ok(told.count));
    assert_eq!(violations(&fleet), []);
    let leftover = |key: NodeKey| {
        let node = fleet.node(key).unwrap();
        let free = node
            .allocatable
            .minus(policy.setup_reserve())
            .minus(fleet.occupied(key).unwrap());
        free.shortage(small.request)
    };
    assert!(
        fleet.nodes().all(|node| !leftover(node.id).is_zero()),
        "no node has room for one more"
    );
}
