//! Who asks: the admin's token, tokens of service accounts (which end with their time or their account), and nobody's.
//! Whether they may is told by `rbac`. There are no certificates, no impersonation and no tokens bound to pods.

mod rbac;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

pub(crate) use rbac::{Asked, authorize, authorize_path, review};

use crate::{
    clock,
    dig::Dig,
    resource::SERVICE_ACCOUNT,
    status::{Cause, Status},
    store::Cluster,
};

/// Who sent a request.
#[derive(Debug)]
pub(crate) struct User {
    pub name: String,
    groups: Vec<String>,
}

const ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATED: &str = "system:authenticated";
const MASTERS: &str = "system:masters";
/// What tokens for this API are for.
const AUDIENCES: [&str; 2] = ["https://kubernetes.default.svc.cluster.local", "k3s"];

impl User {
    fn new(name: &str, groups: &[&str]) -> Self {
        Self { name: name.to_owned(), groups: groups.iter().map(ToString::to_string).collect() }
    }

    fn account(ns: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{ns}"), AUTHENTICATED];
        Self::new(&format!("{ACCOUNT}{ns}:{name}"), &groups)
    }

    fn is_account(&self, ns: &str, name: &str) -> bool {
        self.name == format!("{ACCOUNT}{ns}:{name}")
    }

    fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// Whether this user may do everything.
    pub fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }
}

/// The user behind a bearer token. No token is nobody; a bad one is refused, and not told why.
pub(crate) fn authenticate(cluster: &Cluster, admin_token: &str, bearer: Option<&str>) -> Result<User, Status> {
    match bearer {
        None => Ok(User::new("system:anonymous", &["system:unauthenticated"])),
        Some(token) if token == admin_token => Ok(User::new("admin", &[MASTERS, AUTHENTICATED])),
        Some(token) => holder(cluster, admin_token, token).ok_or(Status::new(401, "Unauthorized", "Unauthorized")),
    }
}

/// The live account that a signed token that has not expired was given to.
fn holder(cluster: &Cluster, secret: &str, token: &str) -> Option<User> {
    let mut validation = Validation::new(Algorithm::HS256);
    validation.set_audience(&AUDIENCES);
    // The library would ask the machine's clock.
    validation.validate_exp = false;
    let claims = decode::<Value>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation).ok()?.claims;
    let (ns, name) = claims.text("sub").split_once(':')?;
    let account = cluster.get(&SERVICE_ACCOUNT, ns, name)?;
    let same = account.text("metadata.uid") == claims.text("uid");
    (same && claims.int("exp")? > cluster.now().as_second()).then(|| User::account(ns, name))
}

/// Answers a `TokenRequest` for an account.
pub(crate) fn request_token(
    cluster: &Cluster,
    admin_token: &str,
    ns: &str,
    account: &str,
    request: &Value,
) -> Result<Value, Status> {
    let found = cluster.get(&SERVICE_ACCOUNT, ns, account);
    let found = found.ok_or_else(|| Status::not_found(&SERVICE_ACCOUNT, account))?;
    if request.has("spec.boundObjectRef") {
        return Err(Status::not_implemented("tokens bound to an object"));
    }
    let seconds = request.int("spec.expirationSeconds").unwrap_or(3600);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
        return Err(Status::invalid(&SERVICE_ACCOUNT, account, &[cause]));
    }
    let asked_for = request.items("spec.audiences");
    let audiences = if asked_for.is_empty() { json!(AUDIENCES) } else { json!(asked_for) };
    let (now, uid) = (cluster.now(), found.text("metadata.uid"));
    let expires = now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    let claims = json!({"aud": audiences, "sub": format!("{ns}:{account}"), "uid": uid, "exp": expires.as_second()});
    let token = encode(&Header::default(), &claims, &EncodingKey::from_secret(admin_token.as_bytes()));
    let token = token.map_err(|error| Status::new(500, "InternalError", error.to_string()))?;
    Ok(json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": account, "namespace": ns, "uid": uid, "creationTimestamp": clock::seconds(now)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": null},
        "status": {"token": token, "expirationTimestamp": clock::seconds(expires)},
    }))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::{Clock, DeleteOptions, resource::NAMESPACE};

    #[test]
    fn a_token_ends_with_its_time_and_with_its_account() {
        let at = |seconds: i64| Timestamp::from_second(1_000_000 + seconds).unwrap();
        let clock = Clock::manual(at(0));
        let cluster = Cluster::new(clock.clone(), 1, 100);
        let account = || json!({"metadata": {"name": "limited"}});
        cluster.create(&NAMESPACE, "", json!({"metadata": {"name": "a"}}), "test").unwrap();
        cluster.create(&SERVICE_ACCOUNT, "a", account(), "test").unwrap();
        let request = |seconds: i64| json!({"spec": {"expirationSeconds": seconds}});
        assert_eq!(request_token(&cluster, "secret", "a", "limited", &request(599)).unwrap_err().code, 422);
        let answer = request_token(&cluster, "secret", "a", "limited", &request(600)).unwrap();
        let token = answer.text("status.token");
        let code =
            |token: &str| authenticate(&cluster, "secret", Some(token)).map_or_else(|status| status.code, |_| 200);
        for (seconds, expected) in [(599, 200), (600, 401)] {
            clock.move_to(at(seconds));
            assert_eq!(code(token), expected, "after {seconds} seconds");
        }
        cluster.delete(&SERVICE_ACCOUNT, "a", "limited", &DeleteOptions::default()).unwrap();
        cluster.create(&SERVICE_ACCOUNT, "a", account(), "test").unwrap();
        assert_eq!(code(token), 401, "another account of the same name");
    }
}
