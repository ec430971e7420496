//! Idempotency-Key: a POST that creates or charges happens once, however often it is sent.
//!
//! The key is scoped to the account and kept for 24 hours. Only accepted requests are stored, in the transaction of
//! their effect; refusals are evaluated afresh. While the first request runs, a second gets 409; afterwards the same
//! body replays the stored answer and another body is 422. Stored answers hold no secrets.

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::problem::{Kind, Problem};
use crate::clock::Ambient;
use crate::crypto;

pub const KEEP: Duration = Duration::from_hours(24);

/// The header's value and what it was sent with.
#[derive(Clone, Debug)]
pub struct Key {
    user_id: Uuid,
    key: String,
    fingerprint: [u8; 32],
}

/// A finished answer: what is stored and replayed.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub status: StatusCode,
    pub location: Option<String>,
    pub body: Value,
}

impl IntoResponse for Stored {
    fn into_response(self) -> Response {
        let mut response = (self.status, axum::Json(self.body)).into_response();
        if let Some(location) = self.location.and_then(|location| location.try_into().ok()) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }
}

impl Key {
    /// Reads the header: a quoted structured-field string or, as most clients send it, a bare token.
    pub fn read(parts: &Parts, user_id: Uuid, body: &[u8]) -> Result<Self, Problem> {
        Self::from_headers(&parts.headers, parts.method.as_str(), parts.uri.path(), user_id, body)
    }

    pub fn from_headers(
        headers: &HeaderMap,
        method: &str,
        path: &str,
        user_id: Uuid,
        body: &[u8],
    ) -> Result<Self, Problem> {
        let raw = headers
            .get("idempotency-key")
            .ok_or_else(|| Problem::new(Kind::IdempotencyKeyMissing))?;
        let raw = raw.to_str().unwrap_or_default().trim();
        let key = raw
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(raw);
        if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| (0x21..=0x7e).contains(&b) && b != b'"') {
            let detail = "Idempotency-Key must be 1 to 255 visible ASCII characters";
            return Err(Problem::with(Kind::BadRequest, detail));
        }
        let mut all = Vec::with_capacity(body.len() + 64);
        for part in [method.as_bytes(), path.as_bytes(), body] {
            all.extend_from_slice(&part.len().to_be_bytes());
            all.extend_from_slice(part);
        }
        Ok(Self {
            user_id,
            key: key.to_owned(),
            fingerprint: crypto::sha256(&all),
        })
    }

    /// First in the transaction: `Some` is the answer to give again, `None` means go on and [`Key::store`] at the end.
    pub async fn claim(&self, conn: &mut PgConnection, ambient: &Ambient) -> Result<Option<Stored>, Problem> {
        let lock = crypto::sha256(format!("{}/{}", self.user_id, self.key).as_bytes());
        let lock = i64::from_be_bytes(lock[..8].try_into().expect("a digest is longer than 8 bytes"));
        let free = sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "free!""#, lock)
            .fetch_one(&mut *conn)
            .await?;
        if !free {
            return Err(Problem::new(Kind::IdempotencyInFlight).header(header::RETRY_AFTER, "1"));
        }
        let row = sqlx::query!(
            "SELECT fingerprint, status_code, location, body
               FROM idempotency_keys
              WHERE user_id = $1 AND key = $2 AND expires_at > $3",
            self.user_id,
            self.key,
            ambient.now() as _
        )
        .fetch_optional(&mut *conn)
        .await?;
        let Some(row) = row else { return Ok(None) };
        if row.fingerprint != self.fingerprint {
            return Err(Problem::new(Kind::IdempotencyMismatch));
        }
        let status = u16::try_from(row.status_code)
            .ok()
            .and_then(|code| StatusCode::from_u16(code).ok());
        let status = status.ok_or_else(|| Problem::internal("a stored answer has no valid status"))?;
        Ok(Some(Stored {
            status,
            location: row.location,
            body: row.body,
        }))
    }

    /// Stores the answer beside its effect. An expired row of the same key is replaced.
    pub async fn store(&self, conn: &mut PgConnection, ambient: &Ambient, answer: &Stored) -> sqlx::Result<()> {
        sqlx::query!(
            "INSERT INTO idempotency_keys (user_id, key, fingerprint, status_code, location, body, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (user_id, key) DO UPDATE
                SET fingerprint = EXCLUDED.fingerprint, status_code = EXCLUDED.status_code, location = EXCLUDED.location,
                    body = EXCLUDED.body, created_at = EXCLUDED.created_at, expires_at = EXCLUDED.expires_at",
            self.user_id,
            self.key,
            &self.fingerprint,
            i32::from(answer.status.as_u16()),
            answer.location,
            answer.body,
            ambient.now() as _,
            ambient.now().plus(KEEP) as _,
        )
        .execute(conn)
        .await?;
        Ok(())
    }
}

/// Forgets expired keys; a housekeeping task's work.
pub async fn forget_expired(conn: &mut PgConnection, ambient: &Ambient) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE expires_at <= $1",
        ambient.now() as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}
