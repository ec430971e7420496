//! One's own account.

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{HeaderName, header};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{Deps, check_name};
use crate::http::extract::{IfMatch, Json, Validate, etag};
use crate::http::problem::{FieldError, Kind, Problem, Result};
use crate::identity::account::Accounts;
use crate::identity::{Customer, User, store};

pub(super) fn routes() -> OpenApiRouter<Deps> {
    OpenApiRouter::new().routes(routes!(show, update))
}

/// An account with its ETag.
pub(super) type UserAnswer = ([(HeaderName, String); 1], Answer<User>);

pub(super) fn with_etag(user: User) -> UserAnswer {
    ([(header::ETAG, etag(user.version()))], Answer(user))
}

/// Show my account
///
/// The account that the access token belongs to.
#[utoipa::path(
    get, path = "/api/v1/me", tag = "auth", operation_id = "get_me",
    security(("bearer" = ["customer"])), responses((status = 200, body = User))
)]
async fn show(State(deps): State<Deps>, Customer(caller): Customer) -> Result<UserAnswer> {
    let user = store::user_by_id(&mut *deps.accounts.pool.acquire().await?, caller.user_id).await?;
    user.map(with_etag).ok_or_else(|| Problem::new(Kind::InvalidToken))
}

/// What may be changed of one's own account.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateMe {
    #[schema(max_length = 200)]
    name: String,
}

impl Validate for UpdateMe {
    fn validate(&self) -> Vec<FieldError> {
        check_name(&self.name).into_iter().collect()
    }
}

/// Change my account
///
/// Needs the ETag of the account as `If-Match`.
#[utoipa::path(
    patch, path = "/api/v1/me", tag = "auth", operation_id = "update_me",
    params(("If-Match" = String, Header, description = "The ETag of what is to be changed")),
    request_body = UpdateMe, security(("bearer" = ["customer"])), responses((status = 200, body = User))
)]
async fn update(
    State(deps): State<Deps>,
    Customer(caller): Customer,
    IfMatch(version): IfMatch,
    Json(body): Json<UpdateMe>,
) -> Result<UserAnswer> {
    let version = jiff::Timestamp::from_microsecond(version).map_err(|_| Problem::new(Kind::PreconditionFailed))?;
    let Accounts { pool, ambient, .. } = &deps.accounts;
    let mut conn = pool.acquire().await?;
    let user = store::rename(&mut conn, ambient, caller.user_id, version.into(), body.name.trim()).await?;
    user.map(with_etag)
        .ok_or_else(|| Problem::new(Kind::PreconditionFailed))
}
