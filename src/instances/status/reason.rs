//! The stable reason codes: clients branch on these, people read the message beside them.

macro_rules! reasons {
    ($($(#[$doc:meta])* $constant:ident = $code:literal;)*) => {
        $($(#[$doc])* pub const $constant: &str = $code;)*

        /// Every code, in the order of an instance's life.
        pub const ALL: &[&str] = &[$($constant),*];
    };
}

reasons! {
    ACCEPTED = "accepted";
    WAITING_FOR_NODE = "waiting_for_node";
    QUOTA_REFUSED = "quota_refused";
    /// The cluster refused the pod for another cause than the quota.
    CREATE_REFUSED = "create_refused";
    /// The cluster refuses the objects themselves; trying again would not help.
    REJECTED = "rejected";
    SCHEDULING = "scheduling";
    UNSCHEDULABLE = "unschedulable";
    WAITING_FOR_STORAGE = "waiting_for_storage";
    PULLING_IMAGE = "pulling_image";
    IMAGE_PULL_FAILED = "image_pull_failed";
    CONFIG_ERROR = "config_error";
    STARTING_DATABASE = "starting_database";
    STARTING = "starting";
    /// The first administrator's account is being made.
    WAITING_FOR_FIRST_ADMIN = "waiting_for_first_admin";
    /// A log-in with the customer's credentials is being tried.
    VERIFYING_ADMIN = "verifying_admin";
    FIRST_ADMIN_FAILED = "first_admin_failed";
    OPENING_ROUTE = "opening_route";
    RUNNING = "running";
    PROBE_FAILING = "probe_failing";
    CRASH_LOOP = "crash_loop";
    OUT_OF_MEMORY = "out_of_memory";
    EVICTED = "evicted";
    RESTARTING = "restarting";
    MIGRATING = "migrating";
    NODE_LOST = "node_lost";
    STORAGE_LOST = "storage_lost";
    STOPPING = "stopping";
    STOPPED = "stopped";
    DELETING = "deleting";
    DELETED = "deleted";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_snake_case() {
        let distinct: BTreeSet<_> = super::ALL.iter().collect();
        assert_eq!(distinct.len(), super::ALL.len());
        for code in super::ALL {
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code}");
        }
    }
}
