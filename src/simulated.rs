//! A simulated K3s in this process, prepared as deploy/ prepares a real one. Only the commands and the tests use it.

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use simcluster::{Options, SimCluster};

/// What deploy/ applies to the cluster beside ourselves.
const MANIFESTS: [&str; 3] = [
    include_str!("../deploy/base/namespace.yaml"),
    include_str!("../deploy/base/rbac.yaml"),
    include_str!("../deploy/base/priority-classes.yaml"),
];

/// The account that deploy/ gives us.
const NAMESPACE: &str = "lumbung-system";
const ACCOUNT: &str = "lumbung";

/// Longer than any demo or test lasts, also where the clock leaps.
const TOKEN_SECONDS: i64 = 10 * 366 * 24 * 3600;

/// Starts the cluster and connects to it as the deployed platform would: over HTTP, with the rights of its account.
pub async fn start(options: Options) -> anyhow::Result<(SimCluster, Client)> {
    let cluster = SimCluster::start(options).await?;
    let kubeconfig = prepare(&cluster).await?;
    let client = crate::kube::connect(Some(&kubeconfig)).await?;
    Ok((cluster, client))
}

/// Applies what deploy/ applies, as the admin; the answer is a kubeconfig of the platform's account.
pub async fn prepare(cluster: &SimCluster) -> anyhow::Result<String> {
    let admin = crate::kube::connect(Some(&cluster.kubeconfig())).await?;
    for document in MANIFESTS.iter().flat_map(|manifest| manifest.split("\n---\n")) {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.as_ref().context("a manifest says its kind")?;
        let (resource, _) = kube::discovery::pinned_kind(&admin, &GroupVersionKind::try_from(types)?).await?;
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(admin.clone(), &namespace, &resource),
            None => Api::all_with(admin.clone(), &resource),
        };
        let params = PatchParams::apply(crate::kube::FIELD_MANAGER).force();
        api.patch(&object.name_any(), &params, &Patch::Apply(&object)).await?;
    }
    let accounts = Api::<ServiceAccount>::namespaced(admin, NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        },
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("a token request is answered with a token")?.token;
    Ok(cluster.kubeconfig_for(&token))
}
