//! What a fresh cluster holds before anybody asks: namespaces, storage and priority classes, nodes, system pods.

use serde_json::{Value, json};

use crate::{
    Options,
    node::NodeSpec,
    resource::{self, Kind},
    status::Status,
    store::Cluster,
};

const WHO: &str = "k3s";

/// A kind of storage that claims can ask for.
#[allow(clippy::struct_excessive_bools, reason = "four independent properties, each set by name")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageClass {
    pub name: String,
    pub provisioner: String,
    /// `WaitForFirstConsumer` pins the volume to the first pod's node unless `movable`; else `Immediate`.
    pub wait_for_first_consumer: bool,
    /// Whether a volume can follow its pod to another node.
    pub movable: bool,
    pub default: bool,
    pub expandable: bool,
}

/// K3s's own `local-path`, and `longhorn` for volumes that can move.
pub fn storage_classes() -> Vec<StorageClass> {
    let class = |name: &str, provisioner: &str, local: bool| StorageClass {
        name: name.into(),
        provisioner: provisioner.into(),
        wait_for_first_consumer: local,
        movable: !local,
        default: local,
        expandable: !local,
    };
    vec![class("local-path", "rancher.io/local-path", true), class("longhorn", "driver.longhorn.io", false)]
}

/// Makes the first objects of an empty cluster. The engine gives nodes their conditions and runs the system pods.
pub fn populate(cluster: &Cluster, options: &Options) -> Result<(), Status> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        create(cluster, &resource::NAMESPACE, "", json!({"metadata": {"name": name}}))?;
    }
    for class in &options.storage_classes {
        create(cluster, &resource::STORAGE_CLASS, "", storage_class(class))?;
    }
    for (name, value) in [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)] {
        create(cluster, &resource::PRIORITY_CLASS, "", json!({"metadata": {"name": name}, "value": value}))?;
    }
    for node in &options.nodes {
        add_node(cluster, node)?;
    }
    Ok(())
}

/// Adds a machine: its Node object (without status conditions; those are its kubelet's) and its system pods.
pub fn add_node(cluster: &Cluster, spec: &NodeSpec) -> Result<(), Status> {
    create(cluster, &resource::NODE, "", node(spec))?;
    let resources = resource_list(spec);
    cluster.update_status(&resource::NODE, "", &spec.name, WHO, |node| {
        node["status"]["capacity"] = resources.clone();
        node["status"]["allocatable"] = resources;
    })?;
    for (name, cpu_milli, mem_mib) in &spec.foreign {
        create(cluster, &resource::POD, "kube-system", system_pod(name, &spec.name, *cpu_milli, *mem_mib))?;
    }
    Ok(())
}

fn create(cluster: &Cluster, kind: &'static Kind, ns: &str, object: Value) -> Result<(), Status> {
    cluster.create(kind, ns, object, WHO).map(|_| ())
}

fn resource_list(spec: &NodeSpec) -> Value {
    json!({
        "cpu": format!("{}m", spec.cpu_milli),
        "memory": format!("{}Mi", spec.mem_mib),
        "ephemeral-storage": format!("{}Mi", spec.disk_mib),
        "pods": spec.max_pods.to_string(),
    })
}

fn node(spec: &NodeSpec) -> Value {
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
    let mut object = json!({"metadata": {"name": spec.name, "labels": labels}, "spec": {}});
    let taint = |(key, value, effect): &(String, String, String)| {
        let mut taint = json!({"key": key, "effect": effect});
        if !value.is_empty() {
            taint["value"] = value.as_str().into();
        }
        taint
    };
    if !spec.taints.is_empty() {
        object["spec"]["taints"] = spec.taints.iter().map(taint).collect();
    }
    object
}

fn storage_class(class: &StorageClass) -> Value {
    let mut object = json!({
        "metadata": {"name": class.name},
        "provisioner": class.provisioner,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": if class.wait_for_first_consumer { "WaitForFirstConsumer" } else { "Immediate" },
        "allowVolumeExpansion": class.expandable,
    });
    if class.default {
        object["metadata"]["annotations"] = json!({"storageclass.kubernetes.io/is-default-class": "true"});
    }
    object
}

fn system_pod(name: &str, node: &str, cpu_milli: u64, mem_mib: u64) -> Value {
    let requests = json!({"cpu": format!("{cpu_milli}m"), "memory": format!("{mem_mib}Mi")});
    json!({
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "nodeName": node,
            "priorityClassName": "system-cluster-critical",
            "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "rancher/system", "resources": {"requests": requests}}],
        },
    })
}
