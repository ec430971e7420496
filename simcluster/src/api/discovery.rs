//! What is not a resource: version, health, and the discovery documents that clients read to find the resources.

use serde_json::{Value, json};

use super::{Answer, reply};
use crate::{
    dig::Dig,
    resource::{self, Kind},
    status::Status,
};

pub(super) fn answer(steps: &[&str]) -> Answer {
    let body = match steps {
        ["healthz" | "livez" | "readyz", ..] => return Ok(reply::text(200, "ok")),
        ["openapi", ..] => return Err(Status::not_implemented("OpenAPI documents")),
        [] => json!({"paths": ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/version"]}),
        ["version"] => json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.2+sim1", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-07-01T00:00:00Z", "goVersion": "none", "compiler": "rustc", "platform": "linux/amd64",
        }),
        ["api"] => json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}),
        ["apis"] => {
            let mut groups: Vec<&str> = resource::ALL.iter().map(|k| k.group).filter(|g| !g.is_empty()).collect();
            groups.dedup();
            let groups: Vec<Value> = groups.into_iter().map(group).collect();
            json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
        }
        ["apis", name] if resource::ALL.iter().any(|kind| kind.group == *name) => {
            let mut body = group(name);
            body.put("kind", "APIGroup");
            body.put("apiVersion", "v1");
            body
        }
        ["api", version] if resource::has_group_version("", version) => resources("", version),
        ["apis", group, version] if resource::has_group_version(group, version) => resources(group, version),
        _ => return Ok(reply::text(404, "404 page not found\n")),
    };
    Ok(reply::object(200, &body))
}

fn group(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

fn resources(group: &str, version: &str) -> Value {
    let mut resources = Vec::new();
    for kind in resource::ALL.iter().filter(|kind| kind.group == group && kind.version == version) {
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

fn verbs(kind: &Kind) -> &'static [&'static str] {
    if kind.is(&resource::SELF_SUBJECT_ACCESS_REVIEW) {
        return &["create"];
    }
    &["create", "delete", "get", "list", "patch", "update", "watch"]
}

fn subresource(kind: &Kind, sub: &str) -> Value {
    let (shown, verbs): (_, &[&str]) = match sub {
        "scale" => ("Scale", &["get", "patch", "update"]),
        "eviction" => ("Eviction", &["create"]),
        "token" => ("TokenRequest", &["create"]),
        "log" => (kind.kind, &["get"]),
        _ => (kind.kind, &["get", "patch", "update"]),
    };
    let name = format!("{}/{sub}", kind.plural);
    let mut entry =
        json!({"name": name, "singularName": "", "namespaced": kind.namespaced, "kind": shown, "verbs": verbs});
    if sub == "scale" {
        entry.put("group", "autoscaling");
        entry.put("version", "v1");
    }
    entry
}
