//! Looking at one instance's objects, and removing exactly those.
//!
//! Everything is found by its deterministic name or by the instance's label, and is ours only if the label says so:
//! an object of another instance under the same name is left alone, and applying over it is an error.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Event, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::{Api, ListParams, ObjectMeta};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::admin::is_task;
use super::manifests::{service_name, tls_secret_name};
use super::store::Instance;
use crate::kube::{self as k8s, LABEL_INSTANCE};

/// One instance's place in the cluster.
#[derive(Clone)]
pub struct Place {
    client: Client,
    pub id: Uuid,
    pub name: String,
    pub namespace: String,
}

/// The pods of an instance.
#[derive(Clone, Debug, Default)]
pub struct Pods {
    /// The StatefulSet's.
    pub own: Option<Pod>,
    /// Setup and verify pods.
    pub tasks: Vec<Pod>,
}

/// Everything beside the pods, as far as it is there and ours.
#[derive(Clone, Debug, Default)]
pub struct Things {
    pub ingress: Option<Ingress>,
    pub stateful_set: Option<StatefulSet>,
    pub claims: Vec<PersistentVolumeClaim>,
    pub service: Option<Service>,
    pub policy: Option<NetworkPolicy>,
    pub secret: Option<Secret>,
    pub config_map: Option<ConfigMap>,
    /// Made by cert-manager for our ingress, and not removed with it.
    pub certificate: Option<Secret>,
}

/// Who has an object's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Nobody,
    Ours,
    /// Another instance, or somebody else.
    Another,
}

impl Things {
    /// Is there anything beside StatefulSet, claims and ingress?
    pub fn others(&self) -> bool {
        self.service.is_some()
            || self.policy.is_some()
            || self.secret.is_some()
            || self.config_map.is_some()
            || self.certificate.is_some()
    }
}

impl Place {
    pub fn new(client: &Client, instance: &Instance) -> Self {
        Self {
            client: client.clone(),
            id: instance.id,
            name: instance.name.clone(),
            namespace: instance.namespace.clone(),
        }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    fn is_ours(&self, meta: &ObjectMeta) -> bool {
        k8s::instance_of(meta) == Some(self.id)
    }

    fn selector(&self) -> String {
        format!("{LABEL_INSTANCE}={}", self.id)
    }

    /// The object of this name, if it is this instance's.
    async fn ours<K>(&self, name: &str) -> kube::Result<Option<K>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        let found: Option<K> = k8s::get(&self.api(), name).await?;
        Ok(found.filter(|object| self.is_ours(object.meta())))
    }

    /// Whose data lies under the name of a claim that is to be applied.
    pub async fn claim_holder(&self, name: &str) -> kube::Result<Holder> {
        let found: Option<PersistentVolumeClaim> = k8s::get(&self.api(), name).await?;
        Ok(match found {
            None => Holder::Nobody,
            Some(claim) if self.is_ours(&claim.metadata) => Holder::Ours,
            Some(_) => Holder::Another,
        })
    }

    pub async fn pods(&self) -> kube::Result<Pods> {
        let all: Vec<Pod> = k8s::list(&self.api(), &self.selector()).await?;
        let (tasks, own): (Vec<_>, Vec<_>) = all.into_iter().partition(is_task);
        Ok(Pods {
            own: own.into_iter().next(),
            tasks,
        })
    }

    pub async fn stateful_set(&self) -> kube::Result<Option<StatefulSet>> {
        self.ours(&self.name).await
    }

    pub async fn things(&self, with_certificate: bool) -> kube::Result<Things> {
        let certificate = if with_certificate {
            k8s::get(&self.api(), &tls_secret_name(&self.name)).await?
        } else {
            None
        };
        Ok(Things {
            ingress: self.ours(&self.name).await?,
            stateful_set: self.stateful_set().await?,
            claims: k8s::list(&self.api(), &self.selector()).await?,
            service: self.ours(&service_name(&self.name)).await?,
            policy: self.ours(&self.name).await?,
            secret: self.ours(&self.name).await?,
            config_map: self.ours(&self.name).await?,
            certificate,
        })
    }

    /// Why the StatefulSet's controller could not make its pod: that is told by an event and nowhere else.
    pub async fn refusal(&self, set: &StatefulSet) -> kube::Result<Option<String>> {
        let fields = format!("involvedObject.kind=StatefulSet,involvedObject.name={}", self.name);
        let params = ListParams::default().fields(&fields);
        let events = k8s::timed(self.api::<Event>().list(&params)).await?;
        let about = |event: &Event| {
            event.reason.as_deref() == Some("FailedCreate") && event.involved_object.uid == set.metadata.uid
        };
        let newest = events
            .items
            .into_iter()
            .filter(about)
            .max_by_key(|event| event.last_timestamp.as_ref().map(|time| time.0));
        Ok(newest.and_then(|event| event.message))
    }

    pub async fn apply<K>(&self, object: &K) -> kube::Result<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        k8s::apply(&self.api(), object).await
    }

    pub async fn create<K>(&self, object: &K) -> kube::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Serialize + DeserializeOwned + Clone + Debug,
    {
        k8s::create(&self.api(), object).await
    }

    /// Deletes exactly what was seen; what is on its way already is left to go.
    pub async fn delete<K>(&self, seen: &K) -> kube::Result<()>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        if seen.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        k8s::delete(&self.api(), seen).await
    }
}
