//! What a decision is made on: the cluster, the policy in force and the prices, and how changes are brought into them.
//!
//! Rows in, values out: reading and remembering is the snapshot's.

use placement::{
    Cluster, ClusterError, Node, NodeKey, Placement, Policy, Prices, Resources, VolumeLocality, Workload, WorkloadKey,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::log::Changed;
use super::policy::{self, InForce};
use super::rows::{self, Placed};
use super::{Demand, Error, prices};

/// From so many nodes on the engine's index pays.
const INDEX_FROM: usize = 256;

/// The cluster as it is, and the rules as they are.
#[derive(Clone, Debug, Default)]
pub struct Basis {
    pub cluster: Cluster,
    pub policy: Policy,
    pub policy_version: i32,
}

/// What became of the rows that had changed.
#[derive(Debug)]
pub(super) struct Rows {
    nodes: Vec<Node>,
    placed: Vec<Placed>,
    policy: Option<InForce>,
    prices: Option<Prices>,
}

/// Reads again what has changed, and no more than that.
pub(super) async fn read(conn: &mut PgConnection, changed: &Changed) -> Result<Rows, Error> {
    let (mut nodes, mut placed, mut policy, mut prices) = (Vec::new(), Vec::new(), None, None);
    if changed.policy {
        policy = Some(policy::in_force(conn).await?);
    }
    if changed.prices {
        prices = Some(prices::in_force(conn).await?);
    }
    if !changed.nodes.is_empty() {
        nodes = rows::these_nodes(conn, &changed.nodes).await?;
    }
    if !changed.instances.is_empty() {
        placed = rows::placed_of(conn, &changed.instances).await?;
    }
    Ok(Rows {
        nodes,
        placed,
        policy,
        prices,
    })
}

impl Basis {
    /// Reads everything. Nodes come first: whoever adds placements holds the placement lock, as the caller does, or the
    /// caller's transaction sees one instant.
    pub async fn load(conn: &mut PgConnection) -> Result<Self, Error> {
        let InForce { version, policy } = policy::in_force(conn).await?;
        let nodes = rows::nodes(conn).await?;
        let indexed = nodes.len() >= INDEX_FROM;
        let mut cluster = Cluster::from_parts(nodes, []).map_err(contradiction)?;
        for placed in rows::placed(conn).await? {
            let assigned = cluster.assign_with(placed.workload, placed.node, placed.backup);
            assigned.map_err(contradiction)?;
        }
        cluster.set_prices(prices::in_force(conn).await?);
        if indexed {
            cluster.reindex();
        }
        let mut basis = Self {
            cluster,
            policy,
            policy_version: version,
        };
        basis.follow_use();
        Ok(basis)
    }

    /// Brings changed rows in. After an error it is neither the old nor the new one.
    pub(super) fn apply(&mut self, changed: &Changed, rows: Rows) -> Result<(), ClusterError> {
        if let Some(InForce { version, policy }) = rows.policy {
            (self.policy_version, self.policy) = (version, policy);
            self.follow_use();
        }
        if let Some(prices) = rows.prices {
            self.cluster.set_prices(prices);
        }
        let gone: Vec<NodeKey> = changed.nodes.iter().map(|id| NodeKey(id.as_u128())).collect();
        let gone = gone
            .into_iter()
            .filter(|key| rows.nodes.iter().all(|node| node.id != *key));
        let gone: Vec<NodeKey> = gone.filter(|&key| self.cluster.node(key).is_some()).collect();
        for node in rows.nodes {
            if self.cluster.node(node.id) != Some(&node) {
                self.cluster.upsert_node(node)?;
            }
        }
        for id in &changed.instances {
            self.cluster.remove(WorkloadKey(id.as_u128()));
        }
        for placed in rows.placed {
            self.cluster.assign_with(placed.workload, placed.node, placed.backup)?;
        }
        gone.into_iter().try_for_each(|key| self.cluster.remove_node(key))
    }

    /// A policy that goes by use wants its sums kept. They stay when it goes: nothing is decided by them then.
    fn follow_use(&mut self) {
        if self.policy.goes_by_usage() {
            self.cluster.track_loads();
        }
    }

    /// What `demand` asks of a node, by the policy in force.
    pub fn workload(&self, demand: &Demand) -> Workload {
        let plain = Self::plain(demand);
        Workload {
            request: self.policy.written_request(plain.request, plain.limit),
            ..plain
        }
    }

    /// What `demand` asks for before any policy has been applied to it.
    pub fn plain(demand: &Demand) -> Workload {
        let resources = |cpu: i32, mem: i32| Resources {
            cpu_milli: cpu.into(),
            mem_mib: mem.into(),
            disk_mib: demand.disk_mib.into(),
            pods: 1,
        };
        let limit = resources(demand.cpu_limit_milli, demand.mem_limit_mib);
        let request = resources(demand.cpu_request_milli, demand.mem_request_mib);
        let volume = demand.volume_node.map_or(VolumeLocality::Anywhere, |node| {
            VolumeLocality::Pinned(NodeKey(node.as_u128()))
        });
        Workload {
            volume,
            movable: demand.movable,
            ..Workload::new(WorkloadKey(demand.instance_id.as_u128()), request, limit)
        }
    }

    /// The first thing that is otherwise in `other`.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if (self.policy_version, self.policy) != (other.policy_version, other.policy) {
            return Some(format!("policy {} for {}", self.policy_version, other.policy_version));
        }
        if self.cluster.prices() != other.cluster.prices() {
            return Some("prices".into());
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = (self.nodes(), other.nodes());
        if let Some(key) = first_odd(&mine, &theirs, |(node, ..)| node.id) {
            return Some(format!("node {}", Uuid::from_u128(key.0)));
        }
        let (mine, theirs): (Vec<_>, Vec<_>) = (self.placed(), other.placed());
        first_odd(&mine, &theirs, |(workload, _)| workload.id).map(|key| format!("instance {}", Uuid::from_u128(key.0)))
    }

    fn nodes(&self) -> Vec<(&Node, Option<Resources>, Option<Resources>)> {
        let sums = |node: &Node| (self.cluster.occupied(node.id), self.cluster.reserved(node.id));
        let nodes = self.cluster.nodes();
        nodes.map(|node| (node, sums(node).0, sums(node).1)).collect()
    }

    fn placed(&self) -> Vec<(&Workload, Placement)> {
        let workloads = self.cluster.workloads().map(|(workload, _)| workload);
        workloads.zip(self.cluster.placements()).collect()
    }
}

/// The key at which two ordered lists part.
fn first_odd<T: PartialEq, K: Ord>(mine: &[T], theirs: &[T], key: impl Fn(&T) -> K) -> Option<K> {
    let at = mine.iter().zip(theirs).position(|(mine, theirs)| mine != theirs);
    let at = at.unwrap_or(mine.len().min(theirs.len()));
    [mine.get(at), theirs.get(at)].into_iter().flatten().map(key).min()
}

pub(super) fn contradiction(error: ClusterError) -> Error {
    Error::Inconsistent(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_lists_part_at_the_lowest_key_that_differs() {
        let key = |&(key, _): &(i32, i32)| key;
        let list = [(1, 0), (3, 0)];
        assert_eq!(first_odd(&list, &list, key), None);
        assert_eq!(first_odd(&list, &list[..1], key), Some(3));
        assert_eq!(
            first_odd(&list, &[(1, 0), (2, 0), (3, 0)], key),
            Some(2),
            "one that is missing"
        );
        assert_eq!(first_odd(&list, &[(1, 0), (3, 1)], key), Some(3));
    }
}
