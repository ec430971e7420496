//! Scripted applications: what the simulated containers do.
//!
//! `script` tells a container's script from its image, environment, role and pod; the kubelet plays it. Matching is
//! tolerant on purpose (parts of the image's repository name, presence of variables), so that a template may pin any
//! tag or mirror. What an application has stored lives in `volumes`, per claim, and outlives pods and nodes as data on
//! a disk does. A container without a script of its own serves for ever and is ready at once; an ordinary init
//! container, and the containers of a pod that is not to be restarted, end with exit code 0. The annotation
//! `lumbung.dev/sim-exit-code` on a pod makes such a container end with another code.
//!
//! Nothing here speaks a protocol: no HTTP is answered, no byte is stored.

mod lines;
mod task;
mod volumes;

use std::collections::BTreeMap;

use serde_json::Value;

pub use lines::{started, stopped, up};
pub use task::{Task, TaskKind};
pub use volumes::Volumes;

/// Label or annotation that makes a bare pod a setup or verify task.
pub const TASK: &str = "lumbung.dev/task";
/// The service that a task pod talks to: `<service>` or `<service>.<namespace>[.svc…]`.
pub const TASK_TARGET: &str = "LUMBUNG_TARGET";
/// Annotation: the exit code of a container that ends by itself.
pub const EXIT_CODE: &str = "lumbung.dev/sim-exit-code";

/// Images of the databases that an application waits for in its own pod.
const DATABASES: &[&str] = &["mysql", "mariadb", "percona"];

/// What part a container has in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs to completion before the next one starts.
    Init,
    /// An init container with `restartPolicy: Always`.
    Sidecar,
    Main,
}

/// What a container does once it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Script {
    Server(Server),
    Job(Job),
    Task(Task),
}

/// A process that runs until it is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Server {
    /// A short name, used in log lines.
    pub app: &'static str,
    /// Whether a database container of the same pod must be up for this one to be ready.
    pub needs_database: bool,
    /// Without that database the process ends with exit code 1 instead of waiting for it.
    pub exits_without_database: bool,
    /// The first administrator that its environment creates on the first run.
    pub owner: Option<String>,
}

/// A process that ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Job {
    pub exit_code: i32,
    /// Fails with exit code 1 when no database container of the same pod is up.
    pub needs_database: bool,
    /// The first administrator that the job creates when it succeeds.
    pub owner: Option<String>,
}

/// The script of one container. `env` is the environment after references were resolved.
pub fn script(pod: &Value, image: &str, role: Role, env: &BTreeMap<String, String>) -> Script {
    if let Some(task) = task::of_pod(pod, env) {
        return Script::Task(task);
    }
    let repository = repository(image);
    let tag_is_cli = image.rsplit_once(':').is_some_and(|(_, tag)| tag.starts_with("cli"));
    if repository.contains("wordpress") && tag_is_cli && role != Role::Sidecar {
        let owner = email(env, &["ADMIN", "OWNER", "USER", ""]).unwrap_or_else(|| "admin".to_owned());
        return Script::Job(Job { needs_database: true, owner: Some(owner), ..Job::default() });
    }
    if role == Role::Init || role == Role::Main && ends_by_itself(pod) {
        return Script::Job(Job { exit_code: exit_code(pod), ..Job::default() });
    }
    Script::Server(server(&repository, env))
}

/// Whether the image is one of the databases that applications wait for.
pub fn is_database(image: &str) -> bool {
    let repository = repository(image);
    DATABASES.iter().any(|name| repository.contains(name))
}

fn server(repository: &str, env: &BTreeMap<String, String>) -> Server {
    let has = |part: &str| repository.contains(part);
    if has("n8n") {
        let managed = env.get("N8N_INSTANCE_OWNER_MANAGED_BY_ENV").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let complete = env.keys().any(|k| k.starts_with("N8N_INSTANCE_OWNER_PASSWORD"));
        let owner = email(env, &["N8N_INSTANCE_OWNER"]).filter(|_| managed && complete);
        Server { app: "n8n", owner, ..Server::default() }
    } else if has("ghost") {
        let sqlite = env.get("database__client").is_some_and(|client| client.starts_with("sqlite"));
        Server { app: "ghost", needs_database: !sqlite, exits_without_database: !sqlite, owner: None }
    } else if has("wordpress") {
        Server { app: "wordpress", needs_database: true, ..Server::default() }
    } else if has("linkding") {
        Server { app: "linkding", owner: value(env, "LD_SUPERUSER_NAME"), ..Server::default() }
    } else if has("vaultwarden") {
        let owner = env.contains_key("ADMIN_TOKEN").then(|| "admin token".to_owned());
        Server { app: "vaultwarden", owner, ..Server::default() }
    } else if has("directus") {
        Server { app: "directus", owner: value(env, "ADMIN_EMAIL"), ..Server::default() }
    } else if DATABASES.iter().any(|name| has(name)) {
        Server { app: "database", ..Server::default() }
    } else {
        Server { app: "process", ..Server::default() }
    }
}

fn value(env: &BTreeMap<String, String>, name: &str) -> Option<String> {
    env.get(name).filter(|v| !v.is_empty()).cloned()
}

/// The value of the first variable that names an e-mail address of one of these subjects, in order.
fn email(env: &BTreeMap<String, String>, subjects: &[&str]) -> Option<String> {
    subjects.iter().find_map(|subject| {
        let named = |name: &str| name.contains("EMAIL") && name.contains(subject);
        let mut found = env.iter().filter(|(name, v)| named(&name.to_uppercase()) && !v.is_empty());
        // Templates hand some of them over as JSON, quotes and all.
        found.next().map(|(_, v)| v.trim_matches('"').to_owned())
    })
}

fn ends_by_itself(pod: &Value) -> bool {
    let policy = pod["spec"]["restartPolicy"].as_str().unwrap_or("Always");
    policy != "Always" || !pod["metadata"]["annotations"][EXIT_CODE].is_null()
}

fn exit_code(pod: &Value) -> i32 {
    pod["metadata"]["annotations"][EXIT_CODE].as_str().and_then(|code| code.parse().ok()).unwrap_or(0)
}

/// `docker.n8n.io/n8nio/n8n:1.2@sha256:…` → `docker.n8n.io/n8nio/n8n`.
fn repository(image: &str) -> String {
    let without_digest = image.split('@').next().unwrap_or(image);
    let end = match (without_digest.rfind(':'), without_digest.rfind('/')) {
        (Some(colon), Some(slash)) if colon < slash => without_digest.len(),
        (Some(colon), _) => colon,
        (None, _) => without_digest.len(),
    };
    without_digest[..end].to_lowercase()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn images_are_recognised_by_their_repository() {
        assert_eq!(repository("docker.n8n.io/n8nio/n8n:1.2@sha256:ab"), "docker.n8n.io/n8nio/n8n");
        assert_eq!(repository("localhost:5000/Ghost"), "localhost:5000/ghost");
        assert_eq!(repository("mysql:8.4"), "mysql");
        assert!(is_database("docker.io/library/mariadb:11"));
        assert!(!is_database("nginx:mysql"));
    }

    #[test]
    fn n8n_has_an_owner_only_with_the_flag_and_a_password() {
        let pod = json!({"spec": {}});
        let mut vars = env(&[
            ("N8N_INSTANCE_OWNER_MANAGED_BY_ENV", "true"),
            ("N8N_INSTANCE_OWNER_EMAIL", "a@b.test"),
            ("N8N_INSTANCE_OWNER_PASSWORD_HASH", "$2b$"),
        ]);
        let owner = |vars: &_| match script(&pod, "n8nio/n8n:1", Role::Main, vars) {
            Script::Server(server) => server.owner,
            other => panic!("not a server: {other:?}"),
        };
        assert_eq!(owner(&vars).as_deref(), Some("a@b.test"));
        vars.insert("N8N_INSTANCE_OWNER_MANAGED_BY_ENV".into(), "false".into());
        assert_eq!(owner(&vars), None);
    }

    #[test]
    fn the_wordpress_command_line_image_is_the_installer() {
        let vars = env(&[("WORDPRESS_ADMIN_EMAIL", "me@x.test")]);
        let pod = json!({"spec": {}});
        let expected = Job { exit_code: 0, needs_database: true, owner: Some("me@x.test".into()) };
        assert_eq!(script(&pod, "wordpress:cli-php8.3", Role::Init, &vars), Script::Job(expected));
        assert!(matches!(script(&pod, "wordpress:6", Role::Main, &vars), Script::Server(s) if s.needs_database));
    }

    #[test]
    fn a_pod_that_is_not_restarted_ends() {
        let pod = json!({"metadata": {"annotations": {EXIT_CODE: "7"}}, "spec": {"restartPolicy": "Never"}});
        let expected = Script::Job(Job { exit_code: 7, ..Job::default() });
        assert_eq!(script(&pod, "nginx", Role::Main, &BTreeMap::new()), expected);
    }
}
