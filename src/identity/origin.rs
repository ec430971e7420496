//! Where a request came from, as the audit trail of this domain keeps it.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Principal, Role};
use crate::audit::Entry;
use crate::http::extract::Peer;
use crate::http::problem;

/// As `sessions.user_agent` allows.
const MAX_USER_AGENT: usize = 300;

#[derive(Clone, Debug, Default)]
pub struct Origin {
    pub address: Option<IpAddr>,
    pub user_agent: String,
    pub request_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Origin {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let agent = parts.headers.get(header::USER_AGENT);
        let agent = agent.and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        Ok(Self {
            address: parts.extensions.get::<Peer>().map(|peer| peer.0),
            user_agent: agent.chars().take(MAX_USER_AGENT).collect(),
            request_id: problem::request_id(),
        })
    }
}

impl Origin {
    /// A deed of somebody who has not (or not yet) shown who they are, on an account if there is one.
    pub fn stranger(&self, action: &'static str, account: Option<Uuid>, allowed: bool, detail: Value) -> Entry<'_> {
        self.entry(None, "anonymous", action, account, allowed, detail)
    }

    /// A deed of a signed-in user on an account.
    pub fn by(&self, who: &Principal, action: &'static str, account: Uuid, allowed: bool, detail: Value) -> Entry<'_> {
        self.own(who.user_id, who.role, action, account, allowed, detail)
    }

    /// A deed of a user who has just proven to be one.
    pub fn own(
        &self,
        actor: Uuid,
        role: Role,
        action: &'static str,
        account: Uuid,
        allowed: bool,
        detail: Value,
    ) -> Entry<'_> {
        self.entry(Some(actor), role.name(), action, Some(account), allowed, detail)
    }

    fn entry(
        &self,
        actor: Option<Uuid>,
        role: &'static str,
        action: &'static str,
        account: Option<Uuid>,
        allowed: bool,
        mut detail: Value,
    ) -> Entry<'_> {
        detail["address"] = json!(self.address);
        Entry {
            actor,
            role,
            action,
            subject: "user",
            subject_id: account,
            allowed,
            request_id: self.request_id.as_deref(),
            detail,
        }
    }
}
