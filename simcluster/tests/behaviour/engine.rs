//! The engine itself: repeatable, quick, and with a day in a moment.

use std::sync::Arc;

use lumbung_simcluster::{Clock, Fault, Options, SimCluster, faults::What, resource, resource::*};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, cluster_of, condition, container, create, pass, runs, set};

/// Everything in the cluster after a small history with crashes, a lost node and half an hour of back-offs.
async fn history(seed: u64) -> Vec<Arc<Value>> {
    let sim = cluster_of(Options { seed, ..Options::default() }).await;
    sim.faults().add(Fault::crash(2).label("app", "b").times(5));
    for name in ["a", "b", "c"] {
        create(&sim, &STATEFUL_SET, set(name, "postgres:18"));
    }
    pass(&sim, 60).await;
    sim.faults().add(Fault::kill_node("n1"));
    pass(&sim, 600).await;
    sim.faults().clear();
    pass(&sim, 1800).await;
    assert!(["a-0", "b-0", "c-0"].iter().all(|name| runs(&sim, name)));
    resource::ALL.iter().flat_map(|kind| sim.cluster().list(kind, None)).collect()
}

#[tokio::test]
async fn one_seed_gives_one_history() {
    let first = history(7).await;
    assert_eq!(first, history(7).await);
    assert_ne!(first, history(8).await);
}

#[tokio::test]
async fn a_day_of_a_hundred_pods_passes_and_changes_nothing() {
    let sim = cluster_of(Options::default()).await;
    for n in 0..100 {
        create(&sim, &POD, bare_pod(&format!("p{n}"), container("app", "nginx")));
    }
    pass(&sim, 60).await;
    let pods = || sim.cluster().list(&POD, Some(NS));
    let before = pods();
    let is_ready = |object: &Arc<Value>| condition(object, "Ready").starts_with("True");
    assert!(before.iter().all(is_ready));
    pass(&sim, 24 * 3600).await;
    assert_eq!(before, pods());
    assert!(sim.cluster().list(&NODE, None).iter().all(is_ready));
    let lease = sim.cluster().get(&LEASE, "kube-node-lease", "n1").expect("the lease exists");
    assert_eq!(lease["spec"]["renewTime"], "2027-01-16T08:01:00.000000Z", "up to date after the leap");
    assert!(sim.cluster().list(&EVENT, Some(NS)).is_empty(), "events are forgotten after an hour");
}

#[tokio::test]
async fn scaled_time_passes_quickly_and_a_slow_node_takes_longer() {
    let sim = SimCluster::start(Options { clock: Clock::scaled(1000), ..Options::default() }).await.expect("starts");
    create(&sim, &NAMESPACE, json!({"metadata": {"name": NS}}));
    sim.faults().add(Fault::new(What::NodeSlow { factor: 1000 }).node("ryzen-3900x"));
    for name in ["ryzen-3900x", "ryzen-6900hs"] {
        let mut object = bare_pod(name, container("app", "nginx"));
        object["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": name});
        create(&sim, &POD, object);
    }
    pass(&sim, 120).await;
    assert!(runs(&sim, "ryzen-6900hs") && !runs(&sim, "ryzen-3900x"));
    pass(&sim, 3600).await;
    assert!(runs(&sim, "ryzen-3900x"));
}

#[tokio::test]
async fn an_expired_history_is_forgotten_and_the_engine_goes_on_until_it_is_stopped() {
    let sim = cluster().await;
    let revision = sim.cluster().revision();
    create(&sim, &STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert!(sim.cluster().since(&POD, revision).is_ok());
    sim.faults().add(Fault::forget_history());
    sim.settle().await;
    assert!(sim.cluster().since(&POD, revision).is_err());
    create(&sim, &STATEFUL_SET, set("other", "postgres:18"));
    sim.settle().await;
    assert!(runs(&sim, "other-0"));
    sim.shutdown().await;
    create(&sim, &STATEFUL_SET, set("late", "postgres:18"));
    sim.settle().await;
    assert!(sim.cluster().get(&POD, NS, "late-0").is_none());
}
