//! How the first administrator account comes to be, so that no stranger can claim the installation.
//!
//! The route of an instance opens only after `verify` has succeeded: a short-lived pod that logs in as the customer
//! will, against the service inside the cluster (`LUMBUNG_TARGET`). Strategies differ only in who makes the account.

use serde::{Deserialize, Serialize};

use super::{EnvMap, Image, Mount};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FirstAdmin {
    /// The application makes it from its ordinary environment and never touches it again.
    Env(EnvAdmin),
    /// The application makes it from the environment and would reset it at every start: the variables are withdrawn
    /// once the account is verified, which costs one restart.
    EnvOnce(EnvOnceAdmin),
    /// Init containers behind the database sidecar make it, idempotently.
    Init(InitAdmin),
    /// A short-lived pod calls the application's own setup endpoint.
    SetupPod(SetupPodAdmin),
    /// None of these: not orderable.
    None(NoAdmin),
}

impl FirstAdmin {
    pub fn account(&self) -> Option<&Account> {
        match self {
            Self::Env(EnvAdmin { account, .. })
            | Self::EnvOnce(EnvOnceAdmin { account, .. })
            | Self::Init(InitAdmin { account, .. })
            | Self::SetupPod(SetupPodAdmin { account, .. }) => Some(account),
            Self::None(_) => None,
        }
    }

    pub fn verify(&self) -> Option<&Task> {
        match self {
            Self::Env(EnvAdmin { verify, .. })
            | Self::EnvOnce(EnvOnceAdmin { verify, .. })
            | Self::Init(InitAdmin { verify, .. })
            | Self::SetupPod(SetupPodAdmin { verify, .. }) => Some(verify),
            Self::None(_) => None,
        }
    }

    pub fn setup(&self) -> Option<&Task> {
        match self {
            Self::SetupPod(admin) => Some(&admin.setup),
            Self::Env(_) | Self::EnvOnce(_) | Self::Init(_) | Self::None(_) => None,
        }
    }

    pub fn init_steps(&self) -> &[InitStep] {
        match self {
            Self::Init(admin) => &admin.steps,
            Self::Env(_) | Self::EnvOnce(_) | Self::SetupPod(_) | Self::None(_) => &[],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvAdmin {
    pub account: Account,
    pub verify: Task,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvOnceAdmin {
    pub component: String,
    /// Added to the component's environment until the account is verified.
    pub before: EnvMap,
    /// Added instead from then on.
    #[serde(default)]
    pub after: EnvMap,
    pub account: Account,
    pub verify: Task,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitAdmin {
    /// Run in order, after every database sidecar has started, before the app. They may use the app's resources,
    /// because the app is not running yet.
    pub steps: Vec<InitStep>,
    pub account: Account,
    pub verify: Task,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetupPodAdmin {
    /// Idempotent: succeeds when the account is there already.
    pub setup: Task,
    pub account: Account,
    pub verify: Task,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoAdmin {
    /// Shown to whoever asks why the service cannot be ordered.
    pub reason: String,
}

/// What the customer logs in with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Absent where the application asks for a password only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Source>,
    /// Key of a secret that is shown to the customer.
    pub password: String,
    pub login_path: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    Secret(String),
    Input(String),
}

/// A short-lived pod: exit code 0 is success. Its environment holds `LUMBUNG_TARGET`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    pub image: Image,
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    pub env: EnvMap,
    pub run_as_user: i64,
    pub run_as_group: i64,
    pub timeout_seconds: u32,
}

/// An init container of the instance's own pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitStep {
    pub name: String,
    pub image: Image,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(default)]
    pub env: EnvMap,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    pub run_as_user: i64,
    pub run_as_group: i64,
}
