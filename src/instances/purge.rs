//! A purge: everything that is this instance's goes, in an order that never leaves a writer over deleted data.
//!
//! Route first, then the StatefulSet; only when no pod is left, the rest and the volumes; the row becomes a tombstone
//! only when the claims are really gone. Each pass does what can be done now and looks again later, so that a crash
//! anywhere is an ordinary repeat. Whether it is still to be purged is asked of the database before anything goes.

use super::admin::Progress;
use super::cluster::Place;
use super::finish::Verdict;
use super::phase::Desire;
use super::reconcile::{Ended, PassError, Reconciler};
use super::status::{self, Observed};
use super::store::claim::{Claimed, may_purge};
use crate::crash;

pub async fn pass(ctx: &Reconciler, claimed: &Claimed) -> Result<Ended, PassError> {
    let row = &claimed.instance;
    let place = Place::new(&ctx.client, row);
    if !may_purge(&mut *ctx.pool.acquire().await?, claimed).await? {
        return Ok(Ended::Overtaken);
    }
    let with_certificate = ctx.settings.cluster.cluster_issuer.is_some();
    let things = place.things(with_certificate).await?;
    let pods = place.pods().await?;
    if let Some(ingress) = &things.ingress {
        place.delete(ingress).await?;
        crash::point("instance.purge_ingress");
    }
    for task in &pods.tasks {
        place.delete(task).await?;
    }
    if let Some(set) = &things.stateful_set {
        place.delete(set).await?;
        crash::point("instance.purge_stateful_set");
    }
    if let Some(pod) = &pods.own {
        // With its set gone the garbage collector has it in hand, unless it was orphaned; either way it need not wait.
        place.delete(pod).await?;
        crash::point("instance.purge_pod");
    }
    if things.stateful_set.is_none() && pods.own.is_none() && pods.tasks.is_empty() {
        if let Some(service) = &things.service {
            place.delete(service).await?;
            crash::point("instance.purge_service");
        }
        if let Some(policy) = &things.policy {
            place.delete(policy).await?;
            crash::point("instance.purge_policy");
        }
        for secret in things.secret.iter().chain(&things.certificate) {
            place.delete(secret).await?;
            crash::point("instance.purge_secret");
        }
        if let Some(config_map) = &things.config_map {
            place.delete(config_map).await?;
            crash::point("instance.purge_config_map");
        }
        for claim in &things.claims {
            place.delete(claim).await?;
            crash::point("instance.purge_claim");
        }
    }
    let observed = Observed {
        desire: Desire::Purge,
        generation: row.generation,
        admin_state: row.admin_state,
        previous: row.phase,
        was_ready: row.first_ready_at.is_some(),
        node: None,
        stateful_set: things.stateful_set.as_ref(),
        pod: pods.own.as_ref(),
        claims: &things.claims,
        task: pods.tasks.first(),
        warning: None,
        ingress: things.ingress.is_some(),
        others: things.others(),
        now: ctx.ambient.now(),
    };
    // What was seen before this pass deleted it is not yet known to be gone.
    let status = status::derive(&observed);
    if status.phase == super::Phase::Deleted {
        return Ok(Ended::Gone);
    }
    Ok(Ended::Seen(Box::new(Verdict {
        status,
        progress: Progress::of(row),
        steps: Vec::new(),
        volume_node_id: None,
        refused: false,
        lower_quota: false,
        next: Some(ctx.ambient.now().plus(super::reconcile::LEAVING)),
    })))
}
