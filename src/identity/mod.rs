//! Users, sessions, tokens, roles: who is calling, and what that role may do.
//!
//! What it promises
//! - **Nobody learns whether an e-mail address has an account.** Registering always answers 202 `accepted`, after the
//!   same work, whether or not the address was free; an existing account is left as it is and the attempt is audited.
//!   (There is no e-mail yet to tell the owner; whoever registered then logs in, and a stranger's password fails there.)
//!   Logging in to an unknown address hashes a password like any other and gets the same 401.
//! - **A change of rights is effective at once.** A changed role, a suspension or an ended session is refused from the
//!   next request in the process that changed it, and within [`layer::TRUST`] in every other.
//! - **A lost answer logs nobody out, a stolen refresh token does** (see [`session`]).
//! - Successes and failures are audited, with the address they came from; passwords, tokens and the addresses that
//!   strangers typed are not.
//!
//! It does not send e-mail, reset passwords or know second factors.

pub mod account;
pub mod admin;
pub mod housekeeping;
pub mod http;
pub mod layer;
pub mod origin;
pub mod password;
pub mod principal;
pub mod session;
pub mod store;
pub mod tokens;

pub use principal::{Admin, Customer, Principal, Role, Staff};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Entropy, Time};

/// Without vowels no handle becomes a word, without l, i, o, 0 and 1 none is misread.
const HANDLE_LETTERS: &[u8] = b"bcdfghjkmnpqrstvwxz";
const HANDLE_ALPHABET: &[u8] = b"bcdfghjkmnpqrstvwxz23456789";
const HANDLE_LENGTH: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// May not log in; what runs is not touched.
    Suspended,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// Whatever the database may hold one day that this version does not know is not active.
    pub fn parse(name: &str) -> Self {
        if name == "active" {
            Self::Active
        } else {
            Self::Suspended
        }
    }
}

/// An account.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct User {
    pub id: Uuid,
    pub email: String,
    pub name: String,
    pub role: Role,
    pub status: Status,
    /// The account's part of its services' host names.
    pub handle: String,
    pub created_at: Time,
    pub updated_at: Time,
    #[serde(skip)]
    pub auth_version: i64,
}

impl User {
    /// For ETag and If-Match: every change moves `updated_at`, by a microsecond at least.
    pub fn version(&self) -> i64 {
        self.updated_at.as_microsecond()
    }
}

/// An e-mail address as stored: without surrounding space, in lower case. `None` when it can be no address.
///
/// Only the shape is checked; whether mail arrives is for mail to find out.
pub fn normal_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.rsplit_once('@')?;
    let odd = |c: char| c.is_whitespace() || c.is_control() || "@<>()[],;:\\\"".contains(c);
    let labels_fit = domain.split('.').all(|label| {
        let dashed = label.starts_with('-') || label.ends_with('-');
        !label.is_empty() && label.len() <= 63 && !dashed && !label.contains(|c: char| !c.is_alphanumeric() && c != '-')
    });
    let local_fits = !local.is_empty() && local.len() <= 64 && !local.contains(odd);
    let fits = email.chars().count() <= 254 && local_fits && domain.contains('.') && labels_fit;
    fits.then_some(email)
}

/// A random DNS label for a new account.
pub fn new_handle(entropy: &Entropy) -> String {
    let first = entropy.string(HANDLE_LETTERS, 1);
    first + &entropy.string(HANDLE_ALPHABET, HANDLE_LENGTH - 1)
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("wrong e-mail address or password")]
    InvalidCredentials,
    #[error("the token is not valid")]
    InvalidToken,
    #[error("this account is suspended")]
    Suspended,
    #[error("no such account")]
    NoSuchUser,
    #[error("changed in the meantime")]
    Stale,
    #[error("this is the last active admin")]
    LastAdmin,
    #[error(transparent)]
    Password(#[from] password::Error),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalised_or_refused() {
        let good = [
            (" Budi@Example.ORG ", "budi@example.org"),
            ("a+b@x-y.co.id", "a+b@x-y.co.id"),
            ("o'neil@example.org", "o'neil@example.org"),
        ];
        for (text, normal) in good {
            assert_eq!(normal_email(text).as_deref(), Some(normal));
        }
        let long = format!("{}@example.org", "a".repeat(65));
        let bad = [
            "",
            "@",
            "a@",
            "@b.c",
            "a@b",
            "a b@c.d",
            "a@b..c",
            "a@-b.c",
            "a@b_c.d",
            "a@b.c\r\nBcc: x@y.z",
            "a@@b.c",
            "<a@b.c>",
            &long,
        ];
        for text in bad {
            assert_eq!(normal_email(text), None, "{text}");
        }
    }

    #[test]
    fn handles_are_dns_labels_and_differ() {
        let entropy = Entropy::seeded(1);
        let handles: std::collections::HashSet<_> = (0..1000).map(|_| new_handle(&entropy)).collect();
        assert_eq!(handles.len(), 1000);
        for handle in handles {
            assert_eq!(handle.len(), HANDLE_LENGTH);
            assert!(handle.starts_with(|c: char| c.is_ascii_lowercase()), "{handle}");
            assert!(
                handle.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()),
                "{handle}"
            );
        }
    }
}
