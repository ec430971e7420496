//! The fleet that is measured: many equal nodes, full of default pods.

use jiff::Timestamp;
use serde_json::json;
use simcluster::{Clock, Delays, NodeSpec, Options, SimCluster, resource};

/// How many pods a namespace has: a customer's services.
const PODS_EACH: usize = 100;

pub async fn start(nodes: usize) -> anyhow::Result<SimCluster> {
    let nodes = (0..nodes)
        .map(|at| NodeSpec::new(format!("node-{at:05}"), 16_000, 64 * 1024))
        .collect();
    let clock = Clock::manual(Timestamp::from_second(1_800_000_000)?);
    let options = Options {
        nodes,
        clock,
        delays: Delays::zero(),
        // As much as all that is written while it is watched: a watcher that is behind is not told 410.
        history: 20_000,
        ..Options::default()
    };
    let sim = SimCluster::start(options).await?;
    sim.settle().await;
    Ok(sim)
}

/// Creates the pods, a namespace at a time, and waits until the cluster has nothing to do.
pub async fn fill(sim: &SimCluster, pods: usize) -> anyhow::Result<()> {
    for first in (0..pods).step_by(PODS_EACH) {
        let ns = format!("customer-{:05}", first / PODS_EACH);
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ns}});
        sim.cluster().create(&resource::NAMESPACE, "", namespace, "bench")?;
        for at in first..pods.min(first + PODS_EACH) {
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": format!("pod-{at:06}"), "labels": {"app": "n8n", "lumbung.dev/instance": at.to_string()}},
                "spec": {"automountServiceAccountToken": false, "containers": [{
                    "name": "app", "image": "docker.io/n8nio/n8n:1.120.0", "ports": [{"containerPort": 5678}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 5678}},
                    "resources": {
                        "requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"cpu": "1", "memory": "1Gi"},
                    },
                }]},
            });
            sim.cluster().create(&resource::POD, &ns, pod, "bench")?;
        }
        // The cluster works while more pods come, as a real one does.
        tokio::task::yield_now().await;
    }
    sim.settle().await;
    Ok(())
}

pub fn running(sim: &SimCluster) -> usize {
    let pods = sim.cluster().list(&resource::POD, None);
    pods.iter().filter(|pod| pod["status"]["phase"] == "Running").count()
}
