//! ResourceQuota: what objects use, which quotas they fall under, and the refusal of what goes beyond.
//!
//! As on a real server, admission believes a quota's status: enforcement begins when its controller has filled it, a
//! raised limit holds when the controller has copied it, and admission itself raises `used`. What is given back is
//! counted by the controller.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{
    dig::Dig,
    quantity::Quantity,
    resource::{self, Kind},
    rules::{containers, effective, has_ended},
    status::Status,
    store::{State, Writer, key},
};

pub(crate) type Usage = BTreeMap<String, Quantity>;

/// Kinds that quotas count.
pub(crate) fn counted_kinds() -> [&'static Kind; 5] {
    [&resource::POD, &resource::PERSISTENT_VOLUME_CLAIM, &resource::SERVICE, &resource::SECRET, &resource::CONFIG_MAP]
}

/// Whether what a quota limits is counted. There are no services of other types than ClusterIP: of those there are none.
pub(crate) fn is_counted(name: &str) -> bool {
    let amount = name.strip_prefix("requests.").or(name.strip_prefix("limits.")).unwrap_or(name);
    ["cpu", "memory", "ephemeral-storage"].contains(&amount)
        || ["requests.storage", "services.loadbalancers", "services.nodeports"].contains(&name)
        || counted_kinds()
            .iter()
            .any(|kind| name == kind.plural || name.strip_prefix("count/") == Some(&kind.qualified()))
}

/// Refuses a write that exceeds a quota, and otherwise counts it.
pub(crate) fn charge(
    state: &mut State,
    kind: &'static Kind,
    old: Option<&Value>,
    new: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    if !counted_kinds().iter().any(|counted| kind.is(counted)) {
        return Ok(());
    }
    let (ns, name) = (new.text("metadata.namespace"), new.text("metadata.name"));
    let mut raised = Vec::new();
    for quota in state.list(&resource::RESOURCE_QUOTA, Some(ns)) {
        if !covers(&quota["spec"], kind, new) {
            continue;
        }
        let of = quota.text("metadata.name");
        let (hard, mut used) = (amounts(quota.at("status.hard")), amounts(quota.at("status.used")));
        must_specify(kind, of, &hard, new)?;
        let mut wanted = usage(kind, new);
        for (resource, before) in old.map(|old| usage(kind, old)).unwrap_or_default() {
            let now = wanted.entry(resource).or_default();
            *now = now.minus(before);
        }
        wanted.retain(|resource, amount| hard.contains_key(resource) && *amount > Quantity::default());
        let before = used.clone();
        add(&mut used, &wanted);
        let over: Vec<&String> = wanted.keys().filter(|resource| used[*resource] > hard[*resource]).collect();
        if !over.is_empty() {
            let shown = |amounts: &Usage| {
                let each = over.iter().map(|r| format!("{r}={}", amounts.get(*r).copied().unwrap_or_default()));
                each.collect::<Vec<_>>().join(",")
            };
            let (requested, before, limited) = (shown(&wanted), shown(&before), shown(&hard));
            let why = format!("exceeded quota: {of}, requested: {requested}, used: {before}, limited: {limited}");
            return Err(Status::forbidden(kind, name, &why));
        }
        if !wanted.is_empty() && !dry_run {
            raised.push((of.to_owned(), used));
        }
    }
    for (quota, used) in raised {
        let key = key(&resource::RESOURCE_QUOTA, ns, &quota);
        state.update(&resource::RESOURCE_QUOTA, &key, &Writer::update("kube-apiserver").on("status"), |quota| {
            quota.put("status.used", to_value(&used));
            Ok(())
        })?;
    }
    Ok(())
}

pub(crate) fn amounts(list: &Value) -> Usage {
    list.fields("").filter_map(|(name, amount)| Some((name.clone(), amount.as_str()?.parse().ok()?))).collect()
}

pub(crate) fn to_value(usage: &Usage) -> Value {
    usage.iter().map(|(name, amount)| (name.clone(), Value::from(amount.to_string()))).collect()
}

/// What one object uses of everything that can be limited. Pods that have ended use nothing.
pub(crate) fn usage(kind: &Kind, object: &Value) -> Usage {
    let one = Quantity::whole(1);
    let mut usage = Usage::from([(format!("count/{}", kind.qualified()), one)]);
    match kind.kind {
        "Pod" if has_ended(object) => return usage,
        "Pod" => pod_amounts(&object["spec"], &mut usage),
        "PersistentVolumeClaim" => {
            let size = object.text("spec.resources.requests.storage").parse().unwrap_or_default();
            usage.insert("requests.storage".to_owned(), size);
        }
        _ => {}
    }
    usage.insert(kind.plural.to_owned(), one);
    usage
}

/// A pod's requests and limits; of requests also without the word before.
fn pod_amounts(spec: &Value, usage: &mut Usage) {
    for side in ["requests", "limits"] {
        let need = |container: &Value| amounts(&container["resources"][side]);
        for (name, amount) in effective(spec, need, add, raise) {
            usage.insert(format!("{side}.{name}"), amount);
            if side == "requests" {
                usage.insert(name, amount);
            }
        }
    }
}

fn add(sum: &mut Usage, more: &Usage) {
    for (name, amount) in more {
        let total = sum.entry(name.clone()).or_default();
        *total = total.plus(*amount);
    }
}

fn raise(most: &mut Usage, other: &Usage) {
    for (name, amount) in other {
        let own = most.entry(name.clone()).or_insert(*amount);
        *own = (*own).max(*amount);
    }
}

/// A quota on requests or limits makes every container name them.
fn must_specify(kind: &'static Kind, quota: &str, hard: &Usage, pod: &Value) -> Result<(), Status> {
    let mut missing = Vec::new();
    for limited in hard.keys().filter(|_| kind.is(&resource::POD)) {
        let (side, name) = limited.split_once('.').unwrap_or(("requests", limited));
        if !["requests", "limits"].contains(&side) || !["cpu", "memory"].contains(&name) {
            continue;
        }
        let all = containers(&pod["spec"]);
        let without = all.filter(|container| container["resources"][side][name].is_null());
        let without: Vec<&str> = without.map(|container| container.text("name")).collect();
        if !without.is_empty() {
            missing.push(format!("{limited} for: {}", without.join(",")));
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let why = format!("failed quota: {quota}: must specify {}", missing.join("; "));
    Err(Status::forbidden(kind, pod.text("metadata.name"), &why))
}

/// Whether an object falls under a quota's scopes, which are about pods' priority classes: a quota with scopes counts
/// nothing else.
pub(crate) fn covers(spec: &Value, kind: &Kind, object: &Value) -> bool {
    let scopes = spec.items("scopeSelector.matchExpressions");
    scopes.iter().all(|scope| kind.is(&resource::POD) && in_scope(scope, object.text("spec.priorityClassName")))
}

fn in_scope(scope: &Value, class: &str) -> bool {
    let listed = scope.items("values").iter().any(|value| value == class);
    match (scope.text("scopeName"), scope.text("operator")) {
        ("PriorityClass", "In") => listed,
        ("PriorityClass", "NotIn") => !listed,
        ("PriorityClass", "Exists") => !class.is_empty(),
        ("PriorityClass", "DoesNotExist") => class.is_empty(),
        _ => false,
    }
}
