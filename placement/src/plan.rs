//! Plans: what should move, in which order, at what cost. They are data; nothing has moved when one is made.
//!
//! Promised of every plan:
//! - Each step finds room at its target while its source still holds the workload, so that no node is over capacity in
//!   transit, and the plan may be aborted after any step: every prefix leaves a cluster that is as valid as before.
//! - Planning again after the plan has been carried out gives an empty plan, unless a budget cut it short.
//! - What moves of one's own will (`defragment`, `consolidate`, `improve`) is decided by requests and certificates, never by
//!   measured load; `rebalance` alone looks at it, and only on nodes that have been declared hot.
//!
//! `failover` answers a loss by looking certificates up; `drain` empties a living node; `recertify` mends certificates;
//! `make_room` moves others so that one workload fits; `resilience` says which nodes may fail now. Carrying a plan out
//! (stopping, copying, starting) is the caller's: it asks [`Step::holds`] before each step.

mod apply;
mod certify;
mod consolidate;
mod control_plane;
mod defragment;
mod draft;
mod drain;
mod evacuate;
mod failover;
mod gather;
mod leftovers;
mod rebalance;
mod resilience;
mod room;
mod sets;
mod stops;

use serde::{Deserialize, Serialize};

pub use apply::{Outdated, apply};
pub use certify::{Certified, Recertification, improve, recertify};
pub use consolidate::{Consolidation, consolidate};
pub use control_plane::ControlPlane;
pub use defragment::{Defragmentation, defragment};
pub use drain::drain;
pub use evacuate::{Evacuation, Move, evacuate};
pub use failover::failover;
pub use rebalance::rebalance;
pub use resilience::{Loss, Resilience, SecondLoss, resilience};
pub use room::{RoomMade, make_room};

use crate::{NodeKey, Resources, WorkloadKey, model::VolumeLocality, model::Workload, refusal::Refusal};

/// What a stop and a start take until the service answers again, in seconds: image there, volume at hand.
pub const RESTART_SECONDS: i64 = 30;
/// What is copied in a second where data has to follow: a network of 1 Gbit/s, not quite full.
pub const COPY_MIB_PER_SECOND: i64 = 100;

/// Why a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its node is lost, and its certificate names the target.
    Certificate,
    /// Its node is lost and it had no certificate that holds: the target was searched for.
    Search,
    /// Its node is being emptied.
    Drain,
    /// It makes room for another one.
    MakeRoom,
    /// Its node is in use beyond the trigger line.
    Hot,
    /// Small remainders become places that can be sold.
    Defragment,
    /// Its node is to be empty.
    Consolidate,
    /// It stays; only its certificate changes.
    Recertify,
}

/// What is free on the two nodes once a step is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadroomAfter {
    pub to: Resources,
    pub from: Resources,
}

/// One workload goes from one node to another; from a node to itself it stays, and only its certificate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    pub workload: WorkloadKey,
    pub from: NodeKey,
    pub to: NodeKey,
    /// Its new certificate; none until [`recertify`] finds one.
    pub backup: Option<NodeKey>,
    pub reason: Cause,
    /// What must be free at `to` before it begins.
    pub precondition: Resources,
    pub headroom_after: HeadroomAfter,
    /// How long it is likely to be away; 0 for a certificate.
    pub restart_seconds: i64,
    /// What is copied, at most.
    pub volume_mib: i64,
}

impl Step {
    /// Whether anything moves.
    pub fn moves(&self) -> bool {
        self.from != self.to
    }
}

/// A best-effort workload that is stopped, because the reserve it lives in is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Eviction {
    pub workload: WorkloadKey,
    pub node: NodeKey,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    pub moves: u32,
    pub restart_seconds: i64,
    pub volume_mib: i64,
}

impl Cost {
    fn of(workload: &Workload, moves: bool) -> Self {
        if !moves {
            return Self::default();
        }
        // A copy on the other node is there already.
        let volume_mib = match workload.volume {
            VolumeLocality::OneOf(_) => 0,
            VolumeLocality::Anywhere | VolumeLocality::Pinned(_) => workload.request.disk_mib,
        };
        Self {
            moves: 1,
            restart_seconds: RESTART_SECONDS + volume_mib.div_euclid(COPY_MIB_PER_SECOND),
            volume_mib,
        }
    }

    fn minus(self, step: &Step) -> Self {
        Self {
            moves: self.moves - u32::from(step.moves()),
            restart_seconds: self.restart_seconds - step.restart_seconds,
            volume_mib: self.volume_mib - step.volume_mib,
        }
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            moves: self.moves.saturating_add(other.moves),
            restart_seconds: self.restart_seconds.saturating_add(other.restart_seconds),
            volume_mib: self.volume_mib.saturating_add(other.volume_mib),
        }
    }
}

/// What a plan of one's own will may cost. The default has no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    pub moves: Option<u32>,
    pub restart_seconds: Option<i64>,
    pub volume_mib: Option<i64>,
    /// Hysteresis: a series of moves is taken only if each thing it gains (a place for a pod, an empty node) costs no more
    /// moves than this.
    pub moves_per_gain: Option<u32>,
}

impl Budget {
    pub fn moves(most: u32) -> Self {
        Self {
            moves: Some(most),
            ..Self::default()
        }
    }

    fn allows(&self, cost: Cost) -> bool {
        self.moves.is_none_or(|most| cost.moves <= most)
            && self.restart_seconds.is_none_or(|most| cost.restart_seconds <= most)
            && self.volume_mib.is_none_or(|most| cost.volume_mib <= most)
    }

    fn worth(&self, moves: u32, gain: u32) -> bool {
        self.moves_per_gain
            .is_none_or(|most| u64::from(moves) <= u64::from(most) * u64::from(gain))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Stopped before the first step.
    pub evictions: Vec<Eviction>,
    /// In order.
    pub steps: Vec<Step>,
    /// What finds no place, and why.
    pub stranded: Vec<Refusal>,
    /// Their data is on the lost node only: to be restored from a backup, wherever that goes.
    pub restore: Vec<WorkloadKey>,
    pub cost: Cost,
    /// The budget ended it: there would have been more to gain.
    pub cut: bool,
}

impl Plan {
    pub fn is_empty(&self) -> bool {
        self.evictions.is_empty() && self.steps.is_empty()
    }

    /// The steps in which something moves.
    pub fn moves(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.moves())
    }
}
