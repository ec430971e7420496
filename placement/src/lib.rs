//! Lumbung's placement engine: which node runs which workload, decided from plain values.
//!
//! It promises: whole numbers only, no I/O, no clock, no randomness, no hash order. The same cluster, policy and
//! workload give the same answer on every machine. It never says yes to what does not fit; every no names what is in
//! the way and the smallest change that would help. It does not act: the caller assigns, writes and moves.
//!
//! Start at [`place()`]; `README.md` beside this crate says what is wanted of it and how it gets there.
//!
//! # Three unequal machines, any of which may die
//!
//! ```
//! use lumbung_placement::plan::{apply, failover};
//! use lumbung_placement::{
//!     Availability, Cluster, Node, NodeKey, Policy, PolicySpec, Reserve, Resources, Workload, WorkloadKey, place,
//! };
//!
//! let machine = |id, cpu_milli, gib: i64| {
//!     let allocatable = Resources { cpu_milli, mem_mib: gib * 1024, disk_mib: 1 << 20, pods: 110 };
//!     Node::new(NodeKey(id), allocatable)
//! };
//! let nodes = [machine(1, 22_500, 60), machine(2, 15_500, 30), machine(3, 7_500, 30)];
//! let mut cluster = Cluster::from_parts(nodes, [])?;
//! let policy = Policy::new(PolicySpec {
//!     reserve: Reserve::NPlusOne,
//!     setup_reserve: Resources::ZERO,
//!     ..PolicySpec::default()
//! })?;
//!
//! // A plan of 1 CPU and 1 GiB at most; CPU is promised four times, memory twice.
//! let limit = Resources { cpu_milli: 1000, mem_mib: 1024, disk_mib: 0, pods: 1 };
//! let asked = Resources { cpu_milli: 250, mem_mib: 512, ..limit };
//! let request = policy.written_request(asked, limit);
//!
//! let mut sold = 0;
//! let refusal = loop {
//!     let order = Workload::new(WorkloadKey(sold + 1), request, limit);
//!     match place(&cluster, &policy, &order) {
//!         Ok(decision) => {
//!             cluster.assign_with(order, decision.node, decision.backup)?;
//!             sold += 1;
//!         }
//!         Err(refusal) => break refusal,
//!     }
//! };
//! assert_eq!(sold, 90);
//! println!("{refusal}");
//!
//! // The second machine dies. Where each of its services goes was known all along.
//! let plan = failover(&cluster, &policy, NodeKey(2))?;
//! assert!(plan.stranded.is_empty());
//! let lost = Node { availability: Availability::Offline, ..cluster.node(NodeKey(2)).unwrap().clone() };
//! cluster.upsert_node(lost)?;
//! apply(&mut cluster, &plan)?;
//! assert_eq!(cluster.workloads_on(NodeKey(2)).count(), 0);
//! assert_eq!(cluster.workload_count(), 90);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
