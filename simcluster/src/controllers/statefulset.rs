//! The StatefulSet controller.
//!
//! Pods `<set>-<ordinal>` are made in order and removed in reverse order (`OrderedReady`) or all at once (`Parallel`).
//! A pod that has ended is replaced; an unhealthy one never is: with `OrderedReady` it holds everything up, and with
//! `OnDelete` it keeps its revision until somebody deletes it. Claims from `volumeClaimTemplates` are made with the pod
//! and stay when it goes (the retention policy `Retain`; `Delete` is not simulated). A revision is a name made from the
//! template: old templates are not kept, so a partition of a roll-out is not simulated.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Controller, Ctx, Queue, Seen, View,
    events::fnv1a,
    view::{condition_is_true, is_deleting, is_terminal, list, uid},
};
use crate::{
    resource,
    status::Status,
    store::{DeleteOptions, Key},
};

const WHO: &str = "statefulset-controller";
const REVISION: &str = "controller-revision-hash";
/// The first wait after a refused creation; doubled each time, up to `RETRY_MOST`.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MOST: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct StatefulSets {
    /// Consecutive failures per set.
    failures: HashMap<Key, u32>,
}

impl Controller for StatefulSets {
    fn observe(&mut self, seen: &Seen<'_>, _view: &View, queue: &mut Queue) {
        if seen.is(&resource::STATEFUL_SET) {
            queue.add(seen.key.clone());
        } else if seen.is(&resource::POD) {
            for pod in [seen.old, seen.new].into_iter().flatten() {
                let owners = list(&pod["metadata"]["ownerReferences"]).iter();
                for owner in owners.filter(|owner| owner["kind"] == "StatefulSet") {
                    queue.add((seen.key.0.clone(), owner["name"].as_str().unwrap_or_default().to_owned()));
                }
            }
        }
    }

    fn sync(&mut self, key: &Key, ctx: &Ctx<'_>, queue: &mut Queue) {
        let Some(set) = ctx.view.get(&resource::STATEFUL_SET, &key.0, &key.1) else {
            self.failures.remove(key);
            return;
        };
        if is_deleting(set) {
            return;
        }
        let sync = Sync::new(ctx, set);
        if let Ok(wait) = sync.run() {
            self.failures.remove(key);
            if let Some(at) = wait {
                queue.add_at(key.clone(), at);
            }
        } else {
            let failures = self.failures.entry(key.clone()).or_default();
            let wait = RETRY_FIRST.saturating_mul(1 << (*failures).min(20)).min(RETRY_MOST);
            *failures += 1;
            queue.add_at(key.clone(), ctx.now + wait);
        }
    }
}

/// One look at one set.
struct Sync<'a> {
    ctx: &'a Ctx<'a>,
    set: &'a Arc<Value>,
    ns: &'a str,
    name: &'a str,
    ordered: bool,
    first: u64,
    replicas: u64,
    pods: BTreeMap<u64, Arc<Value>>,
}

impl<'a> Sync<'a> {
    fn new(ctx: &'a Ctx<'a>, set: &'a Arc<Value>) -> Self {
        let name = set["metadata"]["name"].as_str().unwrap_or_default();
        let ordinal = |pod: &Value| ordinal(name, pod["metadata"]["name"].as_str().unwrap_or_default());
        let owned = ctx.view.pods_owned_by(uid(set));
        Self {
            ctx,
            set,
            ns: set["metadata"]["namespace"].as_str().unwrap_or_default(),
            name,
            ordered: set["spec"]["podManagementPolicy"] != "Parallel",
            first: set["spec"]["ordinals"]["start"].as_u64().unwrap_or(0),
            replicas: set["spec"]["replicas"].as_u64().unwrap_or(1),
            pods: owned.filter_map(|(_, pod)| Some((ordinal(pod)?, Arc::clone(pod)))).collect(),
        }
    }

    /// The status is written even when a creation is refused, as the real controller does.
    fn run(&self) -> Result<Option<Timestamp>, Status> {
        let revisions = Revisions::of(self.set);
        let outcome = self.manage(&revisions);
        let wait = self.write_status(&revisions)?;
        outcome.map(|()| wait)
    }

    fn manage(&self, revisions: &Revisions) -> Result<(), Status> {
        for ordinal in self.first..self.first + self.replicas {
            match self.pods.get(&ordinal) {
                None => {
                    self.create(ordinal, revisions)?;
                    if self.ordered {
                        return Ok(());
                    }
                }
                Some(pod) if is_terminal(pod) => {
                    if !is_deleting(pod) {
                        self.delete(pod)?;
                    }
                    if self.ordered {
                        return Ok(());
                    }
                }
                Some(pod) if self.ordered && (is_deleting(pod) || !is_healthy(pod)) => {
                    return Ok(());
                }
                Some(_) => {}
            }
        }
        self.scale_down()?;
        if self.set["spec"]["updateStrategy"]["type"] == "OnDelete" { Ok(()) } else { self.roll(revisions) }
    }

    /// Removes the pods beyond the wanted number, the highest ordinal first.
    fn scale_down(&self) -> Result<(), Status> {
        let condemned = |ordinal: &&u64| !(self.first..self.first + self.replicas).contains(*ordinal);
        for ordinal in self.pods.keys().rev().filter(condemned) {
            let pod = &self.pods[ordinal];
            if is_deleting(pod) {
                if self.ordered {
                    return Ok(());
                }
                continue;
            }
            self.delete(pod)?;
            if self.ordered {
                return Ok(());
            }
        }
        Ok(())
    }

    /// RollingUpdate: one pod at a time from the highest ordinal, waiting for each to be healthy.
    fn roll(&self, revisions: &Revisions) -> Result<(), Status> {
        for ordinal in (self.first..self.first + self.replicas).rev() {
            let Some(pod) = self.pods.get(&ordinal) else {
                return Ok(());
            };
            if revision(pod) != revisions.update && !is_deleting(pod) {
                return self.delete(pod);
            }
            if is_deleting(pod) || !is_healthy(pod) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn delete(&self, pod: &Value) -> Result<(), Status> {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let options = DeleteOptions { uid: Some(uid(pod).to_owned()), ..DeleteOptions::default() };
        self.ctx.cluster.delete(&resource::POD, self.ns, name, &options)?;
        let message = format!("Delete Pod {name} in StatefulSet {} successful", self.name);
        self.ctx.events(WHO).normal(self.set, "SuccessfulDelete", &message);
        Ok(())
    }

    fn create(&self, ordinal: u64, revisions: &Revisions) -> Result<(), Status> {
        let name = format!("{}-{ordinal}", self.name);
        self.create_claims(&name)?;
        let pod = self.pod(&name, ordinal, &revisions.update, &self.set["spec"]["template"]);
        match self.ctx.cluster.create(&resource::POD, self.ns, pod, WHO) {
            Ok(_) => {
                let message = format!("Create Pod {name} in StatefulSet {} successful", self.name);
                self.ctx.events(WHO).normal(self.set, "SuccessfulCreate", &message);
                Ok(())
            }
            Err(status) => {
                let why = &status.message;
                let message = format!("Create Pod {name} in StatefulSet {} failed error: {why}", self.name);
                self.ctx.events(WHO).warning(self.set, "FailedCreate", &message);
                Err(status)
            }
        }
    }

    fn create_claims(&self, pod: &str) -> Result<(), Status> {
        for template in list(&self.set["spec"]["volumeClaimTemplates"]) {
            let name = claim_name(template, pod);
            if self.ctx.cluster.get(&resource::PERSISTENT_VOLUME_CLAIM, self.ns, &name).is_some() {
                continue;
            }
            let mut claim = json!({"metadata": {"name": name}, "spec": template["spec"]});
            claim["metadata"]["labels"] = self.set["spec"]["selector"]["matchLabels"].clone();
            for field in ["labels", "annotations"] {
                for (key, value) in template["metadata"][field].as_object().into_iter().flatten() {
                    claim["metadata"][field][key] = value.clone();
                }
            }
            let made = self.ctx.cluster.create(&resource::PERSISTENT_VOLUME_CLAIM, self.ns, claim, WHO);
            let events = self.ctx.events(WHO);
            if let Err(status) = made {
                let (set, why) = (self.name, &status.message);
                let message = format!("Create Claim {name} for Pod {pod} in StatefulSet {set} failed error: {why}");
                events.warning(self.set, "FailedCreate", &message);
                return Err(status);
            }
            let message = format!("Create Claim {name} Pod {pod} in StatefulSet {} success", self.name);
            events.normal(self.set, "SuccessfulCreate", &message);
        }
        Ok(())
    }

    fn pod(&self, name: &str, ordinal: u64, revision: &str, template: &Value) -> Value {
        let mut metadata = json!({
            "name": name, "generateName": format!("{}-", self.name), "labels": {},
            "ownerReferences": [owner_reference(self.set)],
        });
        for field in ["labels", "annotations", "finalizers"] {
            if !template["metadata"][field].is_null() {
                metadata[field] = template["metadata"][field].clone();
            }
        }
        metadata["labels"][REVISION] = json!(revision);
        metadata["labels"]["statefulset.kubernetes.io/pod-name"] = json!(name);
        metadata["labels"]["apps.kubernetes.io/pod-index"] = json!(ordinal.to_string());
        let mut spec = template["spec"].clone();
        spec["hostname"] = json!(name);
        if let Some(service) = self.set["spec"]["serviceName"].as_str().filter(|s| !s.is_empty()) {
            spec["subdomain"] = json!(service);
        }
        let templates = list(&self.set["spec"]["volumeClaimTemplates"]);
        if !templates.is_empty() {
            let claimed = templates.iter().map(|template| {
                let claim = claim_name(template, name);
                json!({"name": template["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim}})
            });
            let replaced = |volume: &&Value| templates.iter().any(|t| t["metadata"]["name"] == volume["name"]);
            let others = list(&spec["volumes"]).iter().filter(|volume| !replaced(volume)).cloned();
            spec["volumes"] = claimed.chain(others).collect();
        }
        json!({"metadata": metadata, "spec": spec})
    }

    /// Counts the pods as they are now, after what this look did. Counters of 0 are left out, but for two of them.
    fn write_status(&self, revisions: &Revisions) -> Result<Option<Timestamp>, Status> {
        let now_pods =
            || self.pods.values().filter_map(|pod| self.ctx.cluster.get(&resource::POD, self.ns, name_of(pod)));
        let made = (self.first..self.first + self.replicas)
            .filter(|ordinal| !self.pods.contains_key(ordinal))
            .filter_map(|ordinal| self.ctx.cluster.get(&resource::POD, self.ns, &format!("{}-{ordinal}", self.name)))
            .filter(|pod| list(&pod["metadata"]["ownerReferences"]).iter().any(|o| o["uid"] == uid(self.set)));
        let pods: Vec<Arc<Value>> = now_pods().chain(made).collect();
        let count = |wanted: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| wanted(pod)).count();
        let of_revision = |name: &str| count(&|pod| !is_deleting(pod) && revision(pod) == name);
        let (replicas, ready) = (pods.len(), count(&|pod| is_healthy(pod)));
        let (available, wait) = self.available(&pods);
        let updated = of_revision(&revisions.update);
        let rolled =
            self.set["spec"]["updateStrategy"]["type"] != "OnDelete" && updated == replicas && ready == replicas;
        let current = if rolled { &revisions.update } else { &revisions.current };
        let mut status = json!({
            "observedGeneration": self.set["metadata"]["generation"], "replicas": replicas,
            "currentRevision": current, "updateRevision": revisions.update, "collisionCount": 0,
            "availableReplicas": available,
        });
        for (field, value) in
            [("readyReplicas", ready), ("currentReplicas", of_revision(current)), ("updatedReplicas", updated)]
        {
            if value > 0 {
                status[field] = json!(value);
            }
        }
        self.ctx.cluster.update_status(&resource::STATEFUL_SET, self.ns, self.name, WHO, |set| {
            set["status"] = status;
        })?;
        Ok(wait)
    }

    /// Pods that have been ready for `minReadySeconds`, and when the next one will have been.
    fn available(&self, pods: &[Arc<Value>]) -> (usize, Option<Timestamp>) {
        let least = self.ctx.delays.seconds(self.set["spec"]["minReadySeconds"].as_u64().unwrap_or(0));
        let since = |pod: &Value| {
            let conditions = list(&pod["status"]["conditions"]).iter();
            let ready = conditions.into_iter().find(|c| c["type"] == "Ready")?;
            ready["lastTransitionTime"].as_str()?.parse::<Timestamp>().ok()
        };
        let due: Vec<Timestamp> =
            pods.iter().filter(|pod| is_healthy(pod)).filter_map(|pod| since(pod)).map(|at| at + least).collect();
        if least.is_zero() {
            return (due.len(), None);
        }
        (due.iter().filter(|at| **at <= self.ctx.now).count(), due.into_iter().filter(|at| *at > self.ctx.now).min())
    }
}

/// The names of the revision that the pods should have, and of the one from before the current roll-out.
struct Revisions {
    current: String,
    update: String,
}

impl Revisions {
    fn of(set: &Value) -> Self {
        let digest = format!("{:016x}", fnv1a(&[uid(set), &set["spec"]["template"].to_string()]));
        let update = format!("{}-{}", name_of(set), &digest[..10]);
        let current = set["status"]["currentRevision"].as_str().unwrap_or(&update).to_owned();
        Self { current, update }
    }
}

fn owner_reference(set: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set["metadata"]["name"], "uid": uid(set),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn claim_name(template: &Value, pod: &str) -> String {
    format!("{}-{pod}", template["metadata"]["name"].as_str().unwrap_or_default())
}

fn ordinal(set: &str, pod: &str) -> Option<u64> {
    pod.strip_prefix(set)?.strip_prefix('-')?.parse().ok()
}

fn revision(pod: &Value) -> &str {
    pod["metadata"]["labels"][REVISION].as_str().unwrap_or_default()
}

fn is_healthy(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && condition_is_true(pod, "Ready")
}
