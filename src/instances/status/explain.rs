//! The words: plain English for the person who bought the service.
//!
//! What Kubernetes says names nodes, other pods, internal ids. None of that is passed on: its messages are only
//! recognised, and answered with a sentence of ours. What is not recognised gets the general sentence.

pub const ACCEPTED: &str = "Your order is accepted.";
pub const WAITING_FOR_NODE: &str = "Waiting for a free place in the cluster.";
pub const PREPARING: &str = "Your service is being prepared.";
pub const SCHEDULING: &str = "Your service is about to be given to its machine.";
pub const WAITING_FOR_STORAGE: &str = "The storage of your service is being prepared.";
pub const PULLING_IMAGE: &str = "The software is being downloaded.";
pub const STARTING: &str = "Your service is starting.";
pub const STARTING_DATABASE: &str = "The database of your service is starting.";
pub const INSTALLING: &str = "Your service is being installed and your administrator account made.";
pub const MAKING_ADMIN: &str = "Your service is up. Your administrator account is being made.";
pub const VERIFYING_ADMIN: &str = "Your service is up. We check that you can log in before its address opens.";
pub const OPENING_ROUTE: &str = "Your service is up. Its address is being opened.";
pub const RUNNING: &str = "Your service is running.";
pub const RESTARTING: &str = "Your service is being restarted.";
pub const MIGRATING: &str = "Your service is moving to another machine.";
pub const STOPPING: &str = "Your service is stopping.";
pub const STOPPED: &str = "Your service is stopped. Its data is kept.";
pub const DELETING: &str = "Your service and its data are being deleted.";
pub const DELETED: &str = "Your service and its data are deleted.";
pub const NODE_LOST: &str =
    "The machine that runs your service does not answer. We cannot tell at the moment whether the service works.";
pub const NODE_LOST_STOPPING: &str =
    "The machine that ran your service does not answer. We cannot tell yet whether the service has stopped.";
pub const QUOTA_REFUSED: &str = "The limits of your account in the cluster do not leave room for your service yet. They are being adjusted, then it starts.";
pub const CREATE_REFUSED: &str =
    "The cluster refused to start your service. It is tried again; our operators can see why.";
pub const STORAGE_LOST: &str = "The storage of your service is gone from the cluster. It has to be restored from a backup; please contact support.";
pub const EVICTED: &str =
    "Your service was moved off its machine because the machine ran short of resources. It is being started again.";
pub const PROBE_FAILING: &str = "Your service is up but does not answer its health check.";
pub const DATABASE_PROBE_FAILING: &str = "The database of your service is up but does not answer its health check.";

/// What failed inside the pod, as the customer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Service,
    Database,
    /// An installation step before the service.
    Installation,
}

impl Part {
    const fn subject(self) -> &'static str {
        match self {
            Self::Service => "Your service",
            Self::Database => "The database of your service",
            Self::Installation => "The installation of your service",
        }
    }

    const fn possessive(self) -> &'static str {
        match self {
            Self::Service => "your service",
            Self::Database => "your service's database",
            Self::Installation => "your service's installation",
        }
    }
}

/// Does a `FailedCreate` message tell of a quota?
pub fn is_quota(message: &str) -> bool {
    message.contains("exceeded quota") || message.contains("failed quota")
}

/// The scheduler's message counts causes over all nodes, of which one is ours. Resources and volumes are looked at only
/// on nodes that the affinity admits, so these are about our node; cordons and taints come before the affinity and may
/// be about any.
pub fn unschedulable(message: &str) -> String {
    let why = if message.contains("Insufficient memory") {
        "the machine that is reserved for it has not enough free memory at the moment"
    } else if message.contains("Insufficient cpu") {
        "the machine that is reserved for it has not enough free CPU at the moment"
    } else if message.contains("Too many pods") {
        "the machine that is reserved for it runs as many services as it may"
    } else if message.contains("volume node affinity conflict") {
        "its data lies on another machine than the one that is reserved for it"
    } else if message.to_ascii_lowercase().contains("persistentvolumeclaim") || message.contains("volume") {
        "its storage is not ready"
    } else if message.contains("were unschedulable") {
        "the machine that is reserved for it is under maintenance"
    } else if message.contains("untolerated taint") {
        "the machine that is reserved for it takes no work at the moment"
    } else if message.contains("node affinity") {
        "the machine that is reserved for it is not there at the moment"
    } else {
        "no machine can take it at the moment"
    };
    format!("Your service cannot start yet: {why}. It starts by itself as soon as this changes.")
}

pub fn image_pull_failed(part: Part, reason: &str, message: &str) -> String {
    let text = message.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    let why = if reason == "InvalidImageName" {
        "its name is not valid"
    } else if has(&["toomanyrequests", "too many requests", "rate limit"]) {
        "the place that it comes from limits how often we may ask"
    } else if has(&["unauthorized", "authentication required", "denied", "forbidden"]) {
        "the place that it comes from refuses it to us"
    } else if has(&["not found", "manifest unknown", "does not exist"]) {
        "this version does not exist at the place that it comes from"
    } else if has(&["timeout", "no such host", "connection", "unreachable", "eof", "tls"]) {
        "the place that it comes from cannot be reached"
    } else if has(&["no space left"]) {
        "there is no room for it"
    } else {
        "the place that it comes from did not deliver it"
    };
    let possessive = part.possessive();
    format!(
        "The software of {possessive} could not be downloaded: {why}. It is tried again at intervals of up to five minutes."
    )
}

pub fn config_error(part: Part, message: &str) -> String {
    let subject = part.subject();
    let text = message.to_ascii_lowercase();
    let why = if text.contains("secret") || text.contains("configmap") {
        "a part of its configuration is missing"
    } else if text.contains("run as root") || text.contains("runasnonroot") {
        "its software insists on rights that it is not given"
    } else if text.contains("executable file not found") || text.contains("no such file") {
        "its program is not where it should be"
    } else {
        "its configuration is not accepted"
    };
    format!("{subject} cannot start: {why}. This needs our operators.")
}

/// `restarts` is how often it was started again, `starting` whether it is being tried right now.
pub fn crash_loop(part: Part, exit_code: i32, restarts: i32, starting: bool) -> String {
    let subject = part.subject();
    let how = match exit_code {
        0 => "ends by itself soon after its start (exit code 0)".to_owned(),
        126 => "could not be executed (exit code 126)".to_owned(),
        127 => "did not find its program (exit code 127)".to_owned(),
        137 => "was killed (exit code 137)".to_owned(),
        143 => "was told to stop (exit code 143)".to_owned(),
        code => format!("crashed with exit code {code}"),
    };
    format!("{subject} {how}; {}{}", times(restarts), next(starting))
}

pub fn out_of_memory(part: Part, limit: Option<&str>, restarts: i32, starting: bool) -> String {
    let subject = part.subject();
    let limit = limit.map_or_else(String::new, |limit| format!(" of {limit}"));
    format!(
        "{subject} needed more memory than its limit{limit} and was stopped; {}{} A larger plan gives it more memory.",
        times(restarts),
        next(starting)
    )
}

fn times(restarts: i32) -> String {
    match restarts {
        i32::MIN..=0 => "it has not been restarted yet".to_owned(),
        1 => "it was restarted once".to_owned(),
        n => format!("it was restarted {n} times"),
    }
}

fn next(starting: bool) -> &'static str {
    if starting {
        " and is starting again."
    } else {
        " and is tried again after a pause."
    }
}

/// Why a setup or verify pod failed. Its output may hold secrets and is not passed on.
pub fn task_failed(setup: bool, why: TaskFailure) -> String {
    let what = if setup {
        "Your administrator account could not be made"
    } else {
        "The check that you can log in did not succeed"
    };
    let why = match why {
        TaskFailure::TimedOut => "the service did not answer in time".to_owned(),
        TaskFailure::Exit(code) => format!("the service refused it (exit code {code})"),
        TaskFailure::Image => "the tool for it could not be downloaded".to_owned(),
        TaskFailure::Gone => "it was interrupted".to_owned(),
    };
    format!("{what}: {why}. It is tried again.")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskFailure {
    TimedOut,
    Exit(i32),
    Image,
    /// Evicted, or its node went.
    Gone,
}
