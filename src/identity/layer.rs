//! The gate in front of the API: reads the bearer token and leaves a [`Caller`] with the request.
//!
//! A token proves who signed in; whether that still counts (session ended, account suspended, role changed) is looked up
//! per session and believed for [`TRUST`]. The process that ends a session knows at once ([`Gate::end`]), other replicas
//! when their belief expires. When the database cannot be asked, the request is refused as 503: nobody gets in on a guess.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use moka::future::Cache;
use sqlx::PgPool;
use uuid::Uuid;

use super::Principal;
use super::principal::Caller;
use super::store::sessions::{self, Rights};
use super::tokens::{Claims, Signer};
use crate::clock::Clock;
use crate::http::limit::Account;
use crate::http::problem::Problem;

/// How long what a session may do is believed without asking again.
pub const TRUST: Duration = Duration::from_secs(2);
const MAX_SESSIONS: u64 = 100_000;

#[derive(Clone)]
pub struct Gate {
    pool: PgPool,
    clock: Arc<dyn Clock>,
    signer: Arc<Signer>,
    /// `None`: the session is over, which never changes again.
    known: Cache<Uuid, Option<Rights>>,
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gate({} sessions)", self.known.entry_count())
    }
}

impl Gate {
    pub fn new(pool: PgPool, clock: Arc<dyn Clock>, signer: Arc<Signer>) -> Self {
        let known = Cache::builder().max_capacity(MAX_SESSIONS).time_to_live(TRUST).build();
        Self {
            pool,
            clock,
            signer,
            known,
        }
    }

    /// After the commit that ended a session.
    ///
    /// It is remembered as over, not merely forgotten: a look-up that began before the commit must not bring it back.
    pub async fn end(&self, session_id: Uuid) {
        self.known.insert(session_id, None).await;
    }

    async fn rights(&self, session_id: Uuid) -> Result<Option<Rights>, sqlx::Error> {
        if let Some(known) = self.known.get(&session_id).await {
            return Ok(known);
        }
        let found = sessions::rights(&mut *self.pool.acquire().await?, session_id).await?;
        Ok(self.known.entry(session_id).or_insert(found).await.into_value())
    }

    /// Who holds this token, if it still counts. Also for connections that outlive a request, to ask again.
    pub async fn admit(&self, token: &str) -> Result<Option<Principal>, sqlx::Error> {
        match self.signer.verify(token, self.clock.now()) {
            Ok(claims) => self.still(&claims).await,
            Err(refusal) => {
                tracing::debug!(%refusal, "access token refused");
                Ok(None)
            }
        }
    }

    async fn still(&self, claims: &Claims) -> Result<Option<Principal>, sqlx::Error> {
        let rights = self.rights(claims.sid).await?;
        let counts = |rights: &Rights| {
            rights.active
                && rights.user_id == claims.sub
                && rights.auth_version == claims.ver
                && rights.expires_at > self.clock.now()
        };
        Ok(rights.filter(counts).map(|rights| Principal {
            user_id: rights.user_id,
            session_id: claims.sid,
            role: rights.role,
        }))
    }

    /// Whether a session that was good still is: for live connections, which have no token to show again.
    pub async fn is_open(&self, principal: &Principal) -> Result<bool, sqlx::Error> {
        let rights = self.rights(principal.session_id).await?;
        Ok(rights.is_some_and(|rights| {
            rights.active && rights.role == principal.role && rights.expires_at > self.clock.now()
        }))
    }

    async fn caller(&self, headers: &HeaderMap) -> Result<Caller, sqlx::Error> {
        match bearer(headers) {
            Bearer::Absent => Ok(Caller::Anonymous),
            Bearer::Malformed => Ok(Caller::Refused),
            Bearer::Token(token) => Ok(self.admit(token).await?.map_or(Caller::Refused, Caller::Known)),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Bearer<'a> {
    Absent,
    /// Another scheme, or two headers: not for us to choose one.
    Malformed,
    Token(&'a str),
}

fn bearer(headers: &HeaderMap) -> Bearer<'_> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Bearer::Absent;
    };
    let token = value.to_str().ok().and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token)
    });
    match token {
        Some(token) if values.next().is_none() => Bearer::Token(token),
        _ => Bearer::Malformed,
    }
}

/// Middleware: sets [`Caller`] and, for the rate limits, [`Account`].
pub async fn authenticate(State(gate): State<Gate>, mut request: Request, next: Next) -> Response {
    let caller = match gate.caller(request.headers()).await {
        Ok(caller) => caller,
        Err(error) => return Problem::from(error).into_response(),
    };
    if let Caller::Known(principal) = &caller {
        request.extensions_mut().insert(Account(principal.user_id));
    }
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bearer_header_is_read_and_nothing_else() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, value.parse().unwrap());
            }
            match bearer(&headers) {
                Bearer::Absent => "absent".to_owned(),
                Bearer::Malformed => "malformed".to_owned(),
                Bearer::Token(token) => format!("token {token}"),
            }
        };
        assert_eq!(read(&[]), "absent");
        assert_eq!(read(&["Bearer a.b.c"]), "token a.b.c");
        assert_eq!(read(&["bearer a.b.c"]), "token a.b.c");
        for bad in [
            &["Basic YTpi"][..],
            &["a.b.c"],
            &["Bearer"],
            &["Bearer a", "Bearer b"],
            &[""],
        ] {
            assert_eq!(read(bad), "malformed", "{bad:?}");
        }
    }
}
