//! The words of an instance: what is wanted, what is owed, what is seen, and how the first administrator stands.
//!
//! Names are those of the columns in `service_instances`. [`effective`] is the only place where the three wills become
//! one; nothing here reads the database or the cluster.

use serde::{Deserialize, Serialize};

/// Text enums of `service_instances`: `name()` is what the column and the API hold, `parse()` its reverse.
macro_rules! names {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $name:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        pub enum $type {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant),*
        }

        impl $type {
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            pub fn parse(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names!(
    /// The customer's will.
    Wanted { Running = "running", Stopped = "stopped" }
);

names!(
    /// What the subscription pays for; written by the commercial state machine only.
    Entitled {
        Yes = "yes",
        /// Nothing runs, the data stays.
        Suspended = "suspended",
        /// Everything goes, the data too. There is no way back.
        Purge = "purge",
    }
);

names!(
    /// What is seen.
    Phase {
        /// Ordered, nothing of it is in the cluster.
        Pending = "pending",
        /// On its way up.
        Provisioning = "provisioning",
        Running = "running",
        /// Was up and is not ready now.
        Degraded = "degraded",
        Stopping = "stopping",
        Stopped = "stopped",
        /// On its way up on another node.
        Migrating = "migrating",
        /// Will not come up by waiting alone.
        Failed = "failed",
        Deleting = "deleting",
        Deleted = "deleted",
        /// Its node does not report: what it does cannot be seen.
        Unknown = "unknown",
    }
);

names!(
    /// How far the first administrator is.
    AdminState {
        Pending = "pending",
        /// The account was made; nobody has logged in with it yet.
        Created = "created",
        /// A log-in with the customer's credentials has succeeded.
        Verified = "verified",
        /// The environment that made the account is withdrawn and rolled out; the route may be open.
        Settled = "settled",
    }
);

impl AdminState {
    /// The log-in has been proved once: variables that would make the account again must be gone from here on.
    pub const fn is_verified(self) -> bool {
        matches!(self, Self::Verified | Self::Settled)
    }
}

/// The three wills as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Desire {
    Run,
    /// No pod; everything else stays.
    Stop,
    /// Nothing is left.
    Purge,
}

/// Purge beats everything, also an operator's hold: a hold pauses a service, it does not keep what nobody owes.
/// Otherwise an instance runs only when its customer wants it, its subscription covers it and nobody holds it.
pub const fn effective(wanted: Wanted, entitled: Entitled, held: bool) -> Desire {
    match (entitled, wanted, held) {
        (Entitled::Purge, _, _) => Desire::Purge,
        (Entitled::Yes, Wanted::Running, false) => Desire::Run,
        (Entitled::Yes | Entitled::Suspended, _, _) => Desire::Stop,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_wills_become_one() {
        use Entitled::{Purge, Suspended, Yes};
        use Wanted::{Running, Stopped};
        for (wanted, entitled, held, desire) in [
            (Running, Yes, false, Desire::Run),
            (Running, Yes, true, Desire::Stop),
            (Running, Suspended, false, Desire::Stop),
            (Running, Suspended, true, Desire::Stop),
            (Running, Purge, false, Desire::Purge),
            (Running, Purge, true, Desire::Purge),
            (Stopped, Yes, false, Desire::Stop),
            (Stopped, Yes, true, Desire::Stop),
            (Stopped, Suspended, false, Desire::Stop),
            (Stopped, Suspended, true, Desire::Stop),
            (Stopped, Purge, false, Desire::Purge),
            (Stopped, Purge, true, Desire::Purge),
        ] {
            assert_eq!(
                effective(wanted, entitled, held),
                desire,
                "{wanted} {entitled} held={held}"
            );
        }
    }

    /// The migration's CHECK lists, and the names that the API shows, must not drift apart.
    #[test]
    fn names_are_those_of_the_columns() {
        let sql = include_str!("../../migrations/0006_instances.sql");
        let column = |name: &str| -> Vec<String> {
            let (_, list) = sql.split_once(&format!("CHECK ({name} IN (")).expect(name);
            let list = list.split(')').next().unwrap_or_default();
            list.split(',')
                .map(|word| word.trim().trim_matches('\'').to_owned())
                .collect()
        };
        fn all<T: Copy>(values: &[T], name: fn(T) -> &'static str) -> Vec<String> {
            values.iter().map(|value| name(*value).to_owned()).collect()
        }
        assert_eq!(column("wanted"), all(Wanted::ALL, Wanted::name));
        assert_eq!(column("entitled"), all(Entitled::ALL, Entitled::name));
        assert_eq!(column("phase"), all(Phase::ALL, Phase::name));
        assert_eq!(column("admin_state"), all(AdminState::ALL, AdminState::name));
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.name()), Some(*phase));
            assert_eq!(serde_json::to_value(phase).unwrap(), phase.name());
        }
        assert_eq!(Phase::parse("Running"), None);
    }
}
