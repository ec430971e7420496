//! What is refused with 422: names, required fields, fields that may not change.
//!
//! The common mistakes in what Lumbung sends, in the words of the real server; not every rule that it has. A spec that a
//! write leaves as it was is not checked again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use serde_json::{Value, json};

use super::{POD_LISTS, fill::qos_class, names};
use crate::{dig::Dig, quantity::Quantity, resource::Kind, status::Cause};

/// Whose rule, where (`[]` is each item of a list, `.` the place itself), which, and its words. `new` rules hold for
/// objects that are made; a rule's name may be that of a further group.
const RULES: &str = "
metadata               labels                    labels
metadata               finalizers[]              finalizer
metadata               ownerReferences[]         owner
owner                  apiVersion                given must not be empty
owner                  kind                      given must not be empty
owner                  name                      given must not be empty
owner                  uid                       given must not be empty
container              name                      label
container              image                     given
container              ports[].containerPort     port
container              env[].name                given
container              volumeMounts[].mountPath  given
container              resources                 resources
pod                    volumes[].name            label
pod                    containers                given
pod                    containers[]              container
pod                    initContainers[]          container
new-Pod                spec                      pod
new-Pod                .                         mounts
StatefulSet            spec.selector             given
StatefulSet            .                         selector
StatefulSet            spec.replicas             natural
StatefulSet            spec.template.spec        pod
StatefulSet            spec.template.spec.restartPolicy  one-of Always
StatefulSet            .                         mounts
new-PersistentVolumeClaim  spec.accessModes      given at least 1 access mode is required
new-PersistentVolumeClaim  .                     size
Service                spec.type                 one-of ClusterIP
Service                spec                      ports
Service                spec.ports[]              service-port
service-port           port                      port
service-port           protocol                  one-of SCTP TCP UDP
service-port           targetPort                port
Ingress                spec.rules[]              ingress-rule
ingress-rule           host                      subdomain
ingress-rule           http.paths[]              ingress-path
ingress-backend        service.name              label
ingress-backend        service.port              given port name or number is required
NetworkPolicy          spec.policyTypes[]        one-of Egress Ingress
ResourceQuota          spec.hard                 hard
ConfigMap              data                      keys
ConfigMap              binaryData                keys
Secret                 type                      fixed field is immutable
Secret                 data                      keys
Secret                 .                         secret
RoleBinding            roleRef                   fixed cannot change roleRef
";
/// The same by whose they are: path, rule, words.
static RULES_OF: LazyLock<BTreeMap<&str, Vec<Rule>>> = LazyLock::new(|| {
    let mut rules: BTreeMap<&str, Vec<Rule>> = BTreeMap::new();
    for line in RULES.lines() {
        let mut words = line.split_whitespace();
        if let (Some(group), Some(path), Some(rule)) = (words.next(), words.next(), words.next()) {
            rules.entry(group).or_default().push((path.trim_matches('.'), rule, words.collect()));
        }
    }
    rules
});
type Rule = (&'static str, &'static str, Vec<&'static str>);

const NOT_NEGATIVE: &str = "must be greater than or equal to 0";
const IMMUTABLE: &str = "field is immutable when `immutable` is set";

struct Check<'a> {
    old: Option<&'a Value>,
    causes: Vec<Cause>,
}

pub(crate) fn validate(kind: &Kind, subresource: &str, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut check = Check { old, causes: Vec::new() };
    let group = kind.kind.trim_start_matches("Cluster");
    if old.is_none() {
        check.name(kind, new.text("metadata.name"));
    }
    check.group("metadata", "metadata", &new["metadata"]);
    let Some(old) = old else {
        check.group(group, "", new);
        check.group(&format!("new-{group}"), "", new);
        return check.causes;
    };
    if old.has("metadata.deletionTimestamp") {
        check.late_finalizers(old, new);
    }
    if old.has("spec") && old["spec"] == new["spec"] {
        return check.causes;
    }
    if old.yes("immutable") {
        let touched = ["immutable", "data", "binaryData"].into_iter().filter(|field| old[*field] != new[*field]);
        check.causes.extend(touched.map(|field| Cause::forbidden(field, IMMUTABLE)));
    }
    check.group(group, "", new);
    match kind.kind {
        "Pod" if subresource == "resize" => check.resized(&old["spec"], &new["spec"]),
        "Pod" => {
            let placed = if old.has("spec.nodeName") { "" } else { " nodeName" };
            let kept = old.items("spec.tolerations").iter().all(|old| new.items("spec.tolerations").contains(old));
            let beyond = beyond(&old["spec"], &new["spec"], &format!("{POD_MUTABLE}{placed}"));
            check.causes.extend((!kept || beyond).then(|| Cause::forbidden("spec", POD_FIXED)));
        }
        "StatefulSet" if beyond(&old["spec"], &new["spec"], SET_MUTABLE) => {
            check.causes.push(Cause::forbidden("spec", SET_FIXED));
        }
        "PersistentVolumeClaim" => check.claim(old, new),
        "Service" if old["spec"]["clusterIP"] != new["spec"]["clusterIP"] => {
            check.invalid("spec.clusterIPs[0]", &json!([new["spec"]["clusterIP"]]), "may not change once set");
        }
        _ => {}
    }
    check.causes
}

impl Check<'_> {
    fn group(&mut self, group: &str, place: &str, value: &Value) {
        for (path, rule, words) in RULES_OF.get(group).into_iter().flatten() {
            self.walk(place, value, path, rule, words);
        }
    }

    fn walk(&mut self, place: &str, value: &Value, path: &str, rule: &str, args: &[&str]) {
        let below = |field: &str| {
            if place.is_empty() || field.is_empty() { format!("{place}{field}") } else { format!("{place}.{field}") }
        };
        let Some((list, rest)) = path.split_once("[]") else {
            return self.verify(&below(path), value.at(path), rule, args);
        };
        for (at, item) in value.items(list).iter().enumerate() {
            self.walk(&format!("{}[{at}]", below(list)), item, rest.trim_start_matches('.'), rule, args);
        }
    }

    fn verify(&mut self, field: &str, value: &Value, rule: &str, args: &[&str]) {
        let text = value.as_str().unwrap_or_default();
        let absent = value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty);
        let mut must = |ok: bool, why: &str| self.causes.extend((!ok).then(|| Cause::invalid(field, value, why)));
        match rule {
            "given" | "label" if absent => self.causes.push(Cause::required(field, &args.join(" "))),
            "given" => {}
            "label" if text.len() > 63 => {
                let message = "Too long: may not be more than 63 bytes".to_owned();
                self.causes.push(Cause { reason: "FieldValueTooLong", field: field.to_owned(), message });
            }
            "label" => must(names::is_label(text), names::LABEL),
            "subdomain" => must(absent || names::is_subdomain(text.trim_start_matches("*.")), names::SUBDOMAIN),
            "port" => {
                let is_port = value.as_i64().is_some_and(|number| (1..=65_535).contains(&number));
                must(value.is_string() || is_port, "must be between 1 and 65535, inclusive");
            }
            "natural" => must(value.as_i64().is_none_or(|number| number >= 0), NOT_NEGATIVE),
            "one-of" if !args.contains(&text) => self.causes.push(Cause::unsupported(field, value, args)),
            "one-of" => {}
            "fixed" => must(self.old.is_none_or(|old| old.at(field) == value), &args.join(" ")),
            "finalizer" => {
                let standard = ["foregroundDeletion", "orphan", "kubernetes"].contains(&text);
                let ok = standard || text.contains('/') && names::is_qualified(text);
                must(ok, "name is neither a standard finalizer name nor is it fully qualified");
            }
            "selector" => {
                let labels = value.at("spec.template.metadata.labels");
                let mut wanted = value.fields("spec.selector.matchLabels").peekable();
                if wanted.peek().is_none() || !wanted.all(|(key, value)| labels[key] == *value) {
                    let why = "`selector` does not match template `labels`";
                    self.invalid("spec.template.metadata.labels", labels, why);
                }
            }
            "size" => {
                let size = value.at("spec.resources.requests.storage");
                if Quantity::of(size).is_none() {
                    self.causes.push(Cause::required("spec.resources[storage]", ""));
                } else if Quantity::of(size) <= Some(Quantity::default()) {
                    self.invalid("spec.resources[storage]", size, "must be greater than zero");
                }
            }
            "ports" => {
                let ports = value.items("ports");
                if ports.is_empty() && value["clusterIP"] != "None" {
                    self.causes.push(Cause::required("spec.ports", ""));
                } else if ports.len() > 1 {
                    self.walk(field, value, "ports[].name", "given", &[]);
                }
            }
            "secret" => {
                let required: &[&str] = match value.text("type") {
                    "kubernetes.io/tls" => &["tls.crt", "tls.key"],
                    "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
                    _ => &[],
                };
                let missing = required.iter().filter(|key| value["data"][**key].is_null());
                self.causes.extend(missing.map(|key| Cause::required(format!("data[{key}]"), "")));
            }
            "ingress-path" => self.ingress_path(field, value),
            "labels" | "keys" | "hard" => value.fields("").for_each(|(key, value)| self.entry(rule, field, key, value)),
            "resources" => self.resources(field, value),
            "mounts" => self.mounts(value),
            group => self.group(group, field, value),
        }
    }

    fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.causes.push(Cause::invalid(field, value, why));
    }

    fn name(&mut self, kind: &Kind, name: &str) {
        let field = "metadata.name";
        match kind.kind {
            _ if name.len() > 253 => self.invalid(field, &name.into(), "must be no more than 253 characters"),
            _ if kind.group == "rbac.authorization.k8s.io" => {}
            "Namespace" if name.contains('.') => self.invalid(field, &name.into(), "must not contain dots"),
            "Namespace" | "Service" => self.verify(field, &name.into(), "label", &[]),
            _ => self.verify(field, &name.into(), "subdomain", &[]),
        }
    }

    fn late_finalizers(&mut self, old: &Value, new: &Value) {
        let before = old.items("metadata.finalizers");
        let added = new.items("metadata.finalizers").iter().filter(|finalizer| !before.contains(finalizer));
        let added = added.map(ToString::to_string).collect::<Vec<_>>().join(", ");
        if !added.is_empty() {
            let rule = "no new finalizers can be added if the object is being deleted, found new finalizers";
            let cause = Cause::forbidden("metadata.finalizers", &format!("{rule} []string{{{added}}}"));
            // The server says it twice.
            self.causes.extend([cause.clone(), cause]);
        }
    }

    /// One entry of a map.
    fn entry(&mut self, map: &str, field: &str, key: &str, value: &Value) {
        let (text, named, inner) = (value.as_str().unwrap_or_default(), Value::from(key), format!("{field}[{key}]"));
        match map {
            "labels" if !names::is_qualified(key) => self.invalid(field, &named, names::QUALIFIED),
            "labels" if text.len() > 63 => self.invalid(field, value, "must be no more than 63 bytes"),
            "labels" if !names::is_label_value(text) => self.invalid(field, value, names::LABEL_VALUE),
            "keys" if !names::is_config_key(key) => self.invalid(&inner, &named, names::CONFIG_KEY),
            "hard" => {
                let parts: Vec<&str> = key.split('.').collect();
                let is_amount =
                    matches!(parts[..], ["requests" | "limits", ..] | ["cpu" | "memory" | "ephemeral-storage"]);
                let is_count = COUNTED.split(' ').any(|counted| counted == key) || key.contains('/');
                if is_count && !is_amount && Quantity::of(value).is_some_and(|amount| !amount.is_whole()) {
                    self.invalid(&inner, value, "must be an integer");
                }
                if !is_amount && !is_count {
                    self.invalid(&inner, &named, "must be a standard resource type or fully qualified");
                    self.invalid(&inner, &named, "must be a standard resource for quota");
                }
            }
            _ => {}
        }
    }

    fn resources(&mut self, field: &str, resources: &Value) {
        for side in ["limits", "requests"] {
            for (name, value) in
                resources.fields(side).filter(|(_, v)| Quantity::of(v).is_some_and(Quantity::is_negative))
            {
                self.invalid(&format!("{field}.{side}[{name}]"), value, NOT_NEGATIVE);
            }
        }
        for (name, request) in resources.fields("requests") {
            if let (Some(asked), Some(most)) = (Quantity::of(request), Quantity::of(&resources["limits"][name]))
                && asked > most
            {
                let why = format!("must be less than or equal to {name} limit of {most}");
                self.invalid(&format!("{field}.requests"), request, &why);
            }
        }
    }

    /// What is mounted must be there: in the pod's volumes or in its set's claim templates.
    fn mounts(&mut self, object: &Value) {
        let place = if object.has("spec.template") { "spec.template.spec" } else { "spec" };
        let spec = object.at(place);
        let mut volumes: BTreeSet<&str> = spec.items("volumes").iter().map(|volume| volume.text("name")).collect();
        volumes.extend(object.items("spec.volumeClaimTemplates").iter().map(|claim| claim.text("metadata.name")));
        for list in POD_LISTS {
            for (outer, container) in spec.items(list).iter().enumerate() {
                let names = container.items("volumeMounts").iter().map(|mount| mount.text("name"));
                for (at, name) in names.enumerate().filter(|(_, name)| !volumes.contains(name)) {
                    let field = format!("{place}.{list}[{outer}].volumeMounts[{at}].name");
                    let message = format!("Not found: \"{name}\"");
                    self.causes.push(Cause { reason: "FieldValueNotFound", field, message });
                }
            }
        }
    }

    fn ingress_path(&mut self, field: &str, path: &Value) {
        let kind = path.text("pathType");
        if kind.is_empty() {
            self.causes.push(Cause::required(format!("{field}.pathType"), "pathType must be specified"));
            return;
        }
        self.walk(field, path, "pathType", "one-of", &["Exact", "ImplementationSpecific", "Prefix"]);
        if kind != "ImplementationSpecific" && !path.text("path").starts_with('/') {
            self.invalid(&format!("{field}.path"), &path["path"], "must be an absolute path");
        } else if !path.has("backend.resource") {
            self.group("ingress-backend", &format!("{field}.backend"), &path["backend"]);
        }
    }

    /// Only cpu and memory change in place, none goes, and the pod stays in its class.
    fn resized(&mut self, old: &Value, new: &Value) {
        for list in POD_LISTS {
            for (at, (old, new)) in old.items(list).iter().zip(new.items(list)).enumerate() {
                let field = format!("spec.{list}[{at}].resources");
                self.resources(&field, &new["resources"]);
                for side in ["limits", "requests"] {
                    if old["resources"].fields(side).any(|(name, _)| new["resources"][side][name].is_null()) {
                        let why = format!("resource {side} cannot be removed");
                        self.causes.push(Cause::forbidden(format!("{field}.{side}"), &why));
                    }
                }
                if self.causes.is_empty() && beyond(old, new, IN_PLACE) {
                    self.causes.push(Cause::forbidden("spec", "only cpu and memory resources are mutable"));
                }
            }
        }
        if self.causes.is_empty() && qos_class(old) != qos_class(new) {
            self.invalid("spec", &qos_class(old).into(), "Pod QOS Class may not change as a result of resizing");
        }
    }

    fn claim(&mut self, old: &Value, new: &Value) {
        // The binder names the volume once.
        let resources = if old.text("status.phase") == "Bound" { "resources" } else { "" };
        let mutable = if old.has("spec.volumeName") { resources.to_owned() } else { format!("{resources} volumeName") };
        let size = |claim: &Value| Quantity::of(claim.at("spec.resources.requests.storage"));
        if beyond(&old["spec"], &new["spec"], &mutable) {
            self.causes.push(Cause::forbidden("spec", CLAIM_FIXED));
        } else if size(new) < size(old) && size(new) < Quantity::of(old.at("status.capacity.storage")) {
            let why = "field can not be less than status.capacity";
            self.causes.push(Cause::forbidden("spec.resources.requests.storage", why));
        }
    }
}

/// Whether more than these fields has changed.
fn beyond(old: &Value, new: &Value, mutable: &str) -> bool {
    let mut rest = new.clone();
    mutable.split_whitespace().for_each(|path| restore(&mut rest, old, path));
    rest != *old
}

fn restore(new: &mut Value, old: &Value, path: &str) {
    if let Some((list, field)) = path.split_once("[].") {
        let items = new.items_mut(list).iter_mut().zip(old.items(list));
        items.for_each(|(new, old)| restore(new, old, field));
    } else if old.has(path) {
        new.put(path, old.at(path).clone());
    } else {
        new.remove(path);
    }
}

/// What a quota counts in whole numbers, beside any `count/`.
const COUNTED: &str =
    "pods services secrets configmaps persistentvolumeclaims services.loadbalancers services.nodeports";
const SET_MUTABLE: &str = "replicas ordinals template updateStrategy revisionHistoryLimit \
                           persistentVolumeClaimRetentionPolicy minReadySeconds";
const POD_MUTABLE: &str = "containers[].image initContainers[].image activeDeadlineSeconds tolerations \
                           terminationGracePeriodSeconds";
const IN_PLACE: &str = "resources.limits.cpu resources.limits.memory resources.requests.cpu resources.requests.memory";
const SET_FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
const POD_FIXED: &str = "pod updates may not change fields other than \
`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions \
to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
const CLAIM_FIXED: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
