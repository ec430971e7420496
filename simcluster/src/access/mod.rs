//! Who asks, and whether they may: authentication by token, impersonation, and RBAC over the roles and bindings stored.
//!
//! The admin's token is a user of `system:masters`, who may do everything; a service account's token comes from a token
//! request; nobody's is `system:anonymous`. Roles that aggregate others are not supported, nor are certificates.

mod grants;
mod tokens;

use http::HeaderMap;
use serde_json::{Value, json};

pub(crate) use grants::{escalation, populate};
pub(crate) use tokens::{authenticate, request_token};

use crate::{dig::Dig, status::Status, store::Cluster};

/// Who sent a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

const ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATED: &str = "system:authenticated";
const MASTERS: &str = "system:masters";

impl User {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), uid: String::new(), groups: groups.iter().map(ToString::to_string).collect() }
    }

    fn anonymous() -> Self {
        Self::new("system:anonymous", &["system:unauthenticated"])
    }

    pub fn admin() -> Self {
        Self::new("admin", &[MASTERS, AUTHENTICATED])
    }

    fn account(ns: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{ns}"), AUTHENTICATED];
        Self::new(&format!("{ACCOUNT}{ns}:{name}"), &groups)
    }

    /// Whether nothing has to be looked up: this user may do everything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }
}

/// What is asked for, as RBAC names it. What is no resource (`/version`) has a path and nothing else but the verb.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// `pods`, `pods/log`
    fn part(&self) -> String {
        let Self { resource, subresource, .. } = self;
        if subresource.is_empty() { resource.clone() } else { format!("{resource}/{subresource}") }
    }

    /// A namespace is its own.
    fn home(&self) -> &str {
        if self.group.is_empty() && self.resource == "namespaces" { &self.name } else { &self.namespace }
    }
}

/// 403 unless a role says that the user may.
pub(crate) fn authorize(cluster: &Cluster, user: &User, asked: &Asked) -> Result<(), Status> {
    if grants::decision(cluster, user, asked).is_some() { Ok(()) } else { Err(refusal(user, asked, &asked.verb)) }
}

fn refusal(user: &User, asked: &Asked, verb: &str) -> Status {
    let (who, Asked { group, resource, name, path, .. }) = (&user.name, asked);
    let mut details = json!({});
    let message = if path.is_empty() {
        for (field, value) in [("name", name), ("group", group), ("kind", resource)] {
            if !value.is_empty() {
                details.put(field, value.as_str());
            }
        }
        let dot = if group.is_empty() { "" } else { "." };
        let quoted = if name.is_empty() { String::new() } else { format!(" \"{name}\"") };
        let place = match asked.home() {
            "" => "at the cluster scope".to_owned(),
            ns => format!("in the namespace \"{ns}\""),
        };
        format!(
            "{resource}{dot}{group}{quoted} is forbidden: User \"{who}\" cannot {verb} resource \"{}\" in API group \
             \"{group}\" {place}",
            asked.part()
        )
    } else {
        format!("forbidden: User \"{who}\" cannot {verb} path \"{path}\"")
    };
    let mut status = Status::new(403, "Forbidden", message);
    status.details = Some(details);
    status
}

/// The user that the request is to be taken for: another one, if the headers name one and the sender may do that.
pub(crate) fn impersonate(cluster: &Cluster, user: User, asked: &Asked, headers: &HeaderMap) -> Result<User, Status> {
    let all = |name: &str| headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>();
    let mut groups = all("impersonate-group");
    let Some(name) = all("impersonate-user").first().copied() else {
        let lonely = headers.keys().any(|header| header.as_str().starts_with("impersonate-"));
        let why = "Internal error occurred: a group or uid cannot be impersonated without a user";
        return if lonely { Err(Status::new(500, "InternalError", why)) } else { Ok(user) };
    };
    let account = name.strip_prefix(ACCOUNT).and_then(|rest| rest.split_once(':'));
    let target = |resource: &str, ns: &str, name: &str| {
        let (verb, resource, namespace, name) = ("impersonate".into(), resource.into(), ns.into(), name.into());
        Asked { verb, resource, namespace, name, ..Asked::default() }
    };
    let mut wanted: Vec<Asked> = groups.iter().map(|group| target("groups", "", group)).collect();
    wanted.push(account.map_or_else(|| target("users", "", name), |(ns, name)| target("serviceaccounts", ns, name)));
    if !wanted.iter().all(|wanted| grants::decision(cluster, &user, wanted).is_some()) {
        return Err(refusal(&user, asked, &format!("impersonate-on:user-info:{}", asked.verb)));
    }
    if let (Some((ns, name)), true) = (account, groups.is_empty()) {
        return Ok(User::account(ns, name));
    }
    groups.push(AUTHENTICATED);
    Ok(User::new(name, &groups))
}

/// Answers a `SelfSubjectAccessReview`: whether the sender may do what its spec describes.
pub(crate) fn review(cluster: &Cluster, user: &User, mut review: Value) -> Result<Value, Status> {
    let (resource, other) = (review.at("spec.resourceAttributes"), review.at("spec.nonResourceAttributes"));
    if resource.is_object() == other.is_object() {
        return Err(Status::bad_request("exactly one of resourceAttributes and nonResourceAttributes must be given"));
    }
    let text = |field: &str| resource.text(field).to_owned();
    let asked = if resource.is_object() {
        let (verb, group, resource) = (text("verb"), text("group"), text("resource"));
        let (subresource, namespace, name) = (text("subresource"), text("namespace"), text("name"));
        Asked { verb, group, resource, subresource, namespace, name, path: String::new() }
    } else {
        Asked { verb: other.text("verb").into(), path: other.text("path").into(), ..Asked::default() }
    };
    let status = match grants::decision(cluster, user, &asked).as_deref() {
        None => json!({"allowed": false}),
        Some("") => json!({"allowed": true}),
        Some(reason) => json!({"allowed": true, "reason": reason}),
    };
    for attributes in ["spec.resourceAttributes", "spec.nonResourceAttributes"] {
        if let Some(fields) = review.at_mut(attributes).and_then(Value::as_object_mut) {
            fields.retain(|_, value| value != "");
        }
    }
    review.put("apiVersion", "authorization.k8s.io/v1");
    review.put("kind", "SelfSubjectAccessReview");
    review.default("metadata", json!({}));
    review.put("status", status);
    Ok(review)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::{
        Clock, DeleteOptions,
        resource::{CLUSTER_ROLE, CLUSTER_ROLE_BINDING, NAMESPACE, ROLE, ROLE_BINDING, SERVICE_ACCOUNT},
    };

    const SECRET: &str = "the admin's";

    fn asked(words: &str) -> Asked {
        let [verb, group, part, namespace, name] = words.split(' ').collect::<Vec<_>>()[..] else {
            let (verb, path) = words.split_once(' ').unwrap();
            return Asked { verb: verb.into(), path: path.into(), ..Asked::default() };
        };
        let (resource, subresource) = part.split_once('/').unwrap_or((part, ""));
        let [group, namespace, name] =
            [group, namespace, name].map(|word| if word == "-" { "" } else { word }.to_owned());
        Asked {
            verb: verb.into(),
            group,
            resource: resource.into(),
            subresource: subresource.into(),
            namespace,
            name,
            path: String::new(),
        }
    }

    fn token(cluster: &Cluster) -> String {
        let answer = request_token(cluster, SECRET, "a", "limited", &json!({"spec": {"expirationSeconds": 600}}));
        answer.unwrap().text("status.token").to_owned()
    }

    /// A cluster, and the token of its account `limited`.
    fn cluster() -> (Cluster, String) {
        let cluster = Cluster::new(Clock::manual(Timestamp::UNIX_EPOCH), 1, 100);
        populate(&cluster).unwrap();
        let rules = json!([
            {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]},
            {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["only"], "verbs": ["get"]},
            {"apiGroups": [""], "resources": ["*/status"], "verbs": ["*"]},
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["create"]},
        ]);
        let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]);
        let bind = |kind: &str, name: &str| {
            let subject = json!({"kind": "ServiceAccount", "name": "limited", "namespace": "a"});
            json!({"metadata": {"name": name}, "roleRef": {"kind": kind, "name": name}, "subjects": [subject]})
        };
        for (kind, ns, object) in [
            (&NAMESPACE, "", json!({"metadata": {"name": "a"}})),
            (&SERVICE_ACCOUNT, "a", json!({"metadata": {"name": "limited"}})),
            (&ROLE, "a", json!({"metadata": {"name": "some"}, "rules": rules})),
            (&ROLE_BINDING, "a", bind("Role", "some")),
            (&CLUSTER_ROLE, "", json!({"metadata": {"name": "nodes"}, "rules": nodes})),
            (&CLUSTER_ROLE_BINDING, "", bind("ClusterRole", "nodes")),
        ] {
            cluster.create(kind, ns, object, "test").unwrap();
        }
        let token = token(&cluster);
        (cluster, token)
    }

    #[test]
    fn a_role_allows_what_it_lists_and_nothing_else() {
        let (cluster, token) = cluster();
        let limited = authenticate(&cluster, SECRET, Some(&token)).unwrap();
        for (words, allowed) in [
            ("get - pods a x", true),
            ("get - pods/log a x", true),
            ("delete - pods a x", false),
            ("get apps pods a x", false),
            ("list - pods b -", false),
            ("list - pods - -", false),
            ("create - pods/eviction a x", false),
            ("patch - pods/status a x", true),
            ("get - secrets a only", true),
            ("get - secrets a other", false),
            ("list - secrets a -", false),
            ("list - nodes - -", true),
            ("get /apis/apps/v1", true),
            ("get /metrics", false),
            ("create authorization.k8s.io selfsubjectaccessreviews - -", true),
        ] {
            assert_eq!(authorize(&cluster, &limited, &asked(words)).is_ok(), allowed, "{words}");
        }
        let anonymous = authenticate(&cluster, SECRET, None).unwrap();
        assert!(authorize(&cluster, &anonymous, &asked("get /version")).is_ok());
        assert!(authorize(&cluster, &anonymous, &asked("get /api")).is_err());
        assert!(authorize(&cluster, &User::admin(), &asked("delete - nodes - n1")).is_ok());
    }

    #[test]
    fn a_token_ends_with_its_time_and_with_its_account() {
        let (cluster, first) = cluster();
        let code = |token: &str| authenticate(&cluster, SECRET, Some(token)).err().map(|status| status.code);
        let pass = |seconds| cluster.clock().move_to(cluster.clock().after(Duration::from_secs(seconds)));
        assert_eq!((code(&first), code("not-a-token"), code(SECRET)), (None, Some(401), None));
        pass(599);
        let second = token(&cluster);
        assert_eq!(code(&first), None);
        pass(1);
        assert_eq!((code(&first), code(&second)), (Some(401), None));
        cluster.delete(&SERVICE_ACCOUNT, "a", "limited", &DeleteOptions::default()).unwrap();
        cluster.create(&SERVICE_ACCOUNT, "a", json!({"metadata": {"name": "limited"}}), "test").unwrap();
        assert_eq!(code(&second), Some(401), "another account of the same name");
    }

    #[test]
    fn nobody_grants_or_becomes_more_than_they_may() {
        let (cluster, token) = cluster();
        let limited = authenticate(&cluster, SECRET, Some(&token)).unwrap();
        let role = |verb: &str| {
            let rule = json!({"apiGroups": [""], "resources": ["pods"], "verbs": [verb]});
            json!({"metadata": {"name": "r", "namespace": "a"}, "rules": [rule]})
        };
        let binding = json!({"metadata": {"name": "r"}, "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"}});
        assert!(escalation(&cluster, &limited, &ROLE, &role("get")).is_ok());
        let refused = escalation(&cluster, &limited, &ROLE, &role("delete")).unwrap_err();
        assert!(refused.message.ends_with("{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}"), "{refused}");
        assert!(escalation(&cluster, &limited, &CLUSTER_ROLE_BINDING, &binding).is_err());
        assert!(escalation(&cluster, &User::admin(), &CLUSTER_ROLE_BINDING, &binding).is_ok());
        let headers: HeaderMap = [("impersonate-user", "alice"), ("impersonate-group", "dev")]
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .into_iter()
            .collect();
        let list = asked("list - pods a -");
        let alice = impersonate(&cluster, User::admin(), &list, &headers).unwrap();
        assert_eq!((alice.name.as_str(), alice.groups.join(" ").as_str()), ("alice", "dev system:authenticated"));
        let refused = impersonate(&cluster, limited, &list, &headers).unwrap_err();
        assert!(refused.message.contains("cannot impersonate-on:user-info:list resource \"pods\""), "{refused}");
    }
}
