//! What a simulated machine offers, and the Node object that stands for it.

use std::collections::BTreeMap;

/// One simulated machine: what its kubelet offers to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    pub name: String,
    pub cpu_milli: u64,
    pub mem_mib: u64,
    pub disk_mib: u64,
    pub max_pods: u32,
    pub labels: BTreeMap<String, String>,
    /// (key, value, effect).
    pub taints: Vec<(String, String, String)>,
    /// Requests of system pods that run there from the start: (pod name in kube-system, milli-CPU, MiB).
    pub foreign: Vec<(String, u64, u64)>,
}

impl NodeSpec {
    /// A machine with room for 110 pods and 200 GiB of disk, without labels of its own, taints or system pods.
    pub fn new(name: impl Into<String>, cpu_milli: u64, mem_mib: u64) -> Self {
        Self {
            name: name.into(),
            cpu_milli,
            mem_mib,
            disk_mib: 200 * 1024,
            max_pods: 110,
            labels: BTreeMap::new(),
            taints: Vec::new(),
            foreign: Vec::new(),
        }
    }

    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }
}

/// The three home machines that Lumbung begins with: what is left of each for pods.
pub fn home() -> Vec<NodeSpec> {
    vec![
        NodeSpec::new("ryzen-3900x", 22_500, 60 * 1024).label("node-role.kubernetes.io/control-plane", "true"),
        NodeSpec::new("ryzen-6900hs", 15_500, 30 * 1024),
        NodeSpec::new("intel-i7-gen7", 7_500, 30 * 1024),
    ]
}
