//! The Kubernetes API over HTTP: who asks what, and one answer for each.
//!
//! A request passes the same gates as on a real server, in this order: authentication, authorisation, the path, the fault
//! that a test asked for, the parameters, then the verb's own file. What no file here serves is answered 501 with a Status
//! that names it.

mod admin;
mod body;
mod delete;
mod discovery;
mod log;
mod patch;
mod path;
mod query;
mod read;
mod reply;
mod watch;
mod write;

use std::{
    collections::BTreeSet,
    future::{Future, IntoFuture},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, Method, header};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    Call, Restart, Running, SimCluster,
    access::{self, User},
    api::{path::Address, query::Query},
    faults::{Fault, Faults, Filter, What},
    resource,
    status::Status,
    store::Cluster,
};

/// The largest request body, as etcd's limit makes it on a real server.
const MAX_BODY: usize = 3 * 1024 * 1024;

/// How long clients have to take what they were told when their connections end.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Parts of objects that a real server has.
const UNSERVED: [&str; 7] = ["attach", "binding", "ephemeralcontainers", "exec", "finalize", "portforward", "proxy"];

/// An answer that is an object or a Status, with the warnings that belong to it.
pub(crate) type Answer = Result<Response, Status>;

/// Comes when streams have to end.
type Ending = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What the handlers need.
pub(crate) struct Api {
    pub cluster: Cluster,
    pub faults: Faults,
    pub token: String,
    pub cancel: CancellationToken,
    /// Whose API it is.
    pub owner: OnceLock<Weak<Running>>,
    hub: watch::Hub,
    serving: Mutex<Serving>,
}

/// The state of the server process that the API plays.
#[derive(Default)]
struct Serving {
    calls: BTreeSet<Call>,
    /// What was answered 501.
    unserved: BTreeSet<String>,
    /// Cancelled when it restarts; then there is another one.
    connections: CancellationToken,
    /// What the restart that is under way was asked for.
    restart: Restart,
    unavailable_until: Option<Timestamp>,
}

/// One request for a resource, decoded as far as all verbs have it in common.
pub(crate) struct Ask<'a> {
    pub api: &'a Api,
    pub user: User,
    pub at: Address,
    pub verb: &'static str,
    pub query: Query,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
}

impl Ask<'_> {
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

/// What filters of faults are held against.
fn facts<'a>(verb: &'a str, resource: &'a str, namespace: &'a str, user: &'a str) -> [(Filter, &'a str); 4] {
    [(Filter::Verb, verb), (Filter::Resource, resource), (Filter::Namespace, namespace), (Filter::User, user)]
}

impl Api {
    pub fn new(cluster: Cluster, faults: Faults, token: String, cancel: CancellationToken) -> Self {
        let (owner, hub, serving) = (OnceLock::new(), watch::Hub::default(), Mutex::default());
        Self { cluster, faults, token, cancel, owner, hub, serving }
    }

    fn serving(&self) -> MutexGuard<'_, Serving> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn calls(&self) -> Vec<Call> {
        self.serving().calls.iter().cloned().collect()
    }

    pub fn unserved(&self) -> Vec<String> {
        self.serving().unserved.iter().cloned().collect()
    }

    fn simulator(&self) -> Option<SimCluster> {
        self.owner.get()?.upgrade().map(SimCluster)
    }

    /// Comes when the API ends or restarts.
    fn ending(&self) -> Ending {
        let (cancel, connections) = (self.cancel.clone(), self.serving().connections.clone());
        Box::pin(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = connections.cancelled() => {}
            }
        })
    }

    /// Cuts all connections, as a restart of the server does; what was stored stays.
    pub fn restart(&self, restart: Restart) {
        if restart.forget_history {
            // By the engine, which then has read it itself.
            self.faults.add(Fault::forget_history());
        }
        let mut serving = self.serving();
        let outage = Duration::from_millis(restart.refused_ms + restart.unavailable_ms);
        serving.unavailable_until = self.cluster.now().checked_add(outage).ok();
        serving.restart = restart;
        serving.connections.cancel();
    }

    fn is_unavailable(&self) -> bool {
        self.serving().unavailable_until.is_some_and(|until| self.cluster.now() < until)
    }
}

/// Serves the API, through restarts, until cancelled; open watches end with it.
pub(crate) async fn serve(api: Arc<Api>, listener: TcpListener) {
    let Ok(address) = listener.local_addr() else { return };
    let mut listener = Some(listener);
    while !api.cancel.is_cancelled() {
        let open = match listener.take() {
            Some(listener) => Ok(listener),
            None => TcpListener::bind(address).await,
        };
        let Ok(open) = open.inspect_err(|error| tracing::error!(%error, "the simulated API cannot listen again"))
        else {
            return;
        };
        let router = Router::new().fallback(handle).with_state(Arc::clone(&api));
        let (ending, ended) = (api.ending(), api.ending());
        let last_answers = async {
            ended.await;
            let _elapsed = tokio::time::timeout(LAST_ANSWERS, std::future::pending::<()>()).await;
        };
        tokio::select! {
            _ = axum::serve(open, router).with_graceful_shutdown(ending).into_future() => {}
            () = api.hub.pump(&api.cluster) => {}
            () = last_answers => {}
        }
        let refused = {
            let mut serving = api.serving();
            serving.connections = CancellationToken::new();
            Duration::from_millis(std::mem::take(&mut serving.restart).refused_ms)
        };
        tokio::select! {
            () = api.cancel.cancelled() => {}
            () = api.cluster.clock().sleep(refused) => {}
        }
    }
}

async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let connections = api.serving().connections.clone();
    tokio::select! {
        biased;
        () = connections.cancelled() => reply::broken(),
        answer = answer(&api, request) => answer.unwrap_or_else(|status| {
            if status.code == 501 {
                api.serving().unserved.insert(status.message.clone());
            }
            Response::from(status)
        }),
    }
}

async fn answer(api: &Api, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    // kubectl sends no token over plain HTTP, so that it may stand in front of the path.
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let (bearer, path) = match parts.uri.path().strip_prefix("/token/") {
        Some(rest) => rest.split_at(rest.find('/').unwrap_or(rest.len())),
        None => (header.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default(), parts.uri.path()),
    };
    let bearer = Some(bearer).filter(|bearer| !bearer.is_empty());
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    let user = access::authenticate(&api.cluster, &api.token, bearer)?;
    let too_large = Status::new(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    let body = axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| too_large)?;
    if let ["simcluster", steps @ ..] = steps.as_slice() {
        if !user.is_master() {
            let message = format!("forbidden: User \"{}\" cannot use path \"{path}\"", user.name);
            return Err(Status::new(403, "Forbidden", message));
        }
        return admin::answer(api, &parts.method, steps, &body).await;
    }
    if api.is_unavailable() {
        return Err(reply::injected(503));
    }
    let (headers, query) = (&parts.headers, Query::parse(&parts.uri));
    if headers.contains_key("impersonate-user") {
        return Err(Status::not_implemented("impersonation"));
    }
    let at = match Address::parse(&steps) {
        Ok(Some(at)) => at,
        other => {
            access::authorize_path(&user, &parts.method.as_str().to_ascii_lowercase(), path)?;
            other?;
            return if parts.method == Method::GET {
                discovery::answer(&steps)
            } else {
                Err(reply::method_not_allowed())
            };
        }
    };
    let verb = verb(&parts.method, &at, query.as_ref().is_ok_and(|query| query.flag("watch")))?;
    let asked = at.asked(verb);
    let allowed = access::authorize(&api.cluster, &user, &asked);
    api.serving().calls.insert(Call {
        user: user.name.clone(),
        verb: asked.verb,
        group: asked.group,
        resource: asked.resource,
        subresource: asked.subresource,
    });
    allowed?;
    reply::acceptable(headers)?;
    with_faults(&Ask { api, user, at, verb, query: query?, headers, body }).await
}

/// The verb as RBAC names it.
fn verb(method: &Method, at: &Address, is_watch: bool) -> Result<&'static str, Status> {
    let one = at.name.is_some();
    Ok(match *method {
        Method::GET if one => "get",
        Method::GET if is_watch => "watch",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT if one => "update",
        Method::PATCH if one => "patch",
        Method::DELETE if one => "delete",
        Method::DELETE if !at.kind.is(&resource::NAMESPACE) => return Err(Status::not_implemented("deletecollection")),
        _ => return Err(reply::method_not_allowed()),
    })
}

async fn with_faults(ask: &Ask<'_>) -> Answer {
    let part = ask.at.asked(ask.verb).part();
    let (latency, met) = ask.api.faults.request(&facts(ask.verb, &part, ask.ns(), &ask.user.name));
    if !latency.is_zero() {
        ask.api.cluster.clock().sleep(latency).await;
    }
    match met {
        Some(What::Status { code }) => Err(reply::injected(code)),
        Some(What::Throttled { retry_after }) => Err(Status { retry_after: Some(retry_after), ..reply::injected(429) }),
        Some(What::StatusAfterEffect { code }) => {
            let _hidden = dispatch(ask);
            Err(reply::injected(code))
        }
        Some(What::ConnectionLost) => {
            let _hidden = dispatch(ask);
            Ok(reply::broken())
        }
        Some(What::WatchDropped) => Ok(reply::stream("application/json", futures::stream::empty())),
        Some(What::WatchGone) => Ok(watch::gone()),
        _ => dispatch(ask),
    }
}

fn dispatch(ask: &Ask<'_>) -> Answer {
    let Ask { api, user, at, .. } = ask;
    // An apply that makes the object needs both rights.
    if ask.media_type() == patch::APPLY && api.cluster.get(at.kind, ask.ns(), ask.name()).is_none() {
        access::authorize(&api.cluster, user, &at.asked("create"))?;
    }
    let unserved = || Status::not_implemented(format_args!("{} of {}", ask.verb, at.asked("").part()));
    match (ask.verb, at.subresource.as_str()) {
        (_, sub) if UNSERVED.contains(&sub) => Err(unserved()),
        (_, sub) if !sub.is_empty() && !at.kind.has(sub) => Err(reply::unknown_resource()),
        ("create", "") if at.kind.is(&resource::SELF_SUBJECT_ACCESS_REVIEW) => write::access_review(ask),
        _ if at.kind.is(&resource::SELF_SUBJECT_ACCESS_REVIEW) => Err(reply::method_not_allowed()),
        ("get", "" | "status" | "resize") => read::get(ask),
        ("list", "") => read::list(ask),
        ("watch", "") => watch::open(ask),
        ("create", "") => write::create(ask),
        ("update", "" | "status" | "resize") => write::update(ask),
        ("patch", "" | "status" | "resize") => patch::patch(ask),
        ("delete", "") => delete::one(ask),
        (_, "scale") => write::scale(ask),
        ("get", "log") => log::read(ask),
        ("create", "eviction") => delete::evict(ask),
        ("create", "token") => write::token(ask),
        _ => Err(unserved()),
    }
}
