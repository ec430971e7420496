//! A watch on the nodes: a change that a row would show rings, and the next look comes at once, not in its period.
//!
//! It decides nothing and writes nothing. Kubelets report every few minutes without anything new to say; those reports
//! ring for nobody. What a broken watch lost, the first events after it find: it lists everything again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Node;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use tokio_util::sync::CancellationToken;

use super::Deps;
use super::sync::{Seen, look};
use crate::db::signal::Channel;

/// A look lists every node and every foreign pod: a flapping node must not ask for more than one a second.
const SETTLE: Duration = Duration::from_secs(1);
const BURST: usize = 1024;

/// Runs until cancelled; a broken watch is resumed with growing waits.
pub async fn run(deps: Deps, cancel: CancellationToken) {
    tokio::select! {
        () = cancel.cancelled() => {}
        () = follow(deps) => {}
    }
}

async fn follow(deps: Deps) {
    let mut last = Last::default();
    watcher(Api::<Node>::all(deps.client), watcher::Config::default())
        .default_backoff()
        .ready_chunks(BURST)
        .for_each(|events| {
            let news = events.into_iter().fold(false, |news, event| match event {
                Ok(event) => last.changed_by(&event) || news,
                Err(error) => {
                    tracing::debug!(%error, "the watch on nodes broke; it is resumed");
                    news
                }
            });
            if news {
                deps.signals.ring(Channel::Nodes);
            }
            let wait = if news { SETTLE } else { Duration::ZERO };
            tokio::time::sleep(wait)
        })
        .await;
}

/// What was last seen of each node.
#[derive(Debug, Default)]
struct Last(BTreeMap<String, Seen>);

impl Last {
    /// Whether the event says anything that a row would show. The end of a listing always does: what was deleted while
    /// the watch was broken is told by absence only.
    fn changed_by(&mut self, event: &Event<Node>) -> bool {
        match event {
            Event::Apply(node) | Event::InitApply(node) => look(std::slice::from_ref(node), &[])
                .into_iter()
                .any(|seen| self.0.insert(seen.name.clone(), seen.clone()).as_ref() != Some(&seen)),
            Event::Delete(node) => self
                .0
                .remove(node.metadata.name.as_deref().unwrap_or_default())
                .is_some(),
            Event::Init => {
                self.0.clear();
                false
            }
            Event::InitDone => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, heartbeat: &str) -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": heartbeat},
            "status": {"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": heartbeat}]}
        }))
        .unwrap()
    }

    #[test]
    fn a_heartbeat_is_no_news_and_everything_that_a_row_shows_is() {
        let (first, second) = ("2026-01-01T00:00:00Z", "2026-01-01T00:05:00Z");
        let mut last = Last::default();
        assert!(!last.changed_by(&Event::Init));
        assert!(last.changed_by(&Event::InitApply(node("True", first))));
        assert!(last.changed_by(&Event::InitDone));
        assert!(!last.changed_by(&Event::Apply(node("True", second))));
        assert!(last.changed_by(&Event::Apply(node("Unknown", second))));
        assert!(last.changed_by(&Event::Delete(node("Unknown", second))));
        assert!(
            !last.changed_by(&Event::Delete(node("Unknown", second))),
            "told already"
        );
    }
}
