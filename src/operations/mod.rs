//! Asynchronous requests: each 202 is one of these, with steps, a deadline and, in the end, an outcome.
//!
//! At most one runs per subject. The same request again gets the running one; a conflicting one is refused by whoever
//! asks; what the clock decides supersedes. An operation past its deadline is ended by [`task`], never left running.

pub mod http;
pub mod store;
pub mod task;

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Time;

macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum $type { $($variant),* }

        impl $type {
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            pub fn parse(name: &str) -> Option<Self> { match name { $($name => Some(Self::$variant),)* _ => None } }
        }
    };
}

names!(Kind {
    Provision = "provision", Start = "start", Stop = "stop", Restart = "restart", Delete = "delete",
    ChangePlan = "change_plan", Renew = "renew",
});
names!(Subject { Instance = "instance", Node = "node", Subscription = "subscription" });
names!(Status {
    Running = "running", Succeeded = "succeeded", Failed = "failed", Superseded = "superseded", Cancelled = "cancelled",
});

/// One observed step of the work.
#[derive(Clone, Debug, PartialEq, Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct Step {
    pub name: String,
    pub at: Time,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Operation {
    pub id: Uuid,
    #[serde(skip)]
    pub user_id: Option<Uuid>,
    pub kind: Kind,
    pub subject: Subject,
    pub subject_id: Uuid,
    /// The desired generation of the subject that this operation brings about.
    pub generation: i64,
    pub status: Status,
    /// A stable code of how it ended; null while it runs.
    pub reason: Option<String>,
    /// The same in words.
    pub message: Option<String>,
    pub steps: Vec<Step>,
    pub deadline: Time,
    pub created_at: Time,
    pub finished_at: Option<Time>,
}

impl Operation {
    /// Where it can be watched.
    pub fn location(&self) -> String {
        format!("/api/v1/operations/{}", self.id)
    }
}
