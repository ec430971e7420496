//! `lumbung simcluster`: the simulated K3s on its own, for kubectl and for a `lumbung serve` beside it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use simcluster::{Clock, Delays, Options, SimCluster};

use super::asked_to_stop;
use crate::clock::Entropy;
use crate::crypto::encode_hex;
use crate::db::embedded::write_private;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Address that its API listens on.
    #[arg(long, default_value = "127.0.0.1:6443")]
    listen: SocketAddr,
    /// Write the kubeconfig to this file instead of printing it.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// The kubeconfig is that of the platform's own account, with the rights that deploy/ gives it, not the admin's.
    #[arg(long)]
    as_lumbung: bool,
    /// How many times as fast as real time the cluster's time passes.
    #[arg(long, default_value_t = 1)]
    speed: u32,
    /// What chances are drawn from: one seed gives one history.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Containers, probes and volumes take no time.
    #[arg(long)]
    instant: bool,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let delays = if args.instant {
        Delays::zero()
    } else {
        Delays::lifelike()
    };
    let token = Some(encode_hex(&Entropy::from_os().bytes::<16>()));
    let options = Options {
        listen: args.listen,
        delays,
        token,
        seed: args.seed,
        clock: Clock::scaled(args.speed),
        ..Options::default()
    };
    let cluster = SimCluster::start(options)
        .await
        .with_context(|| format!("listening on {}", args.listen))?;
    let account = crate::simulated::prepare(&cluster.kubeconfig()).await?;
    let kubeconfig = if args.as_lumbung { account } else { cluster.kubeconfig() };
    match &args.kubeconfig {
        Some(path) => {
            write_private(path, &kubeconfig).with_context(|| format!("writing {}", path.display()))?;
            eprintln!(
                "simulated K3s at {}; try:  kubectl --kubeconfig {} get nodes",
                cluster.url(),
                path.display()
            );
        }
        None => println!("{kubeconfig}"),
    }
    asked_to_stop().await;
    cluster.shutdown().await;
    Ok(())
}
