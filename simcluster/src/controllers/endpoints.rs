//! EndpointSlices: one per Service with a selector, with the addresses of its pods.

use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    events::fnv1a,
    view::{condition_is_true, is_deleting, is_terminal, list, node_of, uid},
};
use crate::{
    resource::{self, ENDPOINT_SLICE as SLICE},
    store::{DeleteOptions, Key},
};

const WHO: &str = "endpointslice-controller";

/// Keys are services.
pub(super) struct Endpoints;

impl Controller for Endpoints {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&resource::SERVICE) {
            queue.add(seen.key.clone());
        } else if seen.is(&resource::POD) {
            let shown = |pod: Option<&std::sync::Arc<Value>>| {
                pod.map(|pod| {
                    let (labels, ip) = (pod["metadata"]["labels"].clone(), pod["status"]["podIP"].clone());
                    (labels, ip, condition_is_true(pod, "Ready"), is_deleting(pod), is_terminal(pod))
                })
            };
            if shown(seen.old) == shown(seen.new) {
                return;
            }
            let concerns =
                |service: &Value| [seen.old, seen.new].into_iter().flatten().any(|pod| selects(service, pod));
            let services = view.in_namespace(&resource::SERVICE, &seen.key.0);
            services.filter(|(_, service)| concerns(service)).for_each(|(key, _)| queue.add(key.clone()));
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, _queue: &mut Queue) {
        let name = format!("{}-{:05x}", key.1, fnv1a(&[&key.0, &key.1]) & 0xf_ffff);
        let service = ctx.view.get(&resource::SERVICE, &key.0, &key.1);
        let Some(service) = service.filter(|service| service["spec"]["selector"].is_object()) else {
            if ctx.cluster.get(&SLICE, &key.0, &name).is_some() {
                let _ = ctx.cluster.delete(&SLICE, &key.0, &name, &DeleteOptions::default());
            }
            return;
        };
        let (endpoints, ports) = (endpoints(ctx.view, &key.0, service), ports(service));
        if ctx.cluster.get(&SLICE, &key.0, &name).is_some() {
            let _ = ctx.cluster.update(&SLICE, &key.0, &name, WHO, |slice| {
                slice["endpoints"] = endpoints;
                slice["ports"] = ports;
            });
            return;
        }
        let slice = json!({
            "metadata": {
                "name": name,
                "labels": {
                    "kubernetes.io/service-name": key.1,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "name": key.1, "uid": uid(service),
                    "controller": true, "blockOwnerDeletion": true,
                }],
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        });
        let _ = ctx.cluster.create(&SLICE, &key.0, slice, WHO);
    }
}

fn selects(service: &Value, pod: &Value) -> bool {
    let selector = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty());
    selector.is_some_and(|selector| selector.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value))
}

fn endpoints(view: &View, ns: &str, service: &Value) -> Value {
    let pods = view.in_namespace(&resource::POD, ns).map(|(_, pod)| pod);
    let serving = pods.filter(|pod| selects(service, pod) && !is_terminal(pod) && pod["status"]["podIP"].is_string());
    let endpoint = |pod: &std::sync::Arc<Value>| {
        let (serving, terminating) = (condition_is_true(pod, "Ready"), is_deleting(pod));
        json!({
            "addresses": [pod["status"]["podIP"]],
            "conditions": {"ready": serving && !terminating, "serving": serving, "terminating": terminating},
            "nodeName": node_of(pod),
            "targetRef": {"kind": "Pod", "namespace": ns, "name": pod["metadata"]["name"], "uid": uid(pod)},
        })
    };
    serving.map(endpoint).collect()
}

fn ports(service: &Value) -> Value {
    let port = |port: &Value| {
        let number = if port["targetPort"].is_u64() { &port["targetPort"] } else { &port["port"] };
        json!({
            "name": port["name"].as_str().unwrap_or_default(), "protocol": port["protocol"].as_str().unwrap_or("TCP"),
            "port": number,
        })
    };
    list(&service["spec"]["ports"]).iter().map(port).collect()
}
