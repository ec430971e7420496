//! How much one process bears: makes nodes and pods without delays, and prints what it took.
//!
//! `cargo run --release --example scale -- [nodes] [pods]`; 5,000 nodes and 100,000 pods unless told otherwise.

use std::time::Duration;

use lumbung_simcluster::{Clock, Delays, NodeSpec, Options, SimCluster, resource};
use serde_json::json;

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) / 1024
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().expect("a number"));
    let (nodes, pods) = (arguments.next().unwrap_or(5_000), arguments.next().unwrap_or(100_000));
    let real = Clock::real();
    let seconds = |since| Duration::try_from(real.now().duration_since(since)).unwrap_or_default().as_secs_f64();
    let begin = real.now();
    let specs = (0..nodes).map(|n| NodeSpec::new(format!("n{n:04}"), 64_000, 262_144)).collect();
    let options = Options { nodes: specs, delays: Delays::zero(), ..Options::default() };
    let sim = SimCluster::start(options).await.expect("the cluster starts");
    sim.settle().await;
    println!("{nodes} nodes: {:.1} s, {} MiB", seconds(begin), memory_mib());
    let cluster = sim.cluster();
    for tenant in 0..pods.div_ceil(1_000) {
        let namespace = json!({"metadata": {"name": format!("t{tenant}")}});
        cluster.create(&resource::NAMESPACE, "", namespace, "scale").expect("a namespace");
    }
    let begin = real.now();
    for n in 0..pods {
        let container = json!({
            "name": "app", "image": "nginx", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        });
        let pod = json!({"metadata": {"name": format!("p{n}")}, "spec": {"containers": [container]}});
        cluster.create(&resource::POD, &format!("t{}", n / 1_000), pod, "scale").expect("a pod");
        if n % 500 == 499 {
            sim.settle().await;
        }
    }
    sim.settle().await;
    let took = seconds(begin);
    let running = cluster.list(&resource::POD, None).iter().filter(|pod| pod["status"]["phase"] == "Running").count();
    let rate = f64::from(u32::try_from(running).unwrap_or(u32::MAX)) / took;
    println!("{running} of {pods} pods run: {took:.1} s ({rate:.0} pods/s), {} MiB", memory_mib());
    sim.shutdown().await;
}
