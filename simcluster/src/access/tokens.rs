//! Tokens: the admin's, and signed ones for service accounts, which end with their time or with their account.

use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Value, json};

use super::{ACCOUNT, User};
use crate::{
    clock,
    dig::Dig,
    resource::{self, Kind},
    status::{Cause, Status},
    store::Cluster,
};

/// What tokens for this API are for.
const AUDIENCES: [&str; 2] = ["https://kubernetes.default.svc.cluster.local", "k3s"];

/// The user behind a bearer token. No token is nobody; a bad one is refused, and not told why.
pub(crate) fn authenticate(cluster: &Cluster, admin_token: &str, bearer: Option<&str>) -> Result<User, Status> {
    match bearer {
        None => Ok(User::anonymous()),
        Some(token) if token == admin_token => Ok(User::admin()),
        Some(token) => holder(cluster, admin_token, token).ok_or(Status::new(401, "Unauthorized", "Unauthorized")),
    }
}

/// The live account that a signed token that has not expired was given to.
fn holder(cluster: &Cluster, secret: &str, token: &str) -> Option<User> {
    let mut validation = Validation::default();
    // The library would ask the machine's clock.
    validation.validate_exp = false;
    validation.set_audience(&AUDIENCES);
    let claims = decode::<Value>(token, &DecodingKey::from_secret(secret.as_bytes()), &validation).ok()?.claims;
    let (ns, name) = claims.text("sub").strip_prefix(ACCOUNT)?.split_once(':')?;
    let account = cluster.get(&resource::SERVICE_ACCOUNT, ns, name)?;
    let uid = account.text("metadata.uid");
    let valid = claims.int("exp")? > cluster.now().as_second() && uid == claims.text("uid");
    valid.then(|| User { uid: uid.to_owned(), ..User::account(ns, name) })
}

/// Answers a `TokenRequest` for an account.
pub(crate) fn request_token(
    cluster: &Cluster,
    admin_token: &str,
    ns: &str,
    account: &str,
    request: &Value,
) -> Result<Value, Status> {
    let found = cluster.get(&resource::SERVICE_ACCOUNT, ns, account);
    let found = found.ok_or_else(|| Status::not_found(&resource::SERVICE_ACCOUNT, account))?;
    if request.has("spec.boundObjectRef") {
        return Err(Status::not_implemented("tokens bound to an object"));
    }
    let seconds = request.int("spec.expirationSeconds").unwrap_or(3600);
    if seconds < 600 {
        let why = "may not specify a duration less than 10 minutes";
        let cause = Cause::invalid("spec.expirationSeconds", &seconds.into(), why);
        let kind = Kind { group: "authentication.k8s.io", kind: "TokenRequest", ..resource::SERVICE_ACCOUNT };
        return Err(Status::invalid(&kind, account, &[cause]));
    }
    let mut audiences = request.at("spec.audiences").clone();
    if audiences.items("").is_empty() {
        audiences = json!(AUDIENCES);
    }
    let (now, uid) = (cluster.now(), found.text("metadata.uid"));
    let expires = now.saturating_add(jiff::SignedDuration::from_secs(seconds)).unwrap_or(now);
    let claims = json!({
        "iss": AUDIENCES[0], "aud": audiences, "sub": format!("{ACCOUNT}{ns}:{account}"), "uid": uid,
        "iat": now.as_second(), "exp": expires.as_second(),
    });
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
