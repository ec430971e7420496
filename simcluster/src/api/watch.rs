//! `watch`: a stream of changes as JSON lines, from a revision, from now, or with the present state first.
//!
//! A watch never misses a change: it follows a broadcast of its kind, reads the remembered changes where that has gaps,
//! and when those are forgotten it says so with an ERROR event (410) and ends. With a selector, objects that come to match
//! are ADDED and objects that no longer match are DELETED, shown as they were with the new revision. Bookmarks come once
//! a minute and in the last seconds before the time-out. One task reads the store for all watches, and an event is
//! written once for all that see it alike, so that a thousand watches cost a writer no more than one.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{body::Bytes, response::Response};
use serde_json::json;
use tokio::sync::{
    broadcast::{self, error::TryRecvError},
    watch,
};

use super::{Answer, Ask, Ending, query::invalid_options, read::parse_revision, reply};
use crate::{
    dig::Dig,
    faults::{Faults, Filter},
    resource::{self, Kind},
    selector::Selector,
    status::{Cause, Status},
    store::{Change, ChangeType, Cluster, Object},
};

/// As long as a real server lets a watch live that names no time-out.
const DEFAULT_TIMEOUT: i64 = 1_800;
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);
/// How many events a watch may be behind before it has to read the store itself.
const BACKLOG: usize = 256;

/// A change for the watches of its kind; `None` where changes were forgotten before they could be told.
type News = Option<Arc<Told>>;

struct Told {
    event: Arc<Change>,
    /// The object as ADDED, MODIFIED and DELETED, whole and its metadata alone, each written when it is first asked for.
    lines: [[OnceLock<Bytes>; 3]; 2],
}

const TYPES: [&str; 3] = ["ADDED", "MODIFIED", "DELETED"];

/// The broadcasts, by the kind's place in `resource::ALL`.
pub(crate) struct Hub(Vec<broadcast::Sender<News>>);

impl Default for Hub {
    fn default() -> Self {
        Self(resource::ALL.iter().map(|_| broadcast::Sender::new(BACKLOG)).collect())
    }
}

impl Hub {
    fn subscribe(&self, kind: &'static Kind) -> broadcast::Receiver<News> {
        self.0[kind.place()].subscribe()
    }

    /// Reads the store's changes for the watches that are open, for ever.
    pub async fn pump(&self, cluster: &Cluster) {
        let mut changed = cluster.changed();
        let mut told = vec![cluster.revision(); self.0.len()];
        while changed.changed().await.is_ok() {
            // Read before looking for watches: a watch that opens afterwards reads at least this itself.
            let newest = *changed.borrow_and_update();
            for ((kind, news), told) in resource::ALL.iter().zip(&self.0).zip(&mut told) {
                let changes =
                    if news.receiver_count() == 0 { Ok((newest, Vec::new())) } else { cluster.since(kind, *told) };
                let (now_told, changes) = match changes {
                    Ok((revision, changes)) => {
                        (revision, changes.into_iter().map(|event| Some(Told::shared(event))).collect())
                    }
                    Err(_) => (newest, vec![None]),
                };
                *told = now_told;
                for event in changes {
                    // Nobody may be listening any more.
                    let _ = news.send(event);
                }
            }
        }
    }
}

impl Told {
    fn shared(event: Arc<Change>) -> Arc<Self> {
        Arc::new(Self { event, lines: Default::default() })
    }

    /// How a watch sees it, if at all.
    fn seen(&self, namespace: Option<&str>, selector: &Selector, partial: bool) -> Option<Bytes> {
        let Change { change, object, previous, revision } = &*self.event;
        if namespace.is_some_and(|ns| ns != object.text("metadata.namespace")) {
            return None;
        }
        let before = previous.as_ref().filter(|object| selector.matches(object));
        let deleted = *change == ChangeType::Deleted;
        let seen_as = match (before, !deleted && selector.matches(object)) {
            (None, false) => return None,
            (None, true) => 0,
            (Some(_), true) => 1,
            (Some(_), false) if deleted => 2,
            (Some(before), false) => return Some(told(TYPES[2], &before.at_revision(*revision), partial)),
        };
        Some(self.lines[usize::from(partial)][seen_as].get_or_init(|| told(TYPES[seen_as], object, partial)).clone())
    }
}

fn line(event: &str, object: &impl serde::Serialize) -> Bytes {
    #[derive(serde::Serialize)]
    struct Line<'a, T> {
        r#type: &'a str,
        object: &'a T,
    }
    let mut bytes = serde_json::to_vec(&Line { r#type: event, object }).unwrap_or_default();
    bytes.push(b'\n');
    Bytes::from(bytes)
}

fn told(event: &str, object: &Object, partial: bool) -> Bytes {
    if partial { line(event, &reply::partial(object)) } else { line(event, object) }
}

fn expired(why: &str) -> Bytes {
    line("ERROR", &Status::expired(why).to_value())
}

/// A watch that is told at once that its revision is gone, and ends.
pub(super) fn gone() -> Response {
    reply::stream("application/json", futures::stream::iter([expired("too old resource version (injected)")]))
}

struct Watch {
    cluster: Cluster,
    faults: Faults,
    kind: &'static Kind,
    namespace: Option<String>,
    user: String,
    selector: Selector,
    bookmarks: bool,
    /// Whether it shows no more of objects than their metadata.
    partial: bool,
    /// Everything at or before it has been sent.
    revision: u64,
    ready: VecDeque<Bytes>,
    news: broadcast::Receiver<News>,
    faulty: watch::Receiver<u64>,
    /// The newest fault at the beginning.
    began: u64,
    ending: Ending,
    /// What is left of its time, and how much of that the timer waits for.
    left: Duration,
    step: Duration,
    timer: Ending,
    over: bool,
}

pub(super) fn open(ask: &Ask<'_>) -> Answer {
    let (kind, query, cluster, faults) = (ask.at.kind, &ask.query, &ask.api.cluster, &ask.api.faults);
    check(ask)?;
    let selector = query.selector(kind)?;
    let timeout = query.number("timeoutSeconds")?.filter(|n| *n > 0).unwrap_or(DEFAULT_TIMEOUT);
    let revision = parse_revision(query.get("resourceVersion").unwrap_or("0"));
    let revision = revision.map_err(|why| Status::new(500, "", why))?;
    let (bookmarks, initial) = (query.flag("allowWatchBookmarks"), query.flag("sendInitialEvents"));
    let mut watch = Watch {
        cluster: cluster.clone(),
        faults: faults.clone(),
        kind,
        namespace: ask.at.namespace.clone(),
        user: ask.user.name.clone(),
        selector,
        bookmarks,
        partial: reply::metadata_only(ask.headers),
        revision,
        ready: VecDeque::new(),
        news: ask.api.hub.subscribe(kind),
        faulty: faults.changed(),
        began: faults.newest(),
        ending: ask.api.ending(),
        left: Duration::from_secs(timeout.unsigned_abs()),
        step: Duration::ZERO,
        timer: Box::pin(std::future::pending()),
        over: false,
    };
    watch.set_timer();
    if initial || (revision == 0 && !query.has("sendInitialEvents")) {
        let (revision, objects) = cluster.objects(kind, ask.at.namespace.as_deref());
        let matching = objects.iter().filter(|object| watch.selector.matches(object));
        watch.ready.extend(matching.map(|object| told(TYPES[0], object, watch.partial)));
        watch.revision = revision;
        if initial && bookmarks {
            watch.bookmark(true);
        }
    } else if revision == 0 {
        watch.revision = cluster.revision();
    } else {
        watch.catch_up();
    }
    let lines = futures::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line, watch))
    });
    Ok(reply::stream("application/json", lines))
}

fn check(ask: &Ask<'_>) -> Result<(), Status> {
    let (query, field) = (&ask.query, "resourceVersionMatch");
    let (initial, matching) = (query.has("sendInitialEvents"), query.get(field));
    let mut causes = Vec::new();
    if !initial && matching.is_some() {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        causes.push(Cause::forbidden(field, why));
    } else if initial && matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        causes.push(Cause::forbidden(field, why));
        causes.extend(matching.map(|other| Cause::unsupported(field, &other.into(), &["NotOlderThan"])));
    }
    if causes.is_empty() { Ok(()) } else { Err(invalid_options("ListOptions", &causes)) }
}

impl Watch {
    /// The next line, or the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        while self.ready.is_empty() && !self.over {
            tokio::select! {
                biased;
                () = &mut self.ending => return None,
                _ = self.faulty.changed() => self.over = self.is_cut(),
                news = self.news.recv() => {
                    self.wait_while_held().await;
                    self.take(news.ok().flatten());
                    // What was missed meanwhile is no reason to stop: it is read from the store.
                    loop {
                        match self.news.try_recv() {
                            Ok(news) => self.take(news),
                            Err(TryRecvError::Lagged(_)) => self.catch_up(),
                            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
                        }
                    }
                }
                () = &mut self.timer => self.tick(),
            }
        }
        self.ready.pop_front()
    }

    /// What it sees of an event, or of what the store remembers where events are missing.
    fn take(&mut self, news: News) {
        let Some(told) = news else { return self.catch_up() };
        if told.event.revision > self.revision {
            self.revision = told.event.revision;
            self.ready.extend(told.seen(self.namespace.as_deref(), &self.selector, self.partial));
        }
    }

    fn catch_up(&mut self) {
        match self.cluster.since(self.kind, self.revision) {
            Ok((newest, changes)) => {
                for change in changes {
                    self.take(Some(Told::shared(change)));
                }
                self.revision = self.revision.max(newest);
            }
            Err(compacted) => {
                let why = format!("too old resource version: {} ({})", self.revision, compacted.oldest);
                self.ready.push_back(expired(&why));
                self.over = true;
            }
        }
    }

    fn facts(&self) -> [(Filter, &str); 4] {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        super::facts("watch", self.kind.plural, namespace, &self.user)
    }

    fn is_cut(&self) -> bool {
        self.faults.is_cut(self.began, &self.facts())
    }

    /// Waits as long as a fault holds its events back.
    async fn wait_while_held(&mut self) {
        while let Some(delay) = self.faults.staleness(&self.facts()).filter(|_| !self.over) {
            let clock = self.cluster.clock().clone();
            tokio::select! {
                () = &mut self.ending => self.over = true,
                _ = self.faulty.changed() => self.over = self.is_cut(),
                () = clock.sleep(delay) => return,
            }
        }
    }

    /// A minute from now, but two seconds before the end at the latest, and from then on every second.
    fn set_timer(&mut self) {
        let second = Duration::from_secs(1);
        let bookmark = BOOKMARK_PERIOD.min(self.left.saturating_sub(2 * second).max(second));
        self.step = if self.bookmarks { bookmark.min(self.left) } else { self.left };
        let (clock, step) = (self.cluster.clock().clone(), self.step);
        self.timer = Box::pin(async move { clock.sleep(step).await });
    }

    fn tick(&mut self) {
        self.left -= self.step;
        self.over = self.left.is_zero();
        if !self.over {
            // A bookmark promises that all before it was sent.
            self.catch_up();
            self.bookmark(false);
            self.set_timer();
        }
    }

    fn bookmark(&mut self, initial_end: bool) {
        let whole = (self.kind.kind, self.kind.api_version());
        let (kind, version) = if self.partial { ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()) } else { whole };
        let mut mark = json!({"kind": kind, "apiVersion": version, "metadata": {}});
        mark.put("metadata.resourceVersion", self.revision.to_string());
        if initial_end {
            mark.put("metadata.annotations", json!({"k8s.io/initial-events-end": "true"}));
        }
        self.ready.push_back(line("BOOKMARK", &mark));
    }
}
