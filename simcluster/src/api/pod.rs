//! What only pods have: logs and eviction.

use std::fmt::Write as _;

use axum::body::Body;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Answer, Ask, body, delete, query::Query, reply};
use crate::{
    logs::Line,
    resource::{self, Kind},
    status::{Cause, Status},
    store::key,
};

/// `pods/{name}/log`: what the kubelet kept of a container's output. Following a log is not supported.
pub(super) fn log(ask: &Ask<'_>) -> Answer {
    let wanted = Wanted::parse(ask)?;
    let pod = ask.api.cluster.get(&resource::POD, ask.ns(), ask.name());
    let pod = pod.ok_or_else(|| Status::not_found(&resource::POD, ask.name()))?;
    let container = chosen(&pod, ask)?;
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        let mut response = reply::with_type(204, "text/plain", Body::empty());
        response.headers_mut().remove(http::header::CONTENT_TYPE);
        return Ok(response);
    }
    let previous = ask.query.flag("previous");
    started(&pod, &container, previous)?;
    let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
    let lines = ask.api.cluster.logs().read(uid, &container, previous).unwrap_or_default();
    Ok(reply::with_type(200, "text/plain", Body::from(wanted.text(&lines, ask.api.cluster.now()))))
}

struct Wanted {
    tail: Option<usize>,
    bytes: Option<usize>,
    since: Option<i64>,
    timestamps: bool,
}

impl Wanted {
    fn parse(ask: &Ask<'_>) -> Result<Self, Status> {
        let query = &ask.query;
        if query.flag("follow") {
            return Err(Status::not_implemented("following a log"));
        }
        if query.has("sinceTime") {
            return Err(Status::not_implemented("the parameter sinceTime"));
        }
        let tail = bounded(ask, "tailLines", 0, "must be greater than or equal to 0")?;
        let bytes = bounded(ask, "limitBytes", 1, "must be greater than 0")?;
        let since = bounded(ask, "sinceSeconds", 1, "must be greater than 0")?;
        let size = |n: i64| usize::try_from(n).unwrap_or(usize::MAX);
        Ok(Self { tail: tail.map(size), bytes: bytes.map(size), since, timestamps: query.flag("timestamps") })
    }

    fn text(&self, lines: &[Line], now: Timestamp) -> String {
        let from = self.since.and_then(|s| now.checked_sub(SignedDuration::from_secs(s)).ok());
        let lines: Vec<&Line> = lines.iter().filter(|line| from.is_none_or(|from| line.at >= from)).collect();
        let skip = self.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        let mut text = String::new();
        for line in lines.into_iter().skip(skip) {
            if self.timestamps {
                let _infallible = write!(text, "{} ", line.at.strftime("%Y-%m-%dT%H:%M:%S.%9fZ"));
            }
            text.push_str(&line.text);
            text.push('\n');
        }
        if let Some(limit) = self.bytes.filter(|limit| *limit < text.len()) {
            text.truncate((0..=limit).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0));
        }
        text
    }
}

fn bounded(ask: &Ask<'_>, name: &str, least: i64, why: &str) -> Result<Option<i64>, Status> {
    let query: &Query = &ask.query;
    let Some(number) = query.number(name)? else {
        return Ok(None);
    };
    if number >= least {
        return Ok(Some(number));
    }
    let options = Kind {
        group: "",
        version: "v1",
        kind: "PodLogOptions",
        plural: "",
        singular: "",
        short: &[],
        namespaced: true,
        has_generation: false,
        subresources: &[],
    };
    Err(Status::invalid(&options, ask.name(), &[Cause::invalid(name, &number.into(), why)]))
}

fn names(pod: &Value, field: &str) -> Vec<String> {
    let containers = pod["spec"][field].as_array().map(Vec::as_slice).unwrap_or_default();
    containers.iter().filter_map(|c| c["name"].as_str()).map(ToOwned::to_owned).collect()
}

fn chosen(pod: &Value, ask: &Ask<'_>) -> Result<String, Status> {
    let (main, init) = (names(pod, "containers"), names(pod, "initContainers"));
    let pod = ask.name();
    match (ask.query.get("container"), main.as_slice()) {
        (Some(wanted), _) if main.iter().chain(&init).any(|name| name == wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => Err(Status::bad_request(format!("container {wanted} is not valid for pod {pod}"))),
        (None, [one]) => Ok(one.clone()),
        (None, many) => {
            let mut message =
                format!("a container name must be specified for pod {pod}, choose one of: [{}]", many.join(" "));
            if !init.is_empty() {
                let _infallible = write!(message, " or one of the init containers: [{}]", init.join(" "));
            }
            Err(Status::bad_request(message))
        }
    }
}

/// Refuses as a kubelet does while the container has nothing to show.
fn started(pod: &Value, container: &str, previous: bool) -> Result<(), Status> {
    let statuses = ["containerStatuses", "initContainerStatuses"];
    let all = statuses.iter().filter_map(|field| pod["status"][field].as_array()).flatten();
    let status = all.into_iter().find(|status| status["name"] == container).unwrap_or(&Value::Null);
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    if previous {
        return if status["lastState"]["terminated"].is_object() {
            Ok(())
        } else {
            let message = format!("previous terminated container \"{container}\" in pod \"{name}\" not found");
            Err(Status::bad_request(message))
        };
    }
    let ran = status["state"]["running"].is_object()
        || status["state"]["terminated"].is_object()
        || status["lastState"]["terminated"].is_object();
    if ran {
        return Ok(());
    }
    let why = match status["state"]["waiting"]["reason"].as_str() {
        Some("ImagePullBackOff" | "ErrImagePull") => "trying and failing to pull image",
        Some(reason) => reason,
        None => "ContainerCreating",
    };
    let message = format!("container \"{container}\" in pod \"{name}\" is waiting to start: {why}");
    Err(Status::bad_request(message))
}

/// `pods/{name}/eviction`: a deletion, since there are no disruption budgets here.
pub(super) fn evict(ask: &Ask<'_>) -> Answer {
    let eviction = body::parse(&ask.body, "error decoding Eviction")?;
    if eviction["kind"].as_str().is_some_and(|kind| kind != "Eviction") {
        return Err(Status::bad_request("the body of an eviction must be an Eviction"));
    }
    if eviction["metadata"]["name"].as_str().is_some_and(|name| name != ask.name()) {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let empty = json!({});
    let options = delete::parse(ask, eviction.get("deleteOptions").unwrap_or(&empty))?;
    let key = key(&resource::POD, ask.ns(), ask.name());
    ask.api.cluster.transact(|state| state.delete(&resource::POD, &key, &options))?;
    let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201});
    Ok(reply::object(201, &body))
}
