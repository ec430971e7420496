//! SQL of the catalogue. A version's template and plans are written once and never updated; only its status moves.

use std::sync::Arc;

use sqlx::PgConnection;
use sqlx::types::Json;
use uuid::Uuid;

use super::template::{Plan, Template};
use super::{Origin, Status, Version, digest};
use crate::clock::{Ambient, Time};
use crate::http::page::Window;

/// What an order needs to know: the published version of a service and one of its plans.
#[derive(Debug, Clone)]
pub struct OrderPlan {
    pub service_id: Uuid,
    pub service_version: i32,
    pub plan_id: Uuid,
    pub plan: Plan,
    pub template: Arc<Template>,
}

/// A version without its template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub id: Uuid,
    pub version: i32,
    pub status: Status,
    pub origin: Origin,
    pub digest: String,
}

struct Row {
    id: Uuid,
    slug: String,
    version: i32,
    status: String,
    origin: String,
    digest: String,
    template: Json<Template>,
    created_at: Time,
    published_at: Option<Time>,
    retired_at: Option<Time>,
}

impl TryFrom<Row> for Version {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            slug: row.slug,
            version: row.version,
            status: status(&row.status)?,
            origin: origin(&row.origin)?,
            digest: row.digest,
            template: Arc::new(row.template.0),
            created_at: row.created_at,
            published_at: row.published_at,
            retired_at: row.retired_at,
        })
    }
}

fn status(name: &str) -> sqlx::Result<Status> {
    Status::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown status {name} of a service").into()))
}

fn origin(name: &str) -> sqlx::Result<Origin> {
    Origin::parse(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown origin {name} of a service").into()))
}

/// Writes a new version as a draft, with its plans. A taken number violates `services_catalog_version_key`.
pub async fn insert(
    conn: &mut PgConnection,
    ambient: &Ambient,
    template: &Template,
    version: i32,
    origin: Origin,
) -> sqlx::Result<Uuid> {
    let id = ambient.new_id();
    sqlx::query!(
        "INSERT INTO services_catalog (id, slug, version, status, origin, name, template, digest, created_at)
         VALUES ($1, $2, $3, 'draft', $4, $5, $6, $7, $8)",
        id,
        template.slug,
        version,
        origin.name(),
        template.name,
        Json(template) as _,
        digest(template),
        ambient.now() as _,
    )
    .execute(&mut *conn)
    .await?;
    for plan in &template.plans {
        sqlx::query!(
            "INSERT INTO service_plans (id, service_id, code, name, price_idr, cpu_request_milli, cpu_limit_milli,
                                        mem_request_mib, mem_limit_mib, disk_mib)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            ambient.new_id(),
            id,
            plan.code,
            plan.name,
            plan.price_idr,
            integer(plan.cpu_request_milli)?,
            integer(plan.cpu_limit_milli)?,
            integer(plan.mem_request_mib)?,
            integer(plan.mem_limit_mib)?,
            integer(plan.disk_mib)?,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(id)
}

fn integer(value: u32) -> sqlx::Result<i32> {
    i32::try_from(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

fn unsigned(value: i32) -> sqlx::Result<u32> {
    u32::try_from(value).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// All versions of a service, oldest first, locked: whoever changes a service's versions holds this until commit.
pub async fn lock_versions(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Vec<Head>> {
    let rows = sqlx::query!(
        "SELECT id, version, status, origin, digest FROM services_catalog WHERE slug = $1 ORDER BY version FOR UPDATE",
        slug
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Head {
                id: row.id,
                version: row.version,
                status: status(&row.status)?,
                origin: origin(&row.origin)?,
                digest: row.digest,
            })
        })
        .collect()
}

/// Makes this version the one for sale; the one that was is retired. The caller holds [`lock_versions`].
pub async fn publish(conn: &mut PgConnection, slug: &str, id: Uuid, now: Time) -> sqlx::Result<()> {
    // Two statements in this order: the index allows one published version at any moment.
    retire(&mut *conn, slug, now).await?;
    sqlx::query!(
        "UPDATE services_catalog SET status = 'published', published_at = $2, retired_at = NULL WHERE id = $1",
        id,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes the published version off sale; false when none was.
pub async fn retire(conn: &mut PgConnection, slug: &str, now: Time) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "UPDATE services_catalog SET status = 'retired', retired_at = $2 WHERE slug = $1 AND status = 'published'",
        slug,
        now as _
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// One page of what is for sale.
pub async fn published_page(conn: &mut PgConnection, window: &Window) -> sqlx::Result<Vec<Version>> {
    let (at, id) = window.bound();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, slug, version, status, origin, digest, template AS "template: Json<Template>",
                  created_at AS "created_at: Time", published_at AS "published_at: Time", retired_at AS "retired_at: Time"
             FROM services_catalog
            WHERE status = 'published' AND (created_at, id) < ($1, $2)
            ORDER BY created_at DESC, id DESC
            LIMIT $3"#,
        at as _,
        id,
        window.fetch()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn published(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Option<Version>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, slug, version, status, origin, digest, template AS "template: Json<Template>",
                  created_at AS "created_at: Time", published_at AS "published_at: Time", retired_at AS "retired_at: Time"
             FROM services_catalog
            WHERE slug = $1 AND status = 'published'"#,
        slug
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// One page of all versions, of one service or of all.
pub async fn versions_page(
    conn: &mut PgConnection,
    slug: Option<&str>,
    status: Option<Status>,
    window: &Window,
) -> sqlx::Result<Vec<Version>> {
    let (at, id) = window.bound();
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT id, slug, version, status, origin, digest, template AS "template: Json<Template>",
                  created_at AS "created_at: Time", published_at AS "published_at: Time", retired_at AS "retired_at: Time"
             FROM services_catalog
            WHERE ($1::text IS NULL OR slug = $1) AND ($2::text IS NULL OR status = $2) AND (created_at, id) < ($3, $4)
            ORDER BY created_at DESC, id DESC
            LIMIT $5"#,
        slug,
        status.map(Status::name),
        at as _,
        id,
        window.fetch()
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

pub async fn version(conn: &mut PgConnection, slug: &str, version: i32) -> sqlx::Result<Option<Version>> {
    let row = sqlx::query_as!(
        Row,
        r#"SELECT id, slug, version, status, origin, digest, template AS "template: Json<Template>",
                  created_at AS "created_at: Time", published_at AS "published_at: Time", retired_at AS "retired_at: Time"
             FROM services_catalog
            WHERE slug = $1 AND version = $2"#,
        slug,
        version
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The template of what was sold, whatever has become of its version since.
pub async fn template_by_service_id(conn: &mut PgConnection, service_id: Uuid) -> sqlx::Result<Option<Arc<Template>>> {
    let template = sqlx::query_scalar!(
        r#"SELECT template AS "template: Json<Template>" FROM services_catalog WHERE id = $1"#,
        service_id
    )
    .fetch_optional(conn)
    .await?;
    Ok(template.map(|template| Arc::new(template.0)))
}

struct PlanRow {
    service_id: Uuid,
    version: i32,
    template: Json<Template>,
    plan_id: Uuid,
    code: String,
    name: String,
    price_idr: i64,
    cpu_request_milli: i32,
    cpu_limit_milli: i32,
    mem_request_mib: i32,
    mem_limit_mib: i32,
    disk_mib: i32,
}

impl TryFrom<PlanRow> for OrderPlan {
    type Error = sqlx::Error;

    fn try_from(row: PlanRow) -> sqlx::Result<Self> {
        Ok(Self {
            service_id: row.service_id,
            service_version: row.version,
            plan_id: row.plan_id,
            plan: Plan {
                code: row.code,
                name: row.name,
                price_idr: row.price_idr,
                cpu_request_milli: unsigned(row.cpu_request_milli)?,
                cpu_limit_milli: unsigned(row.cpu_limit_milli)?,
                mem_request_mib: unsigned(row.mem_request_mib)?,
                mem_limit_mib: unsigned(row.mem_limit_mib)?,
                disk_mib: unsigned(row.disk_mib)?,
            },
            template: Arc::new(row.template.0),
        })
    }
}

/// What can be ordered under these names now: the published version and its plan. Whether it may be sold is
/// [`super::orderable`]'s to say.
pub async fn plan_for_order(
    conn: &mut PgConnection,
    service_slug: &str,
    plan_code: &str,
) -> sqlx::Result<Option<OrderPlan>> {
    let row = sqlx::query_as!(
        PlanRow,
        r#"SELECT service.id AS service_id, service.version, service.template AS "template: Json<Template>",
                  plan.id AS plan_id, plan.code, plan.name, plan.price_idr, plan.cpu_request_milli,
                  plan.cpu_limit_milli, plan.mem_request_mib, plan.mem_limit_mib, plan.disk_mib
             FROM services_catalog service
             JOIN service_plans plan ON plan.service_id = service.id
            WHERE service.slug = $1 AND service.status = 'published' AND plan.code = $2"#,
        service_slug,
        plan_code
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// The plan of what was sold, whatever has become of its version since.
pub async fn plan_by_id(conn: &mut PgConnection, plan_id: Uuid) -> sqlx::Result<Option<OrderPlan>> {
    let row = sqlx::query_as!(
        PlanRow,
        r#"SELECT service.id AS service_id, service.version, service.template AS "template: Json<Template>",
                  plan.id AS plan_id, plan.code, plan.name, plan.price_idr, plan.cpu_request_milli,
                  plan.cpu_limit_milli, plan.mem_request_mib, plan.mem_limit_mib, plan.disk_mib
             FROM service_plans plan
             JOIN services_catalog service ON service.id = plan.service_id
            WHERE plan.id = $1"#,
        plan_id
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}

/// A plan of one version by its code: where a subscription may change to without changing its version.
pub async fn plan_of_service(
    conn: &mut PgConnection,
    service_id: Uuid,
    plan_code: &str,
) -> sqlx::Result<Option<OrderPlan>> {
    let row = sqlx::query_as!(
        PlanRow,
        r#"SELECT service.id AS service_id, service.version, service.template AS "template: Json<Template>",
                  plan.id AS plan_id, plan.code, plan.name, plan.price_idr, plan.cpu_request_milli,
                  plan.cpu_limit_milli, plan.mem_request_mib, plan.mem_limit_mib, plan.disk_mib
             FROM service_plans plan
             JOIN services_catalog service ON service.id = plan.service_id
            WHERE service.id = $1 AND plan.code = $2"#,
        service_id,
        plan_code
    )
    .fetch_optional(conn)
    .await?;
    row.map(TryInto::try_into).transpose()
}
