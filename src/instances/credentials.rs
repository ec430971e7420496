//! GET /api/v1/instances/{id}/credentials: what the owner logs in with.
//!
//! Shown to the owner and to nobody else, staff included; never cached; every showing and every refusal is in the audit
//! trail. Only secrets that the template marks for the customer leave the server.

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::http::Api;
use super::phase::Entitled;
use super::store::{self, Instance};
use super::view;
use crate::audit;
use crate::catalog::template::{InputValue, Inputs, Source, Template};
use crate::http::extract::Path;
use crate::http::problem::{self, Kind, Problem, Result};
use crate::identity::{Customer, Principal, Role};

/// How to log in to a service.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Credentials {
    /// Where to log in; null until the route is open.
    #[schema(max_length = 500)]
    pub login_url: Option<String>,
    /// Null where the service asks for a password only.
    #[schema(max_length = 500)]
    pub username: Option<String>,
    #[schema(max_length = 500)]
    pub password: Option<String>,
    /// Everything that belongs to the customer, the password included.
    #[schema(max_items = 100)]
    pub secrets: Vec<Secret>,
}

#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = InstanceSecret)]
pub struct Secret {
    #[schema(max_length = 100)]
    pub key: String,
    #[schema(max_length = 200)]
    pub label: String,
    #[schema(max_length = 5000)]
    pub value: String,
}

/// Show an instance's credentials
///
/// User name, password and keys of the service, for its owner only. Each showing is recorded.
#[utoipa::path(
    get, path = "/api/v1/instances/{id}/credentials", tag = "instances", operation_id = "get_instance_credentials",
    params(("id" = Uuid, Path)), security(("bearer" = ["customer"])),
    responses((status = 200, body = Credentials, headers(("cache-control" = String, description = "no-store"))))
)]
pub async fn show(State(api): State<Api>, Customer(caller): Customer, Path(id): Path<Uuid>) -> Result<Response> {
    let mut tx = api.pool.begin().await?;
    let instance = store::get(&mut tx, id).await?.ok_or_else(Problem::not_found)?;
    let owner = instance.user_id == caller.user_id;
    if !owner {
        // Refusals are recorded where they are news: staff that tries; a stranger's guess of an id is not.
        if caller.role >= Role::Support {
            record(&mut tx, &api, &caller, id, false).await?;
            tx.commit().await?;
            return Err(Problem::with(
                Kind::Forbidden,
                "Credentials are shown to the owner only",
            ));
        }
        return Err(Problem::not_found());
    }
    if instance.entitled == Entitled::Purge {
        return Err(Problem::not_found());
    }
    let template = api.templates.of(&mut tx, instance.service_id).await?;
    let credentials = gather(&mut tx, &api, &instance, &template).await?;
    record(&mut tx, &api, &caller, id, true).await?;
    tx.commit().await?;
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(credentials)).into_response())
}

async fn gather(conn: &mut PgConnection, api: &Api, instance: &Instance, template: &Template) -> Result<Credentials> {
    let values = store::secrets::open(conn, &api.keyring, instance.id)
        .await
        .map_err(Problem::internal)?;
    let inputs: Inputs = serde_json::from_value(instance.inputs.clone()).map_err(Problem::internal)?;
    let shown = template.secrets.iter().filter(|spec| spec.shown_to_customer);
    let secrets: Vec<Secret> = shown
        .filter_map(|spec| {
            Some(Secret {
                key: spec.key.clone(),
                label: spec.label.clone(),
                value: values.get(&spec.key)?.clone(),
            })
        })
        .collect();
    let visible = |key: &str| {
        secrets
            .iter()
            .find(|secret| secret.key == key)
            .map(|secret| secret.value.clone())
    };
    let account = template.first_admin.account();
    let username = account
        .and_then(|account| account.username.as_ref())
        .and_then(|source| match source {
            Source::Secret(key) => visible(key),
            Source::Input(key) => inputs.get(key).map(InputValue::as_env),
        });
    let login_path = account.map_or("/", |account| account.login_path.as_str());
    Ok(Credentials {
        login_url: view::url(instance).map(|url| format!("{url}{login_path}")),
        username,
        password: account.and_then(|account| visible(&account.password)),
        secrets,
    })
}

async fn record(conn: &mut PgConnection, api: &Api, caller: &Principal, id: Uuid, allowed: bool) -> sqlx::Result<()> {
    let request_id = problem::request_id();
    let entry = audit::Entry {
        actor: Some(caller.user_id),
        role: caller.role.name(),
        action: "instance.credentials.read",
        subject: "instance",
        subject_id: Some(id),
        allowed,
        request_id: request_id.as_deref(),
        detail: json!({}),
    };
    audit::record(conn, &api.ambient, entry).await
}
