//! What a run leaves behind: the whole of it is the JSON, and the table and the picture are drawn from it alone.
//!
//! Times are seconds from the start, shares are parts per million.

use std::collections::BTreeMap;

use placement::{Cost, Policy, Reason, Violation};
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub scenario: String,
    pub seed: u64,
    pub length_seconds: i64,
    pub policy: Policy,
    pub orders: Orders,
    pub machines: Vec<MachineReport>,
    pub samples: Vec<Sample>,
    pub incidents: Vec<Incident>,
    pub moves: Moves,
    /// Pods that stood still for want of a place, added up over time.
    pub lost_pod_seconds: i64,
    pub violations: Vec<Found>,
    pub usage: Option<Usage>,
    pub end: Ending,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Orders {
    pub by_plan: Vec<PlanOrders>,
    pub cancelled: u64,
    pub first_refusal: Option<FirstRefusal>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanOrders {
    pub plan: String,
    pub admitted: u64,
    /// By what stood in the way on the node that came closest.
    pub refused: BTreeMap<Reason, u64>,
}

impl PlanOrders {
    pub fn refused(&self) -> u64 {
        self.refused.values().sum()
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct FirstRefusal {
    pub at: i64,
    pub plan: String,
    pub running: usize,
    pub cpu_ppm: i64,
    pub mem_ppm: i64,
    /// The engine's own sentence, with the smallest change that would have helped.
    pub why: String,
}

#[derive(Clone, Debug, Serialize)]
pub struct MachineReport {
    pub name: String,
    pub class: String,
    /// Requests against what is allocatable, one per sample.
    pub cpu_ppm: Vec<i64>,
    pub mem_ppm: Vec<i64>,
    pub marks: Vec<Mark>,
}

/// When a machine was not as usual.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Mark {
    pub kind: Kind,
    pub from: i64,
    pub to: Option<i64>,
    pub absorbed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Failure,
    Drain,
}

/// The fleet at one time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Sample {
    pub at: i64,
    pub pods: usize,
    /// Pods without a living node.
    pub standing_still: usize,
    /// Requests of pods on living nodes against what those have allocatable.
    pub cpu_ppm: i64,
    pub mem_ppm: i64,
    pub machines_down: usize,
    pub admitted: u64,
    pub refused: u64,
}

#[derive(Clone, Debug, Serialize)]
pub struct Incident {
    pub at: i64,
    pub kind: Kind,
    pub node: String,
    /// Of the seed, and not written in the scenario.
    pub by_chance: bool,
    pub returned_at: Option<i64>,
    /// On the machine when it happened.
    pub pods: usize,
    pub others_down: usize,
    /// Moved at once, by what their certificates said and by search.
    pub by_certificate: u32,
    pub by_search: u32,
    /// Moved from other machines, to make room.
    pub made_room: u32,
    /// Best-effort ones that were stopped and found no other place.
    pub stopped: usize,
    /// Protected ones that found no place at once.
    pub stranded: usize,
    /// Best-effort ones that found no place at once.
    pub best_effort_stranded: usize,
    /// Their data is on the machine.
    pub pinned: usize,
    /// Nothing could be placed anew, since too few control-plane machines were up.
    pub no_control_plane: bool,
    /// Protected ones without a certificate afterwards; always 0 without N+1.
    pub exposed: usize,
    pub violations: usize,
    /// Every protected pod that can move found a place at once.
    pub absorbed: bool,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moves {
    pub certificate: u32,
    pub search: u32,
    pub drain: u32,
    pub make_room: u32,
    /// Where a later search found what the first one had not.
    pub later: u32,
    pub cost: Cost,
}

#[derive(Clone, Debug, Serialize)]
pub struct Found {
    pub at: i64,
    pub what: Violation,
    pub text: String,
}

/// What the traces say was used, looked at once per step of the traces.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// Living machines times steps.
    pub looked_at: u64,
    /// Of those, used beyond what the machine has.
    pub cpu_over: u64,
    pub mem_over: u64,
    /// The most that any machine used of what it has.
    pub cpu_peak_ppm: i64,
    pub mem_peak_ppm: i64,
    /// How often a machine became too busy for new orders.
    pub closed: u64,
    /// Pods whose written request was changed to what they use.
    pub resized: u64,
}

/// The state in which the run ends, and what would happen next.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Ending {
    pub running: usize,
    pub standing_still: usize,
    pub headroom: Vec<Room>,
    /// One per living machine: what its death would do now.
    pub losses: Vec<LossNow>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Room {
    pub plan: String,
    pub more: i64,
    pub binding: Reason,
}

#[derive(Clone, Debug, Serialize)]
pub struct LossNow {
    pub node: String,
    pub pods: usize,
    pub moved: u32,
    pub stranded: usize,
    pub pinned: usize,
    /// The answer does not depend on a search: certificates alone bring everybody elsewhere.
    pub certified: bool,
    /// Nothing can be placed anew until it returns.
    pub stops_placement: bool,
}

impl LossNow {
    pub fn absorbed(&self) -> bool {
        self.stranded == 0 && !self.stops_placement
    }
}
