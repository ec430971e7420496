//! How long the simulated machines take. All spans are in the cluster's own time.

use std::time::Duration;

/// What takes time in the cluster. `Delays::default()` is brisk enough for a demo, `Delays::none()` is for tests and
/// benches that measure the control plane alone.
#[derive(Clone, Debug)]
pub struct Delays {
    /// Pulling an image that the node does not have yet.
    pub pull: Duration,
    /// From a container's creation until it runs.
    pub start: Duration,
    /// From running until the first probe succeeds.
    pub ready: Duration,
    /// From the termination signal until the container is gone (never longer than the pod's grace).
    pub stop: Duration,
    /// Making a volume and binding its claim.
    pub provision: Duration,
    /// How often a kubelet renews its lease.
    pub lease_interval: Duration,
    /// How long a lease may be silent before the node is Unknown.
    pub node_grace: Duration,
    /// The period of the pod garbage collector.
    pub pod_gc_period: Duration,
    /// How long the contents of a terminating namespace are left alone.
    pub namespace_linger: Duration,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            pull: Duration::from_millis(800),
            start: Duration::from_millis(300),
            ready: Duration::from_millis(700),
            stop: Duration::from_millis(300),
            provision: Duration::from_millis(200),
            lease_interval: Duration::from_secs(10),
            node_grace: Duration::from_secs(50),
            pod_gc_period: Duration::from_secs(20),
            namespace_linger: Duration::from_millis(500),
        }
    }
}

impl Delays {
    /// Work takes no time; the periods of heartbeat and node monitoring stay, since they are not work.
    pub fn none() -> Self {
        Self {
            pull: Duration::ZERO,
            start: Duration::ZERO,
            ready: Duration::ZERO,
            stop: Duration::ZERO,
            provision: Duration::ZERO,
            namespace_linger: Duration::ZERO,
            ..Self::default()
        }
    }
}
