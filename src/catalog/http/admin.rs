//! The admin's catalogue: drafts, new versions, publishing and retiring. Support may read it.
//!
//! A template arrives as the whole document, in the form of the YAML files; it is refused with a pointer to every
//! field that breaks a rule. Nothing is edited in place: a change is a new version, so what was sold stays what it was.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::Catalog;
use crate::audit;
use crate::catalog::template::{Template, from_json};
use crate::catalog::{Origin, Status, Version, digest, store};
use crate::clock::Time;
use crate::db::{self, signal::Channel};
use crate::events::{self, Outbox};
use crate::http::extract::{self, Path, Query};
use crate::http::idempotency::{Key, Stored};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{self, FieldError, Kind, Problem, Result, request_id};
use crate::identity::{Admin, Principal, Staff};

pub(super) fn routes(state: Catalog) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(versions, create_version))
        .routes(routes!(show))
        .routes(routes!(publish))
        .routes(routes!(retire))
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

fn detail(version: &Version) -> ServiceVersionDetail {
    let template = serde_json::to_value(&*version.template).unwrap_or_default();
    ServiceVersionDetail {
        head: version.into(),
        template,
    }
}

/// Create a service
///
/// The body is the whole template, in the form of the files under `catalog/templates`. It becomes version 1, a draft.
#[utoipa::path(
    post, path = "/api/v1/admin/services", tag = "admin", operation_id = "admin_create_service",
    request_body(content = Object, description = "The template", content_type = "application/json"),
    params(("Idempotency-Key" = String, Header, max_length = 255)), security(("bearer" = ["admin"])),
    responses(
        (status = 201, body = ServiceVersionDetail, headers(("Location" = String, description = "The new version"))),
        (status = 409, body = problem::Body, content_type = "application/problem+json"),
        (status = 422, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn create(State(catalog): State<Catalog>, Admin(caller): Admin, request: Request) -> Result<Response> {
    write(&catalog, &caller, None, request).await
}

/// Create a new version of a service
///
/// The body is the whole template; its slug must be the service's. The new version is a draft.
#[utoipa::path(
    post, path = "/api/v1/admin/services/{slug}/versions", tag = "admin", operation_id = "admin_create_service_version",
    request_body(content = Object, description = "The template", content_type = "application/json"),
    params(("slug" = String, Path, max_length = 31), ("Idempotency-Key" = String, Header, max_length = 255)),
    security(("bearer" = ["admin"])),
    responses(
        (status = 201, body = ServiceVersionDetail, headers(("Location" = String, description = "The new version"))),
        (status = 404, body = problem::Body, content_type = "application/problem+json"),
        (status = 409, body = problem::Body, content_type = "application/problem+json"),
        (status = 422, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn create_version(
    State(catalog): State<Catalog>,
    Admin(caller): Admin,
    Path(slug): Path<String>,
    request: Request,
) -> Result<Response> {
    write(&catalog, &caller, Some(&slug), request).await
}

/// `slug` names the service that gets a new version; without it the template makes a new service.
async fn write(catalog: &Catalog, caller: &Principal, slug: Option<&str>, request: Request) -> Result<Response> {
    let (method, path, headers) = (
        request.method().clone(),
        request.uri().path().to_owned(),
        request.headers().clone(),
    );
    let bytes = extract::body(request, &()).await?;
    let key = Key::from_headers(&headers, method.as_str(), &path, caller.user_id, &bytes)?;
    let template = read(&bytes)?;
    let mut tx = catalog.pool.begin().await?;
    if let Some(stored) = key.claim(&mut tx, &catalog.ambient).await? {
        return Ok(stored.into_response());
    }
    let number = match slug {
        Some(slug) => next_number(&mut tx, slug, &template).await?,
        None => 1,
    };
    let id = store::insert(&mut tx, &catalog.ambient, &template, number, Origin::Api)
        .await
        .map_err(taken)?;
    let version = store::version(&mut tx, &template.slug, number)
        .await?
        .ok_or_else(Problem::not_found)?;
    record(
        &mut tx,
        catalog,
        caller,
        "service.version.create",
        id,
        &template.slug,
        Some(number),
    )
    .await?;
    let body = serde_json::to_value(detail(&version)).map_err(Problem::internal)?;
    let location = format!("/api/v1/admin/services/{}/versions/{number}", template.slug);
    let stored = Stored {
        status: StatusCode::CREATED,
        location: Some(location),
        body,
    };
    key.store(&mut tx, &catalog.ambient, &stored).await?;
    tx.commit().await?;
    Ok(stored.into_response())
}

fn read(bytes: &[u8]) -> Result<Template> {
    let document: Value = serde_json::from_slice(bytes)
        .map_err(|error| Problem::with(Kind::BadRequest, format!("The body is not valid JSON: {error}")))?;
    from_json(document).map_err(|issues| {
        Problem::validation(
            issues
                .into_iter()
                .map(|issue| FieldError::new(issue.pointer, issue.message))
                .collect(),
        )
    })
}

async fn next_number(conn: &mut PgConnection, slug: &str, template: &Template) -> Result<i32> {
    let versions = store::lock_versions(conn, slug).await?;
    let latest = versions.last().ok_or_else(Problem::not_found)?;
    if template.slug != slug {
        return Err(Problem::validation(vec![FieldError::new(
            "/slug",
            format!("must be {slug}, as in the address"),
        )]));
    }
    let digest = digest(template);
    if let Some(same) = versions.iter().find(|version| version.digest == digest) {
        return Err(Problem::with(
            Kind::Conflict,
            format!("Version {} has exactly this content.", same.version),
        ));
    }
    Ok(latest.version + 1)
}

fn taken(error: sqlx::Error) -> Problem {
    if db::violates(&error, "services_catalog_version_key") {
        return Problem::with(
            Kind::Conflict,
            "This service exists already; give it a new version instead.",
        );
    }
    error.into()
}

/// Put a version on sale
///
/// The version that was on sale is retired. Publishing what is published already changes nothing; a retired version
/// may be published again.
#[utoipa::path(
    post, path = "/api/v1/admin/services/{slug}/versions/{version}/publish", tag = "admin",
    operation_id = "admin_publish_service_version",
    params(("slug" = String, Path, max_length = 31), ("version" = i32, Path, minimum = 1)),
    security(("bearer" = ["admin"])),
    responses(
        (status = 200, body = ServiceVersion),
        (status = 404, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn publish(
    State(catalog): State<Catalog>,
    Admin(caller): Admin,
    Path((slug, number)): Path<(String, i32)>,
) -> Result<Json<ServiceVersion>> {
    let mut tx = catalog.pool.begin().await?;
    let versions = store::lock_versions(&mut tx, &slug).await?;
    let head = versions
        .iter()
        .find(|version| version.version == number)
        .ok_or_else(Problem::not_found)?;
    let mut outbox = Outbox::default();
    if head.status != Status::Published {
        store::publish(&mut tx, &slug, head.id, catalog.ambient.now()).await?;
        record(
            &mut tx,
            &catalog,
            &caller,
            "service.version.publish",
            head.id,
            &slug,
            Some(number),
        )
        .await?;
        outbox.push(
            events::SYSTEM,
            "service.published",
            json!({"slug": slug, "version": number}),
        );
    }
    let version = store::version(&mut tx, &slug, number)
        .await?
        .ok_or_else(Problem::not_found)?;
    finish(&catalog, tx, outbox).await?;
    Ok(Json((&version).into()))
}

/// Take a service off sale
///
/// What was sold runs on. Retiring what is not on sale changes nothing.
#[utoipa::path(
    post, path = "/api/v1/admin/services/{slug}/retire", tag = "admin", operation_id = "admin_retire_service",
    params(("slug" = String, Path, max_length = 31)), security(("bearer" = ["admin"])),
    responses(
        (status = 204, description = "Not on sale"),
        (status = 404, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn retire(State(catalog): State<Catalog>, Admin(caller): Admin, Path(slug): Path<String>) -> Result<StatusCode> {
    let mut tx = catalog.pool.begin().await?;
    let versions = store::lock_versions(&mut tx, &slug).await?;
    if versions.is_empty() {
        return Err(Problem::not_found());
    }
    let mut outbox = Outbox::default();
    if let Some(head) = versions.iter().find(|version| version.status == Status::Published) {
        store::retire(&mut tx, &slug, catalog.ambient.now()).await?;
        record(
            &mut tx,
            &catalog,
            &caller,
            "service.retire",
            head.id,
            &slug,
            Some(head.version),
        )
        .await?;
        outbox.push(
            events::SYSTEM,
            "service.retired",
            json!({"slug": slug, "version": head.version}),
        );
    }
    finish(&catalog, tx, outbox).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn finish(catalog: &Catalog, mut tx: sqlx::Transaction<'_, sqlx::Postgres>, outbox: Outbox) -> Result<()> {
    let told = !outbox.is_empty();
    outbox.flush(&mut tx, &catalog.ambient).await?;
    tx.commit().await?;
    if told {
        catalog.signals.ring(Channel::Events);
    }
    Ok(())
}

async fn record(
    conn: &mut PgConnection,
    catalog: &Catalog,
    caller: &Principal,
    action: &str,
    id: Uuid,
    slug: &str,
    version: Option<i32>,
) -> sqlx::Result<()> {
    let request_id = request_id();
    let entry = audit::Entry {
        actor: Some(caller.user_id),
        role: caller.role.name(),
        action,
        subject: "service",
        subject_id: Some(id),
        allowed: true,
        request_id: request_id.as_deref(),
        detail: json!({"slug": slug, "version": version}),
    };
    audit::record(conn, &catalog.ambient, entry).await
}
