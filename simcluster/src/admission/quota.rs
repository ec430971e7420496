//! ResourceQuota: what objects use, which quotas they fall under, and the refusal of what goes beyond.
//!
//! As on a real server, admission believes a quota's status: enforcement begins when its controller has filled it, a
//! raised limit holds when the controller has copied it, and admission itself raises `used`. What is given back is
//! counted by the controller.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{
    quantity::Quantity,
    resource::{self, Kind},
    status::Status,
    store::{State, Writer, key},
};

pub(crate) type Usage = BTreeMap<String, Quantity>;

/// Who writes `status.used` during admission.
const WHO: &str = "kube-apiserver";

/// Refuses a write that exceeds a quota, and otherwise counts it.
pub(crate) fn charge(
    state: &mut State,
    kind: &'static Kind,
    old: Option<&Value>,
    new: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    if !counted(kind) || (old.is_some() && kind.is(&resource::POD)) {
        return Ok(());
    }
    let name = new["metadata"]["name"].as_str().unwrap_or_default();
    let ns = new["metadata"]["namespace"].as_str().unwrap_or_default();
    let quotas = state.list(&resource::RESOURCE_QUOTA, Some(ns));
    let mut raised = Vec::new();
    for quota in quotas.iter().filter(|quota| covers(&quota["spec"], kind, new)) {
        let hard = amounts(&quota["status"]["hard"]);
        must_specify(kind, quota, &hard, new)?;
        let mut wanted = usage(kind, new);
        if let Some(old) = old {
            for (resource, before) in usage(kind, old) {
                let now = wanted.entry(resource).or_default();
                *now = now.minus(before);
            }
        }
        wanted.retain(|resource, amount| hard.contains_key(resource) && !amount.is_zero() && !amount.is_negative());
        let used = amounts(&quota["status"]["used"]);
        let over: Vec<&String> = wanted
            .iter()
            .filter(|(resource, amount)| {
                used.get(*resource).copied().unwrap_or_default().plus(**amount) > hard[*resource]
            })
            .map(|(resource, _)| resource)
            .collect();
        if !over.is_empty() {
            let shown = |amounts: &Usage| {
                let each = over.iter().map(|r| format!("{r}={}", amounts.get(*r).copied().unwrap_or_default()));
                each.collect::<Vec<_>>().join(",")
            };
            let why = format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                quota["metadata"]["name"].as_str().unwrap_or_default(),
                shown(&wanted),
                shown(&used),
                shown(&hard),
            );
            return Err(Status::forbidden(kind, name, &why));
        }
        if !wanted.is_empty() {
            raised.push((quota["metadata"]["name"].as_str().unwrap_or_default().to_owned(), used, wanted));
        }
    }
    if dry_run {
        return Ok(());
    }
    for (quota, mut used, wanted) in raised {
        for (resource, amount) in wanted {
            let sum = used.entry(resource).or_default();
            *sum = sum.plus(amount);
        }
        let key = key(&resource::RESOURCE_QUOTA, ns, &quota);
        state.update(&resource::RESOURCE_QUOTA, &key, &Writer::update(WHO).on("status"), |quota| {
            quota["status"]["used"] = to_value(&used);
            Ok(())
        })?;
    }
    Ok(())
}

fn counted(kind: &Kind) -> bool {
    [&resource::POD, &resource::PERSISTENT_VOLUME_CLAIM, &resource::SERVICE, &resource::SECRET, &resource::CONFIG_MAP]
        .iter()
        .any(|counted| kind.is(counted))
}

/// Kinds that quotas count.
pub(crate) fn counted_kinds() -> [&'static Kind; 5] {
    [&resource::POD, &resource::PERSISTENT_VOLUME_CLAIM, &resource::SERVICE, &resource::SECRET, &resource::CONFIG_MAP]
}

pub(crate) fn amounts(list: &Value) -> Usage {
    let entries = list.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.parse().ok()?))).collect()
}

pub(crate) fn to_value(usage: &Usage) -> Value {
    let entries: Map<String, Value> =
        usage.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect();
    Value::Object(entries)
}

/// What one object uses of everything that can be limited. Pods that have ended use nothing.
pub(crate) fn usage(kind: &Kind, object: &Value) -> Usage {
    let mut usage = Usage::new();
    let one = Quantity::whole(1);
    usage.insert(format!("count/{}", kind.qualified()), one);
    match kind.kind {
        "Pod" => {
            if matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed")) {
                return usage;
            }
            usage.insert("pods".into(), one);
            pod_amounts(&object["spec"], &mut usage);
        }
        "PersistentVolumeClaim" => {
            usage.insert("persistentvolumeclaims".into(), one);
            let size = object["spec"]["resources"]["requests"]["storage"].as_str().and_then(|text| text.parse().ok());
            let class = object["spec"]["storageClassName"].as_str();
            if let Some(class) = class {
                usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one);
            }
            if let Some(size) = size {
                usage.insert("requests.storage".into(), size);
                if let Some(class) = class {
                    usage.insert(format!("{class}.storageclass.storage.k8s.io/requests.storage"), size);
                }
            }
        }
        "Service" => {
            usage.insert("services".into(), one);
            let ports = i128::try_from(object["spec"]["ports"].as_array().map_or(0, Vec::len)).unwrap_or(0);
            match object["spec"]["type"].as_str() {
                Some("NodePort") => {
                    usage.insert("services.nodeports".into(), Quantity::whole(ports));
                }
                Some("LoadBalancer") => {
                    usage.insert("services.loadbalancers".into(), one);
                    usage.insert("services.nodeports".into(), Quantity::whole(ports));
                }
                _ => {}
            }
        }
        _ => {
            usage.insert(kind.plural.to_owned(), one);
        }
    }
    usage
}

/// A pod's requests and limits: its containers and sidecars together, or the largest of its init containers (beside the
/// sidecars started before it).
fn pod_amounts(spec: &Value, usage: &mut Usage) {
    for (side, prefix) in [("requests", "requests."), ("limits", "limits.")] {
        let mut sum = Usage::new();
        let mut peak = Usage::new();
        for container in spec["initContainers"].as_array().into_iter().flatten() {
            let own = amounts(&container["resources"][side]);
            if container["restartPolicy"] == "Always" {
                add(&mut sum, &own);
                raise(&mut peak, &sum);
            } else {
                let mut while_it_runs = sum.clone();
                add(&mut while_it_runs, &own);
                raise(&mut peak, &while_it_runs);
            }
        }
        for container in spec["containers"].as_array().into_iter().flatten() {
            add(&mut sum, &amounts(&container["resources"][side]));
        }
        raise(&mut sum, &peak);
        for (name, amount) in sum {
            if side == "requests" && (name == "cpu" || name == "memory") {
                usage.insert(name.clone(), amount);
            }
            usage.insert(format!("{prefix}{name}"), amount);
        }
    }
}

fn add(sum: &mut Usage, more: &Usage) {
    for (name, amount) in more {
        let total = sum.entry(name.clone()).or_default();
        *total = total.plus(*amount);
    }
}

fn raise(peak: &mut Usage, other: &Usage) {
    for (name, amount) in other {
        let most = peak.entry(name.clone()).or_insert(*amount);
        *most = (*most).max(*amount);
    }
}

/// A quota on requests or limits makes every container name them.
fn must_specify(kind: &'static Kind, quota: &Value, hard: &Usage, pod: &Value) -> Result<(), Status> {
    if !kind.is(&resource::POD) {
        return Ok(());
    }
    let mut missing = Vec::new();
    for limited in hard.keys() {
        let (side, name) = match limited.split_once('.') {
            Some((side @ ("requests" | "limits"), name @ ("cpu" | "memory"))) => (side, name),
            None if limited == "cpu" || limited == "memory" => ("requests", limited.as_str()),
            _ => continue,
        };
        let lists = ["containers", "initContainers"].iter().filter_map(|list| pod["spec"][list].as_array());
        let without: Vec<&str> = lists
            .flatten()
            .filter(|container| container["resources"][side][name].is_null())
            .filter_map(|container| container["name"].as_str())
            .collect();
        if !without.is_empty() {
            missing.push(format!("{limited} for: {}", without.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let quota = quota["metadata"]["name"].as_str().unwrap_or_default();
    let why = format!("failed quota: {quota}: must specify {}", missing.join("; "));
    Err(Status::forbidden(kind, pod["metadata"]["name"].as_str().unwrap_or_default(), &why))
}

/// Whether an object falls under a quota's scopes. Scopes are about pods; a quota with scopes counts nothing else.
pub(crate) fn covers(spec: &Value, kind: &Kind, object: &Value) -> bool {
    let plain =
        spec["scopes"].as_array().into_iter().flatten().map(|scope| json!({"scopeName": scope, "operator": "Exists"}));
    let selected = spec["scopeSelector"]["matchExpressions"].as_array().into_iter().flatten().cloned();
    let mut scopes = plain.chain(selected).peekable();
    if scopes.peek().is_none() {
        return true;
    }
    kind.is(&resource::POD) && scopes.all(|scope| in_scope(&scope, object))
}

fn in_scope(scope: &Value, pod: &Value) -> bool {
    let spec = &pod["spec"];
    match scope["scopeName"].as_str() {
        Some("PriorityClass") => {
            let class = spec["priorityClassName"].as_str();
            let listed =
                class.is_some_and(|class| scope["values"].as_array().is_some_and(|v| v.iter().any(|v| v == class)));
            match scope["operator"].as_str() {
                Some("In") => listed,
                Some("NotIn") => !listed,
                Some("Exists") => class.is_some(),
                Some("DoesNotExist") => class.is_none(),
                _ => false,
            }
        }
        Some("Terminating") => spec["activeDeadlineSeconds"].is_number(),
        Some("NotTerminating") => !spec["activeDeadlineSeconds"].is_number(),
        Some("BestEffort") => pod["status"]["qosClass"] == "BestEffort",
        Some("NotBestEffort") => pod["status"]["qosClass"] != "BestEffort",
        _ => false,
    }
}
