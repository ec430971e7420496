//! Settings of `lumbung serve`: a flag and an environment variable each, validated before anything starts.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::telemetry::LogFormat;

pub const DEFAULT_LOG: &str = "info,sqlx=warn,kube_client=warn";

/// Where and how it logs; every command has these.
#[derive(Args, Clone, Debug)]
pub struct Logging {
    /// What is logged, e.g. `info`, `lumbung=debug,sqlx=warn`.
    #[arg(
        long,
        env = "LUMBUNG_LOG",
        default_value = "info,sqlx=warn,kube_client=warn",
        global = true
    )]
    pub log: String,
    /// How it is logged: pretty on a terminal and JSON elsewhere, unless told.
    #[arg(long, env = "LUMBUNG_LOG_FORMAT", value_enum, default_value_t, global = true)]
    pub log_format: LogFormat,
}

/// Which database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Database")]
pub struct Database {
    /// A PostgreSQL 14 or newer of your own. Without it a private one runs in the state directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Where the private database and the generated keys live.
    #[arg(long, env = "LUMBUNG_STATE_DIR")]
    pub state_dir: Option<PathBuf>,
    /// Connections at most, per replica.
    #[arg(long, env = "LUMBUNG_DATABASE_CONNECTIONS", default_value_t = 16, value_parser = clap::value_parser!(u32).range(4..=200))]
    pub database_connections: u32,
}

impl Database {
    /// The given directory, or the conventional one: root's is where an unprivileged PostgreSQL can get to.
    pub fn state_dir(&self) -> PathBuf {
        if let Some(dir) = &self.state_dir {
            return dir.clone();
        }
        if rustix::process::getuid().is_root() {
            return PathBuf::from("/var/lib/lumbung");
        }
        // Without a home the present directory: never a shared one, where somebody else may have put the keys.
        let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| ".".into())).join(".local/state");
        std::env::var_os("XDG_STATE_HOME")
            .map_or_else(home, PathBuf::from)
            .join("lumbung")
    }
}

/// The keys. Required with `DATABASE_URL`; generated in the state directory beside the private database.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Keys")]
pub struct Keys {
    /// File with the Ed25519 private keys (PKCS#8 PEM) that sign access tokens; the last one signs, all verify.
    #[arg(long, env = "LUMBUNG_SIGNING_KEY_FILE")]
    pub signing_key_file: Option<PathBuf>,
    /// File with the master keys that seal customers' secrets: one `version:64 hex digits` a line; the newest seals.
    #[arg(long, env = "LUMBUNG_ENCRYPTION_KEY_FILE")]
    pub encryption_key_file: Option<PathBuf>,
}

/// The API's outside.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HTTP")]
pub struct Http {
    /// Address that the API listens on.
    #[arg(long, env = "LUMBUNG_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// The API's public address; also the issuer of its tokens.
    #[arg(long, env = "LUMBUNG_PUBLIC_URL", default_value = "http://localhost:8080", value_parser = url)]
    pub public_url: String,
    /// Origins of the portal and the dashboard: allowed by CORS and for live connections.
    #[arg(long, env = "LUMBUNG_ALLOWED_ORIGINS", value_delimiter = ',', value_parser = url)]
    pub allowed_origins: Vec<String>,
    /// Proxies whose X-Forwarded-For is believed, as addresses or networks (`10.42.0.0/16`).
    #[arg(long, env = "LUMBUNG_TRUSTED_PROXIES", value_delimiter = ',')]
    pub trusted_proxies: Vec<crate::http::limit::peer::Network>,
    /// Requests a minute that one account (or, without one, one address) may make.
    #[arg(long, env = "LUMBUNG_RATE_LIMIT", default_value_t = 600, value_parser = clap::value_parser!(u32).range(1..))]
    pub rate_limit: u32,
    /// Log-in and registration attempts a minute, per address and per e-mail address.
    #[arg(long, env = "LUMBUNG_AUTH_RATE_LIMIT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    pub auth_rate_limit: u32,
}

/// The cluster, and how services are put on it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Cluster")]
pub struct Cluster {
    /// A kubeconfig file; inside a cluster the pod's service account is used without it.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Run on a simulated K3s instead: three unequal nodes, no containers.
    #[arg(long, env = "LUMBUNG_SIMULATE", conflicts_with = "kubeconfig")]
    pub simulate: bool,
    /// Services get `<customer>.<service>.<base domain>`; a wildcard record must point at the ingress.
    #[arg(long, env = "LUMBUNG_BASE_DOMAIN", default_value = "apps.localhost", value_parser = domain)]
    pub base_domain: String,
    #[arg(long, env = "LUMBUNG_INGRESS_CLASS", default_value = "traefik")]
    pub ingress_class: String,
    /// cert-manager ClusterIssuer; without one the ingress controller's default (wildcard) certificate serves.
    #[arg(long, env = "LUMBUNG_CLUSTER_ISSUER")]
    pub cluster_issuer: Option<String>,
    /// Namespace of the ingress controller's pods.
    #[arg(long, env = "LUMBUNG_INGRESS_NAMESPACE", default_value = "kube-system")]
    pub ingress_namespace: String,
    /// Label of the ingress controller's pods, as `key=value`.
    #[arg(long, env = "LUMBUNG_INGRESS_POD_LABEL", default_value = "app.kubernetes.io/name=traefik", value_parser = label)]
    pub ingress_pod_label: (String, String),
    /// Address of the ingress inside the cluster: services reach their own public host there.
    #[arg(long, env = "LUMBUNG_INGRESS_ADDRESS")]
    pub ingress_address: Option<std::net::IpAddr>,
    #[arg(long, env = "LUMBUNG_STORAGE_CLASS", default_value = "local-path")]
    pub storage_class: String,
    /// Volumes of this class can follow a pod to another node (Longhorn, Ceph; not local-path).
    #[arg(long, env = "LUMBUNG_VOLUMES_MOVABLE")]
    pub volumes_movable: bool,
}

/// How much is sold on the nodes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Capacity")]
pub struct Capacity {
    /// Limits sold per unit of CPU request: 4 means that a 1-CPU limit requests 250m at least.
    #[arg(long, env = "LUMBUNG_CPU_OVERSUBSCRIPTION", default_value_t = 4.0)]
    pub cpu_oversubscription: f64,
    /// The same for memory. Memory cannot be squeezed: above 2 a node may run out.
    #[arg(long, env = "LUMBUNG_MEMORY_OVERSUBSCRIPTION", default_value_t = 2.0)]
    pub memory_oversubscription: f64,
    /// What orders may not fill, kept for failover: a part of the cluster (0 to 0.9), or `n_plus_one`, as much as the
    /// loss of any one node takes.
    #[arg(long, env = "LUMBUNG_RESERVE", default_value = "0.3")]
    pub reserve: Reserve,
}

/// What is kept free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reserve {
    Fraction(f64),
    NPlusOne,
}

impl std::str::FromStr for Reserve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "n_plus_one" {
            return Ok(Self::NPlusOne);
        }
        let fraction = text
            .parse()
            .map_err(|_| "must be a fraction or n_plus_one".to_owned())?;
        Ok(Self::Fraction(fraction))
    }
}

/// Commercial terms.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Terms")]
pub struct Terms {
    /// Days that one paid period lasts.
    #[arg(long, env = "LUMBUNG_PERIOD_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub period_days: u32,
    /// Days that an expired subscription's data is kept.
    #[arg(long, env = "LUMBUNG_GRACE_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=366))]
    pub grace_days: u32,
    /// Minutes that an unpaid order holds its capacity.
    #[arg(long, env = "LUMBUNG_HOLD_MINUTES", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10080))]
    pub hold_minutes: u32,
    /// Minutes after payment in which a service must have become ready, or the order is credited.
    #[arg(long, env = "LUMBUNG_READY_MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=10080))]
    pub ready_minutes: u32,
    /// The bank account that customers transfer to, as they shall read it: bank, number, holder.
    #[arg(
        long,
        env = "LUMBUNG_BANK_ACCOUNT",
        default_value = "the account on your order confirmation"
    )]
    pub bank_account: String,
    /// Services whose licence restricts hosted resale and which you are entitled to sell, by slug.
    #[arg(long, env = "LUMBUNG_ACCEPT_LICENCES", value_delimiter = ',')]
    pub accept_licences: Vec<String>,
    /// A directory with templates of your own, beside the built-in ones.
    #[arg(long, env = "LUMBUNG_TEMPLATES")]
    pub templates: Option<PathBuf>,
}

/// Everything `serve` needs.
#[derive(Args, Clone, Debug)]
pub struct Serve {
    #[command(flatten)]
    pub database: Database,
    #[command(flatten)]
    pub keys: Keys,
    #[command(flatten)]
    pub http: Http,
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub capacity: Capacity,
    #[command(flatten)]
    pub terms: Terms,
}

impl Serve {
    /// Rules that concern more than one setting, or that clap cannot say.
    pub fn validate(&self) -> Result<(), String> {
        let c = &self.capacity;
        let reserve = match c.reserve {
            Reserve::Fraction(fraction) => fraction,
            Reserve::NPlusOne => 0.0,
        };
        for (flag, value, low, high) in [
            ("--cpu-oversubscription", c.cpu_oversubscription, 1.0, 20.0),
            ("--memory-oversubscription", c.memory_oversubscription, 1.0, 4.0),
            ("--reserve", reserve, 0.0, 0.9),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("{flag} must be between {low} and {high}, not {value}"));
            }
        }
        let k = &self.keys;
        if self.database.database_url.is_some() && (k.signing_key_file.is_none() || k.encryption_key_file.is_none()) {
            return Err(
                "with DATABASE_URL both --signing-key-file and --encryption-key-file are needed: keys made on \
                        the spot would be lost with this machine, and customers' credentials with them \
                        (`lumbung admin keys` makes a pair)"
                    .into(),
            );
        }
        Ok(())
    }
}

pub fn minutes(n: u32) -> Duration {
    Duration::from_secs(u64::from(n) * 60)
}

pub fn days(n: u32) -> Duration {
    minutes(n * 24 * 60)
}

/// A ratio as parts per million: decisions are made with whole numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "validated to lie between 0 and 100"
)]
pub fn ppm(ratio: f64) -> u64 {
    (ratio * 1_000_000.0).round() as u64
}

fn url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match rest {
        Some(host) if !host.is_empty() && !host.contains(['/', '?', '#', ' ']) => Ok(text.to_owned()),
        _ => Err("must be http:// or https:// and a host, without a path".into()),
    }
}

fn domain(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    // Customer handle and service slug come before it, and a host name has 253 characters.
    if text.len() <= 180 && text.split('.').all(label) {
        Ok(text.to_owned())
    } else {
        Err("must be a DNS name in lower case".into())
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be key=value")?;
    Ok((key.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        serve: Serve,
    }

    fn parse(args: &[&str]) -> Result<Serve, String> {
        use clap::Parser;
        let command = Command::try_parse_from([&["lumbung"], args].concat()).map_err(|error| error.to_string())?;
        command.serve.validate().map(|()| command.serve)
    }

    #[test]
    fn bad_settings_are_named() {
        for (args, says) in [
            (&["--reserve", "0.95"][..], "--reserve must be between"),
            (&["--reserve", "nan"], "--reserve must be between"),
            (&["--reserve", "some"], "must be a fraction or n_plus_one"),
            (&["--cpu-oversubscription", "0.5"], "--cpu-oversubscription"),
            (&["--base-domain", "Apps.Example"], "--base-domain"),
            (&["--public-url", "localhost"], "--public-url"),
            (&["--listen", "8080"], "--listen"),
            (&["--database-url", "postgres://x/y"], "--signing-key-file"),
            (&["--simulate", "--kubeconfig", "x"], "cannot be used with"),
            (&["--ready-minutes", "0"], "--ready-minutes"),
        ] {
            let error = parse(args).expect_err(says);
            assert!(error.contains(says), "{args:?}: {error}");
        }
        assert!(parse(&[]).is_ok());
    }

    #[test]
    fn the_reserve_is_a_fraction_or_enough_for_one_node() {
        let reserve = |args: &[&str]| parse(args).map(|serve| serve.capacity.reserve);
        assert_eq!(reserve(&[]), Ok(Reserve::Fraction(0.3)));
        assert_eq!(reserve(&["--reserve", "0"]), Ok(Reserve::Fraction(0.0)));
        assert_eq!(reserve(&["--reserve", "n_plus_one"]), Ok(Reserve::NPlusOne));
    }

    #[test]
    fn ratios_become_whole_numbers() {
        assert_eq!(ppm(0.3), 300_000);
        assert_eq!(ppm(4.0), 4_000_000);
    }
}
