//! A real cluster in place of the simulated one: `LUMBUNG_TEST_KUBECONFIG` names a kubeconfig, and the tests that only
//! talk to platform and cluster run against it unchanged. What a test does with the simulator itself has no effect there.
//!
//! The cluster is the test's alone, so these run one at a time; each begins by clearing away what is ours.

use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{Api, DeleteParams, ListParams};
use kube::{Client, ResourceExt as _};
use lumbung::kube::OURS;
use lumbung::tasks;

use crate::app::TestApp;
use crate::within;

/// Pulling an image for the first time takes long.
const PATIENCE: Duration = Duration::from_mins(10);
/// Between two looks; platform and cluster are at rest if two in a row find them so.
const LOOK: Duration = Duration::from_secs(1);

/// The text of the kubeconfig that the tests are to use, if one is named.
pub fn kubeconfig() -> Option<String> {
    let path = std::env::var_os("LUMBUNG_TEST_KUBECONFIG")?;
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// Removes the namespaces that earlier tests have left, and waits until they are gone.
pub async fn clear(client: &Client) {
    let api = Api::<Namespace>::all(client.clone());
    let cleared = within(PATIENCE, LOOK, async || {
        let ours = api
            .list(&ListParams::default().labels(OURS))
            .await
            .expect("the namespaces");
        for namespace in ours
            .items
            .iter()
            .filter(|one| one.metadata.deletion_timestamp.is_none())
        {
            let _ = api.delete(&namespace.name_any(), &DeleteParams::default()).await;
        }
        ours.items.is_empty().then_some(())
    });
    cleared.await.expect("what earlier tests have left goes away");
}

/// Runs the tasks, with the platform's clock as quick as the real one, until neither platform nor cluster moves.
pub async fn settle(app: &TestApp) -> anyhow::Result<()> {
    let mut quiet = 0;
    let resting = within(PATIENCE, LOOK, async || match at_rest(app).await {
        Ok(rests) => {
            quiet = if rests { quiet + 1 } else { 0 };
            (quiet == 2).then_some(Ok(()))
        }
        Err(error) => Some(Err(error)),
    });
    resting.await.context("platform and cluster do not come to rest")?
}

async fn at_rest(app: &TestApp) -> anyhow::Result<bool> {
    app.advance(LOOK);
    tasks::settle(&app.tasks, 50).await?;
    Ok(platform_rests(app).await? && cluster_rests(&app.kube).await?)
}

async fn platform_rests(app: &TestApp) -> anyhow::Result<bool> {
    let moving: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM service_instances
          WHERE phase NOT IN ('pending', 'deleted')
            AND (phase NOT IN ('running', 'stopped', 'failed') OR observed_generation < generation)",
    )
    .fetch_one(&app.db.pool)
    .await?;
    Ok(moving == 0)
}

async fn cluster_rests(client: &Client) -> anyhow::Result<bool> {
    let ours = ListParams::default().labels(OURS);
    let sets = Api::<StatefulSet>::all(client.clone()).list(&ours).await?;
    let pods = Api::<Pod>::all(client.clone()).list(&ours).await?;
    let as_wanted = |set: &StatefulSet| {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let status = set.status.as_ref();
        status.is_some_and(|status| {
            status.observed_generation == set.metadata.generation
                && status.replicas == wanted
                && status.ready_replicas.unwrap_or(0) == wanted
        })
    };
    let ends = |pod: &Pod| pod.metadata.deletion_timestamp.is_some();
    Ok(sets.items.iter().all(as_wanted) && !pods.items.iter().any(ends))
}
