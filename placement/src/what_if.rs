//! What would be if: the same functions on a copy of the cluster that shares everything that is not changed.
//!
//! A question is a list of changes, made in order, and a kind of workload whose head-room is told before and after. Nothing
//! of it is done; a plan that an answer contains can be carried out.

use serde::{Deserialize, Serialize};

use crate::{
    Headroom, Node, NodeKey, Policy, PolicySpec, Reserve, WorkloadKey,
    cluster::{Cluster, ClusterError},
    headroom,
    model::{Admission, Availability, Workload},
    plan::{self, Cost},
    refusal::Reason,
};

/// One thing that could change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// So many nodes like this one join; it is given new keys.
    AddNodes { like: Box<Node>, count: u32 },
    /// The node is emptied, and takes nothing more.
    Drain(NodeKey),
    /// These nodes die, one after the other, each answered before the next.
    Fail(Vec<NodeKey>),
    /// So many nodes die, those that carry the most first.
    FailLargest(u32),
    /// Another policy. What runs keeps the requests that are written into its pods.
    Policy(PolicySpec),
}

/// Nodes that join in one question, at most: what an operator asks for, not what an array can hold.
pub const MOST_NODES: u32 = 10_000;

/// Nodes that die in one change, at most: each loss is answered in full before the next.
pub const MOST_FAILURES: u32 = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WhatIfError {
    Cluster(ClusterError),
    Policy(crate::PolicyError),
    /// A plan did not fit the cluster that it was made for: a fault of the engine.
    Plan(plan::Outdated),
    TooManyNodes {
        count: u32,
    },
}

impl std::fmt::Display for WhatIfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster(error) => error.fmt(f),
            Self::Policy(error) => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
            Self::TooManyNodes { count } => write!(f, "{count} nodes are too many for one change"),
        }
    }
}

impl std::error::Error for WhatIfError {}

impl From<ClusterError> for WhatIfError {
    fn from(error: ClusterError) -> Self {
        Self::Cluster(error)
    }
}

/// Head-room with the reserve that the policy keeps, and as if it kept none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    pub with_reserve: Headroom,
    pub without_reserve: i64,
    /// What stops the first one too many when there is no reserve.
    pub binding_without_reserve: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    pub before: Room,
    pub after: Room,
    /// Of all drains and failures together.
    pub cost: Cost,
    /// Workloads that found no place.
    pub stranded: Vec<WorkloadKey>,
    /// Best-effort workloads that had to leave the reserve.
    pub evicted: Vec<WorkloadKey>,
    /// Their data is on a lost node only.
    pub restore: Vec<WorkloadKey>,
    /// Their data is on a drained node: they run there until they are restored elsewhere.
    pub stays: Vec<WorkloadKey>,
    /// Protected workloads that no node would take over afterwards if one more died.
    pub exposed: u32,
}

/// `kind` asks for what its plan asks for: what would be written into the pod follows from the policy, before and after.
pub fn what_if(cluster: &Cluster, policy: &Policy, changes: &[Change], kind: &Workload) -> Result<Answer, WhatIfError> {
    let mut world = World {
        cluster: cluster.clone(),
        policy: *policy,
    };
    let before = room(cluster, policy, kind);
    let mut answer = Answer {
        after: before.clone(),
        before,
        cost: Cost::default(),
        stranded: Vec::new(),
        evicted: Vec::new(),
        restore: Vec::new(),
        stays: Vec::new(),
        exposed: 0,
    };
    for change in changes {
        world.make(change, &mut answer)?;
    }
    if world.policy.reserve() == Reserve::NPlusOne {
        let certified = plan::recertify(&mut world.cluster, &world.policy);
        answer.exposed = u32::try_from(certified.exposed.len()).unwrap_or(u32::MAX);
    }
    answer.after = room(&world.cluster, &world.policy, kind);
    Ok(answer)
}

/// How many more of a kind fit now. `kind` asks for what its plan asks for, as in [`what_if`].
pub fn room(cluster: &Cluster, policy: &Policy, kind: &Workload) -> Room {
    let written = Workload {
        request: policy.written_request(kind.request, kind.limit),
        ..kind.clone()
    };
    let bare = Policy::new(PolicySpec {
        reserve: Reserve::None,
        ..*policy.spec()
    })
    .unwrap_or(*policy);
    // Without a reserve, certificates keep nothing free.
    let mut free = cluster.clone();
    for placement in cluster.placements().filter(|placement| placement.backup.is_some()) {
        let _ = free.certify(placement.workload, None);
    }
    let without = headroom(&free, &bare, &written);
    Room {
        with_reserve: headroom(cluster, policy, &written),
        without_reserve: without.count,
        binding_without_reserve: without.binding,
    }
}

struct World {
    cluster: Cluster,
    policy: Policy,
}

impl World {
    fn make(&mut self, change: &Change, answer: &mut Answer) -> Result<(), WhatIfError> {
        match change {
            Change::AddNodes { like, count } => self.add(like, *count),
            Change::Drain(node) => {
                let plan = plan::drain(&self.cluster, &self.policy, *node)?;
                self.carry_out(&plan, answer)?;
                answer.stays.extend(&plan.restore);
                self.cluster.alter(*node, |node| node.admission = Admission::Draining);
                Ok(())
            }
            Change::Fail(nodes) => nodes.iter().try_for_each(|&node| self.fail(node, answer)),
            Change::FailLargest(count) if *count > MOST_FAILURES => Err(WhatIfError::TooManyNodes { count: *count }),
            Change::FailLargest(count) => {
                for _ in 0..*count {
                    let Some(node) = self.heaviest() else { break };
                    self.fail(node, answer)?;
                }
                Ok(())
            }
            Change::Policy(spec) => {
                self.policy = Policy::new(*spec).map_err(WhatIfError::Policy)?;
                Ok(())
            }
        }
    }

    fn add(&mut self, like: &Node, count: u32) -> Result<(), WhatIfError> {
        if count > MOST_NODES {
            return Err(WhatIfError::TooManyNodes { count });
        }
        let mut key = self.cluster.nodes().last().map_or(0, |node| node.id.0);
        for at in 1..=count {
            // After the last: keys are ascending, and a new node is the youngest.
            key = key.saturating_add(1);
            let node = Node {
                id: NodeKey(key),
                name: format!("new-{at}"),
                ..like.clone()
            };
            self.cluster.upsert_node(node)?;
        }
        Ok(())
    }

    fn fail(&mut self, node: NodeKey, answer: &mut Answer) -> Result<(), WhatIfError> {
        let plan = plan::failover(&self.cluster, &self.policy, node)?;
        self.carry_out(&plan, answer)?;
        answer.restore.extend(&plan.restore);
        let lost = plan.stranded.iter().map(|refusal| refusal.workload);
        for lost in lost.chain(plan.restore.iter().copied()) {
            self.cluster.remove(lost);
        }
        self.cluster
            .alter(node, |node| node.availability = Availability::Offline);
        if self.policy.reserve() == Reserve::NPlusOne {
            plan::recertify(&mut self.cluster, &self.policy);
        }
        Ok(())
    }

    /// Every step was found on the cluster as it is, so it holds; if it did not, there is no answer.
    fn carry_out(&mut self, plan: &plan::Plan, answer: &mut Answer) -> Result<(), WhatIfError> {
        plan::apply(&mut self.cluster, plan).map_err(WhatIfError::Plan)?;
        answer.cost = answer.cost.plus(plan.cost);
        let stranded = plan.stranded.iter().map(|refusal| refusal.workload);
        answer.stranded.extend(stranded);
        let evicted = plan.evictions.iter().map(|eviction| eviction.workload);
        answer.evicted.extend(evicted);
        Ok(())
    }

    /// The ready node with the most requests of ours; the lower key of equals.
    fn heaviest(&self) -> Option<NodeKey> {
        let ready = self
            .cluster
            .rows()
            .iter()
            .enumerate()
            .filter(|(_, row)| row.node.availability == Availability::Ready);
        let weight = |row: &crate::cluster::Row| {
            self.cluster
                .weights()
                .key(crate::place::room(row.protected.plus(row.best_effort)))
        };
        ready
            .max_by_key(|(at, row)| (weight(row), std::cmp::Reverse(*at)))
            .map(|(at, _)| self.cluster.key(at))
    }
}
