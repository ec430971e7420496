//! A cluster, a namespace of its own for each test, and the objects that the tests make.
//!
//! The cluster is a simulated one, unless LUMBUNG_TEST_KUBECONFIG names the kubeconfig of another: then the same tests
//! hold that one against what Lumbung relies on. They write only in namespaces `lumbung-test-…` that they made, and
//! delete these whatever happens. Their pods never run: no node has the label that they ask for.

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

/// The cluster that the environment names, or else a simulated one.
pub async fn start() -> Stage {
    let sim = if real() { None } else { Some(simulate().await) };
    let client = connect(sim.as_ref().map_or_else(other, of)).await;
    let namespace = object(json!({"metadata": {"generateName": "lumbung-test-"}}));
    let namespace = Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    Stage { client, namespace: namespace.name_any(), uid: namespace.uid().unwrap(), sim }
}

/// A simulated cluster with the namespace `t`, for what no other cluster can do; nothing when another one is tested.
pub async fn simulated(why: &str) -> Option<(SimCluster, Client)> {
    if real() {
        eprintln!("skipped, {KUBECONFIG} is set: {why}");
        return None;
    }
    let sim = simulate().await;
    let client = connect(of(&sim)).await;
    let namespace = object(json!({"metadata": {"name": "t"}}));
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
    Some((sim, client))
}

fn real() -> bool {
    std::env::var_os(KUBECONFIG).is_some()
}

async fn simulate() -> SimCluster {
    let options = Options { delays: Delays::zero(), ..Options::default() };
    SimCluster::start(options).await.unwrap()
}

fn of(sim: &SimCluster) -> Kubeconfig {
    Kubeconfig::from_yaml(&sim.kubeconfig()).unwrap()
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
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub fn is_simulated(&self) -> bool {
        self.sim.is_some()
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
        if self.is_simulated() {
            return;
        }
        let (name, uid) = (self.namespace.clone(), self.uid.clone());
        // A test that failed gets here while its runtime winds up, so this has one of its own.
        let deleting = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(delete(&name, uid));
        });
        let deleted = deleting.join();
        assert!(deleted.is_ok() || std::thread::panicking(), "the namespace {} could not be deleted", self.namespace);
    }
}

/// Deletes the namespace that we made, never another that has got its name.
async fn delete(name: &str, uid: String) {
    let ours = DeleteParams {
        preconditions: Some(Preconditions { uid: Some(uid), ..Preconditions::default() }),
        ..DeleteParams::default()
    };
    let namespaces = Api::<Namespace>::all(connect(other()).await);
    match namespaces.delete(name, &ours).await {
        Ok(_) => {}
        Err(Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => panic!("deleting the namespace {name}: {error}"),
    }
}

/// A pod that no node takes, so that no cluster pulls or runs anything for it.
pub fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {
        "nodeSelector": {"lumbung.dev/test": "nowhere"}, "containers": [{"name": "app", "image": "nginx:1.29"}]}})
}

pub fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn refusal(error: Error) -> (u16, String, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub fn stateful_set(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}},
                    "readinessProbe": {"httpGet": {"port": 80}},
                }]},
            },
        },
    })
}
