//! Subscriptions: orders, renewals, expiry and cancellation; what a customer is entitled to, and until when.
//!
//! [`machine`] decides, purely; [`change`] carries it out; [`order`], [`renew`] and [`cancel`] are what customers ask
//! for, [`payment`] what money brings about, and [`tasks`] what time does. Each transition happens once: under its row's
//! lock, by compare-and-swap on its version, in the transaction that also writes its money, its instance's entitlement
//! and its event.
//!
//! Promised: nothing is accepted that the engine has not placed; nothing is granted that was not paid; what was paid and
//! cannot be given is credited. Locks are taken in this order: placement, subscription, instance, invoice, events.
//! Nothing here talks to Kubernetes or, inside a transaction, to a payment gateway.

pub mod admin;
mod admission;
pub mod cancel;
pub mod change;
pub mod http;
pub mod machine;
pub mod metrics;
pub mod order;
pub mod payment;
pub mod renew;
pub mod state;
pub mod store;
pub mod tasks;
pub mod view;

use std::collections::BTreeSet;
use std::sync::Arc;

use sqlx::PgPool;

use crate::billing::gateway::Gateways;
use crate::clock::Ambient;
use crate::config;
use crate::crypto::Keyring;
use crate::db::signal::Signals;
use crate::http::problem::{Kind, Problem};
use crate::scheduling::Scheduler;
use crate::{catalog, instances};

pub use state::{CancelReason, Cause, Status, Terms};
pub use tasks::tasks;

/// What this domain is told by configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub terms: Terms,
    pub base_domain: String,
    /// Slugs whose restricted licence the operator may sell.
    pub accept_licences: BTreeSet<String>,
}

impl Settings {
    pub fn from_config(terms: &config::Terms, cluster: &config::Cluster) -> Self {
        Self {
            terms: Terms {
                period: config::days(terms.period_days),
                grace: config::days(terms.grace_days),
                hold: config::minutes(terms.hold_minutes),
                ready: config::minutes(terms.ready_minutes),
            },
            base_domain: cluster.base_domain.clone(),
            accept_licences: terms.accept_licences.iter().cloned().collect(),
        }
    }
}

#[derive(Clone)]
pub struct Deps {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    pub scheduler: Scheduler,
    pub keyring: Arc<Keyring>,
    pub gateways: Arc<Gateways>,
    pub settings: Arc<Settings>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no such subscription")]
    NotFound,
    #[error(transparent)]
    Refused(#[from] state::Refusal),
    /// In words for the customer.
    #[error("{0}")]
    NoCapacity(&'static str),
    /// The period that can be bought now, if any.
    #[error("that period cannot be bought now")]
    NotRenewable(Option<i32>),
    #[error(transparent)]
    NotOrderable(#[from] catalog::NotOrderable),
    #[error("another operation ({0}) is running on the service")]
    Busy(&'static str),
    #[error(transparent)]
    Instance(#[from] instances::Error),
    #[error("the subscription was changed in spite of its lock")]
    Raced,
    #[error("the rows contradict each other: {0}")]
    Inconsistent(String),
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::NotFound => Self::not_found(),
            Error::Refused(_) => Self::with(Kind::Conflict, sentence(&text)),
            Error::NoCapacity(words) => Self::with(Kind::InsufficientCapacity, words),
            Error::NotRenewable(next) => Self::with(
                Kind::Conflict,
                match next {
                    Some(next) => format!("The period that can be bought now is number {next}."),
                    None => "No further period can be bought in the present state of the subscription.".to_owned(),
                },
            ),
            Error::NotOrderable(reason) => reason.into(),
            Error::Busy(_) => Self::with(Kind::OperationInProgress, sentence(&text)),
            Error::Instance(error) => of_instance(error),
            Error::Raced | Error::Inconsistent(_) => Self::internal(text),
            Error::Sql(error) => error.into(),
        }
    }
}

fn of_instance(error: instances::Error) -> Problem {
    use instances::Error as E;
    let text = sentence(&error.to_string());
    match error {
        E::NotFound => Problem::not_found(),
        E::Purged | E::NotEntitled | E::Held | E::NotRunning => Problem::with(Kind::Conflict, text),
        E::Busy(_) => Problem::with(Kind::OperationInProgress, text),
        E::Refused(_) => Problem::new(Kind::InsufficientCapacity),
        E::NoRegion | E::Secrets(_) | E::Inconsistent(_) => Problem::internal(text),
        E::Sql(error) => error.into(),
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), chars.as_str())
}
