//! What makes one node better than another: a struct whose derived `Ord` is the policy. Less is better.
//!
//! The fields are compared from the top. The node's key is last and makes every comparison strict, so equal nodes never
//! depend on iteration order.

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Resources,
    model::{Node, TaintEffect, Workload},
    resources::{Dimension, PPM},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Score {
    /// The workload runs elsewhere now. A change of plan must not move a service that may stay.
    pub moves: bool,
    /// Wishes that the node does not fulfil: PreferNoSchedule taints that are not tolerated, workloads of the same group.
    pub softness: u32,
    /// What another node has to begin to keep free as an N+1 reserve, in the measure of the residual; nothing while the
    /// nodes that carry a reserve have room for more.
    pub growth_ppm: i64,
    /// What the workload costs on this kind of node beyond the cheapest kind, in tenths: see [`prices`](crate::prices()).
    pub regret: u32,
    /// Best fit: what stays free of CPU and memory (and disk where anybody asks for it), each in ppm of the largest node's capacity, added up.
    pub residual_ppm: i64,
    pub node: NodeKey,
}

/// Soft taints that the workload does not tolerate.
pub fn softness(node: &Node, workload: &Workload) -> u32 {
    let soft = node
        .taints
        .iter()
        .filter(|taint| taint.effect == TaintEffect::PreferNoSchedule);
    u32::try_from(soft.filter(|taint| !workload.tolerates(taint)).count()).unwrap_or(u32::MAX)
}

/// The sum over the resources of `amount / largest`, each in ppm, rounded down.
///
/// Absolute amounts against the largest capacity, not shares of the node's own: a share would call a small empty
/// node as good as a large one and waste the room where the large pods still fit.
pub fn scaled_sum_ppm(amount: Resources, largest: Resources) -> i64 {
    let scaled = |dimension| amount.get(dimension).max(0).saturating_mul(PPM) / largest.get(dimension).max(1);
    Dimension::ALL.into_iter().map(scaled).fold(0, i64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(moves: bool, softness: u32, residual_ppm: i64, node: u128) -> Score {
        Score {
            moves,
            softness,
            growth_ppm: 0,
            regret: 0,
            residual_ppm,
            node: NodeKey(node),
        }
    }

    #[test]
    fn the_order_of_the_terms_is_the_policy() {
        let best_first = [
            score(false, 0, 10, 1),
            score(false, 0, 10, 2),
            score(false, 0, 11, 1),
            score(false, 1, 0, 1),
            score(true, 0, 0, 0),
        ];
        assert!(best_first.is_sorted());
    }

    #[test]
    fn each_resource_is_measured_against_the_largest_node() {
        let largest = Resources {
            cpu_milli: 1000,
            mem_mib: 4000,
            disk_mib: 0,
            pods: 100,
        };
        let amount = Resources {
            cpu_milli: 500,
            mem_mib: 1000,
            disk_mib: 0,
            pods: -5,
        };
        assert_eq!(scaled_sum_ppm(amount, largest), 750_000);
    }
}
