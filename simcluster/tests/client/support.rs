//! A cluster with the namespace `t`, a client for it, and the objects that the tests make.

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config, Error,
    api::PostParams,
    config::{KubeConfigOptions, Kubeconfig},
};
use lumbung_simcluster::{Delays, Options, SimCluster};
use serde_json::{Value, json};

pub async fn start() -> (SimCluster, Client) {
    let cluster = SimCluster::start(Options {
        delays: Delays::zero(),
        ..Options::default()
    })
    .await
    .unwrap();
    let kubeconfig = Kubeconfig::from_yaml(&cluster.kubeconfig()).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let client = Client::try_from(config).unwrap();
    let namespace = object(json!({"metadata": {"name": "t"}}));
    Api::<Namespace>::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    (cluster, client)
}

pub fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn refusal(error: Error) -> (u16, String, String) {
    match error {
        Error::Api(status) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("not an answer of the API: {other}"),
    }
}

pub fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

pub fn stateful_set(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name},
        "spec": {
            "serviceName": name, "replicas": 0, "selector": {"matchLabels": {"app": name}},
            "updateStrategy": {"type": "OnDelete"},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{
                    "name": "app", "image": image, "ports": [{"containerPort": 80}],
                    "resources": {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}},
                    "readinessProbe": {"httpGet": {"port": 80}},
                }]},
            },
        },
    })
}
