//! From a row to objects in the cluster: what the database knows, rendered, and handed to the API server in order.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;

use super::cluster::{Holder, Place};
use super::create::generate;
use super::keep::Seen;
use super::manifests::{self, InstanceFacts, WrittenRequest};
use super::phase::{AdminState, Desire};
use super::reconcile::{PassError, Reconciler};
use super::store::namespaces::{self, Footprint};
use super::store::{self, Instance};
use crate::catalog::template::{Inputs, Template};
use crate::crash;
use crate::scheduling::{self, Placed};

/// What the database says beside the row.
pub(super) struct Known {
    pub template: Arc<Template>,
    pub placed: Option<Placed>,
    pub secrets: BTreeMap<String, String>,
    pub inputs: Inputs,
    /// What the namespace's quota allows this instance by now.
    pub allowed: Option<Footprint>,
}

/// Reads it, generating the secrets that are not there yet.
pub(super) async fn learn(ctx: &Reconciler, row: &Instance) -> Result<Known, PassError> {
    let mut conn = ctx.pool.acquire().await?;
    let template = ctx.templates.of(&mut conn, row.service_id).await?;
    let mut secrets = store::secrets::open(&mut conn, &ctx.keyring, row.id).await?;
    if template.secrets.iter().any(|spec| !secrets.contains_key(&spec.key)) {
        drop(conn);
        let (ambient, specs) = (ctx.ambient.clone(), template.secrets.clone());
        // Hashing passwords takes tens of milliseconds of CPU.
        let hashed = tokio::task::spawn_blocking(move || generate(&ambient, &specs, &secrets)).await;
        let all = hashed.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))??;
        conn = ctx.pool.acquire().await?;
        store::secrets::insert(&mut conn, &ctx.ambient, &ctx.keyring, row.id, &all).await?;
        crash::point("instance.after_secrets");
        // What another replica was first to write counts.
        secrets = store::secrets::open(&mut conn, &ctx.keyring, row.id).await?;
    }
    Ok(Known {
        placed: scheduling::current(&mut conn, row.id).await?,
        allowed: namespaces::applied(&mut conn, row.namespace_id)
            .await?
            .get(&row.id)
            .copied(),
        inputs: serde_json::from_value(row.inputs.clone())?,
        template,
        secrets,
    })
}

/// Renders the objects for this row and hands them, or the input they were made of, on.
pub(super) fn with_input<T>(
    ctx: &Reconciler,
    row: &Instance,
    known: &Known,
    placed: &Placed,
    render: impl FnOnce(&manifests::Input<'_>) -> Result<T, manifests::Error>,
) -> Result<T, manifests::Error> {
    let facts = InstanceFacts {
        id: row.id,
        name: row.name.clone(),
        generation: row.generation,
        restart_no: row.restart_no,
        host: row.host.clone(),
        user_id: row.user_id,
        subscription_id: row.subscription_id,
    };
    render(&manifests::Input {
        instance: &facts,
        template: &known.template,
        plan: &row.plan,
        written_request: WrittenRequest {
            cpu_milli: placed.cpu_request_milli,
            mem_mib: placed.mem_request_mib,
        },
        node_name: &placed.node_name,
        running: row.desire() == Desire::Run,
        secrets: &known.secrets,
        inputs: &known.inputs,
        admin_state: row.admin_state,
        route_open: row.admin_state == AdminState::Settled,
        settings: &ctx.settings.cluster,
        namespace: &row.namespace,
    })
}

/// Everything that a running instance needs, the route last and only when it may be open.
pub(super) async fn act(
    ctx: &Reconciler,
    row: &Instance,
    known: &Known,
    placed: &Placed,
    place: &Place,
    seen: &mut Seen,
) -> Result<(), PassError> {
    let rendered = with_input(ctx, row, known, placed, manifests::render)?;
    place.apply(&rendered.secret).await?;
    crash::point("instance.after_secret");
    if let Some(config_map) = &rendered.config_map {
        place.apply(config_map).await?;
        crash::point("instance.after_config_map");
    }
    for claim in &rendered.claims {
        let name = claim.metadata.name.clone().unwrap_or_default();
        match place.claim_holder(&name).await? {
            Holder::Another => return Err(PassError::Foreign(name)),
            // An empty volume would pass for the customer's, and on it the application could be claimed by whoever comes
            // first: its administrator was made once, and the route is open.
            Holder::Nobody if row.admin_state.is_verified() => return Err(PassError::StorageLost(name)),
            Holder::Nobody | Holder::Ours => {}
        }
        seen.claims.push(place.apply(claim).await?);
        crash::point("instance.after_claim");
    }
    place.apply(&rendered.service).await?;
    crash::point("instance.after_service");
    place.apply(&rendered.policy).await?;
    crash::point("instance.after_policy");
    seen.stateful_set = Some(place.apply(&rendered.stateful_set).await?);
    crash::point("instance.after_stateful_set");
    if let Some(ingress) = &rendered.ingress {
        place.apply(ingress).await?;
        crash::point("instance.after_ingress");
        seen.ingress = true;
    }
    Ok(())
}

/// No replicas; everything else stays as it is.
pub(super) async fn stop(
    ctx: &Reconciler,
    row: &Instance,
    known: &Known,
    placed: &Placed,
    place: &Place,
) -> Result<StatefulSet, PassError> {
    let rendered = with_input(ctx, row, known, placed, manifests::render)?;
    let set = place.apply(&rendered.stateful_set).await?;
    crash::point("instance.after_scale_down");
    Ok(set)
}
