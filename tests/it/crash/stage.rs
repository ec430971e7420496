//! Database, cluster and the process that is aborted once; requests that outlive it.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::time::Duration;

use lumbung_tests::database::Database;
use lumbung_tests::process::{Scratch, Server};
use lumbung_tests::{Answer, Client, PASSWORD, invariants};
use reqwest::Method;
use serde_json::{Value, json};
use simcluster::{Delays, Options, SimCluster};
use sqlx::AssertSqlSafe;

/// For each wait: a restart, and whatever the process then has to do, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_millis(50);
const SIGABRT: i32 = 6;

pub struct Stage {
    pub db: Database,
    pub sim: SimCluster,
    pub kube: kube::Client,
    server: Server,
    scratch: Scratch,
    point: &'static str,
    crashed: bool,
    token: Option<String>,
}

impl Stage {
    /// A process that will be aborted at `point`, and a customer who is logged in to it.
    pub async fn open(point: &'static str) -> Self {
        let db = Database::create().await;
        // A pod takes a moment to end, so that a purge sees one that is still there without its set.
        let delays = Delays {
            stop: Duration::from_millis(300),
            ..Delays::zero()
        };
        let (sim, kube) = lumbung::simulated::start(Options {
            delays,
            ..Options::default()
        })
        .await
        .expect("a cluster");
        let scratch = Scratch::new();
        let log = scratch.path("crash");
        let env = [
            ("LUMBUNG_CRASH_AT", point),
            ("LUMBUNG_CRASH_LOG", log.to_str().expect("a path in UTF-8")),
        ];
        let server = Server::start(&db.url, &sim, &scratch, &env).await;
        let mut stage = Self {
            db,
            sim,
            kube,
            server,
            scratch,
            point,
            crashed: false,
            token: None,
        };
        let credentials = json!({"email": "ani@example.org", "password": PASSWORD});
        stage
            .post("/api/v1/auth/register", "r", credentials.clone())
            .await
            .expect(202);
        stage.log_in(credentials).await;
        stage
    }

    pub async fn log_in(&mut self, credentials: Value) {
        let body = self.post("/api/v1/auth/login", "l", credentials).await.expect(200);
        self.token = Some(body["access_token"].as_str().expect("a token").to_owned());
    }

    fn crash_log(&self) -> PathBuf {
        self.scratch.path("crash")
    }

    /// If the process has ended, then by itself at its point, and once: another one is started.
    async fn tend(&mut self) {
        let Some(status) = self.server.process.0.try_wait().expect("its state") else {
            return;
        };
        let log = self.server.log();
        assert!(
            !self.crashed,
            "it ended a second time ({status}); its log ends with:\n{log}"
        );
        assert_eq!(
            status.signal(),
            Some(SIGABRT),
            "it ended otherwise ({status}); its log ends with:\n{log}"
        );
        assert_eq!(
            std::fs::read_to_string(self.crash_log()).expect("the crash log"),
            self.point
        );
        self.crashed = true;
        // What the dead process had leased is free after a while; that while is over here.
        self.sql("UPDATE clock_shift SET shift = shift + interval '2 minutes'")
            .await;
        self.server = Server::start(&self.db.url, &self.sim, &self.scratch, &[]).await;
    }

    /// Changes rows behind the server's back: the only way to let days pass for a process that lives by the machine's
    /// clock.
    pub async fn sql(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql)).execute(&self.db.pool).await.expect(sql);
    }

    /// Asks until there is an answer, as a client with an Idempotency-Key does.
    async fn ask(&mut self, method: Method, path: &str, key: &str, body: Option<Value>) -> Answer {
        let asking = async {
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tick.tick().await;
                self.tend().await;
                let mut client = Client::new(&self.server.url);
                client.token.clone_from(&self.token);
                let headers = [("idempotency-key", key)];
                match client.try_send(method.clone(), path, &headers, body.as_ref()).await {
                    Ok(answer) if answer.body["code"] == "idempotency-in-flight" => {}
                    Ok(answer) => return answer,
                    Err(error) => assert!(!self.crashed || error.is_connect(), "{error:?}"),
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, asking).await;
        answer.unwrap_or_else(|_| panic!("no answer from {path}"))
    }

    pub async fn post(&mut self, path: &str, key: &str, body: Value) -> Answer {
        self.ask(Method::POST, path, key, Some(body)).await
    }

    pub async fn get(&mut self, path: &str) -> Value {
        self.ask(Method::GET, path, "unused", None).await.expect(200)
    }

    /// Looks at `path` until `done` says so.
    pub async fn until(&mut self, path: &str, done: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let waiting = async {
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tick.tick().await;
                last = self.get(path).await;
                if done(&last) {
                    return;
                }
            }
        };
        let came = tokio::time::timeout(PATIENCE, waiting).await.is_ok();
        assert!(came, "{path} stays as it is: {last:#}\n{}", self.server.log());
        last
    }

    /// The point was reached, and in the end every rule holds.
    pub async fn close(mut self) {
        let mut broken = Vec::new();
        let resting = async {
            let mut tick = tokio::time::interval(LOOK);
            loop {
                tick.tick().await;
                self.tend().await;
                broken = invariants::broken(&self.db.pool, &self.kube).await;
                if self.crashed && broken.is_empty() {
                    return;
                }
            }
        };
        let rests = tokio::time::timeout(PATIENCE, resting).await.is_ok();
        assert!(self.crashed, "{} was never reached", self.point);
        assert!(rests, "{broken:#?}");
    }
}
