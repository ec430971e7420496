//! The service template: everything the platform knows about one kind of service, as data.
//!
//! A template is read from YAML (ours, or an operator's directory) or JSON (the admin API), refused as a whole when
//! anything in it is wrong, and then only read. The model holds no reference to Kubernetes types: `instances` renders
//! manifests from it. What a template cannot say, no instance can have: there are no host paths, host ports, privileged
//! containers or service accounts in the model, which is how Pod Security `baseline` is kept by construction.
//!
//! Units: milli-CPU, MiB, parts per million, whole rupiah, seconds.

mod admin;
mod component;
mod env;
mod input;
mod load;
mod operate;
mod plan;
mod render;
mod secret;
mod validate;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use admin::{
    Account, EnvAdmin, EnvOnceAdmin, FirstAdmin, InitAdmin, InitStep, NoAdmin, SetupPodAdmin, Source, Task,
};
pub use component::{
    Check, Component, ConfigFile, ExecCheck, HttpCheck, Image, Mount, Port, Probe, Probes, Role, Security, Share,
    TcpCheck,
};
pub use env::{EnvMap, EnvValue};
pub use input::{InputKind, InputSpec, InputValue, Inputs, validate_inputs};
pub use load::{LoadError, from_json, from_yaml, load_dir, load_embedded};
pub use operate::{Backup, Dump, Exec, Health, HostedResale, Ingress, Licence, Minimum, Saved, Volume};
pub use plan::{Plan, Resources};
pub use render::{Facts, RenderError, Resolved, ResolvedEnv, escape_for_kubernetes};
pub use secret::{GenerateError, Generator, SecretSpec, generate};
pub use validate::{Issue, validate};

/// One service that can be sold. Field by field as in the YAML files under `catalog/templates/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// DNS label; part of every host name of the service, so it never changes.
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub categories: Vec<String>,
    pub homepage: String,
    pub documentation: String,
    pub licence: Licence,
    /// The application's own version, for people; the catalogue numbers its revisions itself.
    pub version: String,
    pub components: Vec<Component>,
    pub volumes: Vec<Volume>,
    /// Group that owns the volumes' files, so that components with different users share one volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fs_group: Option<i64>,
    /// How long Kubernetes waits between TERM and KILL, the database sidecar's shutdown included.
    pub grace_period_seconds: u32,
    pub secrets: Vec<SecretSpec>,
    #[serde(default)]
    pub inputs: Vec<InputSpec>,
    pub ingress: Ingress,
    pub health: Health,
    pub backup: Backup,
    pub plans: Vec<Plan>,
    pub minimum: Minimum,
    pub first_admin: FirstAdmin,
}

impl Template {
    pub fn component(&self, name: &str) -> Option<&Component> {
        self.components.iter().find(|component| component.name == name)
    }

    pub fn plan(&self, code: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.code == code)
    }

    /// The port that the route leads to. A validated template always has it.
    pub fn ingress_port(&self) -> Option<&Port> {
        self.component(&self.ingress.component)?.port(&self.ingress.port)
    }

    /// The component's environment at this point of the instance's life: `env_once` adds its variables until the
    /// first admin is verified, and replaces them afterwards, so that the customer can change the account.
    pub fn component_env(&self, component: &Component, admin_verified: bool) -> EnvMap {
        let mut env = component.env.clone();
        if let FirstAdmin::EnvOnce(once) = &self.first_admin
            && once.component == component.name
        {
            let extra = if admin_verified { &once.after } else { &once.before };
            env.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        env
    }
}
