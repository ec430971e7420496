//! StatefulSets: a selector that fits, a sound template, and the few fields that may change.

use serde_json::Value;

use super::{list, pod};
use crate::status::Cause;

const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

pub(super) fn check(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    if !spec["selector"].is_object() {
        causes.push(Cause::required("spec.selector", ""));
    }
    let (wanted, labels) = (&spec["selector"]["matchLabels"], &spec["template"]["metadata"]["labels"]);
    let fits = wanted.as_object().is_some_and(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    if !fits {
        let why = "`selector` does not match template `labels`";
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    if spec["replicas"].as_i64().is_some_and(|n| n < 0) {
        causes.push(Cause::invalid("spec.replicas", &spec["replicas"], "must be greater than or equal to 0"));
    }
    if old.is_none_or(|old| old["spec"]["template"] != spec["template"]) {
        let claims: Vec<&str> =
            list(spec, "volumeClaimTemplates").iter().filter_map(|claim| claim["metadata"]["name"].as_str()).collect();
        pod::spec("spec.template.spec", &spec["template"]["spec"], &claims, causes);
        let policy = &spec["template"]["spec"]["restartPolicy"];
        if policy != "Always" {
            causes.push(Cause::unsupported("spec.template.spec.restartPolicy", policy, &["Always"]));
        }
    }
    if let Some(old) = old
        && fixed(&old["spec"]) != fixed(spec)
    {
        let all: Vec<String> = MUTABLE.iter().map(|field| format!("'{field}'")).collect();
        let (last, others) =
            all.split_last().map_or((String::new(), String::new()), |(l, o)| (l.clone(), o.join(", ")));
        let why = format!("updates to statefulset spec for fields other than {others} and {last} are forbidden");
        causes.push(Cause::forbidden("spec", &why));
    }
}

fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.retain(|field, _| !MUTABLE.contains(&field.as_str()));
    }
    spec
}
