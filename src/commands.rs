//! What `lumbung` can be told to do. Each command is a file; this one is the help text and the dispatch.

mod admin;
mod demo;
mod migrate;
mod openapi;
mod serve;
mod simcluster;
mod simulate;

use clap::{Parser, Subcommand};

use crate::config::Logging;
use crate::telemetry;

/// Sells running services (n8n, Ghost, WordPress, …) as monthly subscriptions on K3s.
#[derive(Parser, Debug)]
#[command(name = "lumbung", version, propagate_version = true, arg_required_else_help = true, after_help = AFTER)]
pub struct Cli {
    #[command(flatten)]
    logging: Logging,
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "\
Start here:
  lumbung demo                 the whole idea in a minute, on a simulated cluster
  lumbung serve --simulate     the API on http://127.0.0.1:8080 with an embedded database and a simulated cluster
  lumbung serve --help         every setting, each also an environment variable

For real: DATABASE_URL names a PostgreSQL, KUBECONFIG a K3s; docs/operations.md walks through it.";

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the API and everything behind it
    Serve(Box<serve::Args>),
    /// Order three services on a simulated K3s and watch them come up
    Demo(demo::Args),
    /// Run a simulated K3s on its own and print its kubeconfig
    Simcluster(simcluster::Args),
    /// Bring a database's schema up to date
    Migrate(migrate::Args),
    /// Print the OpenAPI document
    Openapi(openapi::Args),
    /// Run a scenario through the placement engine: what would this policy do to that fleet?
    Simulate(simulate::Args),
    /// Work that needs no API: the first admin, keys
    Admin(admin::Args),
}

/// Parses the command line and runs what it says.
pub async fn run() -> anyhow::Result<()> {
    let mut cli = Cli::parse();
    if let Command::Demo(_) = cli.command
        && std::env::var_os("LUMBUNG_LOG").is_none()
        && cli.logging.log == crate::config::DEFAULT_LOG
    {
        // The demo tells its story itself; the log would talk into it.
        "warn".clone_into(&mut cli.logging.log);
    }
    telemetry::init(&cli.logging.log, cli.logging.log_format)?;
    match cli.command {
        Command::Serve(args) => serve::run(*args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Simcluster(args) => simcluster::run(args).await,
        Command::Migrate(args) => migrate::run(args).await,
        Command::Openapi(args) => openapi::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Admin(args) => admin::run(args).await,
    }
}

/// Resolves at Ctrl-C or SIGTERM.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(signal) => signal,
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be caught; only Ctrl-C stops cleanly");
            let _ = tokio::signal::ctrl_c().await;
            return;
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
