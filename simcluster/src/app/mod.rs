//! Scripted applications: what the simulated containers do.
//!
//! `script` tells it from a container's image, environment and pod; the kubelet plays it. Matching is tolerant on purpose
//! (parts of the image's repository, beginnings of variables), so that a template may pin any tag or mirror. Nothing here
//! speaks a protocol or stores a byte: of an installation it is only known whether it has a first administrator.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::dig::Dig;

/// Label or annotation that makes a bare pod a task: `setup` makes the first administrator, `verify` looks for one.
const TASK: &str = "lumbung.dev/task";
/// The service that a task pod talks to: `<service>` or `<service>.<namespace>[.svc…]`.
const TARGET: &str = "LUMBUNG_TARGET";
/// Annotation: the exit code of containers, which by this end by themselves.
const EXIT_CODE: &str = "lumbung.dev/sim-exit-code";

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
    /// It ends with exit code 1 when the database is not up.
    Exits,
}
use Database::{Apart, Exits, Itself, Waits};

impl Database {
    pub fn is_needed(self) -> bool {
        matches!(self, Waits | Exits)
    }
}

#[derive(Debug)]
pub(crate) struct App {
    /// A part of the image's repository.
    image: &'static str,
    database: Database,
    /// Beginnings of the variables that together make the first administrator; a value must match, if one is given.
    admin: &'static [(&'static str, &'static str)],
    /// What it logs when its process starts, and when it has come up.
    pub says: [&'static str; 2],
}

const N8N_OWNER: &[(&str, &str)] = &[
    ("N8N_INSTANCE_OWNER_MANAGED_BY_ENV", "true"),
    ("N8N_INSTANCE_OWNER_EMAIL", ""),
    ("N8N_INSTANCE_OWNER_PASSWORD", ""),
];
const LINKDING: &[(&str, &str)] = &[("LD_SUPERUSER_NAME", "")];
const DIRECTUS: &[(&str, &str)] = &[("ADMIN_EMAIL", "")];
const VAULTWARDEN: &[(&str, &str)] = &[("ADMIN_TOKEN", "")];
const MYSQL: [&str; 2] = ["[Note] Server started, initialising storage engine", "[Note] ready for connections"];

/// The first row whose image matches is the application; the last one stands for every other image.
static APPS: [App; 10] = [
    App {
        image: "n8n",
        database: Apart,
        admin: N8N_OWNER,
        says: ["Initializing n8n process", "Editor is now accessible"],
    },
    App {
        image: "ghost",
        database: Exits,
        admin: &[],
        says: ["INFO Ghost is running in production", "INFO Ghost booted"],
    },
    App { image: "wordpress", database: Waits, admin: &[], says: ["apache2 -D FOREGROUND", "ready to serve"] },
    App { image: "linkding", database: Apart, admin: LINKDING, says: ["linkding started", "ready to serve"] },
    App { image: "vaultwarden", database: Apart, admin: VAULTWARDEN, says: ["Rocket started", "ready to serve"] },
    App { image: "directus", database: Apart, admin: DIRECTUS, says: ["directus started", "ready to serve"] },
    App { image: "mysql", database: Itself, admin: &[], says: MYSQL },
    App { image: "mariadb", database: Itself, admin: &[], says: MYSQL },
    App { image: "percona", database: Itself, admin: &[], says: MYSQL },
    App { image: "", database: Apart, admin: &[], says: ["process started", "ready to serve"] },
];
/// `wordpress:cli…`: installs the site and makes its administrator.
static INSTALLER: App = App { image: "wordpress", database: Exits, admin: &[], says: ["installing", "installed"] };

/// What a container does once it runs.
#[derive(Debug)]
pub(crate) struct Script {
    pub app: &'static App,
    pub database: Database,
    /// Whether it makes the first administrator when it has come up, or has succeeded.
    pub makes_admin: bool,
    pub does: Does,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Serve,
    /// Ends by itself with this exit code.
    End(i32),
    /// Talks to a target, as given in its environment, when that is ready.
    Setup(String),
    Verify(String),
}

/// The script of one container. `env` is the environment after references were resolved.
pub(crate) fn script(pod: &Value, image: &str, role: Role, env: &BTreeMap<String, String>) -> Script {
    let app = app(image);
    let script = |does| Script { app, database: Apart, makes_admin: false, does };
    let marks = ["metadata.labels", "metadata.annotations"].map(|place| pod.at(place)[TASK].as_str());
    let target = || env.get(TARGET).cloned().unwrap_or_default();
    match marks[0].or(marks[1]) {
        Some("setup") => return script(Does::Setup(target())),
        Some("verify") => return script(Does::Verify(target())),
        _ => {}
    }
    let code = pod.at("metadata.annotations")[EXIT_CODE].as_str().map(|code| code.parse().unwrap_or(0));
    let ends = code.is_some() || matches!(pod.text("spec.restartPolicy"), "Never" | "OnFailure");
    if app.image == "wordpress" && image.contains(":cli") && role != Role::Sidecar {
        return Script { app: &INSTALLER, database: Exits, makes_admin: true, does: Does::End(0) };
    }
    if role == Role::Init || role == Role::Main && ends {
        return script(Does::End(code.unwrap_or(0)));
    }
    let sqlite = env.get("database__client").is_some_and(|client| client.starts_with("sqlite"));
    let given = |(start, value): &(&str, &str)| {
        let mut found = env.iter().filter(|(name, given)| name.starts_with(start) && !given.is_empty());
        found.any(|(_, given)| value.is_empty() || given.eq_ignore_ascii_case(value))
    };
    Script {
        app,
        database: if sqlite { Apart } else { app.database },
        makes_admin: !app.admin.is_empty() && app.admin.iter().all(given),
        does: Does::Serve,
    }
}

/// Whether the image is one of the databases that applications wait for.
pub(crate) fn is_database(image: &str) -> bool {
    app(image).database == Itself
}

/// Namespace and service of a target; a scheme, port and path are ignored.
pub(crate) fn service_of(target: &str, own_namespace: &str) -> Option<(String, String)> {
    let host = target.rsplit("://").next()?.split(['/', ':']).next()?;
    let mut labels = host.split('.').filter(|label| !label.is_empty());
    let service = labels.next()?.to_owned();
    Some((labels.next().unwrap_or(own_namespace).to_owned(), service))
}

fn app(image: &str) -> &'static App {
    // `docker.n8n.io/n8nio/n8n:1.2@sha256:…` → `docker.n8n.io/n8nio/n8n`; the colon of a registry's port stays.
    let named = image.split('@').next().unwrap_or(image);
    let repository = match named.rsplit_once(':') {
        Some((before, tag)) if !tag.contains('/') => before,
        _ => named,
    };
    let repository = repository.to_lowercase();
    APPS.iter().find(|app| repository.contains(app.image)).unwrap_or(&INSTALLER)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_and_variables_tell_the_application() {
        let owner =
            "N8N_INSTANCE_OWNER_MANAGED_BY_ENV=true N8N_INSTANCE_OWNER_EMAIL=a@b N8N_INSTANCE_OWNER_PASSWORD_HASH=x";
        for (image, role, variables, database, makes_admin, does) in [
            ("docker.n8n.io/n8nio/n8n:1.2@sha256:ab", Role::Main, owner, Apart, true, Does::Serve),
            ("n8nio/n8n", Role::Main, &owner.replace("true", "false"), Apart, false, Does::Serve),
            ("n8nio/n8n", Role::Main, &owner.replace("_HASH=x", "="), Apart, false, Does::Serve),
            ("localhost:5000/Ghost", Role::Main, "", Exits, false, Does::Serve),
            ("ghost:6", Role::Main, "database__client=sqlite3", Apart, false, Does::Serve),
            ("wordpress:cli-php8.3", Role::Init, "", Exits, true, Does::End(0)),
            ("wordpress:6", Role::Main, "", Waits, false, Does::Serve),
            ("docker.io/library/mariadb:11", Role::Sidecar, "", Itself, false, Does::Serve),
            ("nginx:mysql", Role::Main, "LD_SUPERUSER_NAME=x", Apart, false, Does::Serve),
            ("busybox", Role::Init, "", Apart, false, Does::End(0)),
        ] {
            let variables = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
            let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let script = script(&json!({"spec": {}}), image, role, &env);
            assert_eq!((script.database, script.makes_admin, script.does), (database, makes_admin, does), "{image}");
        }
        let pod = json!({"metadata": {"annotations": {EXIT_CODE: "7"}}, "spec": {"restartPolicy": "Never"}});
        assert_eq!(script(&pod, "nginx", Role::Main, &BTreeMap::new()).does, Does::End(7));
    }

    #[test]
    fn targets_are_read_as_namespace_and_service() {
        let read = |target| service_of(target, "own").map(|(ns, service)| format!("{ns}/{service}"));
        assert_eq!(read("blog").as_deref(), Some("own/blog"));
        assert_eq!(read("http://blog.c1.svc.cluster.local:2368/ghost").as_deref(), Some("c1/blog"));
        assert_eq!(read(""), None);
    }
}
