//! Lumbung's placement engine: which node runs which workload, decided from plain values.
//!
//! It promises: whole numbers only, no I/O, no clock, no randomness, no hash order. The same cluster, policy and
//! workload give the same answer on every machine. It never says yes to what does not fit; every no names what is in
//! the way and the smallest change that would help. It does not act: the caller assigns, writes and moves.
//!
//! Start at [`place()`]; `README.md` beside this crate says what is wanted of it and how it gets there.

mod backup;
mod certificates;
pub mod check;
pub mod cluster;
pub mod headroom;
mod index;
pub mod key;
pub mod model;
pub mod pack;
pub mod place;
pub mod plan;
mod pods;
pub mod policy;
pub mod prices;
pub mod refusal;
pub mod remedy;
pub mod resources;
pub mod score;
pub mod usage;
pub mod what_if;

pub use check::{Violation, check};
pub use cluster::{Cluster, ClusterError, Group};
pub use headroom::{Headroom, NodeHeadroom, headroom};
pub use key::{GroupKey, NodeKey, WorkloadKey};
pub use model::{
    Admission, Availability, Labels, Node, Placement, Priority, Spread, Taint, TaintEffect, Toleration, Topology,
    VolumeLocality, Workload,
};
pub use place::{Decision, Explanation, Purpose, explain, place, place_for};
pub use plan::{
    Budget, Cause, Certified, Consolidation, ControlPlane, Cost, Defragmentation, Evacuation, Eviction, HeadroomAfter,
    Loss, Move, Outdated, Plan, Recertification, Resilience, RoomMade, SecondLoss, Step, apply, consolidate,
    defragment, drain, evacuate, failover, improve, make_room, rebalance, recertify, resilience,
};
pub use policy::{Policy, PolicyError, PolicySpec, Reserve};
pub use prices::{Prices, prices};
pub use refusal::{Counts, Reason, Refusal};
pub use remedy::{Change, NodeChange};
pub use resources::{Dimension, PPM, Resources};
pub use score::Score;
pub use usage::{Load, Predicted, Summary, UsageRule};
pub use what_if::{Answer, WhatIfError, what_if};
