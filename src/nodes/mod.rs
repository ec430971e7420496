//! Worker nodes: what the cluster offers, as observed, and what the operator wants of each machine.
//!
//! Rows follow the Node objects ([`sync`]); a row is never deleted, since placements point at it. What the operator
//! wants stands beside it and is written by [`http`] only. Where a pod goes is decided elsewhere.

pub mod http;
pub mod quantity;
pub mod read;
pub mod requests;
pub mod store;
pub mod sync;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Mutex;

use crate::clock::Ambient;
use crate::db::signal::{Channel, Signals};
use crate::tasks::Task;

/// A change is heard of through the watch; the period finds what the watch lost, and foreign pods.
const PERIOD: Duration = Duration::from_secs(10);

/// What the looks and the watch need.
#[derive(Clone)]
pub struct Deps {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    pub client: kube::Client,
}

pub fn tasks(deps: &Deps) -> Vec<Task> {
    let (deps, doubt) = (deps.clone(), Arc::new(Mutex::new(sync::Doubt::default())));
    vec![Task::new("nodes", PERIOD, Some(Channel::Nodes), move || {
        let (deps, doubt) = (deps.clone(), doubt.clone());
        async move { sync::run(&deps, &mut *doubt.lock().await).await }
    })]
}

/// What the cluster says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeAvailability)]
pub enum Availability {
    Ready,
    /// It reports that it is not ready, or does not report any more.
    Suspect,
    /// Known to be off.
    Offline,
    /// The cluster does not list it (any more).
    Unknown,
}

impl Availability {
    /// Whatever a row may hold one day that this version does not know is unknown.
    pub fn parse(name: &str) -> Self {
        match name {
            "ready" => Self::Ready,
            "suspect" => Self::Suspect,
            "offline" => Self::Offline,
            _ => Self::Unknown,
        }
    }
}

/// What the operator wants of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = NodeAdmission)]
pub enum Admission {
    /// Takes new workloads.
    Open,
    /// Takes only what has to leave another node.
    Standby,
    /// Takes nothing; what runs there stays.
    Cordoned,
    /// What runs there is being moved away.
    Draining,
    /// Taken out of service.
    Removed,
}

impl Admission {
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Standby => "standby",
            Self::Cordoned => "cordoned",
            Self::Draining => "draining",
            Self::Removed => "removed",
        }
    }

    /// What is not known takes nothing.
    pub fn parse(name: &str) -> Self {
        let all = [Self::Open, Self::Standby, Self::Cordoned, Self::Draining, Self::Removed];
        let known = all.into_iter().find(|admission| admission.name() == name);
        known.unwrap_or(Self::Cordoned)
    }
}
