//! Accounts as staff see them: support may look, admins may change roles and suspend.

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Deps;
use super::me::{UserAnswer, with_etag};
use crate::http::extract::{IfMatch, Json, Path, Query, Validate};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{FieldError, Problem, Result};
use crate::identity::account::RightsChange;
use crate::identity::origin::Origin;
use crate::identity::store::{self, Filter};
use crate::identity::{Admin, Role, Staff, Status, User, normal_email};

pub(super) fn routes() -> OpenApiRouter<Deps> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(show, update))
}

#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
struct FilterQuery {
    /// Only accounts with this role.
    role: Option<Role>,
    /// Only accounts in this state.
    status: Option<Status>,
    /// Only the account with this e-mail address.
    #[param(max_length = 254)]
    email: Option<String>,
}

/// List accounts
///
/// Newest first.
#[utoipa::path(
    get, path = "/api/v1/admin/users", tag = "admin", operation_id = "list_users",
    params(PageQuery, FilterQuery), security(("bearer" = ["support"])), responses((status = 200, body = Page<User>))
)]
async fn list(
    State(deps): State<Deps>,
    _: Staff,
    Query(page): Query<PageQuery>,
    Query(query): Query<FilterQuery>,
) -> Result<Answer<Page<User>>> {
    let email = query
        .email
        .as_deref()
        .map(|email| normal_email(email).unwrap_or_default());
    let filter = Filter {
        role: query.role,
        status: query.status,
        email: email.as_deref(),
    };
    let name = format!(
        "users:role={}:status={}:email={}",
        filter.role.map_or("", Role::name),
        filter.status.map_or("", Status::name),
        filter.email.unwrap_or_default()
    );
    let window = page.window(&name)?;
    let users = store::page(&mut *deps.accounts.pool.acquire().await?, &filter, &window).await?;
    Ok(Answer(Page::new(users, &window, &name, |user| {
        (user.created_at, user.id)
    })))
}

/// Show an account
///
/// Anybody's, for support and admins.
#[utoipa::path(
    get, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "get_user",
    params(("id" = Uuid, Path)), security(("bearer" = ["support"])), responses((status = 200, body = User))
)]
async fn show(State(deps): State<Deps>, _: Staff, Path(id): Path<Uuid>) -> Result<UserAnswer> {
    let user = store::user_by_id(&mut *deps.accounts.pool.acquire().await?, id).await?;
    user.map(with_etag).ok_or_else(Problem::not_found)
}

/// What an admin may change of an account; what is left out stays.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct UpdateUser {
    role: Option<Role>,
    status: Option<Status>,
}

impl Validate for UpdateUser {
    fn validate(&self) -> Vec<FieldError> {
        let empty = self.role.is_none() && self.status.is_none();
        let error = empty.then(|| FieldError::new("", "must have a role or a status"));
        error.into_iter().collect()
    }
}

/// Change an account's role or status
///
/// Ends all of its sessions, at once. The last active admin can be neither demoted nor suspended. Needs the ETag of the
/// account as `If-Match`.
#[utoipa::path(
    patch, path = "/api/v1/admin/users/{id}", tag = "admin", operation_id = "update_user",
    params(
        ("id" = Uuid, Path),
        ("If-Match" = String, Header, description = "The ETag of what is to be changed"),
    ),
    request_body = UpdateUser, security(("bearer" = ["admin"])), responses((status = 200, body = User))
)]
async fn update(
    State(deps): State<Deps>,
    Admin(caller): Admin,
    Path(user_id): Path<Uuid>,
    IfMatch(version): IfMatch,
    origin: Origin,
    Json(body): Json<UpdateUser>,
) -> Result<UserAnswer> {
    let change = RightsChange {
        user_id,
        version,
        role: body.role,
        status: body.status,
    };
    Ok(with_etag(deps.accounts.change_rights(&caller, &change, &origin).await?))
}
