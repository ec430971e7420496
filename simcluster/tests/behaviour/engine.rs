//! The engine itself: repeatable, quick, and with a day in a moment.

use std::{sync::Arc, time::Duration};

use lumbung_simcluster::{Clock, Delays, Fault, Options, SimCluster, resource, resource::*};
use serde_json::{Value, json};

use crate::support::{
    NS, bare_pod, cluster, cluster_from, cluster_with, container, create, is_ready, pass, pod, runs, set,
};

/// Everything in the cluster after a small history with crashes, a lost node and half an hour of back-offs.
async fn history(seed: u64) -> Vec<Arc<Value>> {
    let sim = cluster_from(Options { seed, ..Options::default() }).await;
    sim.faults().add(Fault::crash(2).label("app", "b").times(5));
    for name in ["a", "b", "c"] {
        create(&sim, &STATEFUL_SET, set(name, "postgres:18"));
    }
    pass(&sim, 60).await;
    let cut = sim.faults().add(Fault::kill_node("n1"));
    pass(&sim, 600).await;
    sim.faults().remove(cut);
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
    let sim = cluster_with(Delays::lifelike()).await;
    for n in 0..100 {
        create(&sim, &POD, bare_pod(&format!("p{n}"), container("app", "nginx")));
    }
    pass(&sim, 60).await;
    let pods = || sim.cluster().list(&POD, Some(NS));
    let before = pods();
    assert!(before.iter().all(|pod| is_ready(pod)));
    let (real, began) = (Clock::real(), Clock::real().now());
    pass(&sim, 24 * 3600).await;
    println!("a day with 100 pods took {:?}", real.now().duration_since(began));
    assert_eq!(before, pods());
    assert!(sim.cluster().list(&NODE, None).iter().all(|node| is_ready(node)));
    let lease = sim.cluster().get(&LEASE, "kube-node-lease", "n1").expect("the lease exists");
    assert_eq!(lease["spec"]["renewTime"], "2027-01-16T08:01:00.000000Z", "up to date after the leap");
    assert!(sim.cluster().list(&EVENT, Some(NS)).is_empty(), "events are forgotten after an hour");
}

#[tokio::test]
async fn scaled_time_passes_quickly() {
    let options = Options { clock: Clock::scaled(1000), delays: Delays::lifelike(), ..Options::default() };
    let sim = SimCluster::start(options).await.expect("the cluster starts");
    create(&sim, &NAMESPACE, json!({"metadata": {"name": NS}}));
    create(&sim, &POD, bare_pod("x", container("app", "nginx")));
    sim.advance(Duration::from_mins(2)).await;
    assert!(runs(&sim, "x"));
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

#[tokio::test]
async fn work_takes_the_time_that_it_is_given() {
    let second = Duration::from_secs(1);
    let delays = Delays { schedule: second, pull: second * 2, start: second, ready: second * 3, ..Delays::zero() };
    let sim = cluster_with(delays).await;
    let mut app = container("app", "nginx");
    app["readinessProbe"] = json!({"tcpSocket": {"port": 80}});
    create(&sim, &POD, bare_pod("x", app));
    sim.settle().await;
    let mut seen = Vec::new();
    for _ in 0..9 {
        let pod = pod(&sim, "x");
        let status = &pod["status"]["containerStatuses"][0];
        let state = status["state"].as_object().and_then(|state| state.keys().next()).cloned().unwrap_or_default();
        seen.push(format!("{} {state} {}", pod["status"]["phase"].as_str().unwrap_or_default(), is_ready(&pod)));
        pass(&sim, 1).await;
    }
    let expected =
        ["Pending  false"].into_iter().chain(["Pending waiting false"; 3]).chain(["Running running false"; 3]);
    assert_eq!(seen, expected.chain(["Running running true"; 2]).collect::<Vec<_>>());
}
