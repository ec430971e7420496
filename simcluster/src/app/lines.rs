//! A few plausible log lines, so that a log viewer has something to show.

use super::{Script, TaskKind};

/// Written when the process starts.
pub fn started(script: &Script, image: &str) -> Vec<String> {
    match script {
        Script::Server(server) => match server.app {
            "n8n" => vec!["Initializing n8n process".into(), "n8n ready on ::, port 5678".into()],
            "ghost" => vec!["INFO Ghost is running in production...".into(), "INFO Listening on: 0.0.0.0:2368".into()],
            "wordpress" => vec!["AH00094: Command line: 'apache2 -D FOREGROUND'".into()],
            "database" => vec!["[Note] Server started, initialising storage engine".into()],
            app => vec![format!("{app} started from {image}")],
        },
        Script::Job(_) => vec![format!("running {image}")],
        Script::Task(task) => match task.kind {
            TaskKind::Setup => vec![format!("setting up {}", task.target)],
            TaskKind::Verify => vec![format!("verifying {}", task.target)],
        },
    }
}

/// Written when a server first answers its probes.
pub fn up(script: &Script) -> String {
    match script {
        Script::Server(server) => match server.app {
            "n8n" => "Editor is now accessible".into(),
            "ghost" => "INFO Ghost booted".into(),
            "database" => "[Note] ready for connections".into(),
            app => format!("{app} is ready to serve"),
        },
        Script::Job(_) | Script::Task(_) => "done".into(),
    }
}

/// Written when the process is told to stop.
pub fn stopped() -> String {
    "received SIGTERM, shutting down".into()
}
