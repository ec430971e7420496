//! Sessions: a family of refresh tokens, one good at a time.
//!
//! Token n of a session is `lrt_<session>.<n>.<mac>`, where the MAC is made with the server's key over the session, its
//! random seed and n. Nothing about single tokens is stored, and a stolen table alone mints none. Using token n makes
//! n + 1 the good one. What happens to an older one:
//! - the immediate predecessor, within [`GRACE`] of its use, gets **the same** successor again: the answer was lost, or
//!   two tabs refreshed at once;
//! - anything else that was once ours has been stolen or copied, and we cannot know who is asking: the whole session is
//!   ended, so that thief and owner both have to log in. A forged token (wrong MAC) ends nothing.
//!
//! A session ends for good after [`LIFETIME`], earlier after [`INACTIVITY`] without a refresh.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prometheus::IntCounterVec;
use serde_json::json;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::layer::Gate;
use super::origin::Origin;
use super::store::{self, sessions};
use super::tokens::{self, Signer, Subject};
use super::{Error, Status, User};
use crate::audit;
use crate::clock::{Ambient, Time};
use crate::crypto::{self, MasterKey};
use crate::telemetry;

pub const GRACE: Duration = Duration::from_mins(1);
pub const LIFETIME: Duration = Duration::from_hours(30 * 24);
pub const INACTIVITY: Duration = Duration::from_hours(14 * 24);
const PREFIX: &str = "lrt_";

static REFRESHES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    telemetry::counter(
        "lumbung_identity_refreshes_total",
        "Refresh tokens of ours that were presented, by what they were worth.",
        &["outcome"],
    )
});

/// The server's keys for refresh tokens, the one that makes them first; those of older master keys still verify.
#[derive(Clone)]
pub struct RefreshKeys(Vec<[u8; 32]>);

impl std::fmt::Debug for RefreshKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RefreshKeys({})", self.0.len())
    }
}

impl RefreshKeys {
    /// From the keyring's master keys, oldest first.
    pub fn new(keys: &[MasterKey]) -> Self {
        Self(keys.iter().rev().map(|key| key.derive("refresh")).collect())
    }

    fn mac(key: &[u8; 32], session: Uuid, seed: &[u8], n: i64) -> [u8; 32] {
        crypto::mac(key, &[b"refresh", session.as_bytes(), seed, &n.to_be_bytes()])
    }

    fn token(&self, session: Uuid, seed: &[u8], n: i64) -> String {
        let key = self.0.first().expect("a keyring is never empty");
        let mac = URL_SAFE_NO_PAD.encode(Self::mac(key, session, seed, n));
        format!("{PREFIX}{}.{n}.{mac}", session.simple())
    }

    fn made(&self, token: &Token, seed: &[u8]) -> bool {
        let made_with = |key| crypto::same(&Self::mac(key, token.session, seed, token.n), &token.mac);
        self.0.iter().any(made_with)
    }
}

/// A refresh token taken apart; whether it is ours is not yet known.
struct Token {
    session: Uuid,
    n: i64,
    mac: Vec<u8>,
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(PREFIX)?.split('.');
        let (session, n, mac) = (parts.next()?, parts.next()?, parts.next()?);
        // One spelling only: a number has no sign and no leading zeros, an id no dashes.
        let n: i64 = n
            .parse()
            .ok()
            .filter(|number: &i64| number.to_string() == n && *number >= 0)?;
        let session = Uuid::try_parse(session)
            .ok()
            .filter(|id| id.simple().to_string() == session)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).ok()?;
        parts.next().is_none().then_some(Self { session, n, mac })
    }
}

/// What a genuine token of a session is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The good one: spend it.
    Rotate,
    /// Spent a moment ago: give the same successor.
    Repeat,
    /// Spent long ago.
    Reused,
    /// The session is over.
    Over,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotated",
            Self::Repeat => "repeated",
            Self::Reused => "reused",
            Self::Over => "over",
        }
    }
}

fn judge(session: &sessions::Session, n: i64, now: Time) -> Verdict {
    let idle = now.since(session.rotated_at);
    if session.revoked_at.is_some() || session.expires_at <= now || idle >= INACTIVITY || n > session.counter {
        Verdict::Over
    } else if n == session.counter {
        Verdict::Rotate
    } else if n == session.counter - 1 && idle <= GRACE {
        Verdict::Repeat
    } else {
        Verdict::Reused
    }
}

/// What sessions need; part of [`super::http::Deps`].
#[derive(Clone, Debug)]
pub struct Issuer {
    pub signer: Arc<Signer>,
    pub keys: RefreshKeys,
}

/// What whoever logs in or refreshes gets. Never logged: `Debug` is not derived.
pub struct Issued {
    pub session_id: Uuid,
    pub access_token: String,
    pub expires_in: u64,
    pub refresh_token: String,
    pub refresh_expires_at: Time,
}

impl Issuer {
    /// `public_url` is the issuer that tokens name; `sealing` are the keyring's keys, oldest first.
    pub fn new(public_url: &str, signing: Vec<tokens::Key>, sealing: &[MasterKey]) -> Result<Self, tokens::KeyError> {
        let signer = Arc::new(Signer::new(public_url, signing)?);
        Ok(Self {
            signer,
            keys: RefreshKeys::new(sealing),
        })
    }

    fn issue(&self, session: &sessions::Session, user: &User, n: i64, now: Time) -> Issued {
        let subject = Subject {
            user_id: user.id,
            session_id: session.id,
            role: user.role,
            auth_version: user.auth_version,
        };
        let (access_token, expires_in) = self.signer.sign(subject, now, session.expires_at);
        Issued {
            session_id: session.id,
            access_token,
            expires_in,
            refresh_token: self.keys.token(session.id, &session.seed, n),
            refresh_expires_at: session.expires_at.min(now.plus(INACTIVITY)),
        }
    }

    /// A new session for a user who has just proven to be one; within the caller's transaction.
    pub async fn open(
        &self,
        conn: &mut PgConnection,
        ambient: &Ambient,
        user: &User,
        user_agent: &str,
    ) -> sqlx::Result<Issued> {
        let now = ambient.now();
        let session = sessions::Session {
            id: ambient.new_id(),
            user_id: user.id,
            seed: ambient.entropy.bytes::<32>().to_vec(),
            counter: 0,
            rotated_at: now,
            expires_at: now.plus(LIFETIME),
            revoked_at: None,
        };
        sessions::insert(conn, &session, user_agent).await?;
        Ok(self.issue(&session, user, 0, now))
    }

    /// Spends a refresh token. `origin` goes into the audit trail when the token turns out to be stolen.
    pub async fn refresh(
        &self,
        pool: &PgPool,
        ambient: &Ambient,
        gate: &Gate,
        text: &str,
        origin: &Origin,
    ) -> Result<Issued, Error> {
        let token = Token::parse(text).ok_or(Error::InvalidToken)?;
        let mut tx = pool.begin().await?;
        let session = sessions::lock(&mut tx, token.session).await?;
        let session = session
            .filter(|session| self.keys.made(&token, &session.seed))
            .ok_or(Error::InvalidToken)?;
        let user = store::user_by_id(&mut tx, session.user_id)
            .await?
            .ok_or(Error::InvalidToken)?;
        let now = ambient.now();
        let verdict = judge(&session, token.n, now);
        REFRESHES.with_label_values(&[verdict.name()]).inc();
        match verdict {
            Verdict::Over => Err(Error::InvalidToken),
            Verdict::Rotate | Verdict::Repeat if user.status != Status::Active => Err(Error::InvalidToken),
            Verdict::Rotate => {
                sessions::rotate(&mut tx, ambient, session.id).await?;
                tx.commit().await?;
                let rotated = sessions::Session {
                    rotated_at: now,
                    ..session
                };
                Ok(self.issue(&rotated, &user, token.n + 1, now))
            }
            Verdict::Repeat => Ok(self.issue(&session, &user, session.counter, now)),
            Verdict::Reused => {
                sessions::revoke(&mut tx, ambient, session.id, sessions::Reason::Reuse).await?;
                let detail = json!({"session_id": session.id, "number": token.n, "expected": session.counter});
                let entry = origin.stranger("user.refresh", Some(user.id), false, detail);
                audit::record(&mut tx, ambient, entry).await?;
                tx.commit().await?;
                gate.end(session.id).await;
                tracing::warn!(user_id = %user.id, session_id = %session.id, "spent refresh token used again, session ended");
                Err(Error::InvalidToken)
            }
        }
    }
}

#[cfg(test)]
mod tests;
