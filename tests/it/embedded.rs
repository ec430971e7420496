//! The embedded PostgreSQL over its whole life: what a kill -9 of either process leaves behind is put right by the next
//! start, nothing that was committed is lost, and no process that is not ours is touched.
//!
//! Works as root and as a plain user: each test has a state directory of its own in the temporary directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use lumbung::clock::Entropy;
use lumbung::db::embedded::{Embedded, Error};
use lumbung_tests::eventually;
use lumbung_tests::process::{Process, Scratch, binary};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

async fn start(state: &Path) -> Embedded {
    Embedded::start(state, &Entropy::from_os())
        .await
        .expect("the embedded database starts")
}

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.expect("it answers")
}

async fn write(url: &str) {
    let mut conn = connect(url).await;
    sqlx::query("CREATE TABLE kept AS SELECT 'rice' AS what")
        .execute(&mut conn)
        .await
        .expect("a row");
    conn.close().await.expect("a clean goodbye");
}

async fn read(url: &str) -> String {
    let mut conn = connect(url).await;
    sqlx::query_scalar("SELECT what FROM kept")
        .fetch_one(&mut conn)
        .await
        .expect("the row is still there")
}

fn pid_file(state: &Path) -> PathBuf {
    state.join("postgres/data/postmaster.pid")
}

fn postmaster(state: &Path) -> i32 {
    let text = fs::read_to_string(pid_file(state)).expect("a running server has a pid file");
    text.lines()
        .next()
        .and_then(|line| line.trim().parse().ok())
        .expect("its first line is the pid")
}

fn kill_hard(pid: i32) {
    kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL).expect("it was running");
}

/// Whether the process still does anything: one that ended and that nobody has waited for has no command line left.
fn runs(pid: i32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[tokio::test]
async fn a_killed_server_comes_back_with_what_was_committed() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let first = start(&state).await;
    write(first.url()).await;
    let killed = postmaster(&state);
    kill_hard(killed);
    drop(first);
    assert!(pid_file(&state).exists(), "kill -9 leaves the pid file behind");

    let second = start(&state).await;
    assert_eq!(read(second.url()).await, "rice");
    assert_ne!(postmaster(&state), killed);
    second.stop().await.expect("a clean stop");
}

/// A busy backend does not notice that its postmaster died, and as long as it lives PostgreSQL refuses to start.
#[tokio::test]
async fn a_backend_that_outlived_its_server_is_ended_before_the_next_start() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let first = start(&state).await;
    write(first.url()).await;
    let mut busy = connect(first.url()).await;
    let backend: i32 = sqlx::query_scalar("SELECT pg_backend_pid()")
        .fetch_one(&mut busy)
        .await
        .expect("its pid");
    let work = tokio::spawn(async move {
        sqlx::raw_sql("DO $$ BEGIN WHILE clock_timestamp() < now() + interval '50 s' LOOP END LOOP; END $$")
            .execute(&mut busy)
            .await
    });
    eventually("the backend is busy", async || {
        let mut conn = connect(first.url()).await;
        let busy = "SELECT state = 'active' AND query LIKE 'DO %' FROM pg_stat_activity WHERE pid = $1";
        let busy: bool = sqlx::query_scalar(busy).bind(backend).fetch_one(&mut conn).await.ok()?;
        busy.then_some(())
    })
    .await;
    kill_hard(postmaster(&state));
    drop(first);
    assert!(runs(backend), "it goes on without its server");

    let second = start(&state).await;
    assert!(!runs(backend), "nothing of the old server runs beside the new one");
    assert!(work.await.expect("no panic").is_err());
    assert_eq!(read(second.url()).await, "rice");
    second.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_server_that_a_killed_lumbung_left_behind_is_stopped_first() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let log = fs::File::create(scratch.path("log")).expect("a log");
    let mut lumbung = Process::spawn(|command| {
        command
            .args(["serve", "--simulate", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(&state);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
    });
    let url = eventually("its database answers", async || {
        let url = Embedded::running(&state)?;
        PgConnection::connect(&url).await.is_ok().then_some(url)
    })
    .await;
    write(&url).await;
    lumbung.kill();
    let left = postmaster(&state);
    assert!(runs(left), "the server outlives a kill -9 of its Lumbung");

    let next = start(&state).await;
    assert!(!runs(left), "two servers must never have the same files");
    assert!(PgConnection::connect(&url).await.is_err(), "the old address is dead");
    assert_eq!(read(next.url()).await, "rice");
    next.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_harms_nobody() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let first = start(&state).await;
    write(first.url()).await;
    let text = fs::read_to_string(pid_file(&state)).expect("a pid file");
    let (ours, rest) = (
        std::process::id(),
        text.split_once('\n').expect("more lines").1.to_owned(),
    );
    first.stop().await.expect("a clean stop");
    // What remains after a crash and a reboot, once the number has gone to somebody else: this very process.
    fs::write(pid_file(&state), format!("{ours}\n{rest}")).expect("a stale pid file");
    assert!(Embedded::running(&state).is_none(), "we are no PostgreSQL");

    let second = start(&state).await;
    assert_ne!(postmaster(&state).cast_unsigned(), ours);
    assert_eq!(read(second.url()).await, "rice");
    second.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn a_second_start_on_the_same_directory_is_refused() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let first = start(&state).await;
    write(first.url()).await;
    let second = Embedded::start(&state, &Entropy::from_os()).await;
    assert!(matches!(second, Err(Error::InUse(_))), "{second:?}");
    assert_eq!(Embedded::running(&state).as_deref(), Some(first.url()));
    assert_eq!(read(first.url()).await, "rice", "the first is not disturbed");
    first.stop().await.expect("a clean stop");
}

#[tokio::test]
async fn stop_leaves_nothing_running() {
    let scratch = Scratch::new();
    let state = scratch.path("state");
    let embedded = start(&state).await;
    let (pid, url) = (postmaster(&state), embedded.url().to_owned());
    let idle = connect(&url).await;
    embedded
        .stop()
        .await
        .expect("a clean stop, though a client is still connected");
    drop(idle);
    assert!(!pid_file(&state).exists(), "a clean stop removes the pid file");
    assert!(
        !Path::new(&format!("/proc/{pid}")).exists(),
        "the process is gone, and was waited for"
    );
    assert!(PgConnection::connect(&url).await.is_err());
}

#[test]
fn without_postgresql_the_binary_says_what_to_install() {
    let scratch = Scratch::new();
    let output = std::process::Command::new(binary())
        .args(["serve", "--simulate", "--listen", "127.0.0.1:0", "--state-dir"])
        .arg(scratch.path("state"))
        .env_remove("DATABASE_URL")
        .env_remove("KUBECONFIG")
        .env("LUMBUNG_POSTGRES_BIN", "/nonexistent")
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("apt-get install -y postgresql"), "{said}");
    assert!(said.contains("LUMBUNG_POSTGRES_BIN"), "{said}");
}
