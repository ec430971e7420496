//! A simulated K3s in this process, prepared as deploy/ prepares a real one. Only the commands and the tests use it.

use anyhow::Context;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
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
    let kubeconfig = prepare(&cluster.kubeconfig()).await?;
    let client = crate::kube::connect(Some(&kubeconfig)).await?;
    Ok((cluster, client))
}

/// The three home machines.
pub async fn start_home() -> anyhow::Result<(SimCluster, Client)> {
    start(Options::default()).await
}

/// Applies what deploy/ applies, by the admin's kubeconfig; the answer is one of the platform's account. The cluster may
/// be a real one.
pub async fn prepare(administrator: &str) -> anyhow::Result<String> {
    let admin = crate::kube::connect(Some(administrator)).await?;
    for document in MANIFESTS.iter().flat_map(|manifest| manifest.split("\n---\n")) {
        let object: DynamicObject = serde_saphyr::from_str(document)?;
        let types = object.types.as_ref().context("a manifest says its kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let api: Api<DynamicObject> = match object.namespace() {
            Some(namespace) => Api::namespaced_with(admin.clone(), &namespace, &resource),
            None => Api::all_with(admin.clone(), &resource),
        };
        crate::kube::apply(&api, &object).await?;
    }
    account(administrator).await
}

/// A kubeconfig of the platform's account in a cluster that is prepared.
pub async fn account(administrator: &str) -> anyhow::Result<String> {
    let admin = crate::kube::connect(Some(administrator)).await?;
    let accounts = Api::<ServiceAccount>::namespaced(admin, NAMESPACE);
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            expiration_seconds: Some(TOKEN_SECONDS),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await?;
    let token = answer.status.and_then(|status| status.token);
    with_token(
        administrator,
        &token.context("a token request is answered with a token")?,
    )
}

/// The kubeconfig with this token in place of whatever its users show, also where an address repeats it.
fn with_token(kubeconfig: &str, token: &str) -> anyhow::Result<String> {
    let mut config: Value = serde_saphyr::from_str(kubeconfig)?;
    let mut shown = Vec::new();
    for user in config["users"].as_array_mut().into_iter().flatten() {
        shown.extend(user["user"]["token"].as_str().map(str::to_owned));
        user["user"] = json!({"token": token});
    }
    for cluster in config["clusters"].as_array_mut().into_iter().flatten() {
        let server = &mut cluster["cluster"]["server"];
        let address = server.as_str().unwrap_or_default().to_owned();
        *server = shown
            .iter()
            .fold(address, |address, shown| address.replace(shown, token))
            .into();
    }
    Ok(config.to_string())
}
