//! What CPU, memory and disk are worth on each kind of node, for all replicas alike.
//!
//! The engine computes it from what runs; here it is kept. One replica computes, now and then, and writes a row that is part
//! of the log: from its commit on everybody decides by it. Prices are a hint, never a promise: old ones cost a little
//! room and break nothing. So they change only when nodes come or go or what runs has changed much, and nobody waits for
//! the placement lock to change them.

use placement::{Admission, Availability, Cluster, Prices, Resources};
use serde::{Deserialize, Serialize};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool};

use super::{Error, Scheduler, snapshot};
use crate::clock::Ambient;
use crate::crypto;

/// They are made anew when a sum has changed by more than one part in so many.
const PART: i64 = 4;

/// What prices were computed from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct MadeFrom {
    /// A digest of the nodes that take new workloads, and of what they have.
    nodes: String,
    /// What is placed, in sum.
    requested: Resources,
    placed: i64,
}

impl MadeFrom {
    fn of(cluster: &Cluster) -> Self {
        let taking = |node: &&placement::Node| {
            node.availability == Availability::Ready && node.admission == Admission::Open && node.taints.is_empty()
        };
        let nodes: Vec<_> = cluster.nodes().filter(taking).collect();
        let named: Vec<_> = nodes.iter().map(|node| (node.id, node.allocatable)).collect();
        let canonical = serde_json::to_vec(&named).unwrap_or_default();
        let requests = cluster.workloads().map(|(workload, _)| workload.request);
        Self {
            nodes: crypto::encode_hex(&crypto::sha256(&canonical)),
            requested: requests.fold(Resources::ZERO, Resources::plus),
            placed: i64::try_from(cluster.workload_count()).unwrap_or(i64::MAX),
        }
    }

    fn is_far_from(&self, now: &Self) -> bool {
        let far = |then: i64, now: i64| now.abs_diff(then).saturating_mul(PART.unsigned_abs()) > then.unsigned_abs();
        let (then_sums, sums) = (self.requested, now.requested);
        self.nodes != now.nodes
            || far(self.placed, now.placed)
            || far(then_sums.cpu_milli, sums.cpu_milli)
            || far(then_sums.mem_mib, sums.mem_mib)
            || far(then_sums.disk_mib, sums.disk_mib)
    }
}

/// The prices that everybody decides by; none before they were computed for the first time. Prices that this version of
/// the server cannot read count as none.
pub async fn in_force(conn: &mut PgConnection) -> sqlx::Result<Prices> {
    let row = sqlx::query_scalar!("SELECT prices FROM placement_prices")
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(Prices::default()) };
    Ok(serde_json::from_value(row).unwrap_or_else(|error| {
        tracing::warn!(%error, "the stored prices cannot be read; placement goes without");
        Prices::default()
    }))
}

/// Computes prices for what runs now, if those in force were made from something else. True: there are new ones. One
/// replica at a time is enough, and more do no harm.
pub async fn refresh(pool: &PgPool, ambient: &Ambient, scheduler: &Scheduler) -> Result<bool, Error> {
    let mut glance = snapshot::glance(pool).await?;
    let basis = scheduler.basis(&mut glance).await?;
    let row = sqlx::query_scalar!("SELECT made_from FROM placement_prices")
        .fetch_optional(&mut *glance)
        .await?;
    glance.commit().await?;
    let there_are_some = row.is_some();
    let before: Option<MadeFrom> = row.and_then(|row| serde_json::from_value(row).ok());
    let now = MadeFrom::of(&basis.cluster);
    if before.is_some_and(|before| !before.is_far_from(&now)) {
        return Ok(false);
    }
    let prices = super::aside(move || placement::prices(&basis.cluster)).await?;
    if prices.is_empty() && !there_are_some {
        // One kind of node, or nothing that runs: there is nothing to prefer, and nothing to say so either.
        return Ok(false);
    }
    sqlx::query!(
        "INSERT INTO placement_prices (prices, made_from, computed_at) VALUES ($1, $2, $3)
         ON CONFLICT (singleton) DO UPDATE
            SET prices = EXCLUDED.prices, made_from = EXCLUDED.made_from, computed_at = EXCLUDED.computed_at",
        Json(&prices) as _,
        Json(&now) as _,
        ambient.now() as _
    )
    .execute(pool)
    .await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use placement::{Node, NodeKey, Workload, WorkloadKey};

    use super::*;

    fn amount(cpu_milli: i64) -> Resources {
        Resources {
            cpu_milli,
            mem_mib: 1000,
            disk_mib: 0,
            pods: 10,
        }
    }

    fn cluster(nodes: &[Node], pods: u128) -> Cluster {
        let placed = (0..pods).map(|id| {
            let request = amount(100);
            (Workload::new(WorkloadKey(id), request, request), nodes[0].id)
        });
        Cluster::from_parts(nodes.iter().cloned(), placed).unwrap()
    }

    #[test]
    fn a_quarter_more_is_still_the_same_and_another_node_is_not() {
        let nodes = [Node::new(NodeKey(1), amount(1000)), Node::new(NodeKey(2), amount(2000))];
        let then = MadeFrom::of(&cluster(&nodes, 8));
        for (pods, far) in [(6, false), (8, false), (10, false), (5, true), (11, true)] {
            let now = MadeFrom::of(&cluster(&nodes, pods));
            assert_eq!(then.is_far_from(&now), far, "{pods} after 8");
        }
        assert!(then.is_far_from(&MadeFrom::of(&cluster(&nodes[..1], 8))));
        let mut cordoned = nodes.clone();
        cordoned[1].admission = Admission::Cordoned;
        assert!(then.is_far_from(&MadeFrom::of(&cluster(&cordoned, 8))));
        let mut busier = nodes.clone();
        busier[1].foreign = amount(500);
        assert!(
            !then.is_far_from(&MadeFrom::of(&cluster(&busier, 8))),
            "foreign pods come and go"
        );
        let nothing = MadeFrom::of(&cluster(&nodes, 0));
        assert!(nothing.is_far_from(&then) && !nothing.is_far_from(&nothing));
    }

    #[test]
    fn prices_survive_their_row() {
        let nodes = [
            Node::new(
                NodeKey(1),
                Resources {
                    mem_mib: 64_000,
                    ..amount(4000)
                },
            ),
            Node::new(
                NodeKey(2),
                Resources {
                    mem_mib: 4000,
                    ..amount(16_000)
                },
            ),
        ];
        let prices = placement::prices(&cluster(&nodes, 3));
        assert!(!prices.is_empty());
        let row = serde_json::to_value(&prices).unwrap();
        assert_eq!(serde_json::from_value::<Prices>(row).unwrap(), prices);
    }
}
