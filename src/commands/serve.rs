//! `lumbung serve`: the server, with whatever database and cluster it is pointed at.

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::asked_to_stop;
use crate::app::{App, Outside};
use crate::clock::Ambient;
use crate::config::{self, Serve};
use crate::db::embedded::Embedded;
use crate::identity::password::Cost;
use crate::keys::Keys;
use crate::{db, kube, simulated};

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    serve: Serve,
}

pub async fn run(args: Args) -> anyhow::Result<()> {
    let config = args.serve;
    config.validate().map_err(anyhow::Error::msg)?;
    let ambient = Ambient::system();
    let state_dir = config.database.state_dir();
    let (embedded, url) = database(&config.database, &ambient).await?;
    db::migrate(&url).await.context("migrating the database")?;
    let keys = Keys::from_config(&config.keys, &state_dir, &ambient)?;
    let settings = db::Settings {
        url: url.clone(),
        max_connections: config.database.database_connections,
    };
    let pool = db::connect(&settings).await.context("connecting to the database")?;
    let (cluster, client) = if config.cluster.simulate {
        let (cluster, client) = simulated::start_home().await?;
        (Some(cluster), client)
    } else {
        let kubeconfig = config
            .cluster
            .kubeconfig
            .as_ref()
            .map(std::fs::read_to_string)
            .transpose();
        let kubeconfig = kubeconfig.context("reading the kubeconfig")?;
        (
            None,
            kube::connect(kubeconfig.as_deref())
                .await
                .context("finding a cluster (KUBECONFIG, or --simulate)")?,
        )
    };

    let listener = tokio::net::TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("listening on {}", config.http.listen))?;
    let address = listener.local_addr()?;
    let outside = Outside {
        pool,
        database_url: url,
        ambient,
        keys,
        kube: client,
        config,
        password_cost: Cost::STANDARD,
    };
    let app = App::build(outside).await?;
    let cancel = CancellationToken::new();
    let stop = cancel.clone();
    tokio::spawn(async move {
        asked_to_stop().await;
        tracing::info!("stopping: no new requests, running work is finished");
        stop.cancel();
    });
    tracing::info!(%address, "serving");
    app.run(listener, cancel).await?;

    if let Some(cluster) = cluster {
        cluster.shutdown().await;
    }
    if let Some(embedded) = embedded {
        embedded.stop().await?;
    }
    tracing::info!("stopped");
    Ok(())
}

/// The given database, or the embedded one; its address either way.
pub async fn database(config: &config::Database, ambient: &Ambient) -> anyhow::Result<(Option<Embedded>, String)> {
    if let Some(url) = &config.database_url {
        return Ok((None, url.clone()));
    }
    let embedded = Embedded::start(&config.state_dir(), &ambient.entropy).await?;
    let url = embedded.url().to_owned();
    Ok((Some(embedded), url))
}
