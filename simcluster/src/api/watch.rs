//! `watch`: a stream of changes as JSON lines, from a revision, from now, or with the present state first.
//!
//! A watch never misses a change: it reads the remembered changes after its last revision, and when those are forgotten
//! it says so with an ERROR event (410) and ends. With a selector, objects that come to match are ADDED and objects that
//! no longer match are DELETED, shown as they were with the new revision. Bookmarks come once a minute and in the last
//! seconds before the time-out.

use std::{collections::VecDeque, time::Duration};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Ask,
    query::invalid_options,
    read::parse_revision,
    reply::{self, Form},
};
use crate::{
    resource::Kind,
    selector::Selector,
    status::{Cause, Status},
    store::{Change, ChangeType, Cluster, Object},
};

/// As long as a real server lets a watch live that names no time-out.
const DEFAULT_TIMEOUT: i64 = 1_800;
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

struct Watch {
    cluster: Cluster,
    kind: &'static Kind,
    namespace: Option<String>,
    selector: Selector,
    form: Form,
    bookmarks: bool,
    /// Everything at or before it has been sent.
    revision: u64,
    ready: VecDeque<Bytes>,
    changed: watch::Receiver<u64>,
    epoch: watch::Receiver<u64>,
    cancel: CancellationToken,
    end: Instant,
    next_bookmark: Instant,
    over: bool,
}

pub(super) fn open(ask: &Ask<'_>) -> Answer {
    let (kind, query, cluster) = (ask.at.kind, &ask.query, &ask.api.cluster);
    check(ask)?;
    let selector = query.selector(kind)?;
    let timeout = query.number("timeoutSeconds")?.filter(|n| *n > 0).unwrap_or(DEFAULT_TIMEOUT);
    let end = tokio_now() + Duration::from_secs(timeout.unsigned_abs());
    let from = match query.get("resourceVersion") {
        None => 0,
        Some(text) => parse_revision(text).map_err(|why| Status::new(500, "", why))?,
    };
    let bookmarks = query.flag("allowWatchBookmarks");
    let mut watch = Watch {
        cluster: cluster.clone(),
        kind,
        namespace: ask.at.namespace.clone(),
        selector,
        form: reply::form(ask.headers),
        bookmarks,
        revision: from,
        ready: VecDeque::new(),
        changed: cluster.changed(),
        epoch: ask.api.faults.watch_epoch(),
        cancel: ask.api.cancel.clone(),
        end,
        next_bookmark: end.min(tokio_now() + BOOKMARK_PERIOD),
        over: false,
    };
    watch.plan_bookmark();
    let initial = query.flag("sendInitialEvents");
    if initial || (from == 0 && !query.has("sendInitialEvents")) {
        watch.show_present();
        if initial && bookmarks {
            watch.bookmark(true);
        }
    } else if from == 0 {
        watch.revision = cluster.revision();
    }
    Ok(reply::stream(futures::stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((line, watch))
    })))
}

/// Time-outs of connections are real time, whatever the cluster's clock says.
#[allow(clippy::disallowed_methods, reason = "a connection's time-out, not the cluster's time")]
fn tokio_now() -> Instant {
    Instant::now()
}

fn check(ask: &Ask<'_>) -> Result<(), Status> {
    let (query, field) = (&ask.query, "resourceVersionMatch");
    let causes = match (query.has("sendInitialEvents"), query.get(field)) {
        (false, None) | (true, Some("NotOlderThan")) => return Ok(()),
        (false, Some(_)) => {
            vec![Cause::forbidden(
                field,
                "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
            )]
        }
        (true, other) => {
            let mut causes = vec![Cause::forbidden(
                field,
                "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
            )];
            causes.extend(other.map(|other| Cause::unsupported(field, &other.into(), &["NotOlderThan"])));
            causes
        }
    };
    Err(invalid_options("ListOptions", &causes))
}

impl Watch {
    /// The next line, or the end of the stream.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            self.changed.mark_unchanged();
            self.catch_up();
            if !self.ready.is_empty() || self.over {
                continue;
            }
            let wake = self.end.min(if self.bookmarks { self.next_bookmark } else { self.end });
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return None,
                _ = self.epoch.changed() => return None,
                _ = self.changed.changed() => {}
                () = tokio::time::sleep_until(wake) => {
                    if wake >= self.end {
                        return None;
                    }
                    self.bookmark(false);
                    self.plan_bookmark();
                }
            }
        }
    }

    /// Reads what has changed since the last revision into `ready`.
    fn catch_up(&mut self) {
        match self.cluster.since(self.kind, self.revision) {
            Ok((newest, changes)) => {
                for change in &changes {
                    if let Some((event, object)) = self.seen(change) {
                        self.send(event, &object);
                    }
                }
                self.revision = self.revision.max(newest);
            }
            Err(compacted) => {
                let message = format!("too old resource version: {} ({})", self.revision, compacted.oldest);
                let line = json!({"type": "ERROR", "object": Status::expired(message).to_value()});
                self.ready.push_back(line_of(&line));
                self.over = true;
            }
        }
    }

    /// How this watch sees a change, if at all.
    fn seen(&self, change: &Change) -> Option<(&'static str, Object)> {
        let mine = |object: &Value| {
            let home = object["metadata"]["namespace"].as_str();
            self.namespace.is_none() || self.namespace.as_deref() == home
        };
        if !mine(&change.object) {
            return None;
        }
        let before = change.previous.as_ref().filter(|object| self.selector.matches(object));
        let now = change.change != ChangeType::Deleted && self.selector.matches(&change.object);
        match (before, now) {
            (None, false) => None,
            (None, true) => Some(("ADDED", change.object.clone())),
            (Some(_), true) => Some(("MODIFIED", change.object.clone())),
            (Some(_), false) if change.change == ChangeType::Deleted => Some(("DELETED", change.object.clone())),
            (Some(before), false) => Some(("DELETED", before.at_revision(change.revision))),
        }
    }

    fn show_present(&mut self) {
        let (revision, objects) = self.cluster.objects(self.kind, self.namespace.as_deref());
        for object in &objects {
            if self.selector.matches(object) {
                self.send("ADDED", object);
            }
        }
        self.revision = revision;
    }

    fn send(&mut self, event: &'static str, object: &Object) {
        #[derive(serde::Serialize)]
        struct Line<'a, T> {
            r#type: &'static str,
            object: &'a T,
        }
        let line = match self.form {
            Form::Whole => line_of(&Line { r#type: event, object }),
            Form::MetadataOnly => line_of(&Line { r#type: event, object: &reply::partial(object) }),
        };
        self.ready.push_back(line);
    }

    fn bookmark(&mut self, initial_end: bool) {
        let (kind, api_version) = match self.form {
            Form::Whole => (self.kind.kind, self.kind.api_version()),
            Form::MetadataOnly => ("PartialObjectMetadata", "meta.k8s.io/v1".to_owned()),
        };
        let mut metadata = json!({"resourceVersion": self.revision.to_string()});
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": kind, "apiVersion": api_version, "metadata": metadata});
        self.ready.push_back(line_of(&json!({"type": "BOOKMARK", "object": object})));
    }

    /// A minute from now, but two seconds before the end at the latest, and from then on every second.
    fn plan_bookmark(&mut self) {
        let now = tokio_now();
        let last_seconds = self.end.checked_sub(Duration::from_secs(2)).unwrap_or(now);
        let soon = now + Duration::from_secs(1);
        self.next_bookmark = (now + BOOKMARK_PERIOD).min(last_seconds.max(soon));
    }
}

fn line_of(line: &impl serde::Serialize) -> Bytes {
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    Bytes::from(bytes)
}
