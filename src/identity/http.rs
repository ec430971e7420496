//! Routes of identity: registering, sessions, the public keys; one's own account in [`me`], everybody's in [`staff`].
//!
//! Tokens travel in bodies only, never in addresses or cookies, and such answers are not to be stored.

mod me;
mod staff;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::middleware::from_fn_with_state;
use serde::{Deserialize, Serialize};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::account::{Accounts, Registration};
use super::origin::Origin;
use super::password::{self, MAX_CHARS, Password, objection};
use super::session::Issued;
use super::tokens::Jwks;
use super::{Customer, Error, normal_email};
use crate::clock::Time;
use crate::http::extract::{Json, Validate};
use crate::http::limit::{self, Key, Limits};
use crate::http::problem::{FieldError, Kind, Problem, Result};

const MAX_NAME: usize = 200;

/// What these routes need.
#[derive(Clone)]
pub struct Deps {
    pub accounts: Accounts,
    pub limits: Arc<Limits>,
}

pub fn routes(deps: Deps) -> OpenApiRouter {
    // Whoever sends a password or a refresh token has a quota of their own for it.
    let guarded = OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(login))
        .routes(routes!(refresh))
        .route_layer(from_fn_with_state(deps.limits.clone(), limit::auth));
    OpenApiRouter::new()
        .merge(guarded)
        .routes(routes!(logout))
        .merge(me::routes())
        .routes(routes!(jwks))
        .merge(staff::routes())
        .with_state(deps)
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCredentials => Self::new(Kind::InvalidCredentials),
            Error::InvalidToken => Self::new(Kind::InvalidToken),
            Error::Suspended => Self::with(Kind::Forbidden, "This account is suspended"),
            Error::NoSuchUser => Self::not_found(),
            Error::Stale => Self::new(Kind::PreconditionFailed),
            Error::LastAdmin => Self::with(Kind::Conflict, "This is the last active admin"),
            Error::Password(password::Error::Busy) => Self::with(Kind::Unavailable, "Too many log-ins at the moment"),
            Error::Password(error @ password::Error::Failed(_)) => Self::internal(error),
            Error::Sql(error) => error.into(),
        }
    }
}

const NO_STORE: [(HeaderName, &str); 1] = [(header::CACHE_CONTROL, "no-store")];

fn check_email(email: &str) -> Option<FieldError> {
    let odd = normal_email(email).is_none();
    odd.then(|| FieldError::new("/email", "must be an e-mail address"))
}

fn check_name(name: &str) -> Option<FieldError> {
    if name.chars().count() > MAX_NAME {
        return Some(FieldError::new(
            "/name",
            format!("must have at most {MAX_NAME} characters"),
        ));
    }
    let odd = name.chars().any(char::is_control);
    odd.then(|| FieldError::new("/name", "must not contain control characters"))
}

/// A new account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Register {
    #[schema(format = Email, max_length = 254)]
    email: String,
    /// At least 8 characters, not a common one. Any characters; they are taken as they are.
    #[schema(min_length = 8, max_length = 128)]
    password: Password,
    #[serde(default)]
    #[schema(max_length = 200)]
    name: String,
}

impl Validate for Register {
    fn validate(&self) -> Vec<FieldError> {
        let email = normal_email(&self.email).unwrap_or_default();
        let weak = objection(&self.password, &email).map(|detail| FieldError::new("/password", detail));
        [check_email(&self.email), weak, check_name(&self.name)]
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Says nothing about whether the address was free.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Accepted {
    #[schema(example = "accepted")]
    status: &'static str,
}

/// Register
///
/// Makes a customer's account. The answer is the same whether or not the address has one already (an existing account
/// is left as it is); log in to find out.
#[utoipa::path(
    post, path = "/api/v1/auth/register", tag = "auth", operation_id = "register",
    request_body = Register, responses((status = 202, body = Accepted))
)]
async fn register(
    State(deps): State<Deps>,
    origin: Origin,
    Json(body): Json<Register>,
) -> Result<(StatusCode, Answer<Accepted>)> {
    let email = normal_email(&body.email).unwrap_or_default();
    deps.limits.email.admit(&Key::Email(email.clone()))?;
    let registration = Registration {
        email: &email,
        password: &body.password,
        name: body.name.trim(),
    };
    deps.accounts.register(&registration, &origin).await?;
    Ok((StatusCode::ACCEPTED, Answer(Accepted { status: "accepted" })))
}

#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Login {
    #[schema(format = Email, max_length = 254)]
    email: String,
    #[schema(max_length = 128)]
    password: Password,
}

impl Validate for Login {
    fn validate(&self) -> Vec<FieldError> {
        let long = self.password.expose().chars().count() > MAX_CHARS;
        let long = long.then(|| FieldError::new("/password", format!("must have at most {MAX_CHARS} characters")));
        [check_email(&self.email), long].into_iter().flatten().collect()
    }
}

/// What to show as `Authorization: Bearer …`, and what to get the next one with.
#[derive(Serialize, utoipa::ToSchema)]
struct Tokens {
    access_token: String,
    #[schema(example = "Bearer")]
    token_type: &'static str,
    /// Seconds that the access token is good for.
    expires_in: u64,
    /// Good once; the answer brings its successor.
    refresh_token: String,
    /// When the session ends unless it is refreshed before.
    refresh_expires_at: Time,
}

impl From<Issued> for Tokens {
    fn from(issued: Issued) -> Self {
        Self {
            access_token: issued.access_token,
            token_type: "Bearer",
            expires_in: issued.expires_in,
            refresh_token: issued.refresh_token,
            refresh_expires_at: issued.refresh_expires_at,
        }
    }
}

type TokenAnswer = ([(HeaderName, &'static str); 1], Answer<Tokens>);

/// Log in
///
/// Opens a session. An unknown address and a wrong password get the same answer.
#[utoipa::path(
    post, path = "/api/v1/auth/login", tag = "auth", operation_id = "login",
    request_body = Login, responses((status = 200, body = Tokens))
)]
async fn login(State(deps): State<Deps>, origin: Origin, Json(body): Json<Login>) -> Result<TokenAnswer> {
    let email = normal_email(&body.email).unwrap_or_default();
    deps.limits.email.admit(&Key::Email(email.clone()))?;
    let issued = deps.accounts.log_in(&email, &body.password, &origin).await?;
    Ok((NO_STORE, Answer(issued.into())))
}

#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct Refresh {
    #[schema(max_length = 200)]
    refresh_token: String,
}

impl Validate for Refresh {
    fn validate(&self) -> Vec<FieldError> {
        Vec::new()
    }
}

/// Refresh the session
///
/// Spends the refresh token for new tokens. Repeating it within a minute gives the same successor, so a lost answer may
/// be asked for again; any other spent token ends the session, since it must have been copied.
#[utoipa::path(
    post, path = "/api/v1/auth/refresh", tag = "auth", operation_id = "refresh",
    request_body = Refresh, responses((status = 200, body = Tokens))
)]
async fn refresh(State(deps): State<Deps>, origin: Origin, Json(body): Json<Refresh>) -> Result<TokenAnswer> {
    let Accounts {
        pool,
        ambient,
        issuer,
        gate,
        ..
    } = &deps.accounts;
    let issued = issuer
        .refresh(pool, ambient, gate, &body.refresh_token, &origin)
        .await?;
    Ok((NO_STORE, Answer(issued.into())))
}

/// Log out
///
/// Ends the session of the access token: neither it nor the refresh token counts any more.
#[utoipa::path(
    post, path = "/api/v1/auth/logout", tag = "auth", operation_id = "logout",
    security(("bearer" = ["customer"])), responses((status = 204))
)]
async fn logout(State(deps): State<Deps>, Customer(caller): Customer, origin: Origin) -> Result<StatusCode> {
    deps.accounts.log_out(&caller, &origin).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Public keys
///
/// The keys that verify access tokens, the one that signs at present first.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "auth", operation_id = "get_jwks",
    responses((status = 200, body = Jwks))
)]
async fn jwks(State(deps): State<Deps>) -> ([(HeaderName, &'static str); 1], Answer<Jwks>) {
    let cache = [(header::CACHE_CONTROL, "public, max-age=300")];
    (cache, Answer(deps.accounts.issuer.signer.jwks()))
}
