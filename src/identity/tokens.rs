//! Access tokens: JWTs signed with Ed25519, good for ten minutes, and the public keys that verify them.
//!
//! We are the only issuer, so the header must be exactly the one that we write (`alg`, `typ` = `at+jwt`, and the `kid`
//! of a key that we have) and anything more (`jku`, `jwk`, `x5u`, `crit`, …) is refused before a signature is looked at.
//! Times are compared with the Clock. That a session was ended or rights were changed is not in the token: the layer
//! looks that up (see [`super::layer`]).
//!
//! Rotation: append a key to the file; from the next start the last one signs, and all verify and are published, so that
//! tokens from before stay good.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Role;
use crate::clock::{Entropy, Time};
use crate::crypto;

pub const LIFETIME: Duration = Duration::from_mins(10);
pub const AUDIENCE: &str = "lumbung";
const TYPE: &str = "at+jwt";
/// How far the clocks of two replicas may differ.
const SKEW: Duration = Duration::from_secs(5);
/// Ours have about 500 bytes; there is no reason to parse a novel.
const MAX_LENGTH: usize = 2048;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("no private key (-----BEGIN PRIVATE KEY-----) was found")]
    Missing,
    #[error("private key number {0} is not an Ed25519 key in PKCS#8")]
    Malformed(usize),
}

/// Why a token is refused; for logs, clients learn only that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("not a token of ours")]
    Malformed,
    #[error("the header is not one that we write")]
    Header,
    #[error("signed with a key that we do not have")]
    UnknownKey,
    #[error("the signature or a claim does not hold")]
    Invalid,
    #[error("expired")]
    Expired,
    #[error("not valid yet")]
    Early,
}

/// What a token says. `ver` is the account's `auth_version`: a change of rights makes older tokens worthless.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub aud: String,
    pub exp: i64,
    pub nbf: i64,
    pub iat: i64,
    pub sub: Uuid,
    pub sid: Uuid,
    pub role: Role,
    pub ver: i64,
}

/// A public key as published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Jwk {
    pub kty: &'static str,
    pub crv: &'static str,
    pub alg: &'static str,
    pub r#use: &'static str,
    pub kid: String,
    /// The public key, base64url.
    pub x: String,
}

/// The keys that verify access tokens (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Jwks {
    pub keys: Vec<Jwk>,
}

/// A key pair. `Debug` prints its id only.
#[derive(Clone)]
pub struct Key {
    jwk: Jwk,
    sign: EncodingKey,
    verify: DecodingKey,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key({})", self.jwk.kid)
    }
}

impl Key {
    fn from_pair(pair: &Ed25519KeyPair) -> Option<Self> {
        let public = pair.public_key().as_ref();
        let x = URL_SAFE_NO_PAD.encode(public);
        // RFC 7638: the members in this order, without spaces.
        let thumbprint = crypto::sha256(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#).as_bytes());
        Some(Self {
            sign: EncodingKey::from_ed_der(pair.to_pkcs8v1().ok()?.as_ref()),
            verify: DecodingKey::from_ed_der(public),
            jwk: Jwk {
                kty: "OKP",
                crv: "Ed25519",
                alg: "EdDSA",
                r#use: "sig",
                kid: URL_SAFE_NO_PAD.encode(thumbprint),
                x,
            },
        })
    }

    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are an Ed25519 seed");
        Self::from_pair(&pair).expect("a key pair can be written down")
    }

    fn from_der(der: &[u8]) -> Option<Self> {
        Self::from_pair(&Ed25519KeyPair::from_pkcs8(der).ok()?)
    }

    /// RFC 7638 thumbprint; also what may be written down as the key's fingerprint.
    pub fn id(&self) -> &str {
        &self.jwk.kid
    }

    /// PKCS#8 in PEM, as `openssl genpkey -algorithm ed25519` writes it.
    pub fn to_pem(&self) -> String {
        let body = STANDARD.encode(self.sign.as_bytes());
        format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n")
    }
}

/// A new key.
pub fn generate(entropy: &Entropy) -> Key {
    Key::from_seed(&entropy.bytes())
}

/// Every private key in a PEM text, in order.
pub fn keys_from_pem(text: &str) -> Result<Vec<Key>, KeyError> {
    let blocks: Vec<&str> = text.split("-----BEGIN PRIVATE KEY-----").skip(1).collect();
    if blocks.is_empty() {
        return Err(KeyError::Missing);
    }
    let read = |block: &str| {
        let (body, _) = block.split_once("-----END PRIVATE KEY-----")?;
        let base64: String = body.split_whitespace().collect();
        Key::from_der(&STANDARD.decode(base64).ok()?)
    };
    let numbered = blocks.into_iter().zip(1..);
    numbered
        .map(|(block, number)| read(block).ok_or(KeyError::Malformed(number)))
        .collect()
}

/// Whom a token is for.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub user_id: Uuid,
    pub session_id: Uuid,
    pub role: Role,
    pub auth_version: i64,
}

/// Signs and verifies.
#[derive(Clone, Debug)]
pub struct Signer {
    issuer: String,
    keys: Vec<Key>,
}

fn header(key: &Key) -> Header {
    Header {
        typ: Some(TYPE.to_owned()),
        kid: Some(key.jwk.kid.clone()),
        ..Header::new(Algorithm::EdDSA)
    }
}

impl Signer {
    /// `issuer` is the API's public address. The last key signs, all verify.
    pub fn new(issuer: impl Into<String>, keys: Vec<Key>) -> Result<Self, KeyError> {
        if keys.is_empty() {
            return Err(KeyError::Missing);
        }
        Ok(Self {
            issuer: issuer.into(),
            keys,
        })
    }

    pub fn from_pem(issuer: impl Into<String>, text: &str) -> Result<Self, KeyError> {
        Self::new(issuer, keys_from_pem(text)?)
    }

    pub fn newest(&self) -> &Key {
        self.keys.last().expect("a signer has a key")
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn jwks(&self) -> Jwks {
        Jwks {
            keys: self.keys.iter().rev().map(|key| key.jwk.clone()).collect(),
        }
    }

    /// A token that is good until `until`, or for [`LIFETIME`] if that is sooner. Returns it with its seconds to live.
    pub fn sign(&self, subject: Subject, now: Time, until: Time) -> (String, u64) {
        let lifetime = LIFETIME.min(until.since(now));
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: AUDIENCE.to_owned(),
            exp: now.plus(lifetime).as_second(),
            nbf: now.as_second(),
            iat: now.as_second(),
            sub: subject.user_id,
            sid: subject.session_id,
            role: subject.role,
            ver: subject.auth_version,
        };
        let key = self.newest();
        let token = jsonwebtoken::encode(&header(key), &claims, &key.sign).expect("a checked key signs plain claims");
        (token, lifetime.as_secs())
    }

    pub fn verify(&self, token: &str, now: Time) -> Result<Claims, Refusal> {
        if token.len() > MAX_LENGTH {
            return Err(Refusal::Malformed);
        }
        let given = jsonwebtoken::decode_header(token).map_err(|_| Refusal::Malformed)?;
        let key = self
            .keys
            .iter()
            .find(|key| given.kid.as_deref() == Some(key.id()))
            .ok_or(Refusal::UnknownKey)?;
        if given != header(key) {
            return Err(Refusal::Header);
        }
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_issuer(&[&self.issuer]);
        rules.set_audience(&[AUDIENCE]);
        rules.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // The library would ask the operating system for the time.
        rules.validate_exp = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.verify, &rules)
            .map_err(|_| Refusal::Invalid)?
            .claims;
        if claims.exp <= now.as_second() {
            return Err(Refusal::Expired);
        }
        if claims.nbf.max(claims.iat) > now.plus(SKEW).as_second() {
            return Err(Refusal::Early);
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod attacks;
