//! What is measured: the whole server in this process, on an embedded database and a cluster without delays.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use lumbung::app::{App, Outside};
use lumbung::clock::Ambient;
use lumbung::config::Serve;
use lumbung::crypto::encode_hex;
use lumbung::db::{self, embedded::Embedded};
use lumbung::identity::password::Cost;
use lumbung::keys::Keys;
use lumbung::simulated;
use serde_json::{Value, json};
use simcluster::{Delays, NodeSpec, Options, SimCluster};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub struct Stage {
    pub anonymous: Client,
    pub customer: Client,
    pub plan: String,
    pub kube: kube::Client,
    pub cluster: SimCluster,
    dir: PathBuf,
    embedded: Embedded,
    server: JoinHandle<anyhow::Result<()>>,
    cancel: CancellationToken,
}

#[derive(Parser)]
struct Settings {
    #[command(flatten)]
    serve: Serve,
}

impl Stage {
    pub async fn set() -> anyhow::Result<Self> {
        let ambient = Ambient::system();
        let dir = std::env::temp_dir().join(format!("lumbung-bench-{}", encode_hex(&ambient.entropy.bytes::<6>())));
        let embedded = Embedded::start(&dir, &ambient.entropy).await?;
        db::migrate(embedded.url()).await?;
        let (cluster, kube) = simulated::start(options()).await?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let flags = [
            "lumbung",
            "--simulate",
            "--public-url",
            &url,
            "--reserve",
            "0",
            "--rate-limit",
            "100000000",
        ];
        let settings = db::Settings {
            url: embedded.url().to_owned(),
            max_connections: 16,
        };
        let app = App::build(Outside {
            pool: db::connect(&settings).await?,
            database_url: settings.url,
            keys: Keys::ephemeral(&ambient),
            ambient,
            kube: kube.clone(),
            config: Settings::try_parse_from(flags)?.serve,
            password_cost: Cost::STANDARD,
        })
        .await?;
        let cancel = CancellationToken::new();
        let server = tokio::spawn(app.run(listener, cancel.clone()));

        let anonymous = Client {
            http: reqwest::Client::new(),
            base: url,
            token: None,
        };
        let account = json!({"email": "bench@example.com", "password": "rice-barn-on-stilts"});
        anonymous.post("/api/v1/auth/register", &account).await?;
        let token = anonymous.post("/api/v1/auth/login", &account).await?;
        let token = token["access_token"].as_str().context("a token")?.to_owned();
        let customer = Client {
            token: Some(token),
            ..anonymous.clone()
        };
        let service = anonymous.get("/api/v1/services/linkding").await?;
        let plan = service["plans"][0]["code"].as_str().context("a plan")?.to_owned();
        let stage = Self {
            anonymous,
            customer,
            plan,
            kube,
            cluster,
            dir,
            embedded,
            server,
            cancel,
        };
        stage.warm_up().await?;
        Ok(stage)
    }

    /// Orders until one is accepted: the first look at the nodes comes right after the start.
    async fn warm_up(&self) -> anyhow::Result<()> {
        let body = json!({"service": "linkding", "plan": self.plan, "inputs": {}});
        for n in 0..200 {
            if self
                .customer
                .post_once(&format!("warm-{n}"), "/api/v1/orders", &body)
                .await
                .is_ok()
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("no order was accepted within 10 s")
    }

    pub async fn clear(self) -> anyhow::Result<()> {
        self.cancel.cancel();
        self.server.await??;
        self.cluster.shutdown().await;
        self.embedded.stop().await?;
        Ok(std::fs::remove_dir_all(self.dir)?)
    }
}

/// Three machines large enough that the orders never meet their limit.
fn options() -> Options {
    let nodes = Options::default()
        .nodes
        .into_iter()
        .map(|node| NodeSpec { max_pods: 1000, ..node })
        .collect();
    Options {
        nodes,
        delays: Delays::zero(),
        ..Options::default()
    }
}

/// `lumbung serve` as its own process, its cluster and database outside of it; its resident memory after start-up.
pub async fn server_alone() -> anyhow::Result<u64> {
    let binary = std::env::current_exe()?.with_file_name("lumbung");
    if !binary.is_file() {
        bail!("{} is missing; `make bench` builds it", binary.display());
    }
    let ambient = Ambient::system();
    let dir = std::env::temp_dir().join(format!("lumbung-bench-{}", encode_hex(&ambient.entropy.bytes::<6>())));
    let embedded = Embedded::start(&dir, &ambient.entropy).await?;
    let (cluster, _) = simulated::start(options()).await?;
    Keys::load_or_generate(&dir, &ambient)?;
    let kubeconfig = dir.join("kubeconfig");
    std::fs::write(&kubeconfig, simulated::account(&cluster.kubeconfig()).await?)?;
    let mut child = Command::new(binary)
        .args(["serve", "--listen", "127.0.0.1:0"])
        .env("DATABASE_URL", embedded.url())
        .env("KUBECONFIG", kubeconfig)
        .env("LUMBUNG_SIGNING_KEY_FILE", dir.join("signing.pem"))
        .env("LUMBUNG_ENCRYPTION_KEY_FILE", dir.join("encryption.keys"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    // Long enough for every task to have run once.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let resident = resident_of(&child.id().to_string());
    child.kill()?;
    child.wait()?;
    cluster.shutdown().await;
    embedded.stop().await?;
    std::fs::remove_dir_all(dir)?;
    resident.context("the server ended early")
}

pub fn resident_mib() -> u64 {
    resident_of("self").unwrap_or(0)
}

fn resident_of(process: &str) -> Option<u64> {
    lumbung_bench::watch::resident_kib(process).map(|kib| kib / 1024)
}

#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Client {
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.send(self.http.get(format!("{}{path}", self.base))).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(self.http.post(format!("{}{path}", self.base)).json(body))
            .await
    }

    pub async fn post_once(&self, key: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.send(
            self.http
                .post(format!("{}{path}", self.base))
                .header("idempotency-key", key)
                .json(body),
        )
        .await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let request = if let Some(token) = &self.token {
            request.bearer_auth(token)
        } else {
            request
        };
        let response = request.send().await?;
        let (status, address) = (response.status(), response.url().clone());
        let body = response.json().await?;
        if !status.is_success() {
            bail!("{address} was answered {status}: {body}");
        }
        Ok(body)
    }
}
