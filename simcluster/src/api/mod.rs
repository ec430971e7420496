//! The Kubernetes API over HTTP: who asks what, and one answer for each.
//!
//! A request passes the same gates as on a real server, in this order: authentication, the path, the fault that a test
//! asked for, the parameters, then the verb's own file. What no file here serves is answered 501 with a Status that
//! names it.

mod body;
mod delete;
mod discovery;
mod patch;
mod path;
mod pod;
mod query;
mod read;
mod reply;
mod scale;
mod watch;
mod write;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Method, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Call,
    api::{
        path::{Address, Target},
        query::Query,
    },
    faults::{ApiFault, Faults},
    status::Status,
    store::Cluster,
};

/// The largest request body, as etcd's limit makes it on a real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// What the handlers need.
pub(crate) struct Api {
    pub cluster: Cluster,
    pub faults: Faults,
    pub token: String,
    pub cancel: CancellationToken,
    calls: Mutex<BTreeSet<Call>>,
}

/// One request for a resource, decoded as far as all verbs have it in common.
pub(crate) struct Ask<'a> {
    pub api: &'a Api,
    pub at: Address,
    pub verb: &'static str,
    pub query: Query,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
}

impl Ask<'_> {
    /// The namespace, empty where there is none.
    pub fn ns(&self) -> &str {
        self.at.namespace.as_deref().unwrap_or_default()
    }

    pub fn name(&self) -> &str {
        self.at.name.as_deref().unwrap_or_default()
    }

    /// The `fieldManager`, or the client's name from `User-Agent`.
    pub fn manager(&self) -> String {
        let agent = self.headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or("unknown");
        let agent = agent.split('/').next().unwrap_or(agent);
        self.query.get("fieldManager").unwrap_or(agent).to_owned()
    }
}

impl Api {
    pub fn new(cluster: Cluster, faults: Faults, token: String, cancel: CancellationToken) -> Self {
        Self { cluster, faults, token, cancel, calls: Mutex::default() }
    }

    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn record(&self, verb: &str, at: &Address) {
        let call = Call {
            verb: verb.to_owned(),
            group: at.kind.group.to_owned(),
            resource: at.kind.plural.to_owned(),
            subresource: at.subresource.clone(),
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).insert(call);
    }

    /// The path after authentication: by the bearer token, or by `/token/{token}` in front of the path, since kubectl
    /// sends no token over plain HTTP.
    fn authenticated<'a>(&self, headers: &HeaderMap, path: &'a str) -> Option<&'a str> {
        if let Some(rest) = path.strip_prefix("/token/") {
            return rest.strip_prefix(self.token.as_str()).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        }
        let shown = headers.get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).unwrap_or_default();
        shown.strip_prefix("Bearer ").filter(|token| *token == self.token).map(|_| path)
    }
}

/// Serves the API until cancelled; open watches end with it.
pub(crate) async fn serve(api: Arc<Api>, listener: TcpListener) {
    let cancelled = api.cancel.clone().cancelled_owned();
    let router = Router::new().fallback(handle).with_state(api);
    if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(cancelled).await {
        tracing::error!(%error, "the simulated API stopped serving");
    }
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    if matches!(Target::parse(parts.uri.path()), Target::Health) {
        return reply::text(200, "ok");
    }
    let Some(path) = api.authenticated(&parts.headers, parts.uri.path()) else {
        return Status::new(401, "Unauthorized", "Unauthorized").into();
    };
    let at = match Target::parse(path) {
        Target::Resource(at) => at,
        other => return discovery::answer(&other, &parts.method),
    };
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY).await else {
        return Status::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728").into();
    };
    let served = async {
        let query = Query::parse(parts.uri.query().unwrap_or_default())?;
        let verb = verb(&parts.method, &at, &query)?;
        reply::acceptable(&parts.headers)?;
        api.record(verb, &at);
        with_faults(&Ask { api: &api, at, verb, query, headers: &parts.headers, body }).await
    };
    served.await.unwrap_or_else(Response::from)
}

/// The verb as RBAC names it.
fn verb(method: &Method, at: &Address, query: &Query) -> Result<&'static str, Status> {
    let one = at.name.is_some();
    Ok(match *method {
        Method::GET if one => "get",
        Method::GET if query.flag("watch") => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT if one => "update",
        Method::PATCH if one => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE if !at.kind.is(&crate::resource::NAMESPACE) => "deletecollection",
        _ => return Err(reply::method_not_allowed()),
    })
}

async fn with_faults(ask: &Ask<'_>) -> Result<Response, Status> {
    let (kind, at) = (ask.at.kind, &ask.at);
    match ask.api.faults.api(ask.verb, kind.group, kind.plural, at.namespace.as_deref(), at.name.as_deref()) {
        Some(ApiFault::Latency(span)) => {
            ask.api.cluster.clock().sleep(span).await;
            dispatch(ask)
        }
        Some(ApiFault::Status(code)) => Err(reply::injected(code)),
        Some(ApiFault::StatusAfterEffect(code)) => {
            let _hidden = dispatch(ask);
            Err(reply::injected(code))
        }
        Some(ApiFault::DropWatch) if ask.verb == "watch" => Ok(reply::empty_stream()),
        None | Some(ApiFault::DropWatch) => dispatch(ask),
    }
}

fn dispatch(ask: &Ask<'_>) -> Result<Response, Status> {
    let at = &ask.at;
    if at.kind.is(&crate::resource::SELF_SUBJECT_ACCESS_REVIEW) {
        return write::access_review(ask);
    }
    match (ask.verb, at.subresource.as_str()) {
        (
            verb,
            sub @ ("attach"
            | "binding"
            | "ephemeralcontainers"
            | "exec"
            | "finalize"
            | "portforward"
            | "proxy"
            | "resize"
            | "token"),
        ) => Err(Status::not_implemented(format_args!("{verb} of {}/{sub}", at.kind.qualified()))),
        (_, sub) if !sub.is_empty() && !at.kind.has(sub) => Err(reply::unknown_resource()),
        ("get", "" | "status") => read::get(ask),
        ("list", "") => read::list(ask),
        ("watch", "") => watch::open(ask),
        ("create", "") => write::create(ask),
        ("update", "" | "status") => write::update(ask),
        ("patch", "" | "status") => patch::patch(ask),
        ("delete", "") => delete::one(ask),
        ("deletecollection", "") => delete::collection(ask),
        (verb, "scale") => scale::serve(ask, verb),
        ("get", "log") => pod::log(ask),
        ("create", "eviction") => pod::evict(ask),
        (verb, sub) => Err(Status::not_implemented(format_args!("{verb} of {}/{sub}", at.kind.qualified()))),
    }
}

/// An answer that is an object or a Status, with the warnings that belong to it.
pub(crate) type Answer = Result<Response, Status>;

impl From<Status> for Response {
    fn from(status: Status) -> Self {
        reply::status(&status)
    }
}
