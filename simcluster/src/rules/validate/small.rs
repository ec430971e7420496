//! Kinds with few rules: services, ingresses, network policies, config maps, secrets.

use serde_json::{Value, json};

use super::{list, names, port};
use crate::status::Cause;

pub(super) fn service(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    let known = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    if !spec["type"].as_str().is_some_and(|kind| known.contains(&kind)) {
        causes.push(Cause::unsupported("spec.type", &spec["type"], &known));
    }
    if let Some(old) = old
        && old["spec"]["type"] == spec["type"]
        && old["spec"]["clusterIP"] != spec["clusterIP"]
    {
        causes.push(Cause::invalid("spec.clusterIPs[0]", &json!([spec["clusterIP"]]), "may not change once set"));
    }
    if list(spec, "ports").is_empty() && spec["clusterIP"] != "None" && spec["type"] != "ExternalName" {
        causes.push(Cause::required("spec.ports", ""));
    }
    for (at, entry) in list(spec, "ports").iter().enumerate() {
        let here = format!("spec.ports[{at}]");
        if list(spec, "ports").len() > 1 && entry["name"].as_str().unwrap_or_default().is_empty() {
            causes.push(Cause::required(format!("{here}.name"), ""));
        }
        port(format!("{here}.port"), &entry["port"], causes);
        if !["SCTP", "TCP", "UDP"].iter().any(|protocol| entry["protocol"] == *protocol) {
            causes.push(Cause::unsupported(format!("{here}.protocol"), &entry["protocol"], &["SCTP", "TCP", "UDP"]));
        }
        if entry["targetPort"].is_number() {
            port(format!("{here}.targetPort"), &entry["targetPort"], causes);
        }
    }
}

pub(super) fn ingress(spec: &Value, causes: &mut Vec<Cause>) {
    if list(spec, "rules").is_empty() && !spec["defaultBackend"].is_object() {
        causes.push(Cause::invalid("spec", &json!([]), "either `defaultBackend` or `rules` must be specified"));
    }
    for (at, rule) in list(spec, "rules").iter().enumerate() {
        let here = format!("spec.rules[{at}]");
        if let Some(host) = rule["host"].as_str() {
            causes.extend(names::subdomain(&format!("{here}.host"), host.strip_prefix("*.").unwrap_or(host)));
        }
        for (at, path) in list(&rule["http"], "paths").iter().enumerate() {
            let here = format!("{here}.http.paths[{at}]");
            let known = ["Exact", "ImplementationSpecific", "Prefix"];
            let absolute = path["path"].as_str().is_some_and(|path| path.starts_with('/'));
            match path["pathType"].as_str() {
                None => causes.push(Cause::required(format!("{here}.pathType"), "pathType must be specified")),
                Some(kind) if !known.contains(&kind) => {
                    causes.push(Cause::unsupported(format!("{here}.pathType"), &path["pathType"], &known));
                }
                Some("Exact" | "Prefix") if !absolute => {
                    causes.push(Cause::invalid(format!("{here}.path"), &path["path"], "must be an absolute path"));
                }
                Some(_) => backend(&here, &path["backend"], causes),
            }
        }
    }
}

fn backend(path: &str, backend: &Value, causes: &mut Vec<Cause>) {
    if backend["resource"].is_object() {
        return;
    }
    let service = &backend["service"];
    match service["name"].as_str().filter(|name| !name.is_empty()) {
        None => causes.push(Cause::required(format!("{path}.backend.service.name"), "")),
        Some(name) => causes.extend(names::dns_1035(&format!("{path}.backend.service.name"), name)),
    }
    if service["port"]["number"].is_null() && service["port"]["name"].is_null() {
        causes.push(Cause::required(format!("{path}.backend.service.port"), "port name or number is required"));
    }
}

pub(super) fn network_policy(spec: &Value, causes: &mut Vec<Cause>) {
    for (at, kind) in list(spec, "policyTypes").iter().enumerate() {
        if kind != "Ingress" && kind != "Egress" {
            causes.push(Cause::unsupported(format!("spec.policyTypes[{at}]"), kind, &["Egress", "Ingress"]));
        }
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in list(spec, direction).iter().enumerate() {
            for (peer_at, peer) in list(rule, peers).iter().enumerate() {
                let here = format!("spec.{direction}[{at}].{peers}[{peer_at}]");
                let chosen = peer["podSelector"].is_object() || peer["namespaceSelector"].is_object();
                if peer["ipBlock"].is_object() && chosen {
                    let why = "may not specify both ipBlock and another peer";
                    causes.push(Cause::forbidden(here, why));
                } else if !peer["ipBlock"].is_object() && !chosen {
                    causes.push(Cause::required(here, "must specify a peer"));
                }
            }
        }
    }
}

/// A map that was made immutable stays as it is for good.
fn immutable(old: Option<&Value>, new: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        causes.push(Cause::forbidden("immutable", why));
    }
    causes
        .extend(fields.iter().filter(|field| old[**field] != new[**field]).map(|field| Cause::forbidden(*field, why)));
}

pub(super) fn config_map(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    immutable(old, new, &["data", "binaryData"], causes);
    names::config_keys("data", &new["data"], causes);
    names::config_keys("binaryData", &new["binaryData"], causes);
}

pub(super) fn secret(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    if let Some(old) = old
        && old["type"] != new["type"]
    {
        causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
    }
    immutable(old, new, &["data"], causes);
    names::config_keys("data", &new["data"], causes);
    let required: &[&str] = match new["type"].as_str() {
        Some("kubernetes.io/tls") => &["tls.crt", "tls.key"],
        Some("kubernetes.io/dockerconfigjson") => &[".dockerconfigjson"],
        _ => &[],
    };
    let missing = required.iter().filter(|key| new["data"][**key].is_null());
    causes.extend(missing.map(|key| Cause::required(format!("data[{key}]"), "")));
}
