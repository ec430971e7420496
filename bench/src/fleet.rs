//! The fleets and the mix of plans that the tasks without traces are measured on.

use placement::{Node, NodeKey, Resources, Workload, WorkloadKey};

use crate::random::Random;

/// A share of the orders, out of 100: what is asked for, what it may use at most.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub share: usize,
    pub request: Resources,
}

pub const fn pod(cpu_milli: i64, mem_mib: i64) -> Resources {
    Resources {
        cpu_milli,
        mem_mib,
        disk_mib: 0,
        pods: 1,
    }
}

/// The default pod of the first user: 250m, 512 MiB.
pub const DEFAULT_POD: Resources = pod(250, 512);

/// Plans from a blog to a small database; CPU and memory are not always in the same proportion.
pub const PLAN_MIX: [Plan; 6] = [
    Plan {
        share: 45,
        request: pod(250, 512),
    },
    Plan {
        share: 25,
        request: pod(500, 1024),
    },
    Plan {
        share: 12,
        request: pod(250, 1024),
    },
    Plan {
        share: 10,
        request: pod(1000, 2048),
    },
    Plan {
        share: 5,
        request: pod(1000, 1024),
    },
    Plan {
        share: 3,
        request: pod(2000, 4096),
    },
];

pub fn draw(random: &mut Random) -> Resources {
    let mut at = random.below(100);
    for plan in PLAN_MIX {
        if at < plan.share {
            return plan.request;
        }
        at -= plan.share;
    }
    DEFAULT_POD
}

pub fn workload(id: u128, request: Resources) -> Workload {
    Workload::new(
        WorkloadKey(id),
        request,
        Resources {
            cpu_milli: request.cpu_milli * 4,
            mem_mib: request.mem_mib * 2,
            ..request
        },
    )
}

/// Allocatable of the first user's three machines: Ryzen 9 3900X, Ryzen 9 6900HS, i7.
pub const MACHINES: [Resources; 3] = [
    Resources {
        cpu_milli: 22_500,
        mem_mib: 60 * 1024,
        disk_mib: 1 << 20,
        pods: 110,
    },
    Resources {
        cpu_milli: 15_500,
        mem_mib: 30 * 1024,
        disk_mib: 1 << 20,
        pods: 110,
    },
    Resources {
        cpu_milli: 7_500,
        mem_mib: 30 * 1024,
        disk_mib: 1 << 20,
        pods: 110,
    },
];

/// `count` machines, the three kinds in turn.
pub fn seed_like(count: usize) -> Vec<Node> {
    (0..count)
        .map(|at| Node::new(NodeKey(at as u128 + 1), MACHINES[at % 3]))
        .collect()
}
