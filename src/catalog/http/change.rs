//! The admin's changes: drafts, new versions, publishing and retiring.
//!
//! A template arrives as the whole document, in the form of the YAML files; it is refused with a pointer to every
//! field that breaks a rule. Nothing is edited in place: a change is a new version, so what was sold stays what it was.
//! Every change is audited in its own transaction.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Catalog;
use super::admin::{ServiceVersion, ServiceVersionDetail, detail};
use crate::audit;
use crate::catalog::template::{Template, from_json};
use crate::catalog::{Origin, Status, digest, store};
use crate::db::{self, signal::Channel};
use crate::events::{self, Outbox};
use crate::http::extract::{self, Path};
use crate::http::idempotency::{Key, Stored};
use crate::http::problem::{self, FieldError, Kind, Problem, Result, request_id};
use crate::identity::{Admin, Principal};

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
pub(super) async fn create(State(catalog): State<Catalog>, Admin(caller): Admin, request: Request) -> Result<Response> {
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
pub(super) async fn create_version(
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
pub(super) async fn publish(
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
pub(super) async fn retire(
    State(catalog): State<Catalog>,
    Admin(caller): Admin,
    Path(slug): Path<String>,
) -> Result<StatusCode> {
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
