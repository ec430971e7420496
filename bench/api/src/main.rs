//! The control plane's own share: how long from an accepted order to the objects in the cluster, how long the API takes
//! to answer, and what the idle server needs. Simulated kubelets take no time, so nothing else is in the figures.
//!
//! Each figure stands beside one of the same run that takes our code out: a bare health check on the same socket, and
//! the same writes made directly. The machine's noise is in both; quote the ratios.

mod measure;
mod stage;

use clap::Parser;

use lumbung_bench::watch::Timing;
use measure::Figures;

#[derive(Parser)]
struct Args {
    /// How many orders, one after the other and then all at once.
    #[arg(long, default_value_t = 40)]
    orders: usize,
    /// How many requests per endpoint.
    #[arg(long, default_value_t = 500)]
    requests: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let stage = stage::Stage::set().await?;
    let idle = stage::resident_mib();

    let health = measure::requests(&stage.anonymous, "/healthz", args.requests).await?;
    let mut rows = vec![("GET /healthz (nothing behind it)".to_owned(), health.clone())];
    for path in ["/api/v1/services", "/api/v1/services/n8n"] {
        rows.push((
            format!("GET {path}"),
            measure::requests(&stage.anonymous, path, args.requests).await?,
        ));
    }
    for path in ["/api/v1/me", "/api/v1/instances", "/api/v1/subscriptions"] {
        rows.push((
            format!("GET {path} (signed in)"),
            measure::requests(&stage.customer, path, args.requests).await?,
        ));
    }

    let bare = measure::bare_writes(&stage, args.orders).await?;
    let sequential = measure::orders(&stage, args.orders, 1).await?;
    let concurrent = measure::orders(&stage, args.orders, args.orders).await?;

    println!(
        "API latency, {} requests each, one at a time; ratio of medians to the first row",
        args.requests
    );
    Figures::heading();
    for (name, timing) in &rows {
        Figures::row(name, timing, &health);
    }
    println!();
    println!(
        "Orders of linkding, {} each way; ratio of medians to the first row",
        args.orders
    );
    Figures::heading();
    Figures::row("the same objects applied by a bare client", &bare, &bare);
    for (name, run) in [("one after the other", &sequential), ("all at once", &concurrent)] {
        Figures::row(&format!("{name}: order answered"), &run.answered, &bare);
        Figures::row(&format!("{name}: accepted → StatefulSet there"), &run.applied, &bare);
        Figures::row(
            &format!("{name}: accepted → running, admin verified"),
            &run.running,
            &bare,
        );
    }
    println!();
    println!("Memory of this process (server, simulated cluster and bench together), resident:");
    println!(
        "  idle {idle} MiB, after {} orders {} MiB",
        args.orders * 2,
        stage::resident_mib()
    );
    let own = stage::server_alone().await?;
    println!(
        "Memory of `lumbung serve` alone, idle, against a cluster and a database outside of it: {own} MiB resident"
    );
    stage.clear().await
}

impl Figures {
    fn heading() {
        println!(
            "  {:<52} {:>9} {:>9} {:>9} {:>7}",
            "", "p50 ms", "p99 ms", "max ms", "ratio"
        );
    }

    fn row(name: &str, timing: &Timing, base: &Timing) {
        let ms = |micros: u64| format!("{}.{:02}", micros / 1000, micros % 1000 / 10);
        let (p50, p99, max) = (timing.quantile(50), timing.quantile(99), timing.quantile(100));
        let ratio = p50 * 10 / base.quantile(50).max(1);
        println!(
            "  {name:<52} {:>9} {:>9} {:>9} {:>5}.{}",
            ms(p50),
            ms(p99),
            ms(max),
            ratio / 10,
            ratio % 10
        );
    }
}
