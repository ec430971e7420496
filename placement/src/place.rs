//! Where a workload goes: hard constraints first, then the best score. The one function that says yes.
//!
//! Exact, without sampling: the same cluster, policy and workload give the same answer, byte for byte, in whatever order
//! the cluster was built, by the scan or by the index. A workload that is already placed is judged as if its own request
//! were not there, so a change of plan or a return from suspension asks the same question as an order.
//!
//! It changes nothing: the caller assigns what was decided.

mod constraints;
mod decide;
mod question;

use serde::{Deserialize, Serialize};

pub(crate) use question::{Question, room, small};

use crate::{
    NodeKey, WorkloadKey,
    cluster::Cluster,
    model::Workload,
    policy::Policy,
    refusal::{Counts, Refusal},
    score::Score,
};

/// Why a place is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// An order, a renewal, a larger plan: open nodes, and the reserve stays untouched.
    Admission,
    /// It has lost or leaves its node: standby nodes too, and the reserve is there to be spent.
    Failover,
}

/// A node that takes the workload, and why this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    pub workload: WorkloadKey,
    pub node: NodeKey,
    /// The certificate, under [`Reserve::NPlusOne`](crate::Reserve::NPlusOne): the node that takes it if this one dies.
    pub backup: Option<NodeKey>,
    pub score: Score,
}

/// A decision with what else there was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub decision: Decision,
    /// The next best node, if another one would have done.
    pub runner_up: Option<Score>,
    /// How many nodes could not take it, by reason.
    pub rejected: Counts,
}

/// Finds the node for a new order.
pub fn place(cluster: &Cluster, policy: &Policy, workload: &Workload) -> Result<Decision, Refusal> {
    place_for(cluster, policy, workload, Purpose::Admission)
}

pub fn place_for(
    cluster: &Cluster,
    policy: &Policy,
    workload: &Workload,
    purpose: Purpose,
) -> Result<Decision, Refusal> {
    let question = Question::new(cluster, policy, workload, purpose);
    question.decide().ok_or_else(|| {
        let rejected = question.scan().rejected;
        Refusal::explain(&question, rejected)
    })
}

/// The same answer from a look at every node, with the runner-up and the reasons of the others.
pub fn explain(
    cluster: &Cluster,
    policy: &Policy,
    workload: &Workload,
    purpose: Purpose,
) -> Result<Explanation, Refusal> {
    let question = Question::new(cluster, policy, workload, purpose);
    let scan = question.scan();
    match scan.best {
        Some((score, backup)) => Ok(Explanation {
            decision: question.decision(score, backup),
            runner_up: scan.runner_up,
            rejected: scan.rejected,
        }),
        None => Err(Refusal::explain(&question, scan.rejected)),
    }
}
