//! The embedded default: a private PostgreSQL in the state directory, run from the installed binaries.
//!
//! Promises: started by root it runs as an unprivileged user, as PostgreSQL demands; a second process on the same
//! directory is refused; a server that an earlier kill -9 left behind is stopped first, and so is what outlived it; a
//! stale pid file is no obstacle; shutdown is clean. It listens on loopback only, with a password that stands in the
//! state directory.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, PgConnection};

use super::binaries::{self, Binaries};
use crate::clock::Entropy;
use crate::crypto::encode_hex;

const USER: &str = "lumbung";
const DATABASE: &str = "lumbung";
/// How long a start may take: recovery after a crash replays the log first.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Binaries(#[from] binaries::Error),
    #[error("another Lumbung runs on {0}; stop it, or give this one another --state-dir")]
    InUse(PathBuf),
    #[error("{0} cannot be used by the unprivileged user that PostgreSQL needs: {1}; choose another --state-dir")]
    Unreachable(PathBuf, String),
    #[error("{what} failed; its log is {log}:\n{tail}")]
    Failed {
        what: &'static str,
        log: PathBuf,
        tail: String,
    },
    #[error("{0}: {1}")]
    Io(&'static str, #[source] io::Error),
    #[error("the embedded database did not become ready: {0}")]
    Database(#[from] sqlx::Error),
}

/// A running private PostgreSQL. Dropping it stops the server the hard way; call [`Embedded::stop`].
#[derive(Debug)]
pub struct Embedded {
    child: Option<Child>,
    url: String,
    /// Held for as long as we live: the kernel frees it even after kill -9.
    _lock: fs::File,
}

impl Embedded {
    pub async fn start(state_dir: &Path, entropy: &Entropy) -> Result<Self, Error> {
        let binaries = binaries::find()?;
        let root = Home::prepare(state_dir, &binaries)?;
        let lock = root.lock()?;
        root.stop_leftover().await?;
        let password = root.password(entropy)?;
        if !root.data.join("PG_VERSION").exists() {
            root.init(&binaries, &password)?;
        }
        let port = free_port().map_err(|error| Error::Io("finding a free port", error))?;
        let child = root.spawn(&binaries, port)?;
        let mut this = Self {
            child: Some(child),
            url: url(&password, port, DATABASE),
            _lock: lock,
        };
        this.wait_ready(&url(&password, port, "postgres"), &root.log).await?;
        tracing::info!(port, dir = %state_dir.display(), "embedded PostgreSQL is ready");
        Ok(this)
    }

    /// The address of a server that another process runs on this directory, for work beside it.
    pub fn running(state_dir: &Path) -> Option<String> {
        let dir = state_dir.join("postgres");
        let lines = fs::read_to_string(dir.join("data/postmaster.pid")).ok()?;
        // Line 1 is the process, line 4 the port.
        let mut lines = lines.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        let port = lines.nth(2)?.trim().parse().ok()?;
        let password = fs::read_to_string(dir.join("password")).ok()?;
        let data = dir.join("data").canonicalize().ok()?;
        is_postgres_on(pid, &data).then(|| url(password.trim(), port, DATABASE))
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    async fn wait_ready(&mut self, admin_url: &str, log: &Path) -> Result<(), Error> {
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        let mut conn = loop {
            if let Some(child) = &mut self.child
                && child.try_wait().is_ok_and(|status| status.is_some())
            {
                return Err(failed("starting PostgreSQL", log));
            }
            match PgConnection::connect(admin_url).await {
                Ok(conn) => break conn,
                Err(error) if tokio::time::Instant::now() >= deadline => return Err(error.into()),
                Err(_) => tokio::time::sleep(POLL).await,
            }
        };
        let exists = sqlx::query_scalar::<_, bool>("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(DATABASE)
            .fetch_one(&mut conn)
            .await?;
        if !exists {
            sqlx::query("CREATE DATABASE lumbung").execute(&mut conn).await?;
        }
        conn.close().await?;
        Ok(())
    }

    /// Clean shutdown: connections are ended, everything is written, the files are consistent.
    pub async fn stop(mut self) -> Result<(), Error> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        signal(child.id(), Signal::INT);
        let stopped = async {
            while child.try_wait().is_ok_and(|status| status.is_none()) {
                tokio::time::sleep(POLL).await;
            }
        };
        if tokio::time::timeout(STOP_TIMEOUT, stopped).await.is_err() {
            tracing::warn!("embedded PostgreSQL did not stop in time and is killed; it recovers at the next start");
            let _ = child.kill();
        }
        child
            .wait()
            .map_err(|error| Error::Io("waiting for PostgreSQL to end", error))?;
        Ok(())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            signal(child.id(), Signal::INT);
            let _ = child.wait();
        }
    }
}

/// Where everything of the embedded server lies, and as whom it runs.
struct Home {
    dir: PathBuf,
    data: PathBuf,
    log: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Home {
    fn prepare(state_dir: &Path, binaries: &Binaries) -> Result<Self, Error> {
        let io = |error| Error::Io("preparing the state directory", error);
        fs::create_dir_all(state_dir).map_err(io)?;
        let state_dir = state_dir.canonicalize().map_err(io)?;
        let dir = state_dir.join("postgres");
        fs::create_dir_all(&dir).map_err(io)?;
        let owner = rustix::process::getuid()
            .is_root()
            .then(binaries::unprivileged)
            .flatten();
        if let Some((uid, gid)) = owner {
            chown(&dir, Some(uid), Some(gid)).map_err(io)?;
        }
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(io)?;
        let home = Self {
            data: dir.join("data"),
            log: dir.join("server.log"),
            dir,
            owner,
        };
        let probe = home
            .command(&binaries.postgres)
            .arg("--version")
            .stdout(Stdio::null())
            .status();
        match probe {
            Ok(status) if status.success() => Ok(home),
            Ok(status) => Err(Error::Unreachable(home.dir, status.to_string())),
            Err(error) => Err(Error::Unreachable(home.dir, error.to_string())),
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // A process group of its own: Ctrl-C on the terminal must reach us alone, who stop it last.
        command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .process_group(0)
            .env("LC_ALL", "C");
        if let Some((uid, gid)) = self.owner {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn lock(&self) -> Result<fs::File, Error> {
        let io = |error| Error::Io("locking the state directory", error);
        let file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.dir.join("lock"));
        let file = file.map_err(io)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::InUse(self.dir.clone())),
            Err(error) => Err(io(error.into())),
        }
    }

    /// We hold the lock, so a server that runs on this directory has lost its Lumbung: stop it, and then whatever of
    /// one outlived it. A busy backend does not notice that its postmaster was killed, and as long as it lives
    /// PostgreSQL refuses to start.
    async fn stop_leftover(&self) -> Result<(), Error> {
        let file = self.data.join("postmaster.pid");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let pid = text.lines().next().and_then(|line| line.trim().parse::<u32>().ok());
        match pid {
            Some(pid) if is_postgres_on(pid, &self.data) => {
                tracing::warn!(pid, "an embedded PostgreSQL was left behind; stopping it");
                signal(pid, Signal::INT);
                gone(|| !is_postgres_on(pid, &self.data)).await?;
            }
            // By now the number is somebody else's, whom PostgreSQL would take for its other self.
            Some(pid) if Path::new(&format!("/proc/{pid}")).exists() => {
                fs::remove_file(&file).map_err(|error| Error::Io("removing a stale pid file", error))?;
            }
            // PostgreSQL itself removes one whose process is gone, and looks first whether its memory is still in use.
            _ => {}
        }
        for orphan in backends_on(&self.data) {
            tracing::warn!(pid = orphan, "a PostgreSQL backend outlived its server; ending it");
            signal(orphan, Signal::QUIT);
        }
        gone(|| backends_on(&self.data).is_empty()).await
    }

    fn password(&self, entropy: &Entropy) -> Result<String, Error> {
        let file = self.dir.join("password");
        match fs::read_to_string(&file) {
            Ok(password) if !password.trim().is_empty() => Ok(password.trim().to_owned()),
            _ => {
                let password = encode_hex(&entropy.bytes::<16>());
                write_private(&file, &password).map_err(|error| Error::Io("writing the password file", error))?;
                if let Some((uid, gid)) = self.owner {
                    chown(&file, Some(uid), Some(gid))
                        .map_err(|error| Error::Io("giving away the password file", error))?;
                }
                Ok(password)
            }
        }
    }

    /// Initialises beside the final place and renames: a crash in between leaves nothing half made.
    fn init(&self, binaries: &Binaries, password: &str) -> Result<(), Error> {
        debug_assert!(!password.is_empty());
        let io = |error| Error::Io("initialising the database directory", error);
        let fresh = self.dir.join("data.new");
        if fresh.exists() {
            fs::remove_dir_all(&fresh).map_err(io)?;
        }
        let log = fs::File::create(&self.log).map_err(io)?;
        let status = self
            .command(&binaries.initdb)
            .args([
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-locale",
                "--username",
                USER,
                "--pwfile",
            ])
            .arg(self.dir.join("password"))
            .arg("--pgdata")
            .arg(&fresh)
            .stdout(log.try_clone().map_err(io)?)
            .stderr(log)
            .status()
            .map_err(io)?;
        if !status.success() {
            return Err(failed("initdb", &self.log));
        }
        fs::rename(&fresh, &self.data).map_err(io)
    }

    fn spawn(&self, binaries: &Binaries, port: u16) -> Result<Child, Error> {
        let io = |error| Error::Io("starting PostgreSQL", error);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log)
            .map_err(io)?;
        self.command(&binaries.postgres)
            .arg("-D")
            .arg(&self.data)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
                "-c",
                "max_connections=100",
            ])
            .args([
                "-c",
                &format!("port={port}"),
                "-c",
                "log_timezone=UTC",
                "-c",
                "timezone=UTC",
            ])
            .stdout(log.try_clone().map_err(io)?)
            .stderr(log)
            .spawn()
            .map_err(io)
    }
}

fn url(password: &str, port: u16, database: &str) -> String {
    format!("postgres://{USER}:{password}@127.0.0.1:{port}/{database}")
}

/// SIGINT is PostgreSQL's fast shutdown: it does not wait for clients to leave. SIGQUIT ends a backend at once.
fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

async fn gone(is_gone: impl Fn() -> bool) -> Result<(), Error> {
    let waiting = async {
        while !is_gone() {
            tokio::time::sleep(POLL).await;
        }
    };
    let timed_out = |_| {
        Error::Io(
            "stopping the PostgreSQL that was left behind",
            io::ErrorKind::TimedOut.into(),
        )
    };
    tokio::time::timeout(STOP_TIMEOUT, waiting).await.map_err(timed_out)
}

fn is_postgres_on(pid: u32, data: &Path) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        line.split(|byte| *byte == 0)
            .any(|arg| arg == data.as_os_str().as_encoded_bytes())
    })
}

/// The processes of a server on these files: all of them work there. Those that we may not look at are missing; then
/// PostgreSQL's own look at their shared memory refuses the start.
fn backends_on(data: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = |path: &Path| {
        fs::read_link(path.join("cwd")).is_ok_and(|dir| dir == data)
            && fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "postgres")
    };
    let ours = processes.filter(|entry| ours(&entry.path()));
    ours.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn free_port() -> io::Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn failed(what: &'static str, log: &Path) -> Error {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(10)..].join("\n");
    Error::Failed {
        what,
        log: log.to_owned(),
        tail,
    }
}

/// Writes a file that only its owner may read, by way of a rename.
pub fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&draft)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(draft, path)
}
