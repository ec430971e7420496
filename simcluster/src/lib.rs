//! A simulated K3s: the Kubernetes API over HTTP, the controllers behind it and simulated kubelets, in one process.
//!
//! A test instrument and the embedded default, not a second Kubernetes: it has what Lumbung's client, its tests and its
//! chaos use, measured against transcripts of a real API server; everything else answers 501. See README.md.

mod access;
mod admission;
mod api;
mod app;
mod bootstrap;
pub mod clock;
pub mod controllers;
pub mod delays;
mod dig;
pub mod faults;
mod fields;
mod kubelet;
mod logs;
mod normal;
pub mod quantity;
pub mod resource;
mod rules;
mod schema;
pub mod selector;
pub mod status;
pub mod store;
mod typed;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::api::Api;
pub use crate::{
    bootstrap::NodeSpec,
    clock::Clock,
    delays::Delays,
    faults::{Fault, Faults, Latency},
    kubelet::{Corruption, Step, Writer},
    resource::Kind,
    status::Status,
    store::{Cluster, DeleteOptions, Deleted, Propagation},
};

/// How to make a cluster. The default is Lumbung's three home machines on an ephemeral loopback port.
#[derive(Clone, Debug)]
pub struct Options {
    pub nodes: Vec<NodeSpec>,
    pub listen: SocketAddr,
    /// The bearer token that clients must show; if not given, drawn from the seed, and so no secret.
    pub token: Option<String>,
    pub seed: u64,
    pub delays: Delays,
    /// The storage class of claims that name none.
    pub default_class: &'static str,
    /// How many changes per kind are remembered for watches; older ones are answered 410.
    pub history: usize,
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: bootstrap::home(),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: None,
            seed: 1,
            delays: Delays::default(),
            default_class: "local-path",
            history: 4096,
            clock: Clock::real(),
        }
    }
}

/// What clients asked over HTTP, as RBAC names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// `admin`, or `system:serviceaccount:{namespace}:{name}`.
    pub user: String,
    pub verb: String,
    pub group: String,
    pub resource: String,
    /// Empty for the main resource.
    pub subresource: String,
}

/// How the API's server restarts: all connections and watches are cut at once. Times are the cluster's.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Restart {
    /// How long nobody listens at the address.
    pub refused_ms: u64,
    /// How long requests are answered 503 after that.
    pub unavailable_ms: u64,
    /// Whether watches cannot go on from revisions before the restart (410).
    pub forget_history: bool,
}

/// A running simulated cluster. Clones are handles on the same one; `shutdown` ends it, and so does dropping the last.
#[derive(Clone)]
pub struct SimCluster(Arc<Running>);

struct Running {
    address: SocketAddr,
    api: Arc<Api>,
    engine: controllers::Engine,
    kubelets: kubelet::Kubelets,
    serving: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.api.cancel.cancel();
    }
}

impl SimCluster {
    /// Makes the cluster's first objects, binds the address and starts the API and the engine on this runtime.
    pub async fn start(options: Options) -> io::Result<Self> {
        let cluster = Cluster::new(options.clock.clone(), options.seed, options.history);
        let token = options.token.clone().unwrap_or_else(|| cluster.transact(store::State::uid));
        bootstrap::populate(&cluster, &options).map_err(io::Error::other)?;
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let (faults, cancel) = (Faults::seeded(options.seed), CancellationToken::new());
        let kubelets = kubelet::Kubelets::new(faults.clone());
        let engine =
            controllers::spawn(cluster.clone(), options.delays, faults.clone(), kubelets.clone(), cancel.clone());
        let api = Arc::new(Api::new(cluster, faults, token, cancel));
        let serving = Mutex::new(Some(tokio::spawn(api::serve(Arc::clone(&api), listener))));
        let running = Arc::new(Running { address, api, engine, kubelets, serving });
        let _first = running.api.owner.set(Arc::downgrade(&running));
        Ok(Self(running))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub fn token(&self) -> &str {
        &self.0.api.token
    }

    pub fn kubeconfig(&self) -> String {
        self.kubeconfig_for(self.token())
    }

    /// A kubeconfig (YAML) with this cluster and a token. The token is in the address, too: kubectl sends none over plain
    /// HTTP.
    pub fn kubeconfig_for(&self, token: &str) -> String {
        let url = self.url();
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: simcluster\nclusters:\n- name: simcluster\n  cluster:\n    \
             server: {url}/token/{token}\nusers:\n- name: user\n  user:\n    token: {token}\ncontexts:\n- name: simcluster\n  \
             context:\n    cluster: simcluster\n    user: user\n    namespace: default\n"
        )
    }

    pub fn cluster(&self) -> &Cluster {
        &self.0.api.cluster
    }

    pub fn faults(&self) -> &Faults {
        &self.0.api.faults
    }

    /// Everything that clients have asked over HTTP so far, for holding a role against it.
    pub fn calls(&self) -> Vec<Call> {
        self.0.api.calls()
    }

    /// What clients asked that is not served here (501), in the answers' words: whoever stands on this cluster wants none.
    pub fn unserved(&self) -> Vec<String> {
        self.0.api.unserved()
    }

    /// CPU time and memory of all containers, as a Prometheus page with cAdvisor's names.
    pub fn metrics(&self) -> String {
        self.0.kubelets.metrics(self.cluster().now())
    }

    /// Volumes that two pods wrote to at one time from two nodes, so far.
    pub fn corruptions(&self) -> Vec<Corruption> {
        self.0.kubelets.corruptions()
    }

    /// Returns when the engine has nothing to do before time passes or somebody writes.
    pub async fn settle(&self) {
        self.0.engine.idle().await;
    }

    /// Lets a span of the cluster's time pass; with a manual clock that is all the time that ever passes.
    pub async fn advance(&self, span: Duration) {
        self.0.engine.advance(span).await;
    }

    /// Cuts all connections to the API, as a restart of its server does; what is stored stays, and the engine goes on.
    pub fn restart_api(&self, restart: Restart) {
        self.0.api.restart(restart);
    }

    /// Ends the API and the engine; open watches end, and the address is free again. Idempotent.
    pub async fn shutdown(&self) {
        self.0.api.cancel.cancel();
        self.0.engine.stopped().await;
        let serving = self.0.serving.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(serving) = serving {
            let _ = serving.await;
        }
    }
}
