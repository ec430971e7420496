//! Timings, in microseconds.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::stream::{StreamExt, TryStreamExt};
use lumbung::telemetry::Stopwatch;
use lumbung_bench::watch::Timing;
use serde_json::{Value, json};
use simcluster::resource;

use crate::stage::{Client, Stage};

/// Only a namespace for how rows are printed.
pub struct Figures;

/// `GET path`, again and again; every answer must be a success.
pub async fn requests(client: &Client, path: &str, count: usize) -> anyhow::Result<Timing> {
    let mut samples = Vec::with_capacity(count);
    for _ in 0..count {
        let watch = Stopwatch::start();
        client.get(path).await?;
        samples.push(watch.elapsed());
    }
    Ok(Timing::of(samples))
}

/// What orders took, from the moment the request was sent.
pub struct Orders {
    pub answered: Timing,
    pub applied: Timing,
    pub running: Timing,
}

/// Orders as one customer, `width` at a time.
pub async fn orders(stage: &Stage, count: usize, width: usize) -> anyhow::Result<Orders> {
    let samples: Vec<_> = futures::stream::iter(0..count)
        .map(|n| order(stage, format!("{width}-{n}")))
        .buffer_unordered(width)
        .try_collect()
        .await?;
    let pick = |which: fn(&Sample) -> Duration| Timing::of(samples.iter().map(which));
    Ok(Orders {
        answered: pick(|s| s.answered),
        applied: pick(|s| s.applied),
        running: pick(|s| s.running),
    })
}

struct Sample {
    answered: Duration,
    applied: Duration,
    running: Duration,
}

async fn order(stage: &Stage, key: String) -> anyhow::Result<Sample> {
    let body = json!({"service": "linkding", "plan": stage.plan, "inputs": {}});
    let watch = Stopwatch::start();
    let accepted = stage.customer.post_once(&key, "/api/v1/orders", &body).await?;
    let answered = watch.elapsed();
    let instance = accepted["instance_id"].as_str().context("an instance")?.to_owned();
    let cluster = stage.cluster.cluster();
    let mut changed = cluster.changed();
    let ours = |object: &Arc<Value>| object["metadata"]["labels"]["lumbung.dev/instance"] == instance.as_str();
    let applied = loop {
        if cluster.list(&resource::STATEFUL_SET, None).iter().any(ours) {
            break watch.elapsed();
        }
        changed.changed().await?;
    };
    let running = loop {
        if cluster.list(&resource::INGRESS, None).iter().any(ours) {
            break watch.elapsed();
        }
        changed.changed().await?;
    };
    Ok(Sample {
        answered,
        applied,
        running,
    })
}

/// What the cluster alone takes for the objects that one order makes: the same client, no control plane.
pub async fn bare_writes(stage: &Stage, count: usize) -> anyhow::Result<Timing> {
    use kube::api::{Api, DynamicObject, Patch, PatchParams};
    use kube::core::{ApiResource, GroupVersionKind};
    let apply = |group: &'static str, kind: &'static str, name: String, body: Value| {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        let api: Api<DynamicObject> = Api::namespaced_with(stage.kube.clone(), "default", &resource);
        async move {
            api.patch(&name, &PatchParams::apply("bench"), &Patch::Apply(body))
                .await
        }
    };
    let mut samples = Vec::with_capacity(count);
    for n in 0..count {
        let name = format!("bare-{n}");
        let head = |api: &str, kind: &str| json!({"apiVersion": api, "kind": kind, "metadata": {"name": name}});
        let mut secret = head("v1", "Secret");
        secret["data"] = json!({"password": "c2VjcmV0"});
        let mut claim = head("v1", "PersistentVolumeClaim");
        claim["spec"] = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let mut service = head("v1", "Service");
        service["spec"] = json!({"selector": {"app": name}, "ports": [{"port": 80}]});
        let mut set = head("apps/v1", "StatefulSet");
        set["spec"] = json!({"replicas": 0, "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "c:1"}]}}});
        let watch = Stopwatch::start();
        for (group, kind, body) in [
            ("", "Secret", secret),
            ("", "PersistentVolumeClaim", claim),
            ("", "Service", service),
            ("apps", "StatefulSet", set),
        ] {
            apply(group, kind, name.clone(), body).await?;
        }
        samples.push(watch.elapsed());
    }
    ensure!(!samples.is_empty(), "nothing was measured");
    Ok(Timing::of(samples))
}
