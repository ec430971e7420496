//! RBAC: which rules a user holds through bindings, whether one of them allows what is asked, and that nobody hands out
//! what they do not hold.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{ACCOUNT, Asked, User};
use crate::{
    dig::Dig,
    resource::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING},
    status::Status,
    store::Cluster,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// The roles of a fresh cluster, and the groups that they are bound to.
pub(crate) fn populate(cluster: &Cluster) -> Result<(), Status> {
    const PUBLIC: [&str; 5] = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    const DISCOVERY: [&str; 6] = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"];
    let reviews =
        json!({"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"]});
    let all = json!([
        {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
        {"nonResourceURLs": ["*"], "verbs": ["*"]},
    ]);
    for (name, rules, groups) in [
        ("cluster-admin", all, vec![super::MASTERS]),
        ("system:basic-user", json!([reviews]), vec![super::AUTHENTICATED]),
        (
            "system:discovery",
            json!([{"nonResourceURLs": ([DISCOVERY.as_slice(), &PUBLIC].concat()), "verbs": ["get"]}]),
            vec![super::AUTHENTICATED],
        ),
        (
            "system:public-info-viewer",
            json!([{"nonResourceURLs": PUBLIC, "verbs": ["get"]}]),
            vec![super::AUTHENTICATED, "system:unauthenticated"],
        ),
    ] {
        let metadata = json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}});
        let subjects: Vec<Value> = groups.iter().map(|group| json!({"kind": "Group", "name": group})).collect();
        let binding = json!({
            "metadata": metadata, "subjects": subjects, "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": GROUP},
        });
        cluster.create(&CLUSTER_ROLE, "", json!({"metadata": metadata, "rules": rules}), "kube-apiserver")?;
        cluster.create(&CLUSTER_ROLE_BINDING, "", binding, "kube-apiserver")?;
    }
    Ok(())
}

/// Why the user may, if so: which binding gives which role to whom. A member of `system:masters` needs no reason.
pub(super) fn decision(cluster: &Cluster, user: &User, asked: &Asked) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    let home = asked.home();
    [(&CLUSTER_ROLE_BINDING, ""), (&ROLE_BINDING, home)].into_iter().find_map(|(kind, ns)| {
        let bindings = if kind.namespaced && ns.is_empty() { Vec::new() } else { cluster.list(kind, Some(ns)) };
        bindings.iter().find_map(|binding| {
            let subject = binding.items("subjects").iter().find(|subject| is_subject(subject, ns, user))?;
            let role = role(cluster, binding)?;
            let allows = role.items("rules").iter().any(|rule| allows(rule, asked));
            allows.then(|| reason(kind, binding, subject))
        })
    })
}

fn is_subject(subject: &Value, ns: &str, user: &User) -> bool {
    let name = subject.text("name");
    match subject.text("kind") {
        "User" => name == user.name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => {
            let ns = Some(subject.text("namespace")).filter(|ns| !ns.is_empty()).unwrap_or(ns);
            user.name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':')) == Some((ns, name))
        }
        _ => false,
    }
}

fn role(cluster: &Cluster, binding: &Value) -> Option<Arc<Value>> {
    let kind = role_kind(binding);
    cluster.get(kind, binding.text("metadata.namespace"), binding.text("roleRef.name"))
}

fn role_kind(binding: &Value) -> &'static Kind {
    if binding.text("roleRef.kind") == "Role" { &ROLE } else { &CLUSTER_ROLE }
}

fn reason(kind: &Kind, binding: &Value, subject: &Value) -> String {
    let placed = |object: &Value| match object.text("namespace") {
        "" => object.text("name").to_owned(),
        ns => format!("{}/{ns}", object.text("name")),
    };
    let (bound, whom) = (placed(binding.at("metadata")), placed(subject));
    let (role, name, subject) = (binding.text("roleRef.kind"), binding.text("roleRef.name"), subject.text("kind"));
    format!("RBAC: allowed by {} \"{bound}\" of {role} \"{name}\" to {subject} \"{whom}\"", kind.kind)
}

fn allows(rule: &Value, asked: &Asked) -> bool {
    let listed = |field: &str, wanted: &str| rule.items(field).iter().any(|item| item == "*" || item == wanted);
    if !listed("verbs", &asked.verb) {
        return false;
    }
    if !asked.path.is_empty() {
        let under = |url: &str| url.strip_suffix('*').is_some_and(|stem| asked.path.starts_with(stem));
        return rule
            .items("nonResourceURLs")
            .iter()
            .filter_map(Value::as_str)
            .any(|url| url == asked.path || under(url));
    }
    let names = rule.items("resourceNames");
    let everywhere = !asked.subresource.is_empty() && listed("resources", &format!("*/{}", asked.subresource));
    listed("apiGroups", &asked.group)
        && (listed("resources", &asked.part()) || everywhere)
        && (names.is_empty() || names.iter().any(|name| *name == asked.name))
}

/// Refuses a role or binding (as it would be stored) that gives away rights which its writer does not hold, unless the
/// writer may `escalate` the role or `bind` it. Other kinds pass.
pub(crate) fn escalation(cluster: &Cluster, user: &User, kind: &'static Kind, new: &Value) -> Result<(), Status> {
    let (ns, name) = (new.text("metadata.namespace"), new.text("metadata.name"));
    let (verb, role, fields) = if kind.is(&ROLE) || kind.is(&CLUSTER_ROLE) {
        ("escalate", kind, ["rules", "aggregationRule"])
    } else if kind.is(&ROLE_BINDING) || kind.is(&CLUSTER_ROLE_BINDING) {
        ("bind", role_kind(new), ["roleRef", "subjects"])
    } else {
        return Ok(());
    };
    let subject = if verb == "bind" { new.text("roleRef.name") } else { name };
    let special = Asked {
        verb: verb.into(),
        group: GROUP.into(),
        resource: role.plural.into(),
        namespace: ns.into(),
        name: subject.into(),
        ..Asked::default()
    };
    let unchanged =
        cluster.get(kind, ns, name).is_some_and(|old| fields.iter().all(|field| old.at(field) == new.at(field)));
    if unchanged || decision(cluster, user, &special).is_some() {
        return Ok(());
    }
    let bound = if verb == "bind" {
        cluster.get(role, ns, subject).ok_or_else(|| Status::not_found(role, subject))?
    } else {
        Arc::new(new.clone())
    };
    let missing: Vec<String> = bound.items("rules").iter().flat_map(|rule| not_held(cluster, user, ns, rule)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!(
        "user \"{}\" (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        quoted(user.groups.iter().map(String::as_str)),
        missing.join("\n")
    );
    Err(Status::forbidden(kind, name, &why))
}

/// What the user does not hold of a rule, a resource or path at a time.
fn not_held(cluster: &Cluster, user: &User, ns: &str, rule: &Value) -> Vec<String> {
    let texts = |field: &str| rule.items(field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let any_name = vec![""];
    let names = Some(texts("resourceNames")).filter(|names| !names.is_empty()).unwrap_or(any_name);
    let mut single: Vec<Asked> =
        texts("nonResourceURLs").into_iter().map(|url| Asked { path: url.into(), ..Asked::default() }).collect();
    for group in texts("apiGroups") {
        for part in texts("resources") {
            let (resource, subresource) = part.split_once('/').unwrap_or((part, ""));
            single.extend(names.iter().map(|name| Asked {
                group: group.into(),
                resource: resource.into(),
                subresource: subresource.into(),
                namespace: ns.into(),
                name: (*name).into(),
                ..Asked::default()
            }));
        }
    }
    let refused =
        |one: &Asked, verb: &str| decision(cluster, user, &Asked { verb: verb.into(), ..one.clone() }).is_none();
    let shown = single.iter().filter_map(|one| {
        let verbs: Vec<&str> = texts("verbs").into_iter().filter(|verb| refused(one, verb)).collect();
        (!verbs.is_empty()).then(|| compact(one, &verbs))
    });
    shown.collect()
}

fn compact(one: &Asked, verbs: &[&str]) -> String {
    let verbs = quoted(verbs.iter().copied());
    if !one.path.is_empty() {
        return format!("{{NonResourceURLs:[\"{}\"], Verbs:{verbs}}}", one.path);
    }
    let names = if one.name.is_empty() { String::new() } else { format!(", ResourceNames:[\"{}\"]", one.name) };
    format!("{{APIGroups:[\"{}\"], Resources:[\"{}\"]{names}, Verbs:{verbs}}}", one.group, one.part())
}

fn quoted<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" "))
}
