//! What the customer bought: desired and observed.
//!
//! A change of desire ([`desire`]) bumps `generation` and makes the row due; only [`reconcile`] touches Kubernetes, and
//! whatever it reports it has seen. Rules without I/O live in [`phase`]; everything SQL in [`store`].

pub mod admin;
pub mod admission;
mod apply;
pub mod backoff;
pub mod cluster;
pub mod create;
pub mod credentials;
pub mod desire;
pub mod finish;
pub mod http;
pub mod keep;
pub mod lease;
pub mod manifests;
pub mod namespaces;
pub mod phase;
pub mod purge;
pub mod reconcile;
pub mod resync;
pub mod status;
pub mod store;
pub mod sweep;
pub mod view;
pub mod watch;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::signal::Channel;
use crate::operations::Operation;
use crate::tasks::Task;

pub use create::{Created, New, create};
pub use desire::set_entitlement;
pub use manifests::ClusterSettings;
pub use phase::{Entitled, Phase, Wanted};
pub use reconcile::Reconciler;

/// How services are put on the cluster.
#[derive(Clone, Debug)]
pub struct Settings {
    pub base_domain: String,
    /// A volume can follow its pod to another node.
    pub volumes_movable: bool,
    pub cluster: ClusterSettings,
}

impl From<&crate::config::Cluster> for Settings {
    fn from(cluster: &crate::config::Cluster) -> Self {
        Self {
            base_domain: cluster.base_domain.clone(),
            volumes_movable: cluster.volumes_movable,
            cluster: ClusterSettings {
                ingress_class: cluster.ingress_class.clone(),
                cluster_issuer: cluster.cluster_issuer.clone(),
                storage_class: cluster.storage_class.clone(),
                ingress_namespace: cluster.ingress_namespace.clone(),
                ingress_pod_labels: BTreeMap::from([cluster.ingress_pod_label.clone()]),
                ingress_address: cluster.ingress_address,
                dns_namespace: "kube-system".to_owned(),
                image_pull_policy: None,
            },
        }
    }
}

/// Why a desire is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such instance")]
    NotFound,
    #[error("the instance is being deleted")]
    Purged,
    #[error("the subscription does not cover it at present")]
    NotEntitled,
    #[error("the operator holds it")]
    Held,
    #[error("it is stopped")]
    NotRunning,
    /// A different operation runs.
    #[error("another operation ({}) is running on it", .0.kind.name())]
    Busy(Box<Operation>),
    #[error("there is no room for it: {0}")]
    Refused(Box<placement::Refusal>),
    #[error("the placements are inconsistent: {0}")]
    Inconsistent(String),
    #[error("no region is set up")]
    NoRegion,
    #[error("secrets could not be generated: {0}")]
    Secrets(#[from] crate::catalog::template::GenerateError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

/// What runs in the background by period or bell. [`watch::run`] runs beside them for as long as the process does.
pub fn tasks(ctx: &Reconciler) -> Vec<Task> {
    let (reconcile, namespaces, resync, sweep) = (ctx.clone(), ctx.clone(), ctx.clone(), ctx.clone());
    let memory = resync::Memory::default();
    let sweeper = sweep::Sweeper::new(&ctx.ambient);
    vec![
        // Before the instances: what they wait for.
        Task::new("namespaces", Duration::from_secs(1), Some(Channel::Work), move || {
            let ctx = namespaces.clone();
            async move { namespaces::run(&ctx).await }
        }),
        Task::new("reconcile", Duration::from_secs(1), Some(Channel::Work), move || {
            let ctx = reconcile.clone();
            async move { ctx.run().await }
        }),
        Task::new("resync", Duration::from_secs(30), None, move || {
            let (ctx, memory) = (resync.clone(), memory.clone());
            async move { resync::run(&ctx, &memory).await }
        }),
        Task::new("sweep", Duration::from_mins(2), None, move || {
            let (ctx, sweeper) = (sweep.clone(), sweeper.clone());
            async move { sweeper.run(&ctx).await }
        }),
    ]
}
