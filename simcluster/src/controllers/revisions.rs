//! ControllerRevisions: the recorded versions of a StatefulSet's pod template.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Ctx, events::fnv1a, view::uid};
use crate::{resource, status::Status, store::DeleteOptions};

const WHO: &str = "kube-controller-manager";

/// The revision that a set's pods should have, and the one that they had before the current roll-out.
pub(super) struct Revisions {
    /// Name and template.
    pub current: (String, Value),
    pub update: (String, Value),
}

/// Finds or records the revisions of a set, and forgets those that neither a pod nor the history limit holds.
pub(super) fn of_set(ctx: &Ctx<'_>, set: &Value, live: &[String]) -> Result<Revisions, Status> {
    let ns = set["metadata"]["namespace"].as_str().unwrap_or_default();
    let template = &set["spec"]["template"];
    let mut history = recorded(ctx, set);
    let newest = history.last().map_or(0, |revision| number(revision));
    let data = data_of(template);
    let update = match history.iter().position(|revision| revision["data"] == data) {
        Some(at) if number(&history[at]) == newest => Arc::clone(&history[at]),
        Some(at) => {
            let name = history[at]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let bump = |revision: &mut Value| revision["revision"] = json!(newest + 1);
            let bumped = ctx.cluster.update(&resource::CONTROLLER_REVISION, ns, &name, WHO, bump)?;
            history.remove(at);
            history.push(Arc::clone(&bumped));
            bumped
        }
        None => {
            let made = record(ctx, set, ns, data, newest + 1)?;
            history.push(Arc::clone(&made));
            made
        }
    };
    let current_name = set["status"]["currentRevision"].as_str().unwrap_or_default();
    let current = history.iter().find(|revision| revision["metadata"]["name"] == current_name).unwrap_or(&update);
    let pair = |revision: &Value| {
        let name = revision["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (name, revision["data"]["spec"]["template"].clone())
    };
    let revisions = Revisions { current: pair(current), update: pair(&update) };
    truncate(ctx, set, ns, &history, &revisions, live);
    Ok(revisions)
}

/// The recorded revisions of a set, oldest first.
fn recorded(ctx: &Ctx<'_>, set: &Value) -> Vec<Arc<Value>> {
    let mut owned: Vec<Arc<Value>> = ctx.view.revisions_owned_by(uid(set)).cloned().collect();
    owned.sort_by_key(|revision| number(revision));
    owned
}

fn number(revision: &Value) -> i64 {
    revision["revision"].as_i64().unwrap_or(0)
}

fn data_of(template: &Value) -> Value {
    let mut template = template.clone();
    template["$patch"] = json!("replace");
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.retain(|_, value| !value.is_null());
    }
    json!({"spec": {"template": template}})
}

fn record(ctx: &Ctx<'_>, set: &Value, ns: &str, data: Value, number: i64) -> Result<Arc<Value>, Status> {
    let set_name = set["metadata"]["name"].as_str().unwrap_or_default();
    let digest = format!("{:016x}", fnv1a(&[uid(set), &data.to_string()]));
    let hash = &digest[..10];
    let mut labels = set["spec"]["selector"]["matchLabels"].clone();
    labels["controller.kubernetes.io/hash"] = json!(hash);
    let revision = json!({
        "metadata": {
            "name": format!("{set_name}-{hash}"), "namespace": ns, "labels": labels,
            "ownerReferences": [owner_reference(set)],
        },
        "data": data,
        "revision": number,
    });
    ctx.cluster.create(&resource::CONTROLLER_REVISION, ns, revision, WHO)
}

pub(super) fn owner_reference(set: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": set["metadata"]["name"], "uid": uid(set),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn truncate(ctx: &Ctx<'_>, set: &Value, ns: &str, history: &[Arc<Value>], keep: &Revisions, live: &[String]) {
    let limit = set["spec"]["revisionHistoryLimit"].as_u64().and_then(|n| usize::try_from(n).ok()).unwrap_or(10);
    let held = |name: &str| name == keep.current.0 || name == keep.update.0 || live.iter().any(|used| used == name);
    let name_of = |revision: &Arc<Value>| revision["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let old: Vec<String> = history.iter().map(name_of).filter(|name| !held(name)).collect();
    for name in old.iter().take(old.len().saturating_sub(limit)) {
        let _ = ctx.cluster.delete(&resource::CONTROLLER_REVISION, ns, name, &DeleteOptions::default());
    }
}
