//! The engine: the controllers behind the API and the simulated kubelets, on one task.
//!
//! The engine wakes on a write to the store, on a fault, on its next timer, or when somebody waits for it to be idle.
//! It then tells every controller what has changed, and runs those with due keys, in a fixed order, until nothing is
//! due. Controllers are synchronous: they read the `View`, write to the store, and ask for a later look at a key; only
//! the engine waits. So one seed and one sequence of requests give one history, and zero delays take no time.

mod attach;
mod claims;
mod defaults;
mod endpoints;
mod event_ttl;
mod events;
mod fit;
mod gc;
mod namespace;
mod node_lifecycle;
mod pod_gc;
mod queue;
mod quota;
mod requests;
mod revisions;
mod scheduler;
mod statefulset;
mod taints;
mod view;

use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    attach::attachment_name,
    events::{Recorder, fnv1a},
    queue::Queue,
    requests::Requests,
    scheduler::set_condition,
    view::{Seen, View, claim_names, condition_is_true, is_deleting, is_terminal, list, node_of, uid},
};
use crate::{
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

/// What a controller works with.
pub(crate) struct Ctx<'a> {
    pub cluster: &'a Cluster,
    pub view: &'a View,
    pub delays: &'a Delays,
    pub faults: &'a Faults,
    pub now: Timestamp,
}

impl Ctx<'_> {
    /// Records events in the name of a component.
    pub fn events<'b>(&'b self, component: &'b str) -> Recorder<'b> {
        Recorder::new(self, component)
    }
}

/// The running engine. Clones are handles on the same one.
#[derive(Clone)]
pub struct Engine {
    waiters: mpsc::UnboundedSender<oneshot::Sender<()>>,
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
    let stopped = CancellationToken::new();
    let guard = stopped.clone().drop_guard();
    let running = Running::new(cluster, delays, faults, kubelets);
    tokio::spawn(async move {
        let _guard = guard;
        running.run(inbox, cancel).await;
    });
    Engine { waiters, stopped }
}

impl Engine {
    /// Returns when the engine has nothing to do before time passes or somebody writes; at once when it has stopped.
    /// A clock that was moved by hand is read anew, so that this also makes due what the move made due.
    pub async fn idle(&self) {
        let (done, wait) = oneshot::channel();
        if self.waiters.send(done).is_ok() {
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
    controllers: Vec<(Box<dyn Controller>, Queue)>,
}

impl Running {
    fn new(cluster: Cluster, delays: Delays, faults: Faults, kubelets: Kubelets) -> Self {
        // Kubelets come before the node controller, so that after a leap of the clock leases are renewed first.
        let controllers: Vec<Box<dyn Controller>> = vec![
            Box::new(defaults::Defaults),
            Box::<statefulset::StatefulSets>::default(),
            Box::<claims::Claims>::default(),
            Box::<scheduler::Scheduler>::default(),
            Box::<attach::Attachments>::default(),
            Box::new(kubelets),
            Box::new(node_lifecycle::NodeLifecycle),
            Box::<taints::TaintEviction>::default(),
            Box::<pod_gc::PodGc>::default(),
            Box::new(endpoints::Endpoints),
            Box::<event_ttl::EventTtl>::default(),
            Box::new(quota::Quotas),
            Box::<gc::GarbageCollector>::default(),
            Box::new(namespace::Namespaces),
        ];
        let controllers = controllers.into_iter().map(|c| (c, Queue::default())).collect();
        Self { cluster, delays, faults, view: View::default(), controllers }
    }

    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<oneshot::Sender<()>>, cancel: CancellationToken) {
        let (mut changed, mut faults) = (self.cluster.changed(), self.faults.changed());
        let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
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
            for waiter in waiting.drain(..) {
                let _ = waiter.send(());
            }
            let next = self.controllers.iter().filter_map(|(_, queue)| queue.next()).min();
            let timer = async {
                match next {
                    Some(at) => {
                        let span = at.duration_since(self.cluster.now());
                        self.cluster.clock().sleep(span.try_into().unwrap_or_default()).await;
                    }
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
                    if cancel.is_cancelled() {
                        return false;
                    }
                }
            }
            if quiet {
                return true;
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
        let (cluster, view, delays, faults) = (&self.cluster, &self.view, &self.delays, &self.faults);
        let ctx = Ctx { cluster, view, delays, faults, now };
        controller.sync(&key, &ctx, queue);
        true
    }

    /// Takes over what was written since the last look, and tells every controller.
    fn catch_up(&mut self) {
        let Self { view, cluster, controllers, .. } = self;
        view.catch_up(cluster, |seen, view| {
            for (controller, queue) in controllers.iter_mut() {
                controller.observe(seen, view, queue);
            }
        });
    }
}
