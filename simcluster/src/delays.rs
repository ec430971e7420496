//! How long the simulated machines take. All spans are in the cluster's own time.

use std::time::Duration;

/// What takes time in the cluster. `Delays::lifelike()`, the default, is brisk enough for a demo; `Delays::zero()` is
/// for tests and benches that measure the control plane alone.
#[derive(Clone, Debug)]
pub struct Delays {
    /// How long one second of a specification lasts: grace periods, tolerations, probe periods, back-offs.
    pub second: Duration,
    /// From a pod's creation until it is given a node.
    pub schedule: Duration,
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
        Self::lifelike()
    }
}

impl Delays {
    /// Work takes some hundred milliseconds; everything that Kubernetes states in seconds lasts as long as it says.
    pub fn lifelike() -> Self {
        Self {
            second: Duration::from_secs(1),
            schedule: Duration::ZERO,
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

    /// Work takes no time, and a stated second lasts ten milliseconds. Heartbeat and node monitoring keep their pace,
    /// since they are not work: a test about a lost node sets them as it needs.
    pub fn zero() -> Self {
        Self {
            second: Duration::from_millis(10),
            pull: Duration::ZERO,
            start: Duration::ZERO,
            ready: Duration::ZERO,
            stop: Duration::ZERO,
            provision: Duration::ZERO,
            pod_gc_period: Duration::ZERO,
            namespace_linger: Duration::ZERO,
            ..Self::lifelike()
        }
    }

    /// So many seconds of a specification.
    pub(crate) fn seconds(&self, count: u64) -> Duration {
        self.second.saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }
}
