//! The catalogue as staff sees it: every version of every service, drafts and retired ones included.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::{Catalog, change};
use crate::catalog::{Origin, Status, Version, store};
use crate::clock::Time;
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{self, Problem, Result};
use crate::identity::Staff;

pub(super) fn routes(state: Catalog) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, change::create))
        .routes(routes!(versions, change::create_version))
        .routes(routes!(show))
        .routes(routes!(change::publish))
        .routes(routes!(change::retire))
        .with_state(state)
}

/// A version of a service, without its template.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceVersion {
    pub id: Uuid,
    pub slug: String,
    pub version: i32,
    pub name: String,
    pub app_version: String,
    pub status: Status,
    /// `file` came with the server, `api` from an admin.
    pub origin: Origin,
    /// SHA-256 of the template's content.
    pub digest: String,
    pub created_at: Time,
    pub published_at: Option<Time>,
    pub retired_at: Option<Time>,
}

/// A version of a service with its whole template.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceVersionDetail {
    #[serde(flatten)]
    pub head: ServiceVersion,
    #[schema(value_type = Object)]
    pub template: Value,
}

impl From<&Version> for ServiceVersion {
    fn from(version: &Version) -> Self {
        Self {
            id: version.id,
            slug: version.slug.clone(),
            version: version.version,
            name: version.template.name.clone(),
            app_version: version.template.version.clone(),
            status: version.status,
            origin: version.origin,
            digest: version.digest.clone(),
            created_at: version.created_at,
            published_at: version.published_at,
            retired_at: version.retired_at,
        }
    }
}

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct VersionQuery {
    /// Only versions in this status.
    #[param(inline)]
    pub status: Option<Status>,
    /// How many at most (1 to 200; 50 unless told).
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<i64>,
    /// Where the previous page ended: its `next_cursor`.
    #[param(max_length = 500)]
    pub cursor: Option<String>,
}

/// List all versions of all services
#[utoipa::path(
    get, path = "/api/v1/admin/services", tag = "admin", operation_id = "admin_list_services",
    params(VersionQuery), security(("bearer" = ["support"])),
    responses((status = 200, body = Page<ServiceVersion>))
)]
async fn list(
    State(catalog): State<Catalog>,
    _reader: Staff,
    Query(query): Query<VersionQuery>,
) -> Result<Json<Page<ServiceVersion>>> {
    page(&catalog, None, query).await.map(Json)
}

/// List the versions of a service
#[utoipa::path(
    get, path = "/api/v1/admin/services/{slug}/versions", tag = "admin", operation_id = "admin_list_service_versions",
    params(("slug" = String, Path, max_length = 31), VersionQuery), security(("bearer" = ["support"])),
    responses(
        (status = 200, body = Page<ServiceVersion>),
        (status = 404, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn versions(
    State(catalog): State<Catalog>,
    _reader: Staff,
    Path(slug): Path<String>,
    Query(query): Query<VersionQuery>,
) -> Result<Json<Page<ServiceVersion>>> {
    // A service exists with its first version; an empty page of an existing one only means the filter.
    if store::version(&mut *catalog.pool.acquire().await?, &slug, 1)
        .await?
        .is_none()
    {
        return Err(Problem::not_found());
    }
    page(&catalog, Some(&slug), query).await.map(Json)
}

async fn page(catalog: &Catalog, slug: Option<&str>, query: VersionQuery) -> Result<Page<ServiceVersion>> {
    let status = query.status;
    let list = format!(
        "admin-services:{}:{}",
        slug.unwrap_or_default(),
        status.map_or("", Status::name)
    );
    let window = PageQuery {
        limit: query.limit,
        cursor: query.cursor,
    }
    .window(&list)?;
    let rows = store::versions_page(&mut *catalog.pool.acquire().await?, slug, status, &window).await?;
    let page = Page::new(rows, &window, &list, |version| (version.created_at, version.id));
    Ok(page.map(|version| (&version).into()))
}

/// Show a version with its template
#[utoipa::path(
    get, path = "/api/v1/admin/services/{slug}/versions/{version}", tag = "admin", operation_id = "admin_get_service_version",
    params(("slug" = String, Path, max_length = 31), ("version" = i32, Path, minimum = 1)),
    security(("bearer" = ["support"])),
    responses(
        (status = 200, body = ServiceVersionDetail),
        (status = 404, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn show(
    State(catalog): State<Catalog>,
    _reader: Staff,
    Path((slug, version)): Path<(String, i32)>,
) -> Result<Json<ServiceVersionDetail>> {
    let found = store::version(&mut *catalog.pool.acquire().await?, &slug, version).await?;
    Ok(Json(detail(&found.ok_or_else(Problem::not_found)?)))
}

pub(super) fn detail(version: &Version) -> ServiceVersionDetail {
    let template = serde_json::to_value(&*version.template).unwrap_or_default();
    ServiceVersionDetail {
        head: version.into(),
        template,
    }
}
