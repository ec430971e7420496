//! The customer's namespace and what bounds it.
//!
//! The quota is the sum of what the customer has bought, so a mistake of ours, or a pod that somebody else makes there,
//! cannot take more from a node than was admitted. It comes in three parts because scopes may not be mixed: instances
//! and tasks by their priority class, storage and object counts without a scope.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    LimitRange, LimitRangeItem, LimitRangeSpec, Namespace, ResourceQuota, ResourceQuotaSpec, ScopeSelector,
    ScopedResourceSelectorRequirement,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PRIORITY_INSTANCE, PRIORITY_SETUP, meta, quantity, task};

/// Tasks of one instance that may exist at a time: one at work while the one before it is still going.
const TASKS_PER_INSTANCE: u64 = 2;

/// The sums over a customer's live instances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    pub instances: u64,
    /// Sums of the written requests.
    pub cpu_request_milli: u64,
    pub mem_request_mib: u64,
    /// Sums of the plans' limits.
    pub cpu_limit_milli: u64,
    pub mem_limit_mib: u64,
    pub disk_mib: u64,
    pub claims: u64,
}

impl Quota {
    /// The larger of both in every respect: what is applied while a change is under way.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            instances: self.instances.max(other.instances),
            cpu_request_milli: self.cpu_request_milli.max(other.cpu_request_milli),
            mem_request_mib: self.mem_request_mib.max(other.mem_request_mib),
            cpu_limit_milli: self.cpu_limit_milli.max(other.cpu_limit_milli),
            mem_limit_mib: self.mem_limit_mib.max(other.mem_limit_mib),
            disk_mib: self.disk_mib.max(other.disk_mib),
            claims: self.claims.max(other.claims),
        }
    }

    fn tasks(self) -> u64 {
        self.instances * TASKS_PER_INSTANCE
    }
}

/// `baseline` is enforced because templates may add its capabilities; what misses `restricted` is warned about.
pub fn namespace(name: &str, user_id: Uuid) -> Namespace {
    let mut labels = meta::account_labels(user_id);
    for (mode, level) in [("enforce", "baseline"), ("warn", "restricted"), ("audit", "restricted")] {
        labels.insert(format!("pod-security.kubernetes.io/{mode}"), level.to_owned());
        labels.insert(
            format!("pod-security.kubernetes.io/{mode}-version"),
            "latest".to_owned(),
        );
    }
    Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    }
}

/// All quotas of a namespace. Zero allows nothing, which is right for a customer without instances.
pub fn quotas(namespace: &str, user_id: Uuid, sum: Quota) -> Vec<ResourceQuota> {
    let tasks = sum.tasks();
    let r = task::RESOURCES;
    let each = |amount: u32| u64::from(amount) * tasks;
    let quota = |name: &str, hard: BTreeMap<String, Quantity>, priority: Option<&str>| ResourceQuota {
        metadata: owned(namespace, user_id, name),
        spec: Some(ResourceQuotaSpec {
            hard: Some(hard),
            scope_selector: priority.map(scope),
            scopes: None,
        }),
        ..ResourceQuota::default()
    };
    vec![
        quota(
            "instances",
            compute(
                sum.instances,
                [sum.cpu_request_milli, sum.cpu_limit_milli],
                [sum.mem_request_mib, sum.mem_limit_mib],
            ),
            Some(PRIORITY_INSTANCE),
        ),
        quota(
            "tasks",
            compute(
                tasks,
                [each(r.cpu_request_milli), each(r.cpu_limit_milli)],
                [each(r.mem_request_mib), each(r.mem_limit_mib)],
            ),
            Some(PRIORITY_SETUP),
        ),
        quota("objects", objects(sum), None),
    ]
}

fn compute(pods: u64, cpu_milli: [u64; 2], mem_mib: [u64; 2]) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("pods".to_owned(), quantity::count(pods)),
        ("requests.cpu".to_owned(), quantity::cpu(cpu_milli[0])),
        ("limits.cpu".to_owned(), quantity::cpu(cpu_milli[1])),
        ("requests.memory".to_owned(), quantity::memory(mem_mib[0])),
        ("limits.memory".to_owned(), quantity::memory(mem_mib[1])),
    ])
}

/// Storage, and the pods of all classes together: a pod of another class finds no room beside ours.
fn objects(sum: Quota) -> BTreeMap<String, Quantity> {
    BTreeMap::from([
        ("pods".to_owned(), quantity::count(sum.instances + sum.tasks())),
        ("persistentvolumeclaims".to_owned(), quantity::count(sum.claims)),
        ("requests.storage".to_owned(), quantity::memory(sum.disk_mib)),
        ("services.loadbalancers".to_owned(), quantity::count(0)),
        ("services.nodeports".to_owned(), quantity::count(0)),
    ])
}

fn scope(priority: &str) -> ScopeSelector {
    ScopeSelector {
        match_expressions: Some(vec![ScopedResourceSelectorRequirement {
            scope_name: "PriorityClass".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![priority.to_owned()]),
        }]),
    }
}

/// Gives containers that are not ours small defaults; all of ours carry requests and limits.
pub fn limit_range(namespace: &str, user_id: Uuid) -> LimitRange {
    let both = |cpu_milli: u32, mem_mib: u32| {
        Some(BTreeMap::from([
            ("cpu".to_owned(), quantity::cpu(cpu_milli.into())),
            ("memory".to_owned(), quantity::memory(mem_mib.into())),
        ]))
    };
    let r = task::RESOURCES;
    LimitRange {
        metadata: owned(namespace, user_id, "defaults"),
        spec: Some(LimitRangeSpec {
            limits: vec![LimitRangeItem {
                type_: "Container".to_owned(),
                default: both(r.cpu_limit_milli, r.mem_limit_mib),
                default_request: both(r.cpu_request_milli, r.mem_request_mib),
                ..LimitRangeItem::default()
            }],
        }),
    }
}

pub(super) fn owned(namespace: &str, user_id: Uuid, name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        labels: Some(meta::account_labels(user_id)),
        ..ObjectMeta::default()
    }
}
