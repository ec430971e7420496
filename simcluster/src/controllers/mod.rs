//! The engine: the controllers behind the API and the simulated kubelets, on one task.
//!
//! The engine wakes on a write to the store, on a fault, on its next timer, or when somebody waits for it. It then tells
//! every controller what has changed, and runs those with due keys, in a fixed order, until nothing is due. Controllers
//! are synchronous: they read the `View`, write to the store, and ask for a later look at a key; only the engine waits.
//! So one seed and one sequence of requests give one history, and zero delays take no time.

mod attach;
mod claims;
mod context;
mod events;
mod evict;
mod fit;
mod gc;
mod namespace;
mod node_lifecycle;
mod queue;
mod quota;
mod requests;
mod scheduler;
mod statefulset;
mod view;

/// What every controller needs.
mod prelude {
    pub(super) use std::sync::Arc;

    pub(super) use jiff::Timestamp;
    pub(super) use serde_json::{Value, json};

    pub(super) use super::{Controller, Queue, context::*, view::*};
    pub(super) use crate::{clock, dig::Dig, resource::*, store::Key};
}

use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    attach::attachment_name,
    context::{Ctx, set_condition},
    events::{Recorder, fnv1a},
    queue::Queue,
    requests::Requests,
    view::{Seen, View, claim_names, condition_is_true, is_deleting, is_terminal, node_of, uid},
};
use crate::{
    clock::Clock,
    delays::Delays,
    faults::Faults,
    kubelet::Kubelets,
    store::{Cluster, Key},
};

/// How many keys are handled before other tasks of the runtime get a turn.
const KEYS_PER_TURN: usize = 32;

/// One controller. It keeps no truth of its own: whatever it forgets, it finds again in the store.
pub(crate) trait Controller: Send {
    /// Marks the keys that a change may concern.
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue);

    /// Marks the keys that a change of faults may concern.
    fn observe_faults(&mut self, _view: &View, _queue: &mut Queue) {}

    /// Brings one key closer to what it should be. Each call says anew, by the queue, when to look again.
    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue);
}

/// Somebody who waits until nothing is due at this time.
type Waiter = (Timestamp, oneshot::Sender<()>);

/// The running engine. Clones are handles on the same one.
#[derive(Clone)]
pub struct Engine {
    clock: Clock,
    waiters: mpsc::UnboundedSender<Waiter>,
    stopped: CancellationToken,
}

/// Starts the engine on the current tokio runtime; it ends when `cancel` is cancelled.
pub(crate) fn spawn(
    cluster: Cluster,
    delays: Delays,
    faults: Faults,
    kubelets: Kubelets,
    cancel: CancellationToken,
) -> Engine {
    let (waiters, inbox) = mpsc::unbounded_channel();
    let (clock, stopped) = (cluster.clock().clone(), CancellationToken::new());
    let guard = stopped.clone().drop_guard();
    let running = Running::new(cluster, delays, faults, kubelets);
    tokio::spawn(async move {
        let _guard = guard;
        running.run(inbox, cancel).await;
    });
    Engine { clock, waiters, stopped }
}

impl Engine {
    /// Returns when the engine has nothing to do before time passes or somebody writes; at once when it has stopped.
    /// A clock that was moved elsewhere is read anew, so that this also makes due what the move made due.
    pub async fn idle(&self) {
        self.quiet_at(self.clock.now()).await;
    }

    /// Lets a span of the cluster's time pass. A manual clock goes from one due moment to the next and stops after the
    /// span; the others are waited for.
    pub async fn advance(&self, span: Duration) {
        let until = self.clock.after(span);
        if !self.clock.is_manual() {
            self.clock.sleep(span).await;
        }
        self.quiet_at(until).await;
    }

    async fn quiet_at(&self, time: Timestamp) {
        let (done, wait) = oneshot::channel();
        if self.waiters.send((time, done)).is_ok() {
            let _ = wait.await;
        }
    }

    /// Returns when the engine's task has ended after cancellation.
    pub async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}

struct Running {
    cluster: Cluster,
    delays: Delays,
    faults: Faults,
    view: View,
    waits: context::Waits,
    controllers: Vec<(Box<dyn Controller>, Queue)>,
}

impl Running {
    fn new(cluster: Cluster, delays: Delays, faults: Faults, kubelets: Kubelets) -> Self {
        // Kubelets come before the node controller, so that after a leap of the clock leases are renewed first.
        let controllers: Vec<Box<dyn Controller>> = vec![
            Box::new(namespace::Defaults),
            Box::<statefulset::StatefulSets>::default(),
            Box::new(claims::Claims),
            Box::<scheduler::Scheduler>::default(),
            Box::new(attach::Attachments),
            Box::new(kubelets),
            Box::<node_lifecycle::NodeLifecycle>::default(),
            Box::new(evict::TaintEviction),
            Box::new(evict::PodGc),
            Box::<events::Expiry>::default(),
            Box::new(quota::Quotas),
            Box::<gc::GarbageCollector>::default(),
            Box::new(namespace::Termination),
        ];
        let controllers = controllers.into_iter().map(|c| (c, Queue::default())).collect();
        Self { cluster, delays, faults, view: View::default(), waits: context::Waits::default(), controllers }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Waiter>, cancel: CancellationToken) {
        let (mut changed, mut faults) = (self.cluster.changed(), self.faults.changed());
        let mut waiting: Vec<Waiter> = Vec::new();
        let clock = self.cluster.clock().clone();
        loop {
            changed.mark_unchanged();
            self.catch_up();
            if faults.has_changed().unwrap_or(false) {
                faults.mark_unchanged();
                if self.faults.take_expired_history() {
                    self.cluster.compact();
                }
                for (controller, queue) in &mut self.controllers {
                    controller.observe_faults(&self.view, queue);
                }
            }
            if !self.settle(&cancel).await {
                return;
            }
            let now = clock.now();
            for (until, done) in std::mem::take(&mut waiting) {
                if until <= now || !clock.is_manual() {
                    let _ = done.send(());
                } else {
                    waiting.push((until, done));
                }
            }
            let beats = !clock.is_manual();
            let next = self.controllers.iter().filter_map(|(_, queue)| queue.next(beats)).min();
            if let Some(until) = waiting.iter().map(|(until, _)| *until).min() {
                clock.move_to(next.unwrap_or(until).min(until));
                continue;
            }
            let timer = async {
                match next {
                    Some(at) => clock.sleep(at.duration_since(clock.now()).try_into().unwrap_or_default()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = cancel.cancelled() => return,
                _ = changed.changed() => {}
                _ = faults.changed() => faults.mark_changed(),
                waiter = inbox.recv() => match waiter {
                    Some(waiter) => waiting.push(waiter),
                    None => return,
                },
                () = timer => {}
            }
        }
    }

    /// Handles keys until none is due. `false` when the engine was cancelled meanwhile.
    ///
    /// Each pass has one time for all controllers: when the clock leaps, kubelets renew leases before anybody looks.
    async fn settle(&mut self, cancel: &CancellationToken) -> bool {
        let mut handled = 0;
        loop {
            let mut quiet = true;
            let now = self.cluster.now();
            for at in 0..self.controllers.len() {
                while self.handle_one(at, now) {
                    quiet = false;
                    handled += 1;
                    if handled % KEYS_PER_TURN == 0 {
                        tokio::task::yield_now().await;
                    }
                }
            }
            if quiet || cancel.is_cancelled() {
                return !cancel.is_cancelled();
            }
        }
    }

    /// Lets one controller handle its next due key; `false` if it has none.
    fn handle_one(&mut self, at: usize, now: Timestamp) -> bool {
        self.catch_up();
        let (controller, queue) = &mut self.controllers[at];
        let Some(key) = queue.pop(now) else {
            return false;
        };
        let (cluster, view, delays, faults, waits) =
            (&self.cluster, &self.view, &self.delays, &self.faults, &self.waits);
        controller.sync(&key, &Ctx { cluster, view, delays, faults, now, waits }, queue);
        true
    }

    /// Takes over what was written since the last look, and tells every controller.
    fn catch_up(&mut self) {
        let Self { view, cluster, controllers, waits, .. } = self;
        view.catch_up(cluster, |seen, view| {
            if seen.new.is_none() {
                waits.forget_all(uid(seen.latest()));
            }
            for (controller, queue) in controllers.iter_mut() {
                controller.observe(seen, view, queue);
            }
        });
    }
}
