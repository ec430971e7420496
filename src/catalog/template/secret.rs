//! Generated secrets: passwords, keys and the hashes derived from them.
//!
//! Generation is a pure function of the template and the random numbers given. Hashes cost tens of milliseconds of
//! CPU by design: call [`generate`] off the async threads.

use std::collections::BTreeMap;

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, phc},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};

use crate::{clock::Entropy, crypto::encode_hex};

/// Letters and digits that cannot be mistaken for each other, and that need no quoting in shells, URLs or JSON.
const PASSWORD_ALPHABET: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789";

/// bcrypt's work factor: what n8n itself uses for its users (10), its hashes being checked at every log-in.
const BCRYPT_COST: u32 = 10;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSpec {
    pub key: String,
    pub label: String,
    /// Shown among the instance's credentials.
    #[serde(default)]
    pub shown_to_customer: bool,
    pub generator: Generator,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Generator {
    /// Characters; holds an upper-case letter, a lower-case letter and a digit.
    Password {
        length: u32,
    },
    Hex {
        bytes: u32,
    },
    Base64 {
        bytes: u32,
    },
    Uuid,
    /// bcrypt (2b) of the secret with this key.
    BcryptOf {
        key: String,
    },
    /// argon2id as a PHC string, of the secret with this key.
    Argon2Of {
        key: String,
    },
    /// A fixed user name that belongs among the credentials; never a password.
    Literal {
        value: String,
    },
}

impl Generator {
    /// The key that this one is derived from.
    pub fn derived_from(&self) -> Option<&str> {
        match self {
            Self::BcryptOf { key } | Self::Argon2Of { key } => Some(key),
            Self::Password { .. } | Self::Hex { .. } | Self::Base64 { .. } | Self::Uuid | Self::Literal { .. } => None,
        }
    }
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GenerateError {
    #[error("secret {key}: there is no secret {source_key} to hash")]
    NoSource { key: String, source_key: String },
    #[error("secret {key}: {reason}")]
    Hash { key: String, reason: String },
}

/// Values for all secrets of a template; `kept` (from an earlier version of the same instance) wins over new ones.
pub fn generate(
    specs: &[SecretSpec],
    kept: &BTreeMap<String, String>,
    entropy: &Entropy,
) -> Result<BTreeMap<String, String>, GenerateError> {
    let mut values = BTreeMap::new();
    for spec in specs {
        let fresh = match &spec.generator {
            _ if kept.contains_key(&spec.key) => kept[&spec.key].clone(),
            Generator::Password { length } => password(*length, entropy),
            Generator::Hex { bytes } => encode_hex(&random_bytes(*bytes, entropy)),
            Generator::Base64 { bytes } => BASE64_STANDARD.encode(random_bytes(*bytes, entropy)),
            Generator::Uuid => uuid::Builder::from_random_bytes(entropy.bytes())
                .into_uuid()
                .to_string(),
            Generator::Literal { value } => value.clone(),
            Generator::BcryptOf { .. } | Generator::Argon2Of { .. } => continue,
        };
        values.insert(spec.key.clone(), fresh);
    }
    for spec in specs {
        let Some(source_key) = spec.generator.derived_from() else {
            continue;
        };
        // A kept hash is only kept with the password that it was made of.
        if let (Some(hash), true) = (kept.get(&spec.key), kept.contains_key(source_key)) {
            values.insert(spec.key.clone(), hash.clone());
            continue;
        }
        let Some(source) = values.get(source_key) else {
            return Err(GenerateError::NoSource {
                key: spec.key.clone(),
                source_key: source_key.to_owned(),
            });
        };
        let salt: [u8; 16] = entropy.bytes();
        let hashed = match &spec.generator {
            Generator::BcryptOf { .. } => bcrypt_hash(source, salt),
            _ => argon2_hash(source, salt),
        };
        let hash = hashed.map_err(|reason| GenerateError::Hash {
            key: spec.key.clone(),
            reason,
        })?;
        values.insert(spec.key.clone(), hash);
    }
    Ok(values)
}

fn password(length: u32, entropy: &Entropy) -> String {
    loop {
        let candidate = entropy.string(PASSWORD_ALPHABET, length.max(3) as usize);
        // Applications ask for all three; redrawing the whole keeps the draw uniform among acceptable passwords.
        if candidate.contains(|c: char| c.is_ascii_uppercase())
            && candidate.contains(|c: char| c.is_ascii_lowercase())
            && candidate.contains(|c: char| c.is_ascii_digit())
        {
            return candidate;
        }
    }
}

fn random_bytes(count: u32, entropy: &Entropy) -> Vec<u8> {
    let mut bytes = vec![0; count as usize];
    entropy.fill(&mut bytes);
    bytes
}

fn bcrypt_hash(secret: &str, salt: [u8; 16]) -> Result<String, String> {
    bcrypt::non_truncating_hash_with_salt(secret, BCRYPT_COST, salt)
        .map(|parts| parts.to_string())
        .map_err(|error| error.to_string())
}

fn argon2_hash(secret: &str, salt: [u8; 16]) -> Result<String, String> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default());
    let hash: phc::PasswordHash = argon2
        .hash_password_with_salt(secret.as_bytes(), &salt)
        .map_err(|error| error.to_string())?;
    Ok(hash.to_string())
}
