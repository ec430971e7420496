//! What is not a resource: version, health, and the discovery documents that clients read to find the resources.

use axum::response::Response;
use http::Method;
use serde_json::{Value, json};

use super::{path::Target, reply};
use crate::{
    resource::{self, Kind},
    status::Status,
};

pub(super) fn answer(target: &Target, method: &Method) -> Response {
    let body = match target {
        Target::Nothing => return reply::text(404, "404 page not found\n"),
        Target::UnknownResource => return reply::unknown_resource().into(),
        Target::OpenApi => return Status::not_implemented("OpenAPI documents").into(),
        _ if *method != Method::GET => return reply::method_not_allowed().into(),
        Target::Health | Target::Resource(_) => return reply::text(200, "ok"),
        Target::Root => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
        Target::Version => version(),
        Target::CoreVersions => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        Target::Groups => {
            let groups: Vec<Value> = groups().into_iter().map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        Target::Group(name) => {
            let mut body = group(name);
            body["kind"] = "APIGroup".into();
            body["apiVersion"] = "v1".into();
            body
        }
        Target::Resources(group, version) => resources(group, version),
    };
    reply::object(200, &body)
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": "v1.36.2+sim1", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "2026-07-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
    })
}

fn groups() -> Vec<&'static str> {
    let mut groups: Vec<&str> = resource::ALL.iter().map(|k| k.group).filter(|g| !g.is_empty()).collect();
    groups.dedup();
    groups
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in resource::ALL.iter().filter(|k| k.group == group && k.version == version) {
        let mut entry = json!({
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": verbs(kind), "shortNames": kind.short,
        });
        // What `kubectl get all` shows.
        if ["pods", "services", "statefulsets"].contains(&kind.plural) {
            entry["categories"] = json!(["all"]);
        }
        resources.push(entry);
        resources.extend(kind.subresources.iter().map(|sub| subresource(kind, sub)));
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": resources})
}

fn verbs(kind: &Kind) -> Vec<&'static str> {
    if kind.is(&resource::SELF_SUBJECT_ACCESS_REVIEW) {
        return vec!["create"];
    }
    let mut verbs = vec!["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
    if kind.is(&resource::NAMESPACE) {
        verbs.retain(|verb| *verb != "deletecollection");
    }
    verbs
}

fn subresource(kind: &Kind, sub: &str) -> Value {
    let name = format!("{}/{sub}", kind.plural);
    let entry = |kind: &str, verbs: &[&str]| json!({"name": name, "singularName": "", "namespaced": true, "kind": kind, "verbs": verbs});
    match sub {
        "scale" => {
            let mut entry = entry("Scale", &["get", "patch", "update"]);
            entry["group"] = "autoscaling".into();
            entry["version"] = "v1".into();
            entry
        }
        "eviction" => {
            let mut entry = entry("Eviction", &["create"]);
            entry["group"] = "policy".into();
            entry["version"] = "v1".into();
            entry
        }
        "log" => entry(kind.kind, &["get"]),
        _ => {
            let mut entry = entry(kind.kind, &["get", "patch", "update"]);
            entry["namespaced"] = kind.namespaced.into();
            entry
        }
    }
}
