//! Scripted applications: what the simulated containers do.
//!
//! `script` tells it from a container's image, environment and pod; the kubelet plays it. Matching is tolerant on purpose
//! (parts of the image's repository, beginnings of variables), so that a template may pin any tag or mirror. Nothing here
//! speaks a protocol or stores a byte: of an installation it is only known whether it has a first administrator.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dig::Dig;

/// Label that makes a bare pod a task: `setup` makes the first administrator, `verify` looks for one.
const TASK: &str = "lumbung.dev/task";
/// The service that a task pod talks to: `[scheme://]<service>[.<namespace>…][:port]`.
const TARGET: &str = "LUMBUNG_TARGET";

/// What part a container has in its pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    #[default]
    Main,
}

/// What an application has to do with a database container in its own pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Database {
    Apart,
    /// It is one.
    Itself,
    /// It is ready only while the database is up.
    Waits,
    /// As `Waits`; and it ends with exit code 1 when the database is not up at its start.
    Exits,
}
use Database::{Apart, Exits, Itself, Waits};

/// A part of the image's repository; the database; the beginnings of the variables (of some the value, too) that together
/// make the first administrator.
const APPS: [(&str, Database, &str); 7] = [
    ("n8n", Apart, "N8N_INSTANCE_OWNER_MANAGED_BY_ENV=true N8N_INSTANCE_OWNER_EMAIL N8N_INSTANCE_OWNER_PASSWORD"),
    ("ghost", Exits, ""),
    ("wordpress", Waits, ""),
    ("linkding", Apart, "LD_SUPERUSER_NAME"),
    ("vaultwarden", Apart, "ADMIN_TOKEN"),
    ("mysql", Itself, ""),
    ("mariadb", Itself, ""),
];

/// What a container does once it runs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub database: Database,
    /// Whether it makes the first administrator when it has come up, or has succeeded.
    pub makes_admin: bool,
    pub does: Does,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Serve,
    /// Ends well by itself.
    End,
    /// Talks to a target, as given in its environment, when that is ready.
    Setup(String),
    Verify(String),
}

/// The script of one container. `env` is the environment after references were resolved.
pub(crate) fn script(pod: &Value, image: &str, role: Role, env: &BTreeMap<String, String>) -> Script {
    let target = env.get(TARGET).cloned().unwrap_or_default();
    let ends = role == Role::Main && matches!(pod.text("spec.restartPolicy"), "Never" | "OnFailure");
    let (name, database, admin) = app(image);
    let (database, makes_admin, does) = match pod.at("metadata.labels")[TASK].as_str() {
        Some("setup") => (Apart, false, Does::Setup(target)),
        Some("verify") => (Apart, false, Does::Verify(target)),
        // The command line's image installs the site and makes its administrator.
        _ if name == "wordpress" && image.contains(":cli") => (Exits, true, Does::End),
        _ if ends || role == Role::Init => (Apart, false, Does::End),
        _ => {
            let given = |variable: &str| {
                let (start, wanted) = variable.split_once('=').unwrap_or((variable, ""));
                let mut found = env.iter().filter(|(name, value)| name.starts_with(start) && !value.is_empty());
                found.any(|(_, value)| wanted.is_empty() || value.eq_ignore_ascii_case(wanted))
            };
            (database, !admin.is_empty() && admin.split(' ').all(given), Does::Serve)
        }
    };
    Script { database, makes_admin, does }
}

/// Whether the image is one of the databases that applications wait for.
pub(crate) fn is_database(image: &str) -> bool {
    app(image).1 == Itself
}

/// Namespace and service of a target.
pub(crate) fn service_of(target: &str, own_namespace: &str) -> (String, String) {
    let host = target.rsplit("://").next().unwrap_or_default().split([':', '/']).next().unwrap_or_default();
    let mut labels = host.split('.');
    let service = labels.next().unwrap_or_default().to_owned();
    (labels.next().unwrap_or(own_namespace).to_owned(), service)
}

fn app(image: &str) -> (&'static str, Database, &'static str) {
    // `docker.n8n.io/n8nio/n8n:1.2@sha256:…` → `docker.n8n.io/n8nio/n8n`; the colon of a registry's port stays.
    let named = image.split('@').next().unwrap_or(image);
    let tagged = named.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
    let repository = tagged.map_or(named, |(repository, _)| repository);
    APPS.into_iter().find(|app| repository.contains(app.0)).unwrap_or(("", Apart, ""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_and_variables_tell_the_application() {
        let owner =
            "N8N_INSTANCE_OWNER_MANAGED_BY_ENV=true N8N_INSTANCE_OWNER_EMAIL=a N8N_INSTANCE_OWNER_PASSWORD_HASH=x";
        for (image, role, variables, database, makes_admin, does) in [
            ("docker.n8n.io/n8nio/n8n:1.2@sha256:ab", Role::Main, owner, Apart, true, Does::Serve),
            ("n8nio/n8n", Role::Main, &owner.replace("true", "false"), Apart, false, Does::Serve),
            ("n8nio/n8n", Role::Main, &owner.replace("_HASH=x", "="), Apart, false, Does::Serve),
            ("localhost:5000/ghost", Role::Main, "", Exits, false, Does::Serve),
            ("wordpress:cli-php8.3", Role::Init, "", Exits, true, Does::End),
            ("docker.io/library/mariadb:11", Role::Sidecar, "", Itself, false, Does::Serve),
            ("nginx:mysql", Role::Main, "LD_SUPERUSER_NAME=x", Apart, false, Does::Serve),
            ("busybox", Role::Init, "", Apart, false, Does::End),
        ] {
            let variables = variables.split(' ').filter_map(|pair| pair.split_once('='));
            let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let expected = Script { database, makes_admin, does };
            assert_eq!(script(&json!({"spec": {}}), image, role, &env), expected, "{image}");
        }
        for (target, ns) in [("blog", "own"), ("http://blog.c1.svc.cluster.local:2368/ghost", "c1")] {
            assert_eq!(service_of(target, "own"), (ns.to_owned(), "blog".to_owned()));
        }
    }
}
