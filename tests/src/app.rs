//! The whole app in the test's process: manual clock, seeded randomness, its own database and simulated cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use lumbung::app::{App, Outside};
use lumbung::clock::{Ambient, Entropy, ManualClock, Time};
use lumbung::config::Serve;
use lumbung::identity::admin::create_admin;
use lumbung::identity::password::{Cost, Hasher, Password};
use lumbung::keys::Keys;
use lumbung::tasks::{self, Task};
use serde_json::json;
use simcluster::{Delays, NodeSpec, Options, SimCluster};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::database::Database;
use crate::real;

/// Everybody's password in the tests.
pub const PASSWORD: &str = "rice-barn-on-stilts";

/// When every test begins.
pub const START: &str = "2026-03-01T00:00:00Z";

/// A flag that a test gives takes the place of the builder's own.
#[derive(Parser)]
#[command(args_override_self = true)]
struct Command {
    #[command(flatten)]
    serve: Serve,
}

/// How a test's app is to be.
#[derive(Debug)]
pub struct Builder {
    nodes: Option<Vec<NodeSpec>>,
    delays: Delays,
    args: Vec<String>,
    seed: u64,
    at: Option<Time>,
    keys: Option<PathBuf>,
}

/// A running app. Its background tasks run only in [`TestApp::settle`].
pub struct TestApp {
    pub db: Database,
    pub sim: SimCluster,
    pub clock: Arc<ManualClock>,
    pub ambient: Ambient,
    pub tasks: Vec<Task>,
    pub signals: lumbung::db::signal::Signals,
    pub openapi: Arc<serde_json::Value>,
    pub url: String,
    /// The cluster as its administrator sees it.
    pub kube: kube::Client,
    pub config: Serve,
    /// The cluster as the platform sees it: with the rights that deploy/ gives.
    pub granted: kube::Client,
    real: bool,
    keys: Keys,
    parts: Vec<AbortHandle>,
    cancel: CancellationToken,
}

impl Default for Builder {
    fn default() -> Self {
        let args = [
            "lumbung",
            "--simulate",
            "--reserve",
            "0",
            "--accept-licences",
            "n8n",
            "--rate-limit",
            "100000",
            "--auth-rate-limit",
            "100000",
        ];
        Self {
            nodes: None,
            delays: Delays::zero(),
            args: args.map(String::from).to_vec(),
            seed: 1,
            at: None,
            keys: None,
        }
    }
}

impl Builder {
    #[must_use]
    pub fn nodes(mut self, nodes: Vec<NodeSpec>) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// How long the simulated machines take.
    #[must_use]
    pub fn delays(mut self, delays: Delays) -> Self {
        self.delays = delays;
        self
    }

    /// Flags of `lumbung serve`.
    #[must_use]
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(|arg| (*arg).to_owned()));
        self
    }

    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// When the test begins, if not at [`START`]: beside a process of its own, which lives by the machine's clock.
    #[must_use]
    pub fn at(mut self, start: Time) -> Self {
        self.at = Some(start);
        self
    }

    /// Takes the keys from this directory, or writes new ones there, so that a process can be given the same.
    #[must_use]
    pub fn keys_in(mut self, dir: PathBuf) -> Self {
        self.keys = Some(dir);
        self
    }

    pub async fn start(self) -> TestApp {
        let db = Database::create().await;
        let mut options = Options {
            seed: self.seed,
            delays: self.delays,
            ..Options::default()
        };
        if let Some(nodes) = self.nodes {
            options.nodes = nodes;
        }
        let (sim, mut granted) = lumbung::simulated::start(options).await.expect("a simulated cluster");
        let real = real::kubeconfig();
        let administrator = real.clone().unwrap_or_else(|| sim.kubeconfig());
        let kube = lumbung::kube::connect(Some(&administrator)).await.expect("a client");
        if real.is_some() {
            let account = lumbung::simulated::prepare(&administrator).await;
            let account = account.expect("what deploy/ applies");
            granted = lumbung::kube::connect(Some(&account)).await.expect("a client");
            real::clear(&kube).await;
        }
        let start = self.at.unwrap_or_else(|| Time::new(START.parse().expect("a time")));
        let clock = Arc::new(ManualClock::at(start));
        let ambient = Ambient {
            clock: clock.clone(),
            entropy: Entropy::seeded(self.seed),
        };
        let config = Command::try_parse_from(&self.args).expect("valid settings").serve;
        config.validate().expect("valid settings");
        let keys = match &self.keys {
            Some(dir) => Keys::load_or_generate(dir, &ambient).expect("keys"),
            None => Keys::ephemeral(&ambient),
        };
        let mut app = TestApp {
            db,
            sim,
            clock,
            ambient,
            tasks: Vec::new(),
            signals: lumbung::db::signal::Signals::default(),
            openapi: Arc::default(),
            url: String::new(),
            kube,
            config,
            granted,
            real: real.is_some(),
            keys,
            parts: Vec::new(),
            cancel: CancellationToken::new(),
        };
        let replica = app.replica().await;
        app.become_replica(replica);
        app
    }
}

/// One more process of the same platform, as far as one process can be two.
pub struct Replica {
    pub tasks: Vec<Task>,
    pub signals: lumbung::db::signal::Signals,
    pub openapi: Arc<serde_json::Value>,
    pub url: String,
    /// Its server, watches and hub.
    parts: Vec<AbortHandle>,
}

impl TestApp {
    pub async fn start() -> Self {
        Builder::default().start().await
    }

    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Builds and serves another instance of the app on the same database and cluster.
    pub async fn replica(&self) -> Replica {
        let outside = Outside {
            pool: self.db.pool.clone(),
            database_url: self.db.url.clone(),
            ambient: self.ambient.clone(),
            keys: self.keys.clone(),
            kube: self.granted.clone(),
            config: self.config.clone(),
            password_cost: Cost::TRIFLING,
        };
        let app = App::build(outside).await.expect("the app is built");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let service = app.router.into_make_service_with_connect_info::<SocketAddr>();
        let cancel = self.cancel.clone();
        let serving = async move {
            axum::serve(listener, service)
                .with_graceful_shutdown(cancel.cancelled_owned())
                .await
        };
        let mut parts = vec![tokio::spawn(serving).abort_handle()];
        parts.extend(
            app.forever
                .into_iter()
                .map(|part| tokio::spawn(part(self.cancel.clone())).abort_handle()),
        );
        Replica {
            tasks: app.tasks,
            signals: app.signals,
            openapi: app.openapi,
            url,
            parts,
        }
    }

    fn become_replica(&mut self, replica: Replica) {
        (self.tasks, self.signals, self.openapi, self.url) =
            (replica.tasks, replica.signals, replica.openapi, replica.url);
        self.parts = replica.parts;
    }

    /// Drops the app as a dying process would, without any shutdown, and starts another one on the same database and
    /// cluster. What the dead one had leased is free after a while; that while is over here.
    pub async fn crash(&mut self) {
        self.tasks.clear();
        for part in self.parts.drain(..) {
            part.abort();
        }
        self.db.reconnect().await;
        self.outlive_leases().await;
        let replica = self.replica().await;
        self.become_replica(replica);
    }

    /// Lets every lease that is held now run out.
    pub async fn outlive_leases(&self) {
        let shift = "UPDATE clock_shift SET shift = shift + interval '2 minutes'";
        sqlx::query(shift)
            .execute(&self.db.pool)
            .await
            .expect("the leases' clock");
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// A client logged in as a new customer.
    pub async fn customer(&self, email: &str) -> Client {
        let credentials = json!({"email": email, "password": PASSWORD});
        self.client()
            .post("/api/v1/auth/register", credentials)
            .await
            .expect(202);
        self.log_in(email).await
    }

    /// A client logged in as a new admin.
    pub async fn admin(&self, email: &str) -> Client {
        let (pool, ambient) = (&self.db.pool, &self.ambient);
        let hasher = Hasher::new(Cost::TRIFLING, &ambient.entropy).expect("a hasher");
        let password = Some(Password::new(PASSWORD));
        create_admin(pool, ambient, &hasher, email, password, false)
            .await
            .expect("an admin");
        self.log_in(email).await
    }

    /// A client logged in as a new member of support.
    pub async fn support(&self, email: &str) -> Client {
        self.customer(email).await;
        sqlx::query("UPDATE users SET role = 'support', auth_version = auth_version + 1 WHERE email = $1")
            .bind(email)
            .execute(&self.db.pool)
            .await
            .expect("promoted");
        self.log_in(email).await
    }

    pub async fn log_in(&self, email: &str) -> Client {
        let credentials = json!({"email": email, "password": PASSWORD});
        let body = self.client().post("/api/v1/auth/login", credentials).await.expect(200);
        self.client()
            .with_token(body["access_token"].as_str().expect("a token"))
    }

    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// Lets platform and cluster come to rest: nothing due, nothing moving.
    pub async fn settle(&self) {
        self.try_settle().await.expect("the platform comes to rest");
    }

    pub async fn try_settle(&self) -> anyhow::Result<()> {
        if self.real {
            return real::settle(self).await;
        }
        for _ in 0..200 {
            self.sim.settle().await;
            if tasks::settle(&self.tasks, 50).await? == 0 {
                return Ok(());
            }
        }
        anyhow::bail!("platform and cluster keep each other busy")
    }

    /// Runs one task by name, once.
    pub async fn run(&self, task: &str) -> lumbung::tasks::Report {
        let task = self
            .tasks
            .iter()
            .find(|candidate| candidate.name == task)
            .expect("a task of that name");
        task.once().await.expect("the task runs")
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.cancel.cancel();
        // Whatever a test is about: a simulation that does not serve what the platform asks proves nothing.
        let unserved = self.sim.unserved();
        assert!(
            unserved.is_empty() || std::thread::panicking(),
            "asked by the platform and not served by the simulated cluster: {unserved:#?}"
        );
    }
}
