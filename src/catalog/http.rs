//! The public catalogue: GET /api/v1/services and /api/v1/services/{slug}. Staff's part is in [`admin`] and [`change`].
//!
//! Nobody need be signed in to read it. It tells what a customer needs to order (plans, inputs, licence) and nothing
//! of how a service is built.

pub mod admin;
pub mod change;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sqlx::PgPool;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::template::{HostedResale, InputKind, InputSpec, InputValue, Plan};
use super::{Version, orderable, store};
use crate::clock::Ambient;
use crate::db::signal::Signals;
use crate::http::extract::{Path, Query};
use crate::http::page::{Page, PageQuery};
use crate::http::problem::{self, Problem, Result};

/// What the catalogue's routes need.
#[derive(Clone)]
pub struct Catalog {
    pub pool: PgPool,
    pub ambient: Ambient,
    pub signals: Signals,
    /// Slugs of restricted services that the operator may sell.
    pub accepted_licences: Arc<BTreeSet<String>>,
}

pub fn routes(state: Catalog) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .with_state(state.clone())
        .merge(admin::routes(state))
}

/// A service in the list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceSummary {
    #[schema(max_length = 31)]
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub categories: Vec<String>,
    /// The cheapest plan's price for 30 days, whole rupiah.
    pub from_price_idr: i64,
    /// Whether an order is accepted, capacity aside.
    pub orderable: bool,
    /// Why not, in words.
    pub not_orderable_reason: Option<String>,
}

/// A service with everything that an order needs.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Service {
    #[schema(max_length = 31)]
    pub slug: String,
    /// The catalogue's version of the service.
    pub version: i32,
    pub name: String,
    pub summary: String,
    pub description: String,
    pub categories: Vec<String>,
    /// The application's own version.
    pub app_version: String,
    pub homepage: String,
    pub documentation: String,
    pub licence: ServiceLicence,
    pub orderable: bool,
    pub not_orderable_reason: Option<String>,
    pub plans: Vec<ServicePlan>,
    /// What an order's `inputs` object holds.
    pub inputs: Vec<ServiceInput>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceLicence {
    pub name: String,
    /// SPDX identifier, where the licence has one.
    pub spdx: Option<String>,
    pub url: Option<String>,
    /// `allowed`, `restricted` (needs the operator's agreement with the licensor) or `forbidden`.
    #[schema(value_type = String)]
    pub hosted_resale: HostedResale,
    pub note: String,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServicePlan {
    #[schema(max_length = 31)]
    pub code: String,
    pub name: String,
    /// For 30 days, whole rupiah.
    #[schema(minimum = 0)]
    pub price_idr: i64,
    /// Most CPU that the service may use, in thousandths of a core.
    pub cpu_limit_milli: u32,
    /// Most memory that the service may use.
    pub mem_limit_mib: u32,
    pub disk_mib: u32,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ServiceInput {
    pub key: String,
    pub label: String,
    /// `string`, `email`, `enum`, `bool` or `integer`.
    #[schema(value_type = String)]
    pub r#type: InputKind,
    /// The choices of an `enum`.
    pub options: Vec<String>,
    pub required: bool,
    /// Used when the input is not given.
    #[schema(value_type = Option<Object>)]
    pub default: Option<InputValue>,
    pub max_length: Option<u32>,
    /// Regular expression that the whole text must match.
    pub pattern: Option<String>,
    pub min: Option<i64>,
    pub max: Option<i64>,
    pub help: Option<String>,
}

impl From<&Plan> for ServicePlan {
    fn from(plan: &Plan) -> Self {
        Self {
            code: plan.code.clone(),
            name: plan.name.clone(),
            price_idr: plan.price_idr,
            cpu_limit_milli: plan.cpu_limit_milli,
            mem_limit_mib: plan.mem_limit_mib,
            disk_mib: plan.disk_mib,
        }
    }
}

impl From<&InputSpec> for ServiceInput {
    fn from(input: &InputSpec) -> Self {
        Self {
            key: input.key.clone(),
            label: input.label.clone(),
            r#type: input.kind,
            options: input.options.clone(),
            required: input.required,
            default: input.default.clone(),
            max_length: input.max_length,
            pattern: input.pattern.clone(),
            min: input.min,
            max: input.max,
            help: input.help.clone(),
        }
    }
}

impl Catalog {
    fn refusal(&self, version: &Version) -> Option<String> {
        orderable(&version.template, &self.accepted_licences)
            .err()
            .map(|reason| reason.to_string())
    }

    fn summary(&self, version: &Version) -> ServiceSummary {
        let refusal = self.refusal(version);
        let template = &version.template;
        ServiceSummary {
            slug: version.slug.clone(),
            name: template.name.clone(),
            summary: template.summary.clone(),
            categories: template.categories.clone(),
            from_price_idr: template
                .plans
                .iter()
                .map(|plan| plan.price_idr)
                .min()
                .unwrap_or_default(),
            orderable: refusal.is_none(),
            not_orderable_reason: refusal,
        }
    }

    fn service(&self, version: &Version) -> Service {
        let refusal = self.refusal(version);
        let template = &version.template;
        Service {
            slug: version.slug.clone(),
            version: version.version,
            name: template.name.clone(),
            summary: template.summary.clone(),
            description: template.description.clone(),
            categories: template.categories.clone(),
            app_version: template.version.clone(),
            homepage: template.homepage.clone(),
            documentation: template.documentation.clone(),
            licence: ServiceLicence {
                name: template.licence.name.clone(),
                spdx: template.licence.spdx.clone(),
                url: template.licence.url.clone(),
                hosted_resale: template.licence.hosted_resale,
                note: template.licence.note.clone(),
            },
            orderable: refusal.is_none(),
            not_orderable_reason: refusal,
            plans: template.plans.iter().map(Into::into).collect(),
            inputs: template.inputs.iter().map(Into::into).collect(),
        }
    }
}

/// List the services
///
/// Everything that is for sale, the newest first.
#[utoipa::path(
    get, path = "/api/v1/services", tag = "catalogue", operation_id = "list_services",
    params(PageQuery), security(()),
    responses((status = 200, body = Page<ServiceSummary>))
)]
async fn list(
    State(catalog): State<Catalog>,
    Query(query): Query<PageQuery>,
) -> Result<axum::Json<Page<ServiceSummary>>> {
    const LIST: &str = "services";
    let window = query.window(LIST)?;
    let rows = store::published_page(&mut *catalog.pool.acquire().await?, &window).await?;
    let page = Page::new(rows, &window, LIST, |version| (version.created_at, version.id));
    Ok(axum::Json(page.map(|version| catalog.summary(&version))))
}

/// Show a service
///
/// Its plans, what an order asks for, and its licence. With If-None-Match the answer is 304 while nothing has changed.
#[utoipa::path(
    get, path = "/api/v1/services/{slug}", tag = "catalogue", operation_id = "get_service",
    params(("slug" = String, Path, max_length = 31), ("If-None-Match" = Option<String>, Header)), security(()),
    responses(
        (status = 200, body = Service, headers(("ETag" = String, description = "Changes with the service"))),
        (status = 304, description = "Not changed"),
        (status = 404, body = problem::Body, content_type = "application/problem+json")
    )
)]
async fn show(State(catalog): State<Catalog>, Path(slug): Path<String>, headers: HeaderMap) -> Result<Response> {
    let version = store::published(&mut *catalog.pool.acquire().await?, &slug)
        .await?
        .ok_or_else(Problem::not_found)?;
    let service = catalog.service(&version);
    // The operator's settings decide too, and a restart with others must not leave clients with the old answer.
    let open = if service.orderable { "" } else { "-closed" };
    let tag = format!("\"v{}{open}\"", version.version);
    let mut response = if matches_tag(&headers, &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        axum::Json(service).into_response()
    };
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
    Ok(response)
}

/// RFC 9110: If-None-Match compares weakly, may list several tags, and `*` matches whatever exists.
fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|given| given.trim().trim_start_matches("W/"))
        .any(|given| given == tag || given == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_none_match_follows_the_rfc() {
        for (given, matches) in [
            ("\"v2\"", true),
            ("W/\"v2\"", true),
            ("\"v1\", \"v2\"", true),
            ("*", true),
            ("\"v1\"", false),
            ("v2", false),
            ("\"v2-closed\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, given.parse().expect("a header"));
            assert_eq!(matches_tag(&headers, "\"v2\""), matches, "{given}");
        }
        assert!(!matches_tag(&HeaderMap::new(), "\"v2\""));
    }
}
