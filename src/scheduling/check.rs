//! Is what is placed what may be placed? The engine's independent check over the rows, and the ledger's own rules.
//!
//! It shares neither arithmetic nor queries with what decides and writes. Rules of what runs hold at every commit, so
//! whatever it finds there is a fault: of ours, or (over capacity) of pods that others brought to a full node. Certificates
//! may be found wanting for a moment after a node changed, until they are mended. It repairs nothing.

use std::collections::BTreeSet;

use placement::{Node, NodeKey, Placement, Resources, VolumeLocality, Workload, WorkloadKey};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use uuid::Uuid;

use super::read::{self, Entry};
use super::{State, metrics, rows, snapshot};

/// How many violations a log line names.
const NAMED: usize = 5;

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident = $name:literal),* $(,)?) => {
        /// What is wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
        #[serde(rename_all = "snake_case")]
        #[schema(as = PlacementViolationKind)]
        pub enum Kind { $($(#[$doc])* $kind),* }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];
            pub fn name(self) -> &'static str { match self { $(Self::$kind => $name),* } }
        }
    };
}

kinds! {
    /// The same node, instance or placement comes more than once.
    Twice = "twice",
    UnknownNode = "unknown_node",
    UnknownInstance = "unknown_instance",
    RemovedNode = "removed_node",
    /// More is requested on a node than it has, foreign pods included.
    OverCapacity = "over_capacity",
    /// It is placed where its data is not.
    VolumeElsewhere = "volume_elsewhere",
    /// A label or storage class that it needs is missing on its node.
    NodeUnsuitable = "node_unsuitable",
    /// More of one group are in one place than may be.
    GroupCrowded = "group_crowded",
    /// The node that a certificate names could not take the instance over.
    BackupUnfit = "backup_unfit",
    /// If one node died, another one would not have room for what its certificates bring there.
    LossNotAbsorbed = "loss_not_absorbed",
    /// An instance that is paid for has no firm place.
    EntitledNotFirm = "entitled_not_firm",
    /// It was seen to have stopped for want of payment, and still reserves CPU and memory.
    SuspendedNotParked = "suspended_not_parked",
    /// A deleted instance still has a place.
    DeletedNotReleased = "deleted_not_released",
    /// What is parked reserves CPU or memory, or what is not parked reserves none.
    WrongRequest = "wrong_request",
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PlacementViolation)]
pub struct Violation {
    pub kind: Kind,
    pub node_id: Option<Uuid>,
    pub instance_id: Option<Uuid>,
    pub detail: String,
}

/// What was looked at, and what was found.
#[derive(Clone, Debug)]
pub struct Found {
    pub nodes: usize,
    pub instances: usize,
    pub violations: Vec<Violation>,
}

/// Reads the rows as of one instant, checks them and sets the gauges.
pub async fn run(pool: &PgPool) -> sqlx::Result<Found> {
    let mut glance = snapshot::glance(pool).await?;
    let nodes = rows::nodes(&mut glance).await?;
    let ledger = read::ledger(&mut glance).await?;
    glance.commit().await?;
    let violations = find(&nodes, &ledger);
    metrics::violations(&violations);
    Ok(Found {
        nodes: nodes.len(),
        instances: ledger.len(),
        violations,
    })
}

/// What was already logged: a violation that stays is an error once, and a gauge for as long as it stays.
#[derive(Debug, Default)]
pub struct Told(BTreeSet<Key>);

/// The numbers in a violation may change while it stays the same one.
type Key = (Kind, Option<Uuid>, Option<Uuid>);

impl Told {
    pub fn tell(&mut self, found: &Found) {
        let key = |violation: &Violation| (violation.kind, violation.node_id, violation.instance_id);
        let all = &found.violations;
        let fresh: Vec<_> = all
            .iter()
            .filter(|violation| !self.0.contains(&key(violation)))
            .collect();
        let present: BTreeSet<Key> = all.iter().map(key).collect();
        if !fresh.is_empty() {
            let named: Vec<_> = fresh
                .iter()
                .take(NAMED)
                .map(|violation| violation.detail.as_str())
                .collect();
            tracing::error!(
                new = fresh.len(),
                total = all.len(),
                violations = named.join("; "),
                "placements break their rules"
            );
        } else if present.is_empty() && !self.0.is_empty() {
            tracing::info!("placements keep their rules again");
        }
        self.0 = present;
    }
}

/// Pure. The engine's check on flat lists, then the rules between an instance and its ledger row.
pub fn find(nodes: &[Node], ledger: &[Entry]) -> Vec<Violation> {
    let (mut workloads, mut placements) = (Vec::new(), Vec::new());
    for entry in ledger {
        let Some(place) = &entry.place else { continue };
        let request = Resources {
            cpu_milli: place.cpu_request_milli.into(),
            mem_mib: place.mem_request_mib.into(),
            disk_mib: place.disk_mib.into(),
            pods: i64::from(place.state != State::Parked),
        };
        let id = WorkloadKey(entry.instance_id.as_u128());
        let volume = entry.volume_node_id.map_or(VolumeLocality::Anywhere, |node| {
            VolumeLocality::Pinned(NodeKey(node.as_u128()))
        });
        workloads.push(Workload {
            volume,
            movable: place.movable,
            ..Workload::new(id, request, request)
        });
        placements.push(Placement {
            workload: id,
            node: NodeKey(place.node_id.as_u128()),
            backup: place
                .backup_node_id
                .filter(|_| entry.volume_node_id.is_none() && place.movable)
                .map(|node| NodeKey(node.as_u128())),
        });
    }
    let engine = placement::check(nodes, &workloads, &placements);
    let engine = engine.into_iter().map(|violation| Violation::named(violation, nodes));
    engine.chain(ledger.iter().filter_map(broken)).collect()
}

/// The first rule that an instance and its ledger row break.
fn broken(entry: &Entry) -> Option<Violation> {
    let state = entry.place.as_ref().map(|place| place.state);
    let entitled = entry.entitled.as_str();
    let stopped = entry.phase == "stopped" && entry.settled;
    let (kind, says) = if entry.deleted {
        state.map(|_| (Kind::DeletedNotReleased, "is deleted and still has a place"))?
    } else if entitled == "yes" && state != Some(State::Firm) {
        (Kind::EntitledNotFirm, "is paid for and has no firm place")
    } else if entitled == "suspended" && stopped && state == Some(State::Firm) {
        (
            Kind::SuspendedNotParked,
            "stands still unpaid and reserves CPU and memory",
        )
    } else {
        let place = entry.place.as_ref()?;
        let (cpu, mem) = (place.cpu_request_milli, place.mem_request_mib);
        let right = if place.state == State::Parked {
            cpu == 0 && mem == 0
        } else {
            cpu > 0 && mem > 0
        };
        (!right).then_some((Kind::WrongRequest, "reserves what its state does not allow"))?
    };
    Some(Violation {
        kind,
        node_id: entry.place.as_ref().map(|place| place.node_id),
        instance_id: Some(entry.instance_id),
        detail: format!("instance {} {says}", entry.instance_id),
    })
}

impl Violation {
    fn named(violation: placement::Violation, nodes: &[Node]) -> Self {
        use placement::Violation as V;
        let (kind, node, workload) = match &violation {
            V::NodeListedTwice { node } => (Kind::Twice, Some(*node), None),
            V::WorkloadListedTwice { workload } | V::PlacedTwice { workload, .. } => {
                (Kind::Twice, None, Some(*workload))
            }
            V::UnknownWorkload { workload, node } => (Kind::UnknownInstance, Some(*node), Some(*workload)),
            V::UnknownNode { workload, node } => (Kind::UnknownNode, Some(*node), Some(*workload)),
            V::RemovedNode { workload, node } => (Kind::RemovedNode, Some(*node), Some(*workload)),
            V::OverCapacity { node, .. } => (Kind::OverCapacity, Some(*node), None),
            V::VolumeElsewhere { workload, node } => (Kind::VolumeElsewhere, Some(*node), Some(*workload)),
            V::GroupCrowded { node, .. } => (Kind::GroupCrowded, Some(*node), None),
            V::BackupUnfit { workload, node } => (Kind::BackupUnfit, Some(*node), Some(*workload)),
            V::LossNotAbsorbed { node, .. } => (Kind::LossNotAbsorbed, Some(*node), None),
            V::SelectorUnmet { workload, node } | V::StorageClassMissing { workload, node } => {
                (Kind::NodeUnsuitable, Some(*node), Some(*workload))
            }
        };
        let name = node.and_then(|key| nodes.iter().find(|node| node.id == key));
        let detail = match (name, node) {
            (Some(node), Some(key)) => violation.to_string().replace(&key.to_string(), &node.name),
            _ => violation.to_string(),
        };
        Self {
            kind,
            node_id: node.map(|key| Uuid::from_u128(key.0)),
            instance_id: workload.map(|key| Uuid::from_u128(key.0)),
            detail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Place;
    use super::*;

    const NODE: Uuid = Uuid::from_u128(1);

    fn nodes() -> Vec<Node> {
        vec![Node {
            name: "barn".into(),
            ..Node::new(
                NodeKey(NODE.as_u128()),
                Resources {
                    cpu_milli: 1000,
                    mem_mib: 1000,
                    disk_mib: 1000,
                    pods: 10,
                },
            )
        }]
    }

    fn entry(id: u128, entitled: &str, phase: &str, place: Option<(State, i32)>) -> Entry {
        Entry {
            instance_id: Uuid::from_u128(id),
            entitled: entitled.into(),
            phase: phase.into(),
            settled: true,
            deleted: phase == "deleted",
            volume_node_id: None,
            place: place.map(|(state, cpu)| Place {
                node_id: NODE,
                backup_node_id: None,
                state,
                cpu_request_milli: cpu,
                mem_request_mib: cpu,
                disk_mib: 10,
                movable: true,
            }),
        }
    }

    fn kinds(ledger: &[Entry]) -> Vec<Kind> {
        let found = find(&nodes(), ledger);
        found.iter().map(|violation| violation.kind).collect()
    }

    #[test]
    fn kinds_are_named_as_they_are_written() {
        for &kind in Kind::ALL {
            assert_eq!(serde_json::json!(kind), kind.name());
        }
    }

    #[test]
    fn a_right_ledger_is_silent() {
        let mut expiring = entry(5, "suspended", "stopped", Some((State::Firm, 100)));
        expiring.settled = false;
        let ledger = [
            entry(1, "yes", "running", Some((State::Firm, 500))),
            entry(2, "suspended", "pending", Some((State::Hold, 100))),
            entry(3, "suspended", "stopped", Some((State::Parked, 0))),
            entry(4, "suspended", "stopping", Some((State::Firm, 100))),
            expiring,
            entry(6, "suspended", "stopped", Some((State::Hold, 100))),
            entry(7, "purge", "deleting", Some((State::Firm, 100))),
            entry(8, "purge", "deleting", None),
            entry(9, "purge", "deleted", None),
        ];
        assert_eq!(find(&nodes(), &ledger), []);
    }

    #[test]
    fn every_broken_rule_is_named() {
        for (broken, kind) in [
            (entry(1, "yes", "running", None), Kind::EntitledNotFirm),
            (
                entry(1, "yes", "running", Some((State::Parked, 0))),
                Kind::EntitledNotFirm,
            ),
            (
                entry(1, "suspended", "stopped", Some((State::Firm, 1))),
                Kind::SuspendedNotParked,
            ),
            (
                entry(1, "purge", "deleted", Some((State::Firm, 1))),
                Kind::DeletedNotReleased,
            ),
            (
                entry(1, "suspended", "stopped", Some((State::Parked, 1))),
                Kind::WrongRequest,
            ),
            (entry(1, "yes", "running", Some((State::Firm, 0))), Kind::WrongRequest),
        ] {
            assert_eq!(kinds(std::slice::from_ref(&broken)), [kind], "{broken:?}");
        }
    }

    #[test]
    fn the_engines_check_is_told_in_the_names_of_nodes() {
        let full = [
            entry(1, "yes", "running", Some((State::Firm, 600))),
            entry(2, "yes", "running", Some((State::Firm, 600))),
        ];
        let found = find(&nodes(), &full);
        assert_eq!(kinds(&full), [Kind::OverCapacity, Kind::OverCapacity], "CPU and memory");
        assert_eq!(found[0].node_id, Some(NODE));
        assert!(
            found[0]
                .detail
                .contains("node barn is over on CPU: 1200 requested of 1000"),
            "{found:?}"
        );
        let mut elsewhere = entry(1, "yes", "running", Some((State::Firm, 1)));
        elsewhere.volume_node_id = Some(Uuid::from_u128(2));
        assert_eq!(kinds(&[elsewhere]), [Kind::VolumeElsewhere]);
        let mut lost = entry(1, "yes", "running", Some((State::Firm, 1)));
        lost.place.as_mut().unwrap().node_id = Uuid::from_u128(9);
        assert_eq!(kinds(&[lost]), [Kind::UnknownNode]);
        let twice = entry(1, "yes", "running", Some((State::Firm, 1)));
        assert!(kinds(&[twice.clone(), twice]).contains(&Kind::Twice));
    }
}
