//! The real binary as a process of its own: for kills, signals, and what a terminal sees.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lumbung::clock::Ambient;
use lumbung::keys::Keys;
use rustix::process::{Pid, Signal, kill_process};
use simcluster::SimCluster;

/// Where `make test` has built it, beside the test binaries.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let path = test
        .ancestors()
        .nth(2)
        .expect("target/<profile>/deps/<test>")
        .join("lumbung");
    assert!(
        path.is_file(),
        "{} is missing: run the tests by `make test`, which builds it",
        path.display()
    );
    path
}

/// A process that is killed with its test.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    pub fn spawn(configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(binary());
        command
            .env_remove("DATABASE_URL")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        configure(&mut command);
        Self(command.spawn().expect("the binary starts"))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.0);
        kill_process(pid, signal).expect("it runs");
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A directory that goes with its test.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    #[must_use]
    pub fn new() -> Self {
        let name = format!("lumbung-test-{}", Ambient::system().new_id().simple());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&dir).expect("a directory for temporary files");
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// `lumbung serve` on a test's database and simulated cluster, answering.
#[derive(Debug)]
pub struct Server {
    pub process: Process,
    pub url: String,
    log: PathBuf,
}

impl Server {
    /// Starts it with `env` and waits until it is ready. The keys are those in `scratch/keys`, made when missing.
    pub async fn start(database_url: &str, sim: &SimCluster, scratch: &Scratch, env: &[(&str, &str)]) -> Self {
        let (keys, kubeconfig, log) = (scratch.path("keys"), scratch.path("kubeconfig"), scratch.path("log"));
        Keys::load_or_generate(&keys, &Ambient::system()).expect("keys");
        let account = lumbung::simulated::account(&sim.kubeconfig()).await;
        std::fs::write(&kubeconfig, account.expect("the account that deploy/ gives")).expect("a kubeconfig");
        let address = free_address();
        let output = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let errors = output.try_clone().expect("a log");
        let process = Process::spawn(|command| {
            command.args([
                "serve",
                "--reserve",
                "0",
                "--accept-licences",
                "n8n",
                "--ready-minutes",
                "10080",
            ]);
            command.args([
                "--rate-limit",
                "100000",
                "--auth-rate-limit",
                "100000",
                "--database-connections",
                "8",
            ]);
            command.args([
                "--listen",
                &address,
                "--database-url",
                database_url,
                "--log-format",
                "json",
            ]);
            command.arg("--kubeconfig").arg(&kubeconfig);
            command.arg("--signing-key-file").arg(keys.join("signing.pem"));
            command.arg("--encryption-key-file").arg(keys.join("encryption.keys"));
            command.envs(env.iter().copied()).stdout(output).stderr(errors);
        });
        let mut server = Self {
            process,
            url: format!("http://{address}"),
            log,
        };
        server.ready().await;
        server
    }

    async fn ready(&mut self) {
        let (client, url) = (reqwest::Client::new(), format!("{}/readyz", self.url));
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let waiting = async {
            loop {
                tick.tick().await;
                let answer = client.get(&url).send().await;
                if answer.is_ok_and(|answer| answer.status().is_success()) {
                    return true;
                }
                if self.process.0.try_wait().expect("its state").is_some() {
                    return false;
                }
            }
        };
        let ready = tokio::time::timeout(Duration::from_mins(1), waiting).await;
        assert!(
            ready == Ok(true),
            "the server did not become ready; its log ends with:\n{}",
            self.log()
        );
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill();
    }
}

/// An address that nobody listens on at this moment.
fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}
