//! The catalogue: which services can be bought, in which plans, under which terms.
//!
//! A service is its slug; what it consists of is a numbered version, a [`Template`] that never changes once written.
//! At most one version per slug is published and can be ordered; what was sold keeps the version that it was sold with.
//! Versions come from files at start-up ([`seed`]) or from an admin ([`http`]). The catalogue knows nothing of orders,
//! prices paid or clusters.

pub mod http;
pub mod seed;
pub mod store;
pub mod template;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use template::{Inputs, Template, validate_inputs};

use crate::clock::Time;
use crate::http::problem::{Kind, Problem};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ServiceStatus)]
pub enum Status {
    /// Written, not yet for sale.
    Draft,
    /// For sale.
    Published,
    /// Not for sale any more; what was sold runs on.
    Retired,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Published => "published",
            Self::Retired => "retired",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::Draft, Self::Published, Self::Retired]
            .into_iter()
            .find(|status| status.name() == name)
    }
}

/// Who wrote a version: the files that the server was started with, or an admin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ServiceOrigin)]
pub enum Origin {
    File,
    Api,
}

impl Origin {
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Api => "api",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Self::File, Self::Api].into_iter().find(|origin| origin.name() == name)
    }
}

/// One version of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub id: Uuid,
    pub slug: String,
    pub version: i32,
    pub status: Status,
    pub origin: Origin,
    pub digest: String,
    pub template: std::sync::Arc<Template>,
    pub created_at: Time,
    pub published_at: Option<Time>,
    pub retired_at: Option<Time>,
}

/// Why a published service cannot be ordered all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotOrderable {
    #[error("{0}'s licence forbids selling it as a hosted service.")]
    LicenceForbids(String),
    #[error(
        "{0}'s licence restricts selling it as a hosted service, and this platform's operator has not accepted that."
    )]
    LicenceNotAccepted(String),
    #[error("{0} cannot be set up safely yet: {1}")]
    NoFirstAdmin(String, String),
}

impl From<NotOrderable> for Problem {
    fn from(reason: NotOrderable) -> Self {
        Self::with(Kind::NotOrderable, reason.to_string())
    }
}

/// The licence rule and the first-admin rule. `accepted` holds the slugs whose restricted licence the operator may sell.
pub fn orderable(template: &Template, accepted: &BTreeSet<String>) -> Result<(), NotOrderable> {
    use template::{FirstAdmin, HostedResale};
    let name = || template.name.clone();
    match template.licence.hosted_resale {
        HostedResale::Forbidden => return Err(NotOrderable::LicenceForbids(name())),
        HostedResale::Restricted if !accepted.contains(&template.slug) => {
            return Err(NotOrderable::LicenceNotAccepted(name()));
        }
        HostedResale::Restricted | HostedResale::Allowed => {}
    }
    match &template.first_admin {
        FirstAdmin::None(none) => Err(NotOrderable::NoFirstAdmin(name(), none.reason.clone())),
        FirstAdmin::Env(_) | FirstAdmin::EnvOnce(_) | FirstAdmin::Init(_) | FirstAdmin::SetupPod(_) => Ok(()),
    }
}

/// SHA-256 of a template's canonical form (fields in the model's order, maps sorted): equal content, equal digest.
pub fn digest(template: &Template) -> String {
    let canonical = serde_json::to_vec(template).unwrap_or_default();
    crate::crypto::encode_hex(&crate::crypto::sha256(&canonical))
}
