//! The engine: the controllers behind the API and the simulated kubelets, on one task.

use tokio_util::sync::CancellationToken;

use crate::{delays::Delays, faults::Faults, store::Cluster};

/// The running engine.
pub struct Engine {
    cancel: CancellationToken,
}

/// Starts the engine on the current tokio runtime; it ends when `cancel` is cancelled.
pub fn spawn(_cluster: Cluster, _delays: Delays, _faults: Faults, cancel: CancellationToken) -> Engine {
    Engine { cancel }
}

impl Engine {
    /// Returns when the engine has nothing to do before time passes or somebody writes.
    pub async fn idle(&self) {
        tokio::task::yield_now().await;
    }

    /// Returns when the engine's tasks have ended after cancellation.
    pub async fn stopped(&self) {
        self.cancel.cancelled().await;
    }
}
