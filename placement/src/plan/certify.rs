//! Certificates that hold: those that do not are dropped, and everybody who needs one gets one if there is room.
//!
//! A certificate fails when its node is gone, not ready or closed, no longer suits the workload, or keeps less free than the
//! loss would bring (its node shrank, foreign pods grew, the reserve was spent by a failover). Nothing moves here.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    failover::{holds, to_evict},
    gather,
};
use crate::{
    NodeKey, Resources, WorkloadKey,
    cluster::Cluster,
    model::Workload,
    place::{Purpose, Question, room, small},
    policy::{Policy, Reserve},
};

/// A workload's new certificate, or that it has none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Certified {
    pub workload: WorkloadKey,
    pub backup: Option<NodeKey>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recertification {
    /// In the order of the workloads' keys.
    pub changes: Vec<Certified>,
    /// Protected workloads that could move and have no certificate.
    pub exposed: Vec<WorkloadKey>,
}

/// Mends the certificates of a cluster. Without N+1 in the policy nobody has one, and nobody counts as exposed.
pub fn recertify(cluster: &mut Cluster, policy: &Policy) -> Recertification {
    let mut before: BTreeMap<WorkloadKey, Option<NodeKey>> = BTreeMap::new();
    let certified = policy.reserve() == Reserve::NPlusOne;
    for key in unfit(cluster, policy, certified) {
        drop_certificate(cluster, key, &mut before);
    }
    if !certified {
        return Recertification {
            changes: changes(cluster, &before),
            exposed: Vec::new(),
        };
    }
    for at in 0..cluster.rows().len() {
        for key in beyond_room(cluster, policy, at) {
            drop_certificate(cluster, key, &mut before);
        }
    }
    let mut exposed = gather::largest_first(cluster, bare(cluster));
    loop {
        let count = exposed.len();
        let mut hopeless = Hopeless::default();
        exposed.retain(|&key| {
            let Some(backup) = hopeless.ask(cluster, policy, key) else {
                return true;
            };
            before.entry(key).or_insert(None);
            cluster.certify(key, Some(backup)).is_err()
        });
        if exposed.is_empty() || exposed.len() == count {
            break;
        }
    }
    exposed.sort_unstable();
    Recertification {
        changes: changes(cluster, &before),
        exposed,
    }
}

/// The node whose reserve grows the least, if the workload stays where it is.
pub(super) fn best_certificate(cluster: &Cluster, policy: &Policy, key: WorkloadKey) -> Option<NodeKey> {
    let pod = cluster.pod(key)?;
    let question = Question::new(cluster, policy, &pod.workload, Purpose::Admission);
    let from = pod.node as usize;
    let carrying = question.carrying_backup(from);
    let backup = carrying.or_else(|| question.best_backup(from, &question.beginners()))?;
    Some(cluster.key(backup.node as usize))
}

/// What found no certificate in this round: equal pods on one node find none either, and there are many of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Hopeless(BTreeSet<(u32, Resources)>);

impl Hopeless {
    /// The best certificate, unless an equal one had none. What others got meanwhile is looked at in the next round.
    pub fn ask(&mut self, cluster: &Cluster, policy: &Policy, key: WorkloadKey) -> Option<NodeKey> {
        let pod = cluster.pod(key)?;
        let kind = (pod.node, pod.workload.request);
        let plain = pod.workload.wishes_nothing() && pod.workload.tolerations.is_empty();
        let usual = plain && !policy.goes_by_usage();
        if usual && self.0.contains(&kind) {
            return None;
        }
        let found = best_certificate(cluster, policy, key);
        if found.is_none() && usual {
            self.0.insert(kind);
        }
        found
    }
}

/// Who has a certificate that its node does not bear out, room aside.
fn unfit(cluster: &Cluster, policy: &Policy, certified: bool) -> Vec<WorkloadKey> {
    let mut keys: Vec<WorkloadKey> = (0..cluster.rows().len())
        .flat_map(|at| cluster.pods_on(at))
        .filter(|pod| {
            pod.backup.is_some_and(|backup| {
                !certified || !pod.workload.needs_certificate() || !holds(cluster, policy, pod, backup as usize)
            })
        })
        .map(|pod| pod.workload.id)
        .collect();
    keys.sort_unstable();
    keys
}

/// Whose certificates a node has to give up so that every single loss fits again; as few as a greedy choice finds.
fn beyond_room(cluster: &Cluster, policy: &Policy, at: usize) -> Vec<WorkloadKey> {
    let Some(carrier) = cluster.certificates().carrier(small(at)) else {
        return Vec::new();
    };
    let row = &cluster.rows()[at];
    let free = row.node.allocatable.minus(row.node.foreign).minus(row.protected);
    let mut sources: Vec<u32> = carrier.sources().collect();
    sources.sort_unstable();
    let mut out = Vec::new();
    for source in sources {
        let mut backed: Vec<&Workload> = cluster
            .pods_on(source as usize)
            .filter(|pod| pod.backup == Some(small(at)))
            .map(|pod| &*pod.workload)
            .collect();
        let [protected, inside] = cluster.load_on(at);
        let load = cluster.certificates().load_inflow(source, small(at));
        if policy.goes_by_usage() && policy.over_line(&protected.plus(inside.max(load)), &row.node).is_some() {
            out.extend(backed.iter().map(|workload| workload.id));
            continue;
        }
        let coming = cluster.certificates().inflow(source, small(at));
        if !free.shortage(coming).is_zero() {
            let leaving = to_evict(&mut backed, free, coming);
            out.extend(leaving.iter().map(|workload| workload.id));
        }
    }
    out
}

fn bare(cluster: &Cluster) -> Vec<WorkloadKey> {
    let pods = (0..cluster.rows().len()).flat_map(|at| cluster.pods_on(at));
    let without = pods.filter(|pod| pod.backup.is_none() && pod.workload.needs_certificate());
    without.map(|pod| pod.workload.id).collect()
}

fn drop_certificate(cluster: &mut Cluster, key: WorkloadKey, before: &mut BTreeMap<WorkloadKey, Option<NodeKey>>) {
    before.entry(key).or_insert(cluster.backup(key));
    // The workload is there, and no node is named.
    let _ = cluster.certify(key, None);
}

fn changes(cluster: &Cluster, before: &BTreeMap<WorkloadKey, Option<NodeKey>>) -> Vec<Certified> {
    let now = before
        .iter()
        .map(|(&workload, &was)| (workload, was, cluster.backup(workload)));
    now.filter(|(_, was, backup)| was != backup)
        .map(|(workload, _, backup)| Certified { workload, backup })
        .collect()
}

/// For idle time: gathers the reserves on fewer nodes where that frees room; the smallest reserves are given up first, each
/// wholly or not at all. Nothing moves, and nobody loses a certificate.
pub fn improve(cluster: &mut Cluster, policy: &Policy) -> Vec<Certified> {
    let mut before: BTreeMap<WorkloadKey, Option<NodeKey>> = BTreeMap::new();
    if policy.reserve() != Reserve::NPlusOne {
        return Vec::new();
    }
    loop {
        let mut carriers: Vec<(i64, u32)> = cluster
            .certificates()
            .carriers()
            .iter()
            .map(|&node| (weigh(cluster, cluster.reserve(node as usize)), node))
            .collect();
        carriers.sort_unstable();
        let gone = carriers
            .into_iter()
            .filter(|&(_, node)| give_up(cluster, policy, node as usize, &mut before));
        if gone.count() == 0 {
            return changes(cluster, &before);
        }
    }
}

fn weigh(cluster: &Cluster, amount: Resources) -> i64 {
    cluster.weights().key(room(amount))
}

fn all_reserves(cluster: &Cluster) -> i64 {
    let carriers = cluster.certificates().carriers().iter();
    carriers
        .map(|&node| weigh(cluster, cluster.reserve(node as usize)))
        .sum()
}

fn give_up(
    cluster: &mut Cluster,
    policy: &Policy,
    at: usize,
    before: &mut BTreeMap<WorkloadKey, Option<NodeKey>>,
) -> bool {
    let was = all_reserves(cluster);
    let node = Some(cluster.key(at));
    let backed = gather::largest_first(cluster, gather::backed_by(cluster, at));
    for &key in &backed {
        let _ = cluster.certify(key, None);
    }
    let elsewhere = |cluster: &mut Cluster, key: WorkloadKey| {
        let Some(pod) = cluster.pod(key) else { return false };
        let question = Question::new(cluster, policy, &pod.workload, Purpose::Admission);
        let Some(backup) = question.carrying_backup(pod.node as usize) else {
            return false;
        };
        let backup = cluster.key(backup.node as usize);
        cluster.certify(key, Some(backup)).is_ok()
    };
    let moved = !backed.is_empty() && backed.iter().all(|&key| elsewhere(cluster, key));
    if moved && all_reserves(cluster) < was {
        for key in backed {
            before.entry(key).or_insert(node);
        }
        return true;
    }
    for key in backed {
        let _ = cluster.certify(key, node);
    }
    false
}
