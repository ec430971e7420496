//! How many more pods like this one fit: the answer of placing them one by one until the first refusal.
//!
//! Where every node is judged by itself, in closed form: equal pods fill node after node: each one lowers the residual of the node it went to, which therefore stays the best
//! until it is full. So the counts are a division per node, cut off where the reserve is reached. A property test holds
//! this against the real loop; what stops the next one is asked of the real scan. With certificates, expected use or a
//! spread, one pod changes what the next one finds elsewhere, and they are placed for real, on a copy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Purpose, Resources, WorkloadKey,
    cluster::Cluster,
    model::Workload,
    place::Question,
    policy::{Policy, Reserve},
    refusal::{Reason, Refusal},
    resources::Dimension,
    score::Score,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headroom {
    pub count: i64,
    /// In the order in which the nodes fill; nodes that take none are left out.
    pub nodes: Vec<NodeHeadroom>,
    /// What refuses the first one too many.
    pub binding: Reason,
    pub refusal: Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeHeadroom {
    pub node: NodeKey,
    pub count: i64,
}

/// `kind` says what the pods are like; whether it is itself placed does not matter. Each counts as at least one pod.
pub fn headroom(cluster: &Cluster, policy: &Policy, kind: &Workload) -> Headroom {
    if policy.reserve() == Reserve::NPlusOne || policy.goes_by_usage() || kind.spread.is_some() {
        return one_by_one(cluster, policy, kind);
    }
    let question = Question::one_more(cluster, policy, kind);
    let mut fitting: Vec<(Score, i64)> = Vec::new();
    for at in 0..cluster.rows().len() {
        if let Ok(score) = question.judge(at) {
            fitting.push((score, times(question.free(at), question.demand, |_| true)));
        }
    }
    fitting.sort_unstable();

    let mut left = match policy.reserve() {
        Reserve::None | Reserve::NPlusOne => i64::MAX,
        Reserve::FractionPpm(_) => times(question.reserve_slack(), question.demand, |d| policy.reserves(d)),
    };
    let mut full = cluster.clone();
    let mut nodes = Vec::new();
    for (score, most) in fitting {
        let count = most.min(left);
        left -= count;
        if count > 0 {
            full.occupy(score.node, question.demand.times(count));
            nodes.push(NodeHeadroom {
                node: score.node,
                count,
            });
        }
    }

    let one_too_many = Question::one_more(&full, policy, kind);
    let rejected = one_too_many.scan().rejected;
    let refusal = Refusal::explain(&one_too_many, rejected);
    let count = nodes.iter().map(|node| node.count).sum();
    Headroom {
        count,
        nodes,
        binding: refusal.binding,
        refusal,
    }
}

fn one_by_one(cluster: &Cluster, policy: &Policy, kind: &Workload) -> Headroom {
    let mut full = cluster.clone();
    if policy.goes_by_usage() {
        full.track_loads();
    }
    full.reindex();
    let demand = Question::one_more(cluster, policy, kind).demand;
    let mut nodes: Vec<NodeHeadroom> = Vec::new();
    let mut positions: BTreeMap<NodeKey, usize> = BTreeMap::new();
    let mut key = u128::MAX;
    loop {
        while full.workload(WorkloadKey(key)).is_some() {
            key -= 1;
        }
        let next = Workload {
            id: WorkloadKey(key),
            request: demand,
            ..kind.clone()
        };
        let question = Question::new(&full, policy, &next, Purpose::Admission);
        let Some(decision) = question.decide() else {
            let rejected = question.scan().rejected;
            let refusal = Refusal {
                workload: kind.id,
                ..Refusal::explain(&question, rejected)
            };
            let count = nodes.iter().map(|node| node.count).sum();
            return Headroom {
                count,
                nodes,
                binding: refusal.binding,
                refusal,
            };
        };
        // Nodes fill in turns under N+1; a fleet has thousands of them.
        let at = *positions.entry(decision.node).or_insert_with(|| {
            nodes.push(NodeHeadroom {
                node: decision.node,
                count: 0,
            });
            nodes.len() - 1
        });
        nodes[at].count += 1;
        full.assign_with(next, decision.node, decision.backup)
            .expect("the node was just chosen");
    }
}

/// How often `demand` is contained in `free`, in the resources that count.
fn times(free: Resources, demand: Resources, counts: impl Fn(Dimension) -> bool) -> i64 {
    let demanded = Dimension::ALL.into_iter().filter(|&d| counts(d) && demand.get(d) > 0);
    demanded
        .map(|d| free.get(d).max(0) / demand.get(d))
        .min()
        .unwrap_or(i64::MAX)
}
