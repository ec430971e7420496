//! The StatefulSet controller.
//!
//! Pods `<set>-<ordinal>` are made in order and removed in reverse order. A pod that has ended is replaced; an unhealthy
//! one never is: it holds everything up, and with `OnDelete` it keeps its revision until somebody deletes it. Claims from
//! `volumeClaimTemplates` are made with the pod and stay when it goes. A revision is a name made from the template; old
//! templates are not kept. A set that asks for what is not simulated (`UNSUPPORTED`) gets a warning and no pods.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{events::fnv1a, prelude::*};
use crate::status::Status;

const WHO: &str = "statefulset-controller";
const REVISION: &str = "controller-revision-hash";
/// The first wait after a refused creation; doubled each time, up to `RETRY_MOST`.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(30);
/// Demands that would be kinder to ignore than Kubernetes is, and what asks for nothing, as 0 does.
const UNSUPPORTED: [(&str, &str); 6] = [
    ("spec.podManagementPolicy", "OrderedReady"),
    ("spec.ordinals.start", ""),
    ("spec.updateStrategy.rollingUpdate.partition", ""),
    ("spec.minReadySeconds", ""),
    ("spec.persistentVolumeClaimRetentionPolicy.whenDeleted", "Retain"),
    ("spec.persistentVolumeClaimRetentionPolicy.whenScaled", "Retain"),
];

#[derive(Default)]
pub(super) struct StatefulSets {
    /// Consecutive failures per set.
    failures: HashMap<Key, u32>,
}

impl Controller for StatefulSets {
    fn observe(&mut self, seen: &Seen<'_>, view: &View, queue: &mut Queue) {
        if seen.is(&STATEFUL_SET) {
            queue.add(seen.key.clone());
        } else if seen.is(&PERSISTENT_VOLUME_CLAIM) && seen.new.is_none() {
            // A set may have waited for its end to make a new one.
            queue.add_all(view.in_namespace(&STATEFUL_SET, &seen.key.0));
        } else if seen.is(&POD) {
            let owners = [seen.old, seen.new].into_iter().flatten().flat_map(|pod| owners(pod));
            for owner in owners.filter(|owner| owner["kind"] == "StatefulSet") {
                queue.add((seen.key.0.clone(), owner.text("name").to_owned()));
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let set = ctx.view.get(&STATEFUL_SET, &key.0, &key.1).filter(|set| !is_deleting(set));
        if set.is_none_or(|set| Sync::new(ctx, set).run().is_ok()) {
            self.failures.remove(key);
            return;
        }
        let failures = self.failures.entry(key.clone()).or_default();
        let wait = RETRY_FIRST.saturating_mul(1 << (*failures).min(20)).min(RETRY_MOST);
        *failures += 1;
        queue.add_at(key.clone(), ctx.now + wait);
    }
}

/// One look at one set.
struct Sync<'a> {
    ctx: &'a Ctx<'a>,
    set: &'a Value,
    ns: &'a str,
    name: &'a str,
    on_delete: bool,
    replicas: u64,
    pods: BTreeMap<u64, &'a Arc<Value>>,
    /// The revision that the pods should have.
    revision: String,
}

impl<'a> Sync<'a> {
    fn new(ctx: &'a Ctx<'a>, set: &'a Value) -> Self {
        let name = set.text("metadata.name");
        let ordinal = |pod: &str| pod.strip_prefix(name)?.strip_prefix('-')?.parse().ok();
        let owned = ctx.view.pods_linked(Link::Owner(uid(set).to_owned()));
        let digest = format!("{:016x}", fnv1a(&[uid(set), &set.at("spec.template").to_string()]));
        Self {
            ctx,
            set,
            ns: set.text("metadata.namespace"),
            name,
            on_delete: set.text("spec.updateStrategy.type") == "OnDelete",
            replicas: set.at("spec.replicas").as_u64().unwrap_or(1),
            pods: owned.filter_map(|(key, pod)| Some((ordinal(&key.1)?, pod))).collect(),
            revision: format!("{name}-{}", &digest[..10]),
        }
    }

    /// The status is written even when a creation is refused, as the real controller does; it counts the pods that there
    /// were before this look.
    fn run(&self) -> Result<(), Status> {
        let asks = |(path, nothing): &&(&str, &str)| {
            let value = self.set.at(path);
            !value.is_null() && *value != 0 && *value != **nothing
        };
        if let Some((path, _)) = UNSUPPORTED.iter().find(asks) {
            let why = format!("{path} is not supported by the simulated controller");
            self.ctx.events(WHO).warning(self.set, "FailedCreate", &why);
            return Ok(());
        }
        let outcome = self.manage();
        self.write_status()?;
        outcome
    }

    fn manage(&self) -> Result<(), Status> {
        for ordinal in 0..self.replicas {
            match self.pods.get(&ordinal) {
                None => return self.create(ordinal),
                Some(pod) if is_healthy(pod) && !is_deleting(pod) => {}
                Some(pod) => {
                    if is_terminal(pod) {
                        self.delete(pod);
                    }
                    return Ok(());
                }
            }
        }
        // All are healthy: one step of scaling down, or else of the roll-out, each from the highest ordinal.
        let surplus = self.pods.range(self.replicas..).next_back().map(|(_, pod)| pod);
        let outdated = || self.pods.values().rev().find(|pod| !self.on_delete && revision(pod) != self.revision);
        if let Some(pod) = surplus.or_else(outdated) {
            self.delete(pod);
        }
        Ok(())
    }

    fn delete(&self, pod: &Value) {
        if !is_deleting(pod) && self.ctx.delete(pod, None) {
            let message = format!("Delete Pod {} in StatefulSet {} successful", pod.text("metadata.name"), self.name);
            self.ctx.events(WHO).normal(self.set, "SuccessfulDelete", &message);
        }
    }

    fn create(&self, ordinal: u64) -> Result<(), Status> {
        let (name, of_set) = (format!("{}-{ordinal}", self.name), format!("in StatefulSet {}", self.name));
        for template in self.templates() {
            let claim = claim_name(template, &name);
            let existing = self.ctx.view.get(&PERSISTENT_VOLUME_CLAIM, self.ns, &claim);
            if existing.is_some_and(|claim| is_deleting(claim)) {
                let why = format!("create Pod {name} {of_set} failed error: pvc {claim} is being deleted");
                self.ctx.events(WHO).warning(self.set, "FailedCreate", &why);
                return Err(Status::conflict(&PERSISTENT_VOLUME_CLAIM, &claim, "it is being deleted"));
            }
            if existing.is_none() {
                let success = format!("Create Claim {claim} Pod {name} {of_set} success");
                let failure = format!("Create Claim {claim} for Pod {name} {of_set} failed");
                self.make(&PERSISTENT_VOLUME_CLAIM, self.claim(template, &claim), &success, &failure)?;
            }
        }
        let what = format!("Create Pod {name} {of_set}");
        self.make(&POD, self.pod(&name, ordinal), &format!("{what} successful"), &format!("{what} failed"))
    }

    fn make(&self, kind: &'static Kind, object: Value, success: &str, failure: &str) -> Result<(), Status> {
        let (made, events) = (self.ctx.cluster.create(kind, self.ns, object, WHO), self.ctx.events(WHO));
        match &made {
            Ok(_) => events.normal(self.set, "SuccessfulCreate", success),
            Err(why) => events.warning(self.set, "FailedCreate", &format!("{failure} error: {}", why.message)),
        }
        made.map(|_| ())
    }

    fn templates(&self) -> &[Value] {
        self.set.items("spec.volumeClaimTemplates")
    }

    fn claim(&self, template: &Value, name: &str) -> Value {
        let mut claim = json!({"metadata": {"name": name}, "spec": template["spec"]});
        claim.put("metadata.labels", self.set.at("spec.selector.matchLabels").clone());
        for field in ["labels", "annotations"] {
            for (key, value) in template["metadata"].fields(field) {
                claim["metadata"][field][key] = value.clone();
            }
        }
        claim
    }

    fn pod(&self, name: &str, ordinal: u64) -> Value {
        let template = self.set.at("spec.template");
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet", "name": self.name, "uid": uid(self.set),
            "controller": true, "blockOwnerDeletion": true,
        });
        let mut metadata =
            json!({"name": name, "generateName": format!("{}-", self.name), "labels": {}, "ownerReferences": [owner]});
        for field in ["labels", "annotations", "finalizers"] {
            if template["metadata"].has(field) {
                metadata[field] = template["metadata"][field].clone();
            }
        }
        metadata["labels"][REVISION] = json!(self.revision);
        metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        metadata["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
        let mut spec = template["spec"].clone();
        spec["hostname"] = json!(name);
        let service = self.set.text("spec.serviceName");
        if !service.is_empty() {
            spec["subdomain"] = json!(service);
        }
        if !self.templates().is_empty() {
            let claimed = self.templates().iter().map(|template| {
                let claim = claim_name(template, name);
                json!({"name": template.at("metadata.name"), "persistentVolumeClaim": {"claimName": claim}})
            });
            let replaced = |volume: &Value| self.templates().iter().any(|t| t.at("metadata.name") == &volume["name"]);
            let others = spec.items("volumes").iter().filter(|volume| !replaced(volume)).cloned();
            spec["volumes"] = claimed.chain(others).collect();
        }
        json!({"metadata": metadata, "spec": spec})
    }

    /// Counters of 0 are left out, but for two of them.
    fn write_status(&self) -> Result<(), Status> {
        let count = |wanted: &dyn Fn(&Value) -> bool| self.pods.values().filter(|pod| wanted(pod)).count();
        let of_revision = |name: &str| count(&|pod| !is_deleting(pod) && revision(pod) == name);
        let (replicas, ready, updated) = (self.pods.len(), count(&is_healthy), of_revision(&self.revision));
        let rolled = !self.on_delete && updated == replicas && ready == replicas;
        let before = Some(self.set.text("status.currentRevision")).filter(|name| !name.is_empty() && !rolled);
        let current = before.unwrap_or(&self.revision);
        let mut status = json!({
            "observedGeneration": self.set.at("metadata.generation"), "replicas": replicas,
            "currentRevision": current, "updateRevision": self.revision, "collisionCount": 0,
            "availableReplicas": ready,
        });
        let counters =
            [("readyReplicas", ready), ("currentReplicas", of_revision(current)), ("updatedReplicas", updated)];
        for (field, value) in counters.into_iter().filter(|(_, value)| *value > 0) {
            status[field] = json!(value);
        }
        let write = |set: &mut Value| set["status"] = status;
        self.ctx.cluster.update_status(&STATEFUL_SET, self.ns, self.name, WHO, write).map(|_| ())
    }
}

fn claim_name(template: &Value, pod: &str) -> String {
    format!("{}-{pod}", template.text("metadata.name"))
}

fn revision(pod: &Value) -> &str {
    pod["metadata"]["labels"][REVISION].as_str().unwrap_or_default()
}

fn is_healthy(pod: &Value) -> bool {
    pod.text("status.phase") == "Running" && condition_is_true(pod, "Ready")
}
