//! Every shipped template, every plan, rendered and held against what the cluster and the customers rely on.

mod content;
mod fixture;
mod namespace;
mod objects;
mod pod;
mod pod_security;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::Value;

use super::{Rendered, task};
use fixture::Fixture;

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn pod_spec(rendered: &Rendered) -> PodSpec {
    rendered.stateful_set.spec.clone().unwrap().template.spec.unwrap()
}

fn tasks(fixture: &Fixture) -> Vec<Pod> {
    let input = fixture.input();
    let pods = [
        task::setup_pod(&input, 1).unwrap(),
        task::verify_pod(&input, 2).unwrap(),
    ];
    pods.into_iter().flatten().collect()
}

/// `(millicores, MiB)` out of a container's `requests` or `limits`.
fn amounts(container: &Container, of: &str) -> (u64, u64) {
    let resources = container.resources.as_ref().unwrap();
    let map = if of == "requests" {
        &resources.requests
    } else {
        &resources.limits
    };
    let text = |key: &str| map.as_ref().unwrap()[key].0.clone();
    let (cpu, memory) = (text("cpu"), text("memory"));
    let cpu = match cpu.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap(),
        None => cpu.parse::<u64>().unwrap() * 1000,
    };
    let memory = match (memory.strip_suffix("Mi"), memory.strip_suffix("Gi")) {
        (Some(mib), _) => mib.parse().unwrap(),
        (_, Some(gib)) => gib.parse::<u64>().unwrap() * 1024,
        _ => memory.parse().unwrap(),
    };
    (cpu, memory)
}

/// What the scheduler and the quota count for a pod: containers and sidecars together, or one init container with the
/// sidecars before it, whichever is more.
fn pod_amounts(pod: &PodSpec, of: &str) -> (u64, u64) {
    let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let (mut sidecars, mut peak) = ((0, 0), (0, 0));
    for container in pod.init_containers.iter().flatten() {
        let own = amounts(container, of);
        let now = add(sidecars, own);
        peak = (peak.0.max(now.0), peak.1.max(now.1));
        if container.restart_policy.is_some() {
            sidecars = now;
        }
    }
    let steady = pod
        .containers
        .iter()
        .fold(sidecars, |sum, container| add(sum, amounts(container, of)));
    (peak.0.max(steady.0), peak.1.max(steady.1))
}
