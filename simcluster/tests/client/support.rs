//! A cluster, a namespace of its own for each test, and the objects that the tests make.
//!
//! The cluster is a simulated one, unless LUMBUNG_TEST_KUBECONFIG names the kubeconfig of another: then the same tests
//! hold that one against what Lumbung relies on. They write only in namespaces `lumbung-test-…` that they made, and
//! delete these whatever happens. Nothing runs there.

use std::time::Duration;

use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Client, Config, Error, Resource, ResourceExt as _,
    api::{DeleteParams, PostParams, Preconditions},
    config::{KubeConfigOptions, Kubeconfig},
};
use lumbung_simcluster::{Delays, Options, SimCluster};
use serde_json::{Value, json};

const KUBECONFIG: &str = "LUMBUNG_TEST_KUBECONFIG";
/// A real cluster's controllers take their time, above all with a namespace that goes.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// What a test works with. Dropping it deletes the namespace.
pub struct Stage {
    pub client: Client,
    pub namespace: String,
    uid: String,
    sim: Option<SimCluster>,
}

/// A namespace in the cluster that the environment names, or else in a simulated one.
pub async fn start() -> Stage {
    let sim = match std::env::var_os(KUBECONFIG) {
        Some(_) => None,
        None => Some(SimCluster::start(Options { delays: Delays::zero(), ..Options::default() }).await.unwrap()),
    };
    let kubeconfig = sim.as_ref().map_or_else(other, |sim| Kubeconfig::from_yaml(&sim.kubeconfig()).unwrap());
    let client = connect(kubeconfig).await;
    let namespace = object(json!({"metadata": {"generateName": "lumbung-test-"}}));
    let namespace = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    Stage { client, namespace: namespace.name_any(), uid: namespace.uid().unwrap(), sim }
}

fn other() -> Kubeconfig {
    let path = std::env::var_os(KUBECONFIG).unwrap();
    Kubeconfig::read_from(&path).unwrap_or_else(|error| panic!("{KUBECONFIG}: {error}"))
}

async fn connect(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

impl Stage {
    pub fn api<K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// The simulated cluster, for what no other does on request.
    pub fn sim(&self, why: &str) -> Option<&SimCluster> {
        if self.sim.is_none() {
            eprintln!("skipped, {KUBECONFIG} is set: {why}");
        }
        self.sim.as_ref()
    }

    /// Waits until `check` gives something. The simulated cluster knows when it has nothing left to do: there, the
    /// first look after that decides.
    pub async fn eventually<T>(&self, what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
        if let Some(sim) = &self.sim {
            sim.settle().await;
            return check().await.unwrap_or_else(|| panic!("not so: {what}"));
        }
        let waiting = async {
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tick.tick().await;
                if let Some(found) = check().await {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.sim.is_some() {
            return;
        }
        let (name, uid) = (self.namespace.clone(), self.uid.clone());
        // A test that failed gets here while its runtime winds up, so this has one of its own.
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let namespaces = Api::<Namespace>::all(connect(other()).await);
                // Ours, never another that has got its name; it may be gone already.
                match namespaces.delete(&name, &with_uid(&uid)).await {
                    Err(error) if !matches!(refusal(&error).0, 404 | 409) => panic!("deleting {name}: {error}"),
                    _ => {}
                }
            });
        });
        let deleted = deleting.join();
        assert!(deleted.is_ok() || std::thread::panicking(), "the namespace {} could not be deleted", self.namespace);
    }
}

pub fn with_uid(uid: &str) -> DeleteParams {
    let ours = Preconditions { uid: Some(uid.to_owned()), ..Preconditions::default() };
    DeleteParams { preconditions: Some(ours), ..DeleteParams::default() }
}

pub fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// The code and the message of a refusal.
pub fn refusal(error: &Error) -> (u16, &str) {
    match error {
        Error::Api(status) => (status.code, &status.message),
        other => panic!("not an answer of the API: {other}"),
    }
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}
