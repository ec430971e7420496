//! What a fresh cluster holds before anybody asks: namespaces, storage and priority classes, nodes.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    Options,
    resource::{self, Kind},
    status::Status,
    store::Cluster,
};

const WHO: &str = "k3s";

/// One simulated machine: what its kubelet offers to pods.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    pub name: String,
    pub cpu_milli: u64,
    pub mem_mib: u64,
    pub max_pods: u32,
    pub labels: BTreeMap<String, String>,
}

impl NodeSpec {
    /// A machine with room for 110 pods, without labels of its own.
    pub fn new(name: impl Into<String>, cpu_milli: u64, mem_mib: u64) -> Self {
        Self { name: name.into(), cpu_milli, mem_mib, max_pods: 110, labels: BTreeMap::new() }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// The three home machines that Lumbung begins with: what is left of each for pods.
pub(crate) fn home() -> Vec<NodeSpec> {
    vec![
        NodeSpec::new("ryzen-3900x", 22_500, 60 * 1024).label("node-role.kubernetes.io/control-plane", "true"),
        NodeSpec::new("ryzen-6900hs", 15_500, 30 * 1024),
        NodeSpec::new("intel-i7-gen7", 7_500, 30 * 1024),
    ]
}

/// Makes the first objects of an empty cluster. The kubelets give the nodes their conditions.
pub(crate) fn populate(cluster: &Cluster, options: &Options) -> Result<(), Status> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        create(cluster, &resource::NAMESPACE, json!({"metadata": {"name": name}}))?;
    }
    // K3s's own, pinned to its first pod's node; and one whose volumes can move.
    for (name, provisioner, is_local) in
        [("local-path", "rancher.io/local-path", true), ("longhorn", "driver.longhorn.io", false)]
    {
        let is_default = (name == options.default_class).to_string();
        let class = json!({
            "metadata": {"name": name, "annotations": {"storageclass.kubernetes.io/is-default-class": is_default}},
            "provisioner": provisioner, "reclaimPolicy": "Delete", "allowVolumeExpansion": !is_local,
            "volumeBindingMode": if is_local { "WaitForFirstConsumer" } else { "Immediate" },
        });
        create(cluster, &resource::STORAGE_CLASS, class)?;
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        create(cluster, &resource::PRIORITY_CLASS, json!({"metadata": {"name": name}, "value": value}))?;
    }
    options.nodes.iter().try_for_each(|node| add_node(cluster, node))
}

fn create(cluster: &Cluster, kind: &'static Kind, object: Value) -> Result<(), Status> {
    cluster.create(kind, "", object, WHO).map(|_| ())
}

fn add_node(cluster: &Cluster, spec: &NodeSpec) -> Result<(), Status> {
    let mut labels = json!({
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": spec.name,
        "node.kubernetes.io/instance-type": "k3s",
    });
    for (key, value) in &spec.labels {
        labels[key] = value.as_str().into();
    }
    create(cluster, &resource::NODE, json!({"metadata": {"name": spec.name, "labels": labels}, "spec": {}}))?;
    let resources = json!({
        "cpu": format!("{}m", spec.cpu_milli),
        "memory": format!("{}Mi", spec.mem_mib),
        "ephemeral-storage": "200Gi",
        "pods": spec.max_pods.to_string(),
    });
    let status = json!({"capacity": resources, "allocatable": resources});
    cluster.update_status(&resource::NODE, "", &spec.name, WHO, |node| node["status"] = status).map(|_| ())
}
