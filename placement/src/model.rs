//! What placement is told: nodes, workloads, and who runs where. Plain values, no behaviour beyond matching.
//!
//! A workload is one pod. Its `request` is what is written into the pod, since kube-scheduler adds up exactly that:
//! any overcommit has already been decided by [`Policy::written_request`](crate::Policy::written_request).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{GroupKey, NodeKey, PPM, Resources, WorkloadKey, usage::Load};

pub type Labels = BTreeMap<String, String>;

/// What the cluster says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    Ready,
    Suspect,
    Offline,
    Unknown,
}

/// What the operator says of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    Open,
    /// Takes what has to leave another node, never a new order.
    Standby,
    Cordoned,
    Draining,
    Removed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaintEffect {
    NoSchedule,
    /// A wish, not a wall: it costs a node its rank, not its candidacy.
    PreferNoSchedule,
    NoExecute,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Taint {
    pub key: String,
    pub value: String,
    pub effect: TaintEffect,
}

/// Kubernetes' toleration: an absent part matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Toleration {
    pub key: Option<String>,
    pub value: Option<String>,
    pub effect: Option<TaintEffect>,
}

impl Toleration {
    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.key.as_ref().is_none_or(|key| *key == taint.key)
            && self.value.as_ref().is_none_or(|value| *value == taint.value)
            && self.effect.is_none_or(|effect| effect == taint.effect)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    pub id: NodeKey,
    /// For the operator's eyes only: decisions go by `id`.
    pub name: String,
    /// What the kubelet offers to pods; `pods` is its maxPods.
    pub allocatable: Resources,
    /// Requests of pods that are not ours: they take room and are not placed by us.
    pub foreign: Resources,
    pub labels: Labels,
    pub taints: Vec<Taint>,
    pub availability: Availability,
    pub admission: Admission,
    /// The storage classes whose volumes can be used on this node.
    pub storage_classes: BTreeSet<String>,
    /// The failure domain above the node; empty when there is none.
    pub zone: String,
    /// The kind of machine, for reports and what-if; decisions go by the amounts.
    pub class: String,
    /// How much a thread of it does, against the reference thread that usage is measured in.
    pub cpu_speed_ppm: i64,
    /// Above its trigger line and not yet back below the lower one: takes nothing new. Held by the caller, decided by
    /// [`Policy::is_hot`](crate::Policy::is_hot).
    pub hot: bool,
}

impl Node {
    /// A ready, open node without labels, taints or anything on it.
    pub fn new(id: NodeKey, allocatable: Resources) -> Self {
        Self {
            id,
            name: id.to_string(),
            allocatable,
            foreign: Resources::ZERO,
            labels: Labels::new(),
            taints: Vec::new(),
            availability: Availability::Ready,
            admission: Admission::Open,
            storage_classes: BTreeSet::new(),
            zone: String::new(),
            class: String::new(),
            cpu_speed_ppm: PPM,
            hot: false,
        }
    }
}

/// What the loss of its node means for a workload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Comes up again elsewhere, for certain under [`Reserve::NPlusOne`](crate::Reserve::NPlusOne).
    #[default]
    Protected,
    /// Lives in the reserve, and leaves first when the reserve is needed.
    BestEffort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Topology {
    Node,
    /// Nodes without a zone are one zone each.
    Zone,
}

/// Workloads of one group (an owner, say) do not crowd on one node or in one zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spread {
    pub group: GroupKey,
    pub across: Topology,
    /// No more than so many of the group in one place; `None` makes it a wish, weighed by how many are there already.
    pub most: Option<u32>,
}

/// Where the data of a workload lets it run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeLocality {
    /// No data yet, none at all, or a volume that follows the pod.
    #[default]
    Anywhere,
    /// The data is on the disk of this one node.
    Pinned(NodeKey),
    /// The data has a copy on each of these nodes.
    OneOf(BTreeSet<NodeKey>),
}

impl VolumeLocality {
    pub fn allows(&self, node: NodeKey) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Pinned(home) => *home == node,
            Self::OneOf(homes) => homes.contains(&node),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    pub id: WorkloadKey,
    /// Written into the pod. `pods` is 1 for what runs and 0 for what only keeps its disk.
    pub request: Resources,
    /// Written into the pod as its ceiling; takes no room.
    pub limit: Resources,
    /// Labels that the node must carry.
    pub selector: Labels,
    pub tolerations: Vec<Toleration>,
    pub storage_class: Option<String>,
    pub volume: VolumeLocality,
    /// Its data can follow it to another node. False also before there is data, if it will lie on one node's own disk.
    #[serde(default = "follows")]
    pub movable: bool,
    pub priority: Priority,
    pub spread: Option<Spread>,
    /// What it is expected to use; without measurements [`Workload::load`] takes its request (CPU) and its limit (memory).
    pub measured: Option<Box<Load>>,
}

impl Workload {
    /// A workload without constraints.
    pub fn new(id: WorkloadKey, request: Resources, limit: Resources) -> Self {
        Self {
            id,
            request,
            limit,
            selector: Labels::new(),
            tolerations: Vec::new(),
            storage_class: None,
            volume: VolumeLocality::Anywhere,
            movable: true,
            priority: Priority::Protected,
            spread: None,
            measured: None,
        }
    }

    /// What it is expected to use.
    pub fn load(&self) -> Load {
        let cold = || Load::cold(self.request.cpu_milli, self.limit.mem_mib.max(self.request.mem_mib));
        self.measured.as_deref().copied().unwrap_or_else(cold)
    }

    /// Whether the loss of its node can be answered by starting it elsewhere: data on one node's own disk cannot follow.
    pub fn can_move(&self) -> bool {
        self.movable && !matches!(self.volume, VolumeLocality::Pinned(_))
    }

    /// Whether it has to come up elsewhere for certain. What only keeps its disk has nothing to start.
    pub fn needs_certificate(&self) -> bool {
        self.priority == Priority::Protected && self.can_move() && self.request.pods > 0
    }

    /// Has no wish that a node without taints could fail.
    pub(crate) fn wishes_nothing(&self) -> bool {
        self.selector.is_empty()
            && self.storage_class.is_none()
            && self.volume == VolumeLocality::Anywhere
            && self.spread.is_none()
    }

    pub fn tolerates(&self, taint: &Taint) -> bool {
        self.tolerations.iter().any(|toleration| toleration.tolerates(taint))
    }

    pub fn selects(&self, labels: &Labels) -> bool {
        self.selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// What was written before the field was there could move unless it was pinned.
fn follows() -> bool {
    true
}

/// One workload on one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Placement {
    pub workload: WorkloadKey,
    pub node: NodeKey,
    /// Its certificate: the node that takes it if its own dies.
    pub backup: Option<NodeKey>,
}
