//! Passwords: which are accepted, and how they are kept.
//!
//! Rules: 8 to 128 characters, no composition rules; refused when it is among the most common ones, a run of the
//! keyboard or one character repeated, or when nothing much is left beside the e-mail address or our own name.
//!
//! Normalisation: none. A password is hashed as the bytes that were sent (UTF-8), never folded, trimmed or cut, so that
//! what is verified is what was typed; a client that wants to be kind to people with several keyboards sends NFC.
//!
//! Hashing: Argon2id, off the async threads, with as many at once as there are cores. What waits beyond
//! [`MAX_WAITING`] is refused as overload instead of queued: log-in must not be a way to occupy the machine. Whoever
//! logs in to an account that does not exist costs the same work: [`Hasher::verify`] takes an `Option`.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use prometheus::HistogramVec;
use serde::Deserialize;
use tokio::sync::Semaphore;

use crate::clock::Entropy;
use crate::telemetry::{self, Stopwatch};

pub const MIN_CHARS: usize = 8;
pub const MAX_CHARS: usize = 128;
/// At about 30 ms each, the last one in the queue still answers within two seconds on two cores.
const MAX_WAITING: usize = 100;

static SECONDS: LazyLock<HistogramVec> = LazyLock::new(|| {
    let buckets = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0];
    telemetry::histogram(
        "lumbung_identity_password_hash_duration_seconds",
        "How long a password hash takes, the wait for a core included.",
        &[],
        &buckets,
    )
});

/// One entry a line, lower case, without digits and punctuation at the end: "password" stands for "Password2024!" too.
static COMMON: LazyLock<HashSet<&str>> = LazyLock::new(|| include_str!("password/common.txt").lines().collect());
const KEYBOARD: [&str; 8] = [
    "abcdefghijklmnopqrstuvwxyz",
    "1234567890",
    "qwertyuiop",
    "asdfghjkl",
    "zxcvbnm",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
];

/// A password on its way through; `Debug` does not print it.
#[derive(Clone, Deserialize, PartialEq, Eq, utoipa::ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct Password(String);

impl Password {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    /// One that nobody chose: 20 unambiguous characters, about 98 bits.
    pub fn generate(entropy: &Entropy) -> Self {
        Self(entropy.string(b"abcdefghjkmnpqrstuvwxyz23456789", 20))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What is wrong with a new password, in words for its owner.
pub fn objection(password: &Password, email: &str) -> Option<String> {
    let text = password.expose();
    let length = text.chars().count();
    if length < MIN_CHARS {
        return Some(format!("must have at least {MIN_CHARS} characters"));
    }
    if length > MAX_CHARS {
        return Some(format!("must have at most {MAX_CHARS} characters"));
    }
    let lower = text.to_lowercase();
    if is_common(&lower) {
        return Some("is among the most common passwords".to_owned());
    }
    let local = email.split('@').next().unwrap_or_default();
    for word in [email, local, "lumbung"] {
        // Short names occur in ordinary words.
        if word.len() >= 4 && lower.contains(word) && lower.replace(word, "").chars().count() < MIN_CHARS {
            return Some("is too close to the e-mail address or to the name of this service".to_owned());
        }
    }
    None
}

fn is_common(lower: &str) -> bool {
    let is_filler = |c: char| !c.is_alphabetic();
    let stem = lower.trim_end_matches(is_filler);
    let filler = lower.chars().count() - stem.chars().count();
    let plain = unleet(stem);
    (filler <= 6 && (COMMON.contains(stem) || COMMON.contains(plain.as_str())))
        || COMMON.contains(lower)
        || COMMON.contains(unleet(lower).as_str())
        || is_run(lower)
        || repeats(lower)
}

/// Undoes the usual substitutions: p4ssw0rd is password.
fn unleet(text: &str) -> String {
    let plain = |c| match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    text.chars().map(plain).collect()
}

/// A stretch of the alphabet, the digits or the keyboard, forwards or backwards, perhaps gone through again.
fn is_run(lower: &str) -> bool {
    let within = |row: &str| {
        let endless = row.repeat(lower.len() / row.len() + 2);
        endless.contains(lower) || endless.chars().rev().collect::<String>().contains(lower)
    };
    KEYBOARD.into_iter().any(within)
}

/// "aaaaaaaa", "abababab", "abc1abc1": fewer than five characters, over and over.
fn repeats(lower: &str) -> bool {
    let chars: Vec<char> = lower.chars().collect();
    (1..=4).any(|period| chars.iter().zip(chars.iter().skip(period)).all(|(a, b)| a == b))
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("too many passwords are being checked at the moment")]
    Busy,
    #[error("password hashing failed: {0}")]
    Failed(String),
}

/// Argon2id's cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub memory_kib: u32,
    pub passes: u32,
}

impl Cost {
    /// OWASP's minimum for Argon2id with one lane: 19 MiB, two passes.
    pub const STANDARD: Self = Self {
        memory_kib: 19 * 1024,
        passes: 2,
    };
    /// For tests that log in a thousand times.
    pub const TRIFLING: Self = Self {
        memory_kib: 8,
        passes: 1,
    };
}

/// Hashes and verifies, a bounded number at once.
#[derive(Debug)]
pub struct Hasher {
    argon: Argon2<'static>,
    cores: Arc<Semaphore>,
    waiting: AtomicUsize,
    entropy: Entropy,
    /// Nobody's: what a log-in to no account is verified against.
    decoy: String,
}

impl Hasher {
    pub fn new(cost: Cost, entropy: &Entropy) -> Result<Self, Error> {
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).map_err(failed)?;
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let decoy = hash(&argon, &entropy.bytes::<32>(), &entropy.bytes())?;
        Ok(Self {
            argon,
            cores: Arc::new(Semaphore::new(cores)),
            waiting: AtomicUsize::new(0),
            entropy: entropy.clone(),
            decoy,
        })
    }

    /// A PHC string: algorithm, cost, salt and hash.
    pub async fn hash(&self, password: &Password) -> Result<String, Error> {
        let salt = self.entropy.bytes();
        let password = password.clone();
        self.run(move |argon| hash(argon, password.expose().as_bytes(), &salt))
            .await?
    }

    /// Whether the password is the one of `stored`; never, but after the same work, when there is none.
    pub async fn verify(&self, password: &Password, stored: Option<&str>) -> Result<bool, Error> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or(&self.decoy).to_owned();
        let password = password.clone();
        self.run(move |argon| {
            let parsed = PasswordHash::new(&stored).map_err(failed)?;
            Ok(argon.verify_password(password.expose().as_bytes(), &parsed).is_ok() && exists)
        })
        .await?
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce(&Argon2) -> T + Send + 'static) -> Result<T, Error> {
        let watch = Stopwatch::start();
        let place = Waiting::enter(&self.waiting)?;
        let core = self.cores.clone().acquire_owned().await.map_err(failed)?;
        drop(place);
        let argon = self.argon.clone();
        // The permit goes with the work: a client that hangs up does not make room for another hash beside this one.
        let done = tokio::task::spawn_blocking(move || {
            let result = work(&argon);
            drop(core);
            result
        });
        let result = done.await.map_err(failed)?;
        SECONDS
            .with_label_values::<&str>(&[])
            .observe(watch.elapsed().as_secs_f64());
        Ok(result)
    }
}

/// A place in the queue, given up also when the request is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize) -> Result<Self, Error> {
        let place = Self(count);
        if count.fetch_add(1, Ordering::Relaxed) >= MAX_WAITING {
            return Err(Error::Busy);
        }
        Ok(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Failed(error.to_string())
}

fn hash(argon: &Argon2, password: &[u8], salt: &[u8; 16]) -> Result<String, Error> {
    let hash: PasswordHash = argon.hash_password_with_salt(password, salt).map_err(failed)?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests;
