//! What the platform must know to run a service for somebody else: licence, storage, route, health, backup.

use serde::{Deserialize, Serialize};

use super::Check;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spdx: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    pub hosted_resale: HostedResale,
    pub note: String,
}

/// May the service be sold as a hosted service?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostedResale {
    Allowed,
    /// Needs an agreement of the operator with the licensor: orderable once the operator has accepted it by name.
    Restricted,
    Forbidden,
}

/// A claim of its own, outside the StatefulSet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    pub name: String,
    /// Part of the plan's disk, in parts per million; over all volumes it sums to 1 000 000.
    pub disk_ppm: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingress {
    pub component: String,
    /// Name of one of the component's ports.
    pub port: String,
    pub max_body_mib: u32,
}

/// The one check whose success means that the customer can work: through the app, down to its database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    pub component: String,
    pub check: Check,
    /// In words, what a success proves.
    pub proves: String,
}

/// How a backup becomes consistent: `quiesce`, then every dump, then the paths, then `resume` (also after a failure).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiesce: Option<Exec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<Exec>,
    #[serde(default)]
    pub dumps: Vec<Dump>,
    pub paths: Vec<Saved>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exec {
    pub component: String,
    pub command: Vec<String>,
}

/// A command inside a component. Without `file` its standard output is the dump; with it the command writes that file
/// itself, and the file is collected from the component and removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {
    pub name: String,
    pub component: String,
    pub command: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// A directory of a volume that belongs into the backup; without `sub_path` the whole volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    pub volume: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

/// The smallest plan in which the service works at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Minimum {
    pub mem_mib: u32,
    pub cpu_milli: u32,
}
