//! RBAC: which rules a user holds through bindings, whether one of them allows what is asked, and that nobody hands out
//! what they do not hold. Roles that aggregate others are not supported.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{AUTHENTICATED, MASTERS, User};
use crate::{
    dig::Dig,
    resource::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, Kind, ROLE, ROLE_BINDING},
    status::Status,
    store::Cluster,
};

/// What is asked for, as RBAC names it. What is no resource (`/version`) has a path and nothing else but the verb.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub path: String,
}

impl Asked {
    /// One for an object; `part` is `pods` or `pods/log`.
    pub(super) fn new(verb: &str, part: &str, ns: &str, name: &str) -> Self {
        let (resource, subresource) = part.split_once('/').unwrap_or((part, ""));
        let [verb, resource, subresource, namespace, name] =
            [verb, resource, subresource, ns, name].map(ToOwned::to_owned);
        Self { verb, resource, subresource, namespace, name, ..Self::default() }
    }

    fn part(&self) -> String {
        let Self { resource, subresource, .. } = self;
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") }
    }

    /// A namespace is its own.
    fn home(&self) -> &str {
        if self.group.is_empty() && self.resource == "namespaces" { &self.name } else { &self.namespace }
    }

    fn is_in(&self, rule: &Value) -> bool {
        let listed = |field: &str, wanted: &str| rule.items(field).iter().any(|item| item == "*" || item == wanted);
        if !self.path.is_empty() {
            let covers =
                |url: &str| url == self.path || url.strip_suffix('*').is_some_and(|s| self.path.starts_with(s));
            return listed("verbs", &self.verb)
                && rule.items("nonResourceURLs").iter().filter_map(Value::as_str).any(covers);
        }
        let names = rule.items("resourceNames");
        let everywhere = format!("*/{}", self.subresource);
        listed("verbs", &self.verb)
            && listed("apiGroups", &self.group)
            && (listed("resources", &self.part()) || listed("resources", &everywhere))
            && (names.is_empty() || names.iter().any(|name| *name == self.name))
    }
}

/// The roles of a fresh cluster, and the groups that they are bound to.
pub(crate) fn populate(cluster: &Cluster) -> Result<(), Status> {
    let anybody = "system:unauthenticated";
    let public =
        json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"]});
    let discovery = json!({"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/apis", "/apis/*", "/openapi/*"]});
    let reviews = json!({
        "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"], "verbs": ["create"],
    });
    let every_resource = json!({"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]});
    let every_path = json!({"nonResourceURLs": ["*"], "verbs": ["*"]});
    for (name, groups, rules) in [
        ("cluster-admin", &[MASTERS][..], vec![every_resource, every_path]),
        ("system:basic-user", &[AUTHENTICATED], vec![reviews]),
        ("system:discovery", &[AUTHENTICATED], vec![discovery]),
        ("system:public-info-viewer", &[AUTHENTICATED, anybody], vec![public]),
    ] {
        let metadata = json!({"name": name, "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"}});
        let subjects: Vec<Value> = groups.iter().map(|group| json!({"kind": "Group", "name": group})).collect();
        let role = json!({"kind": "ClusterRole", "name": name});
        let binding = json!({"metadata": metadata, "subjects": subjects, "roleRef": role});
        cluster.create(&CLUSTER_ROLE, "", json!({"metadata": metadata, "rules": rules}), "kube-apiserver")?;
        cluster.create(&CLUSTER_ROLE_BINDING, "", binding, "kube-apiserver")?;
    }
    Ok(())
}

/// 403 unless a role says that the user may.
pub(crate) fn authorize(cluster: &Cluster, user: &User, asked: &Asked) -> Result<(), Status> {
    decision(cluster, user, asked).map(|_| ()).ok_or_else(|| refusal(user, asked, &asked.verb))
}

pub(super) fn refusal(user: &User, asked: &Asked, verb: &str) -> Status {
    let (who, Asked { group, resource, name, path, .. }) = (&user.name, asked);
    let fields = [("name", name), ("group", group), ("kind", resource)];
    let details: Value = fields.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k, v.as_str())).collect();
    let dot = if group.is_empty() { "" } else { "." };
    let quoted = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let place = match asked.home() {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace \"{ns}\""),
    };
    let part = asked.part();
    let message = if path.is_empty() {
        let what = format!("resource \"{part}\" in API group \"{group}\" {place}");
        format!("{resource}{dot}{group}{quoted} is forbidden: User \"{who}\" cannot {verb} {what}")
    } else {
        format!("forbidden: User \"{who}\" cannot {verb} path \"{path}\"")
    };
    Status { details: Some(details), ..Status::new(403, "Forbidden", message) }
}

/// Answers a `SelfSubjectAccessReview`: whether the sender may do what its spec describes.
pub(crate) fn review(cluster: &Cluster, user: &User, mut review: Value) -> Result<Value, Status> {
    let attributes =
        ["resourceAttributes", "nonResourceAttributes"].into_iter().find(|of| review["spec"][of].is_object());
    let Some(attributes) = attributes.and_then(|of| review["spec"].get_mut(of)) else {
        return Err(Status::bad_request("exactly one of resourceAttributes and nonResourceAttributes must be given"));
    };
    let asked = Asked::deserialize(&*attributes).map_err(|error| Status::bad_request(error.to_string()))?;
    if let Some(fields) = attributes.as_object_mut() {
        fields.retain(|_, value| value != "");
    }
    let reason = decision(cluster, user, &asked);
    review.put("apiVersion", "authorization.k8s.io/v1");
    review.put("kind", "SelfSubjectAccessReview");
    review.default("metadata", json!({}));
    review.put("status", json!({"allowed": reason.is_some()}));
    if let Some(reason) = reason.filter(|reason| !reason.is_empty()) {
        review.put("status.reason", reason);
    }
    Ok(review)
}

/// Why the user may, if so: which binding gives which role to whom. A member of `system:masters` needs no reason.
pub(super) fn decision(cluster: &Cluster, user: &User, asked: &Asked) -> Option<String> {
    if user.is_master() {
        return Some(String::new());
    }
    let home = asked.home();
    let mut bindings = cluster.list(&CLUSTER_ROLE_BINDING, None);
    if !home.is_empty() {
        bindings.extend(cluster.list(&ROLE_BINDING, Some(home)));
    }
    bindings.iter().find_map(|binding| {
        let subject = binding.items("subjects").iter().find(|subject| is_subject(subject, home, user))?;
        let role = cluster.get(role_kind(binding), home, binding.text("roleRef.name"))?;
        let allowed = role.items("rules").iter().any(|rule| asked.is_in(rule));
        allowed.then(|| reason(binding, subject))
    })
}

fn is_subject(subject: &Value, home: &str, user: &User) -> bool {
    let (name, ns) = (subject.text("name"), subject.text("namespace"));
    match subject.text("kind") {
        "User" => name == user.name,
        "Group" => user.groups.iter().any(|group| group == name),
        "ServiceAccount" => user.as_account() == Some((if ns.is_empty() { home } else { ns }, name)),
        _ => false,
    }
}

fn role_kind(binding: &Value) -> &'static Kind {
    if binding.text("roleRef.kind") == "Role" { &ROLE } else { &CLUSTER_ROLE }
}

fn reason(binding: &Value, subject: &Value) -> String {
    let placed = |object: &Value| match object.text("namespace") {
        "" => format!("\"{}\"", object.text("name")),
        ns => format!("\"{}/{ns}\"", object.text("name")),
    };
    let (bound, whom) = (placed(binding.at("metadata")), placed(subject));
    let (kind, role, name) = (binding.text("kind"), binding.text("roleRef.kind"), binding.text("roleRef.name"));
    format!("RBAC: allowed by {kind} {bound} of {role} \"{name}\" to {} {whom}", subject.text("kind"))
}

/// Refuses a role or binding (as it would be stored) that gives away rights which its writer does not hold, unless the
/// writer may `escalate` the role or `bind` it. Other kinds pass.
pub(crate) fn escalation(cluster: &Cluster, user: &User, kind: &'static Kind, new: &Value) -> Result<(), Status> {
    let (ns, name) = (new.text("metadata.namespace"), new.text("metadata.name"));
    let (verb, role, role_name, fields) = match kind.kind {
        "Role" | "ClusterRole" => ("escalate", kind, name, ["rules", "aggregationRule"]),
        "RoleBinding" | "ClusterRoleBinding" => {
            ("bind", role_kind(new), new.text("roleRef.name"), ["roleRef", "subjects"])
        }
        _ => return Ok(()),
    };
    let special = Asked { group: kind.group.into(), ..Asked::new(verb, role.plural, ns, role_name) };
    let old = cluster.get(kind, ns, name);
    let unchanged = old.is_some_and(|old| fields.iter().all(|field| old.at(field) == new.at(field)));
    if unchanged || decision(cluster, user, &special).is_some() {
        return Ok(());
    }
    let granted = if verb == "bind" {
        cluster.get(role, ns, role_name).ok_or_else(|| Status::not_found(role, role_name))?
    } else {
        Arc::new(new.clone())
    };
    let missing: Vec<String> =
        granted.items("rules").iter().flat_map(|rule| not_held(cluster, user, ns, rule)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (who, groups) = (&user.name, quoted(user.groups.iter()));
    let why = format!("user \"{who}\" (groups={groups}) is attempting to grant RBAC permissions not currently held:");
    Err(Status::forbidden(kind, name, &format!("{why}\n{}", missing.join("\n"))))
}

/// What the user does not hold of a rule, a resource or path at a time.
fn not_held(cluster: &Cluster, user: &User, ns: &str, rule: &Value) -> Vec<String> {
    let texts = |field: &str| rule.items(field).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let names = if rule.items("resourceNames").is_empty() { vec![""] } else { texts("resourceNames") };
    let mut single: Vec<(Asked, String)> = Vec::new();
    for path in texts("nonResourceURLs") {
        single.push((Asked { path: path.into(), ..Asked::default() }, format!("NonResourceURLs:[\"{path}\"]")));
    }
    for group in texts("apiGroups") {
        for part in texts("resources") {
            for name in &names {
                let only = if name.is_empty() { String::new() } else { format!(", ResourceNames:[\"{name}\"]") };
                let shown = format!("APIGroups:[\"{group}\"], Resources:[\"{part}\"]{only}");
                single.push((Asked { group: group.into(), ..Asked::new("", part, ns, name) }, shown));
            }
        }
    }
    let lacks = |asked: &Asked, verb: &str| {
        let asked = Asked { verb: verb.into(), ..asked.clone() };
        decision(cluster, user, &asked).is_none()
    };
    let missing = single.into_iter().map(|(asked, shown)| {
        let verbs: Vec<&str> = texts("verbs").into_iter().filter(|verb| lacks(&asked, verb)).collect();
        (!verbs.is_empty()).then(|| format!("{{{shown}, Verbs:{}}}", quoted(verbs.iter())))
    });
    missing.flatten().collect()
}

fn quoted(texts: impl Iterator<Item = impl std::fmt::Display>) -> String {
    format!("[{}]", texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" "))
}
