//! Pods on their nodes: states, restarts, probes, termination.

use lumbung_simcluster::{DeleteOptions, resource};

use crate::support::{NS, bare_pod, cluster, container, create, is_ready, pod};

#[tokio::test]
async fn a_bare_pod_runs_and_goes() {
    let sim = cluster().await;
    create(
        &sim,
        &resource::POD,
        bare_pod("ok", container("app", "nginx:1.29")),
    );
    sim.settle().await;
    let running = pod(&sim, "ok");
    assert!(is_ready(&running));
    assert_eq!(
        running["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
            .as_str()
            .map(str::len),
        Some(20)
    );
    sim.cluster()
        .delete(&resource::POD, NS, "ok", &DeleteOptions::default())
        .expect("deleted");
    sim.settle().await;
    assert!(sim.cluster().get(&resource::POD, NS, "ok").is_none());
}
