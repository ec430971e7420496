//! The engine itself: repeatable, quick, and untroubled by a clock that leaps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use lumbung_simcluster::{Clock, Delays, Fault, NodeSpec, Options, SimCluster, resource};
use serde_json::{Value, json};

use crate::support::{NS, bare_pod, cluster, container, create, is_ready, pod, runs, set};

/// A cluster whose clock stands still until the counter (in milliseconds) is moved.
async fn with_clock(seed: u64, delays: Delays) -> (SimCluster, Arc<AtomicI64>) {
    let millis = Arc::new(AtomicI64::new(1_800_000_000_000));
    let read = Arc::clone(&millis);
    let clock = Clock::from_fn(move || Timestamp::from_millisecond(read.load(Ordering::SeqCst)).expect("in range"));
    let nodes = ["n1", "n2", "n3"].map(|name| NodeSpec::new(name, 4000, 8192)).to_vec();
    let options = Options { nodes, seed, clock, delays, ..Options::default() };
    let sim = SimCluster::start(options).await.expect("the cluster starts");
    create(&sim, &resource::NAMESPACE, json!({"metadata": {"name": NS}}));
    sim.settle().await;
    (sim, millis)
}

/// Everything in the cluster after a small history with faults and half an hour of back-offs.
async fn history(seed: u64) -> Vec<Arc<Value>> {
    let (sim, millis) = with_clock(seed, Delays::zero()).await;
    sim.faults().add(Fault::crash(2).label("app", "b").times(5));
    for name in ["a", "b", "c"] {
        create(&sim, &resource::STATEFUL_SET, set(name, "postgres:18"));
    }
    sim.settle().await;
    for _ in 0..60 {
        millis.fetch_add(30_000, Ordering::SeqCst);
        sim.settle().await;
    }
    assert!(["a-0", "b-0", "c-0"].iter().all(|name| runs(&sim, name)));
    resource::ALL.iter().flat_map(|kind| sim.cluster().list(kind, None)).collect()
}

#[tokio::test]
async fn one_seed_gives_one_history() {
    let (first, second) = (history(7).await, history(7).await);
    assert_eq!(first, second);
    assert_ne!(first, history(8).await);
}

#[tokio::test]
async fn a_leap_of_the_clock_loses_no_node() {
    let (sim, millis) = with_clock(1, Delays::zero()).await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    let before = pod(&sim, "db-0");
    millis.fetch_add(30 * 24 * 3_600_000, Ordering::SeqCst);
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    sim.settle().await;
    assert_eq!(pod(&sim, "db-0")["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
    assert!(sim.cluster().list(&resource::NODE, None).iter().all(|node| is_ready(node)));
}

#[tokio::test]
async fn a_hundred_sets_start_in_seconds() {
    let nodes = (0..6).map(|i| NodeSpec::new(format!("n{i}"), 64_000, 262_144)).collect();
    let options = Options { nodes, delays: Delays::zero(), ..Options::default() };
    let sim = SimCluster::start(options).await.expect("the cluster starts");
    create(&sim, &resource::NAMESPACE, json!({"metadata": {"name": NS}}));
    #[allow(clippy::disallowed_methods, reason = "the test measures real time")]
    let began = Instant::now();
    for i in 0..100 {
        create(&sim, &resource::STATEFUL_SET, set(&format!("s{i}"), "postgres:18"));
    }
    sim.settle().await;
    let took = began.elapsed();
    let ready = sim.cluster().list(&resource::POD, Some(NS)).iter().filter(|pod| is_ready(pod)).count();
    assert_eq!(ready, 100);
    println!("100 sets were ready after {took:?}");
    assert!(took < Duration::from_secs(30), "far beyond what a bench of the control plane can bear: {took:?}");
}

#[tokio::test]
async fn an_expired_history_is_forgotten_and_the_engine_goes_on() {
    let sim = cluster().await;
    let revision = sim.cluster().revision();
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert!(sim.cluster().since(&resource::POD, revision).is_ok());
    sim.faults().add(Fault::forget_history());
    sim.settle().await;
    assert!(sim.cluster().since(&resource::POD, revision).is_err());
    create(&sim, &resource::STATEFUL_SET, set("other", "postgres:18"));
    sim.settle().await;
    assert!(runs(&sim, "other-0"));
}

#[tokio::test]
async fn a_stopped_engine_answers_and_does_nothing_more() {
    let sim = cluster().await;
    sim.shutdown().await;
    create(&sim, &resource::STATEFUL_SET, set("db", "postgres:18"));
    sim.settle().await;
    assert!(sim.cluster().get(&resource::POD, NS, "db-0").is_none());
}

#[tokio::test]
async fn work_takes_the_time_that_it_is_given() {
    let second = Duration::from_secs(1);
    let delays = Delays { schedule: second, pull: second * 2, start: second, ready: second * 3, ..Delays::zero() };
    let (sim, millis) = with_clock(1, delays).await;
    let mut app = container("app", "nginx");
    app["readinessProbe"] = json!({"tcpSocket": {"port": 80}});
    create(&sim, &resource::POD, bare_pod("x", app));
    let mut seen = Vec::new();
    for _ in 0..9 {
        sim.settle().await;
        let pod = pod(&sim, "x");
        let status = &pod["status"]["containerStatuses"][0];
        let state = status["state"].as_object().and_then(|state| state.keys().next()).cloned().unwrap_or_default();
        seen.push(format!("{} {state} {}", pod["status"]["phase"].as_str().unwrap_or_default(), is_ready(&pod)));
        millis.fetch_add(1000, Ordering::SeqCst);
    }
    let expected = [
        "Pending  false",
        "Pending waiting false",
        "Pending waiting false",
        "Pending waiting false",
        "Running running false",
        "Running running false",
        "Running running false",
        "Running running true",
        "Running running true",
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn events_are_forgotten_after_an_hour() {
    let (sim, millis) = with_clock(1, Delays::zero()).await;
    create(&sim, &resource::POD, bare_pod("x", container("app", "nginx")));
    sim.settle().await;
    let events = || sim.cluster().list(&resource::EVENT, Some(NS)).len();
    assert!(events() > 0);
    for (minutes, kept) in [(50, true), (20, false)] {
        millis.fetch_add(minutes * 60_000, Ordering::SeqCst);
        sim.settle().await;
        assert_eq!(events() > 0, kept);
    }
}
