//! A simulated K3s in this process, prepared as deploy/ prepares a real one. Only the commands and the tests use it.

use k8s_openapi::api::scheduling::v1::PriorityClass;
use kube::Client;
use kube::api::Api;
use simcluster::{Options, SimCluster};

/// What deploy/ applies to the cluster beside ourselves.
const PRIORITY_CLASSES: &str = include_str!("../deploy/base/priority-classes.yaml");

/// Starts the cluster and connects to it as any client would: over HTTP, by its kubeconfig.
pub async fn start(options: Options) -> anyhow::Result<(SimCluster, Client)> {
    let cluster = SimCluster::start(options).await?;
    let client = crate::kube::connect(Some(&cluster.kubeconfig())).await?;
    prepare(&client).await?;
    Ok((cluster, client))
}

/// Applies the priority classes.
pub async fn prepare(client: &Client) -> anyhow::Result<()> {
    let api = Api::<PriorityClass>::all(client.clone());
    for document in PRIORITY_CLASSES.split("\n---\n") {
        let class: PriorityClass = serde_saphyr::from_str(document)?;
        crate::kube::apply(&api, &class).await?;
    }
    Ok(())
}
