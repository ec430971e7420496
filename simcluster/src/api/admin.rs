//! `/simcluster`: the simulator's own API beside that of Kubernetes, for the admin's token only: what is in the cluster,
//! its faults, restarts of the API, the manual clock, and what containers use.

use std::time::Duration;

use axum::body::{Body, Bytes};
use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{Answer, Api, reply};
use crate::{Restart, SimCluster, faults::Fault, resource, status::Status};

#[derive(Serialize)]
struct Listed {
    id: u64,
    #[serde(flatten)]
    fault: Fault,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u64,
}

pub(super) async fn answer(api: &Api, method: &Method, steps: &[&str], body: &Bytes) -> Answer {
    let (sim, faults) = (api.simulator().ok_or_else(|| reply::injected(503))?, &api.faults);
    let done = json!({});
    let (code, body) = match (method.as_str(), steps) {
        ("GET", []) => (200, overview(&sim)),
        ("GET", ["metrics"]) => {
            return Ok(reply::with_type(200, "text/plain; version=0.0.4", Body::from(sim.metrics())));
        }
        ("GET", ["faults"]) => {
            let all = faults.list().into_iter().map(|(id, fault)| json!(Listed { id, fault })).collect();
            (200, all)
        }
        ("POST", ["faults"]) => (201, json!({"id": faults.add(parse(body)?)})),
        ("DELETE", ["faults"]) => {
            faults.clear();
            (200, done)
        }
        ("DELETE", ["faults", id]) if id.parse().is_ok_and(|id| faults.remove(id)) => (200, done),
        ("POST", ["restart"]) => {
            sim.restart_api(parse::<Restart>(body)?);
            (202, done)
        }
        ("POST", ["advance"]) => {
            sim.advance(Duration::from_secs(parse::<Advance>(body)?.seconds)).await;
            (200, json!({"now": api.cluster.now().to_string()}))
        }
        _ => return Err(reply::unknown_resource()),
    };
    Ok(reply::object(code, &body))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Status> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Status::bad_request(error.to_string()))
}

fn overview(sim: &SimCluster) -> Value {
    let count = |kind: &'static resource::Kind| (kind.qualified(), Value::from(sim.cluster().list(kind, None).len()));
    let objects: Map<String, Value> = resource::ALL.iter().map(|kind| count(kind)).collect();
    let (revision, now) = (sim.cluster().revision(), sim.cluster().now().to_string());
    let (corruptions, unserved) = (sim.corruptions(), sim.unserved());
    json!({"revision": revision, "now": now, "objects": objects, "corruptions": corruptions, "unserved": unserved})
}
