//! The Kubernetes client: how we connect, apply, delete, and what an error means to the work that met it.
//!
//! The cluster may be real or simulated; nothing here can tell. Writes are server-side apply with one field manager.
//! Deletes carry the uid of what was seen, so that a name that was reused in the meantime is left alone.

use std::fmt::Debug;
use std::time::Duration;

use kube::api::{
    Api, DeleteParams, ListParams, ObjectMeta, PartialObjectMeta, Patch, PatchParams, PostParams, Preconditions,
    PropagationPolicy,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub const FIELD_MANAGER: &str = "lumbung";
pub const LABEL_ACCOUNT: &str = "lumbung.dev/account";
pub const LABEL_INSTANCE: &str = "lumbung.dev/instance";
pub const LABEL_SUBSCRIPTION: &str = "lumbung.dev/subscription";
/// `setup` or `verify`, on the short-lived pods of the first administrator.
pub const LABEL_TASK: &str = "lumbung.dev/task";
/// On the StatefulSet only: which desire it carries out.
pub const ANNOTATION_GENERATION: &str = "lumbung.dev/generation";

/// On everything that is ours; what does not carry it is never touched.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Selects what is ours.
pub const OURS: &str = "app.kubernetes.io/managed-by=lumbung";

/// How many objects a list brings at a time.
const PAGE: u32 = 500;

/// Longer than a healthy API server ever takes, shorter than a lease.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It is not there (any more).
    NotFound,
    /// Somebody else changed it: look again, then decide again.
    Conflict,
    /// Unreachable, overloaded, broken: the same call may succeed later.
    Retry,
    /// The request itself is wrong or forbidden: only another desire helps.
    Permanent,
}

pub fn classify(error: &kube::Error) -> Class {
    match error {
        kube::Error::Api(status) => match status.code {
            404 => Class::NotFound,
            409 => Class::Conflict,
            // 403 is also quota and a terminating namespace, which pass; what does not pass stays visible in the row.
            403 | 408 | 410 | 429 => Class::Retry,
            400..=499 => Class::Permanent,
            _ => Class::Retry,
        },
        _ => Class::Retry,
    }
}

/// Connects by a kubeconfig's text, or by the environment (KUBECONFIG, then the pod's service account).
pub async fn connect(kubeconfig: Option<&str>) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(text) => {
            Config::from_custom_kubeconfig(Kubeconfig::from_yaml(text)?, &KubeConfigOptions::default()).await?
        }
        None => Config::infer().await?,
    };
    config.connect_timeout = Some(TIMEOUT);
    config.read_timeout = None; // watches are long; ordinary calls are cut by `timed`
    Ok(Client::try_from(config)?)
}

/// An ordinary call, cut after [`TIMEOUT`]: what it did then is unknown, and the caller looks again.
pub async fn timed<T>(call: impl Future<Output = kube::Result<T>>) -> kube::Result<T> {
    match tokio::time::timeout(TIMEOUT, call).await {
        Ok(result) => result,
        Err(_) => Err(kube::Error::Service("the Kubernetes API did not answer in time".into())),
    }
}

/// Server-side apply of the whole intent, forcing our own fields.
pub async fn apply<K>(api: &Api<K>, object: &K) -> kube::Result<K>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let name = object.meta().name.clone().unwrap_or_default();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    timed(api.patch(&name, &params, &Patch::Apply(object))).await
}

pub async fn get<K>(api: &Api<K>, name: &str) -> kube::Result<Option<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    timed(api.get_opt(name)).await
}

/// Deletes exactly the object that was seen. Gone already, or another under that name: nothing to do, `Ok`.
pub async fn delete<K>(api: &Api<K>, seen: &K) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    delete_named(api, seen.meta()).await
}

/// The same for an object of which only the metadata was seen.
pub async fn delete_named<K>(api: &Api<K>, meta: &ObjectMeta) -> kube::Result<()>
where
    K: Clone + DeserializeOwned + Debug,
{
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: meta.uid.clone(),
            resource_version: None,
        }),
        propagation_policy: Some(PropagationPolicy::Background),
        ..DeleteParams::default()
    };
    match timed(api.delete(meta.name.as_deref().unwrap_or_default(), &params)).await {
        Ok(_) => Ok(()),
        Err(error) if matches!(classify(&error), Class::NotFound | Class::Conflict) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates what cannot be applied again (a bare pod's spec is immutable). There already under that name: `Ok`.
pub async fn create<K>(api: &Api<K>, object: &K) -> kube::Result<()>
where
    K: Resource + Serialize + DeserializeOwned + Clone + Debug,
{
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    match timed(api.create(&params, object)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => Ok(()),
        Err(error) => Err(error),
    }
}

/// Everything that the label selector selects.
pub async fn list<K>(api: &Api<K>, selector: &str) -> kube::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().labels(selector).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = timed(api.list(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The same without contents: names, labels and uids are enough to find what is left over, and secrets stay where
/// they are.
pub async fn list_metadata<K>(api: &Api<K>, selector: &str) -> kube::Result<Vec<PartialObjectMeta<K>>>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut params = ListParams::default().labels(selector).limit(PAGE);
    let mut all = Vec::new();
    loop {
        let page = timed(api.list_metadata(&params)).await?;
        all.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(all),
        }
    }
}

/// The value of a label.
pub fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str)
}

/// The instance that an object says it belongs to.
pub fn instance_of(meta: &ObjectMeta) -> Option<uuid::Uuid> {
    label(meta, LABEL_INSTANCE)?.parse().ok()
}
