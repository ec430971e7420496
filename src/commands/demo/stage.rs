//! The demo's stage: a database, a simulated cluster and the whole server, in a directory that goes with it.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use simcluster::{Delays, Options, SimCluster};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::tell::Tell;
use crate::app::{App, Outside};
use crate::clock::Ambient;
use crate::config::Serve;
use crate::crypto::encode_hex;
use crate::db::embedded::{Embedded, write_private};
use crate::identity::admin::{Outcome, create_admin};
use crate::identity::password::{Cost, Hasher};
use crate::keys::Keys;
use crate::{db, simulated};

pub struct Stage {
    pub url: String,
    pub kube: kube::Client,
    pub kubeconfig: PathBuf,
    pub admin_email: &'static str,
    pub admin_password: String,
    pub customer_password: String,
    dir: PathBuf,
    embedded: Embedded,
    cluster: SimCluster,
    server: JoinHandle<anyhow::Result<()>>,
    cancel: CancellationToken,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    serve: Serve,
}

impl Stage {
    pub async fn set(tell: &Tell, listen: SocketAddr) -> anyhow::Result<Self> {
        let ambient = Ambient::system();
        let dir = std::env::temp_dir().join(format!("lumbung-demo-{}", encode_hex(&ambient.entropy.bytes::<6>())));
        let embedded = Embedded::start(&dir, &ambient.entropy).await?;
        db::migrate(embedded.url()).await.context("migrating the database")?;
        tell.done("a private PostgreSQL, with the schema");

        let options = Options {
            delays: Delays::lifelike(),
            ..Options::default()
        };
        let machines = options.nodes.len();
        let (cluster, kube) = simulated::start(options).await?;
        let kubeconfig = dir.join("kubeconfig");
        write_private(&kubeconfig, &cluster.kubeconfig())?;
        tell.done(&format!("a simulated K3s with {machines} unequal machines"));

        let listener = match TcpListener::bind(listen).await {
            Ok(listener) => listener,
            Err(_) => TcpListener::bind((listen.ip(), 0))
                .await
                .context("finding a free port")?,
        };
        let url = format!("http://{}", listener.local_addr()?);
        // n8n's licence restricts hosted resale: the demo sells nothing, so it may show it.
        let flags = [
            "lumbung",
            "--simulate",
            "--accept-licences",
            "n8n",
            "--public-url",
            &url,
        ];
        let config = Settings::try_parse_from(flags).context("the demo's settings")?.serve;
        let settings = db::Settings {
            url: embedded.url().to_owned(),
            max_connections: 16,
        };
        let pool = db::connect(&settings).await?;
        let app = App::build(Outside {
            pool: pool.clone(),
            database_url: settings.url,
            keys: Keys::load_or_generate(&dir.join("keys"), &ambient)?,
            ambient: ambient.clone(),
            kube: kube.clone(),
            config,
            password_cost: Cost::STANDARD,
        })
        .await?;
        let cancel = CancellationToken::new();
        let server = tokio::spawn(app.run(listener, cancel.clone()));
        tell.done(&format!("the API at {url}"));

        let admin_email = "admin@example.com";
        let hasher = Hasher::new(Cost::STANDARD, &ambient.entropy)?;
        let admin = create_admin(&pool, &ambient, &hasher, admin_email, None, false).await?;
        let Outcome::Created {
            generated: Some(password),
            ..
        } = admin
        else {
            anyhow::bail!("the admin's account was there already, in a new database");
        };
        let alphabet = b"abcdefghjkmnpqrstuvwxyz23456789";
        Ok(Self {
            url,
            kube,
            kubeconfig,
            admin_email,
            admin_password: password.expose().to_owned(),
            customer_password: ambient.entropy.string(alphabet, 16),
            dir,
            embedded,
            cluster,
            server,
            cancel,
        })
    }

    /// What was asked of the simulated cluster that it does not have.
    pub fn unserved(&self) -> Vec<String> {
        self.cluster.unserved()
    }

    /// Stops everything, the server first, and removes the directory.
    pub async fn clear(self) -> anyhow::Result<()> {
        self.cancel.cancel();
        self.server.await.context("the server's task")??;
        self.cluster.shutdown().await;
        self.embedded.stop().await?;
        std::fs::remove_dir_all(&self.dir).with_context(|| format!("removing {}", self.dir.display()))
    }
}
