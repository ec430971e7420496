//! What the fleet could still take at the end, and what each machine's death would do then: asked of the engine on the
//! last state, nothing is changed.

use placement::{Priority, WorkloadKey, apply, failover, headroom, resilience};

use super::{
    report::{Ending, LossNow, Room},
    run::World,
};

pub fn look(world: &World<'_>, standing_still: usize) -> Ending {
    let policy = &world.scenario.policy;
    let room = |plan: usize| {
        let kind = world.workload(plan, WorkloadKey(u128::MAX));
        let answer = headroom(&world.cluster, policy, &kind);
        Room {
            plan: world.scenario.plans[plan].name.clone(),
            more: answer.count,
            binding: answer.binding,
        }
    };
    Ending {
        running: (world.cluster.workload_count() + world.waiting.len()).saturating_sub(standing_still),
        standing_still,
        headroom: (0..world.scenario.plans.len()).map(room).collect(),
        losses: losses(world),
    }
}

/// The plan for each death is made and carried out on a copy; what is left on the dead machine then is what counts.
fn losses(world: &World<'_>) -> Vec<LossNow> {
    let policy = &world.scenario.policy;
    let known = resilience(&world.cluster, policy, world.control_plane.clone()).losses;
    let answer = |loss: placement::Loss| {
        let pods = world.cluster.workloads_on(loss.node).count();
        let mut after = world.cluster.clone();
        let plan = failover(&after, policy, loss.node).unwrap_or_default();
        // A plan that does not hold leaves everybody where they were, and that is what is reported.
        let moved = match apply(&mut after, &plan) {
            Ok(()) => plan.cost.moves,
            Err(_) => 0,
        };
        let left = || after.workloads_on(loss.node);
        LossNow {
            node: loss.name,
            pods,
            moved,
            stranded: left()
                .filter(|workload| workload.can_move() && workload.priority == Priority::Protected)
                .count(),
            pinned: left().filter(|workload| !workload.can_move()).count(),
            certified: loss.exposed == 0,
            stops_placement: loss.stops_placement,
        }
    };
    known.into_iter().map(answer).collect()
}
