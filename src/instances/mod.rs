//! What the customer bought: desired and observed.
//!
//! A change of desire ([`desire`]) bumps `generation` and makes the row due; only [`reconcile`] touches Kubernetes, and
//! whatever it reports it has seen. Rules without I/O live in [`phase`]; everything SQL in [`store`].

pub mod admin;
pub mod admission;
pub mod backoff;
pub mod cluster;
pub mod create;
pub mod credentials;
pub mod desire;
pub mod finish;
pub mod http;
pub mod keep;
pub mod manifests;
pub mod namespaces;
pub mod phase;
pub mod purge;
pub mod reconcile;
pub mod status;
pub mod store;
pub mod view;

use std::collections::BTreeMap;

use crate::operations::Operation;

pub use create::{Created, New, create};
pub use desire::set_entitlement;
pub use manifests::ClusterSettings;
pub use phase::{Entitled, Phase, Wanted};

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
    Refused(placement::Refusal),
    #[error("no region is set up")]
    NoRegion,
    #[error("secrets could not be generated: {0}")]
    Secrets(#[from] crate::catalog::template::GenerateError),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}
