//! The simulated cluster at scale, in one process: what it needs to start and to hold, how many events it makes in a
//! second, and whether those who watch slow down those who write.
//!
//! Wall times depend on the machine; the last two rows are of one run and stand beside each other.

mod fleet;
mod watching;

use std::time::Duration;

use clap::Parser;
use lumbung_bench::watch::{self, Timing};
use simcluster::resource;

#[derive(Parser)]
struct Args {
    #[arg(long, default_value_t = 5_000)]
    nodes: usize,
    #[arg(long, default_value_t = 100_000)]
    pods: usize,
    /// How many clients watch all pods over HTTP while pods are written.
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// How many writes are timed, without watchers and with them.
    #[arg(long, default_value_t = 5_000)]
    writes: usize,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let bare = resident_mib();
    let clock = watch::start();
    let sim = fleet::start(args.nodes).await?;
    let (started, nodes_only) = (clock.elapsed(), resident_mib());
    println!(
        "{} nodes ready in {:.2} s, {} MiB resident",
        args.nodes,
        started.as_secs_f64(),
        nodes_only - bare
    );

    let (clock, revision) = (watch::start(), sim.cluster().revision());
    fleet::fill(&sim, args.pods).await?;
    let (filled, events) = (clock.elapsed().as_secs_f64(), sim.cluster().revision() - revision);
    let running = fleet::running(&sim);
    anyhow::ensure!(running == args.pods, "only {running} of {} pods run", args.pods);
    let resident = resident_mib();
    println!(
        "{running} pods run after {filled:.2} s: {:.0} pods/s, {:.0} events/s; {resident} MiB resident, {:.1} KiB a pod",
        rate(running, filled),
        rate(usize::try_from(events)?, filled),
        kib_each(resident - nodes_only, running),
    );

    let clock = watch::start();
    let listed = watching::list_in_pages(&sim, 500).await?;
    anyhow::ensure!(listed == running, "{listed} pods listed");
    println!(
        "all pods listed in pages of 500 in {:.2} s",
        clock.elapsed().as_secs_f64()
    );

    let clock = watch::start();
    let revision = sim.cluster().revision();
    sim.advance(Duration::from_hours(1)).await;
    let passed = sim.cluster().revision() - revision;
    println!(
        "an hour of manual time passes in {:.2} s, {passed} events",
        clock.elapsed().as_secs_f64()
    );

    // The first round finds the objects cold; it is not counted.
    watching::writes(&sim, args.writes, "first")?;
    let alone = watching::writes(&sim, args.writes, "alone")?;
    let watchers = watching::Watchers::open(&sim, &resource::POD, args.watchers).await?;
    let watched = watching::writes(&sim, args.writes, "watched")?;
    let told = watchers.finish(args.writes).await?;
    println!("a write, nobody watching: {}", shown(&alone));
    println!(
        "a write, {} watching: {}; ratio of medians {:.2}",
        args.watchers,
        shown(&watched),
        ratio(watched.quantile(50), alone.quantile(50))
    );
    println!("{told:.0} events/s delivered to watchers until the last had the last");
    sim.shutdown().await;
    Ok(())
}

fn resident_mib() -> u64 {
    watch::resident_kib("self").unwrap_or(0) / 1024
}

fn shown(timing: &Timing) -> String {
    format!(
        "median {} us, 99 % within {} us",
        timing.quantile(50),
        timing.quantile(99)
    )
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(one: u64, other: u64) -> f64 {
    one as f64 / other as f64
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn rate(count: usize, seconds: f64) -> f64 {
    count as f64 / seconds
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn kib_each(mib: u64, count: usize) -> f64 {
    mib as f64 * 1024.0 / count as f64
}
