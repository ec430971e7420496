//! The real binary as a process of its own: for kills, signals, and what a terminal sees.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where `make test` has built it, beside the test binaries.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("this test has a path");
    let path = test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("lumbung");
    assert!(path.is_file(), "{} is missing: run the tests by `make test`, which builds it", path.display());
    path
}

/// A process that is killed with its test.
#[derive(Debug)]
pub struct Process(pub Child);

impl Process {
    pub fn spawn(configure: impl FnOnce(&mut Command)) -> Self {
        let mut command = Command::new(binary());
        command.env_remove("DATABASE_URL").env_remove("KUBECONFIG").stdin(Stdio::null());
        configure(&mut command);
        Self(command.spawn().expect("the binary starts"))
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
