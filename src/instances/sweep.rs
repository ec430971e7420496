//! The orphan sweep: finds objects in the cluster that say they belong to an instance that no live row owns.
//!
//! What was found twice in a row, and whose instance's purge has finished here, is deleted by exact uid. What belongs to
//! an instance that no row of this database knows is only reported, whatever it is: it may be another platform's on the
//! same cluster, or the database may be older than the cluster, and then these are customers' running services.
//! Runs under a lease: one replica at a time.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use kube::api::{Api, PartialObjectMeta};
use kube::{Client, Resource};
use prometheus::{IntCounterVec, IntGaugeVec};
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::reconcile::Reconciler;
use super::store;
use crate::clock::Ambient;
use crate::kube::{self as k8s, OURS};
use crate::tasks::{Report, leader};
use crate::telemetry;

const LEASE: &str = "instances.sweep";

static ORPHANS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    telemetry::gauge(
        "lumbung_instances_orphans",
        "Objects in the cluster that no live instance owns, at the last sweep.",
        &["kind", "finding"],
    )
});
static DELETED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_instances_orphans_deleted_total",
        "Objects that the sweep has deleted.",
        &["kind"],
    )
});

/// What is to be done about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    Owned,
    /// Its instance's purge has finished: our own leftovers.
    Deletable,
    /// Nobody here knows its instance. It may be another platform's, or this database may be an old one: a person looks.
    Reported,
}

/// What the rows say of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Live,
    Buried,
    Unknown,
}

fn judge(owner: Owner) -> Finding {
    match owner {
        Owner::Live => Finding::Owned,
        Owner::Unknown => Finding::Reported,
        Owner::Buried => Finding::Deletable,
    }
}

/// Remembers, by uid, what the previous sweep of this process found.
#[derive(Clone, Debug)]
pub struct Sweeper {
    holder: Arc<str>,
    seen: Arc<Mutex<HashSet<String>>>,
}

/// One kind's objects.
struct Found<K> {
    kind: &'static str,
    objects: Vec<PartialObjectMeta<K>>,
}

impl<K> Found<K>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    async fn list(client: &Client, kind: &'static str) -> kube::Result<Self> {
        let objects = k8s::list_metadata(&Api::<K>::all(client.clone()), OURS).await?;
        Ok(Self { kind, objects })
    }

    fn instances(&self) -> impl Iterator<Item = Uuid> {
        self.objects
            .iter()
            .filter_map(|object| k8s::instance_of(&object.metadata))
    }
}

/// One sweep's knowledge.
struct Round<'a> {
    client: &'a Client,
    owners: HashMap<Uuid, Owner>,
    before: HashSet<String>,
    now: HashSet<String>,
    deleted: u64,
}

impl Sweeper {
    pub fn new(ambient: &Ambient) -> Self {
        Self {
            holder: ambient.new_id().to_string().into(),
            seen: Arc::default(),
        }
    }

    pub async fn run(&self, ctx: &Reconciler) -> anyhow::Result<Report> {
        let mut conn = ctx.pool.acquire().await?;
        if leader::hold(&mut conn, LEASE, &self.holder).await?.is_none() {
            return Ok(Report::default());
        }
        drop(conn);
        let client = &ctx.client;
        // The objects before the rows: a row that is made in between was there for its objects.
        let ingresses = Found::<Ingress>::list(client, "ingress").await?;
        let sets = Found::<StatefulSet>::list(client, "statefulset").await?;
        let pods = Found::<Pod>::list(client, "pod").await?;
        let services = Found::<Service>::list(client, "service").await?;
        let policies = Found::<NetworkPolicy>::list(client, "networkpolicy").await?;
        let config_maps = Found::<ConfigMap>::list(client, "configmap").await?;
        let secrets = Found::<Secret>::list(client, "secret").await?;
        let claims = Found::<PersistentVolumeClaim>::list(client, "persistentvolumeclaim").await?;
        let mut ids: Vec<Uuid> = ingresses.instances().chain(sets.instances()).collect();
        ids.extend(pods.instances().chain(services.instances()).chain(policies.instances()));
        ids.extend(
            config_maps
                .instances()
                .chain(secrets.instances())
                .chain(claims.instances()),
        );
        let owners = owners(ctx, ids).await?;
        let before = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        let mut round = Round {
            client,
            owners,
            before,
            now: HashSet::new(),
            deleted: 0,
        };
        round.clear(&ingresses).await?;
        round.clear(&sets).await?;
        round.clear(&pods).await?;
        round.clear(&services).await?;
        round.clear(&policies).await?;
        round.clear(&config_maps).await?;
        round.clear(&secrets).await?;
        round.clear(&claims).await?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = round.now;
        Ok(Report::did(round.deleted))
    }
}

async fn owners(ctx: &Reconciler, mut ids: Vec<Uuid>) -> sqlx::Result<HashMap<Uuid, Owner>> {
    ids.sort_unstable();
    ids.dedup();
    let rows = store::buried(&mut *ctx.pool.acquire().await?, &ids).await?;
    let known: HashMap<Uuid, bool> = rows.into_iter().collect();
    let owner = |id: Uuid| match known.get(&id) {
        Some(true) => Owner::Buried,
        Some(false) => Owner::Live,
        None => Owner::Unknown,
    };
    Ok(ids.into_iter().map(|id| (id, owner(id))).collect())
}

impl Round<'_> {
    async fn clear<K>(&mut self, found: &Found<K>) -> kube::Result<()>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
    {
        let (mut deletable, mut reported) = (0, 0);
        for object in &found.objects {
            let meta = &object.metadata;
            let Some(owner) = k8s::instance_of(meta).and_then(|id| self.owners.get(&id)) else {
                continue;
            };
            let finding = judge(*owner);
            let (Some(uid), false) = (meta.uid.clone(), finding == Finding::Owned) else {
                continue;
            };
            let twice = self.before.contains(&uid);
            self.now.insert(uid);
            let namespace = meta.namespace.as_deref().unwrap_or_default();
            let name = meta.name.as_deref().unwrap_or_default();
            if finding == Finding::Reported {
                reported += 1;
                if !twice {
                    tracing::warn!(
                        kind = found.kind,
                        namespace,
                        name,
                        "an object of an unknown instance; it is left alone"
                    );
                }
                continue;
            }
            deletable += 1;
            if twice && meta.deletion_timestamp.is_none() {
                tracing::warn!(
                    kind = found.kind,
                    namespace,
                    name,
                    "an object that no instance owns is deleted"
                );
                let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
                k8s::delete_named(&api, meta).await?;
                DELETED.with_label_values(&[found.kind]).inc();
                self.deleted += 1;
            }
        }
        ORPHANS.with_label_values(&[found.kind, "deletable"]).set(deletable);
        ORPHANS.with_label_values(&[found.kind, "reported"]).set(reported);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_leftovers_are_deleted() {
        assert_eq!(judge(Owner::Live), Finding::Owned);
        assert_eq!(judge(Owner::Buried), Finding::Deletable);
        assert_eq!(judge(Owner::Unknown), Finding::Reported);
    }
}
