//! `pods/{name}/log`: what the kubelet kept of a container's output, and with `follow` what it goes on to write until the
//! container ends. Not supported: `sinceTime` and `limitBytes`.

use std::{collections::VecDeque, fmt::Write as _};

use axum::body::{Body, Bytes};
use jiff::SignedDuration;
use serde_json::Value;
use tokio::sync::watch;

use super::{Answer, Ask, Ending, query::unserved, reply};
use crate::{
    dig::Dig,
    logs::Line,
    resource,
    status::{Cause, Status},
    store::Cluster,
};

pub(super) fn read(ask: &Ask<'_>) -> Answer {
    let (query, cluster) = (&ask.query, &ask.api.cluster);
    let tail = bounded(ask, "tailLines", 0, "must be greater than or equal to 0")?;
    let since = bounded(ask, "sinceSeconds", 1, "must be greater than 0")?;
    let pod = cluster.get(&resource::POD, ask.ns(), ask.name());
    let pod = pod.ok_or_else(|| Status::not_found(&resource::POD, ask.name()))?;
    let container = chosen(&pod, query.get("container"))?;
    if pod.text("spec.nodeName").is_empty() {
        let mut response = reply::text(204, Body::empty());
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        return Ok(response);
    }
    let (previous, timestamps) = (query.flag("previous"), query.flag("timestamps"));
    started(&pod, &container, previous)?;
    // Subscribed before the first look, so that nothing is missed in between.
    let (logs, pods) = (cluster.logs().changed(), cluster.changed());
    let uid = pod.text("metadata.uid").to_owned();
    let (gone, mut lines) = cluster.logs().numbered(&uid, &container, previous).unwrap_or_default();
    let seen = gone + lines.len();
    if let Some(from) = since.and_then(|seconds| cluster.now().checked_sub(SignedDuration::from_secs(seconds)).ok()) {
        lines.retain(|line| line.at >= from);
    }
    let tail = tail.and_then(|tail| usize::try_from(tail).ok()).unwrap_or(usize::MAX);
    lines.drain(..lines.len().saturating_sub(tail));
    let text = text(&lines, timestamps);
    if !query.flag("follow") || previous {
        return Ok(reply::with_type(200, "text/plain", Body::from(text)));
    }
    let (cluster, place, first) = (cluster.clone(), (ask.ns().to_owned(), ask.name().to_owned()), Some(text));
    let ending = ask.api.ending();
    let follower = Follower { cluster, place, uid, container, timestamps, first, seen, logs, pods, ending };
    let parts = futures::stream::unfold(follower, |mut follower| async move {
        let part = follower.next().await?;
        Some((Bytes::from(part), follower))
    });
    Ok(reply::stream("text/plain", parts))
}

struct Follower {
    cluster: Cluster,
    place: (String, String),
    uid: String,
    container: String,
    timestamps: bool,
    first: Option<String>,
    /// How many of the container's lines have been shown or left out.
    seen: usize,
    logs: watch::Receiver<()>,
    pods: watch::Receiver<u64>,
    ending: Ending,
}

impl Follower {
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        loop {
            let pod = self.cluster.get(&resource::POD, &self.place.0, &self.place.1);
            let runs = pod.is_some_and(|pod| status_of(&pod, &self.container).has("state.running"));
            let log = self.cluster.logs().numbered(&self.uid, &self.container, false);
            let (gone, lines) = log.unwrap_or_else(|| (self.seen, VecDeque::new()));
            // Another run has begun.
            let new: VecDeque<Line> = lines.into_iter().skip(self.seen.checked_sub(gone)?).collect();
            if !new.is_empty() {
                self.seen += new.len();
                return Some(text(&new, self.timestamps));
            }
            if !runs {
                return None;
            }
            tokio::select! {
                () = &mut self.ending => return None,
                _ = self.logs.changed() => {}
                _ = self.pods.changed() => {}
            }
        }
    }
}

fn text(lines: &VecDeque<Line>, timestamps: bool) -> String {
    let mut text = String::new();
    for line in lines {
        if timestamps {
            let _infallible = write!(text, "{} ", line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"));
        }
        text.push_str(&line.text);
        text.push('\n');
    }
    text
}

fn bounded(ask: &Ask<'_>, name: &str, least: i64, why: &str) -> Result<Option<i64>, Status> {
    match ask.query.number(name)? {
        Some(number) if number < least => {
            let cause = Cause::invalid(name, &number.into(), why);
            Err(Status::invalid(&unserved("", "PodLogOptions", ""), ask.name(), &[cause]))
        }
        number => Ok(number),
    }
}

fn chosen(pod: &Value, wanted: Option<&str>) -> Result<String, Status> {
    let names = |field: &str| pod.items(field).iter().map(|spec| spec.text("name")).collect::<Vec<_>>();
    let (main, pod_name) = (names("spec.containers"), pod.text("metadata.name"));
    match (wanted, main.as_slice()) {
        (Some(wanted), _) if main.contains(&wanted) || names("spec.initContainers").contains(&wanted) => {
            Ok(wanted.to_owned())
        }
        (Some(wanted), _) => Err(Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}"))),
        (None, [one]) => Ok((*one).to_owned()),
        (None, many) => {
            let many = many.join(" ");
            let why = format!("a container name must be specified for pod {pod_name}, choose one of: [{many}]");
            Err(Status::bad_request(why))
        }
    }
}

fn status_of<'a>(pod: &'a Value, container: &str) -> &'a Value {
    let lists = ["status.containerStatuses", "status.initContainerStatuses"];
    let mut all = lists.into_iter().flat_map(|list| pod.items(list));
    all.find(|status| status.text("name") == container).unwrap_or(&Value::Null)
}

/// Refuses as a kubelet does while the container has nothing to show.
fn started(pod: &Value, container: &str, previous: bool) -> Result<(), Status> {
    let (status, name) = (status_of(pod, container), pod.text("metadata.name"));
    let runs_or_ran = ["state.running", "state.terminated"].into_iter().any(|state| status.has(state));
    if status.has("lastState.terminated") || !previous && runs_or_ran {
        return Ok(());
    }
    if previous {
        let message = format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
        return Err(Status::bad_request(message));
    }
    let why = match status.text("state.waiting.reason") {
        "ImagePullBackOff" | "ErrImagePull" => "trying and failing to pull image",
        "" => "ContainerCreating",
        reason => reason,
    };
    Err(Status::bad_request(format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}")))
}
