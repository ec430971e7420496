//! RBAC: which rules a user holds through bindings, and whether one of them allows what is asked. Not here: roles that
//! aggregate others, rules for paths, and the refusal to hand out what one does not hold.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{AUTHENTICATED, User};
use crate::{
    dig::Dig,
    resource::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING},
    status::Status,
    store::Cluster,
};

/// What is asked for, as RBAC names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub verb: String,
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

impl Asked {
    /// `pods`, `pods/log`
    pub fn part(&self) -> String {
        let Self { resource, subresource, .. } = self;
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") }
    }

    /// A namespace is its own.
    fn home(&self) -> &str {
        if self.group.is_empty() && self.resource == "namespaces" { &self.name } else { &self.namespace }
    }

    fn is_in(&self, rule: &Value) -> bool {
        let listed = |field: &str, wanted: &str| rule.items(field).iter().any(|item| item == "*" || item == wanted);
        let names = rule.items("resourceNames");
        listed("verbs", &self.verb)
            && listed("apiGroups", &self.group)
            && listed("resources", &self.part())
            && (names.is_empty() || names.iter().any(|name| *name == self.name))
    }
}

/// 403 unless a role says that the user may.
pub(crate) fn authorize(cluster: &Cluster, user: &User, asked: &Asked) -> Result<(), Status> {
    if decision(cluster, user, asked).is_some() {
        return Ok(());
    }
    let Asked { verb, group, resource, name, .. } = asked;
    let fields = [("name", name), ("group", group), ("kind", resource)];
    let details: Value = fields.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k, v.as_str())).collect();
    let dot = if group.is_empty() { "" } else { "." };
    let quoted = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
    let place = match asked.home() {
        "" => "at the cluster scope".to_owned(),
        ns => format!("in the namespace \"{ns}\""),
    };
    let (who, part) = (&user.name, asked.part());
    let what = format!("resource \"{part}\" in API group \"{group}\" {place}");
    let message = format!("{resource}{dot}{group}{quoted} is forbidden: User \"{who}\" cannot {verb} {what}");
    Err(Status { details: Some(details), ..Status::new(403, "Forbidden", message) })
}

/// What is no resource: everybody may ask for version and health, who is known for discovery, too.
pub(crate) fn authorize_path(user: &User, verb: &str, path: &str) -> Result<(), Status> {
    let may = match path.split('/').nth(1).unwrap_or_default() {
        "version" | "healthz" | "livez" | "readyz" => true,
        "api" | "apis" | "openapi" => user.is_in(AUTHENTICATED),
        _ => user.is_master(),
    };
    if may && verb == "get" || user.is_master() {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", user.name);
    Err(Status { details: Some(json!({})), ..Status::new(403, "Forbidden", message) })
}

/// Answers a `SelfSubjectAccessReview`: whether the sender may do what its spec describes.
pub(crate) fn review(cluster: &Cluster, user: &User, mut review: Value) -> Result<Value, Status> {
    let Some(attributes) = review["spec"].get_mut("resourceAttributes") else {
        return Err(Status::not_implemented("access reviews without resourceAttributes"));
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

/// Why the user may, if so: which binding gives which role to whom. What everybody may who is known needs no reason.
fn decision(cluster: &Cluster, user: &User, asked: &Asked) -> Option<String> {
    let is_review = asked.verb == "create" && asked.resource == "selfsubjectaccessreviews";
    if user.is_master() || is_review && user.is_in(AUTHENTICATED) {
        return Some(String::new());
    }
    let home = asked.home();
    let mut bindings = cluster.list(&CLUSTER_ROLE_BINDING, None);
    if !home.is_empty() {
        bindings.extend(cluster.list(&ROLE_BINDING, Some(home)));
    }
    bindings.iter().find_map(|binding| {
        let subject = binding.items("subjects").iter().find(|subject| is_subject(subject, home, user))?;
        let kind = if binding.text("roleRef.kind") == "Role" { &ROLE } else { &CLUSTER_ROLE };
        let role = cluster.get(kind, home, binding.text("roleRef.name"))?;
        let allowed = role.items("rules").iter().any(|rule| asked.is_in(rule));
        allowed.then(|| reason(binding, subject))
    })
}

fn is_subject(subject: &Value, home: &str, user: &User) -> bool {
    let (name, ns) = (subject.text("name"), subject.text("namespace"));
    match subject.text("kind") {
        "User" => name == user.name,
        "Group" => user.is_in(name),
        "ServiceAccount" => user.is_account(if ns.is_empty() { home } else { ns }, name),
        _ => false,
    }
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
