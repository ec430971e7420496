//! From a row, its template and its placement to Kubernetes objects.
//!
//! Pure and deterministic: the same input renders the same bytes, so that applying it again is a no-op and no pod is
//! ever rolled for bookkeeping. Everything is keyed by sorted maps, and quantities are written as the API server writes
//! them back. One file per kind of object; [`render`] makes all of an instance's own objects at once, [`task`] the pods
//! of its first administrator, [`namespace`] and [`policies`] what the customer's namespace holds once.
//!
//! What it does not do: apply, delete, or know what is in the cluster. Secrets are passed by reference to the
//! instance's Secret; no other object holds one.

mod claim;
mod config;
mod container;
mod digest;
mod facts;
mod ingress;
mod meta;
pub mod namespace;
mod pod;
pub mod policies;
mod quantity;
mod secret;
mod service;
mod shares;
mod stateful_set;
pub mod task;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use uuid::Uuid;

use super::phase::AdminState;
use crate::catalog::template::{Inputs, Plan, RenderError, Template};

pub use meta::{claim_name, instance_selector, pod_name, service_name, tls_secret_name};

/// Priority classes, made by the operator's manifests: the quotas of a namespace tell instances and tasks apart by them.
pub const PRIORITY_INSTANCE: &str = "lumbung-instance";
pub const PRIORITY_SETUP: &str = "lumbung-setup";

/// Which instance, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceFacts {
    pub id: Uuid,
    /// Unique in the customer's namespace, a DNS label of at most 52 characters: the name of most of its objects.
    pub name: String,
    pub generation: i64,
    /// Raised by a restart that the customer asked for.
    pub restart_no: i64,
    pub host: String,
    pub user_id: Uuid,
    pub subscription_id: Uuid,
}

/// CPU and memory as the placement recorded them: the engine and the pod count the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenRequest {
    pub cpu_milli: i32,
    pub mem_mib: i32,
}

/// How this cluster is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    pub ingress_class: String,
    /// cert-manager ClusterIssuer; none means the ingress controller's own certificate.
    pub cluster_issuer: Option<String>,
    pub storage_class: String,
    pub ingress_namespace: String,
    pub ingress_pod_labels: BTreeMap<String, String>,
    /// Where a pod finds its own public host inside the cluster.
    pub ingress_address: Option<IpAddr>,
    pub dns_namespace: String,
    /// `IfNotPresent` and so on; none leaves it to Kubernetes.
    pub image_pull_policy: Option<String>,
}

/// All that an instance's objects depend on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    pub instance: &'a InstanceFacts,
    pub template: &'a Template,
    /// Limits and disk come from here.
    pub plan: &'a Plan,
    pub written_request: WrittenRequest,
    /// The `kubernetes.io/hostname` to run on.
    pub node_name: &'a str,
    pub running: bool,
    /// Plaintext by key.
    pub secrets: &'a BTreeMap<String, String>,
    pub inputs: &'a Inputs,
    pub admin_state: AdminState,
    pub route_open: bool,
    pub settings: &'a ClusterSettings,
    pub namespace: &'a str,
}

/// Why nothing can be rendered. A template that passed validation meets none of these with complete secrets and inputs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the template does not render: {0}")]
    Render(#[from] RenderError),
    #[error("there is no value for the secret {0}")]
    NoSecret(String),
    #[error("the template's route leads to no port")]
    NoRoute,
    #[error("component {component} has no port {port}")]
    NoPort { component: String, port: String },
    #[error("component {component} mounts {volume}, which is no volume of the template")]
    NoVolume { component: String, volume: String },
}

/// All objects of one instance but its tasks, in the order in which they are applied; the ingress last, and only when
/// the route may be open.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub secret: Secret,
    pub config_map: Option<ConfigMap>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub service: Service,
    /// Lets the ingress controller and the tasks in; the namespace's default is to let nobody in.
    pub policy: NetworkPolicy,
    pub stateful_set: StatefulSet,
    pub ingress: Option<Ingress>,
}

pub fn render(input: &Input<'_>) -> Result<Rendered, Error> {
    Ok(Rendered {
        secret: secret::secret(input),
        config_map: config::config_map(input)?,
        claims: claim::claims(input),
        service: service::service(input)?,
        policy: policies::instance(input)?,
        stateful_set: stateful_set::stateful_set(input)?,
        ingress: ingress::ingress(input)?,
    })
}
