//! Pod Security `baseline` and `restricted` (Kubernetes documentation, "Pod Security Standards", v1.36), as far as our
//! pods can touch them: written against the serialised pod, so that a field which nobody thought of is still seen.

use serde_json::Value;

use super::fixture::Fixture;
use super::{json, pod_spec, tasks};

/// What `baseline` lets a container add.
const ADDABLE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// Volume types that `restricted` allows.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    list(&pod["initContainers"]).chain(list(&pod["containers"]))
}

fn baseline(pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    let mut refuse = |condition: bool, what: String| {
        if condition {
            broken.push(what);
        }
    };
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        refuse(pod[field] == true, field.to_owned());
    }
    refuse(pod["securityContext"].get("sysctls").is_some(), "sysctls".to_owned());
    for volume in list(&pod["volumes"]) {
        refuse(volume.get("hostPath").is_some(), format!("hostPath {volume}"));
    }
    for container in containers(pod) {
        let (name, context) = (&container["name"], &container["securityContext"]);
        refuse(context["privileged"] == true, format!("{name} privileged"));
        refuse(context.get("procMount").is_some(), format!("{name} procMount"));
        refuse(
            context["seccompProfile"]["type"] == "Unconfined",
            format!("{name} seccomp"),
        );
        for capability in list(&context["capabilities"]["add"]) {
            let known = capability.as_str().is_some_and(|name| ADDABLE.contains(&name));
            refuse(!known, format!("{name} adds {capability}"));
        }
        for port in list(&container["ports"]) {
            refuse(port.get("hostPort").is_some(), format!("{name} hostPort"));
        }
        for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
            for kind in ["httpGet", "tcpSocket"] {
                refuse(
                    container[probe][kind].get("host").is_some(),
                    format!("{name} {probe} host"),
                );
            }
        }
    }
    broken
}

fn restricted(pod: &Value) -> Vec<String> {
    let mut broken = baseline(pod);
    for volume in list(&pod["volumes"]) {
        let kinds = volume.as_object().unwrap().keys().filter(|key| *key != "name");
        broken.extend(kinds.filter(|kind| !VOLUMES.contains(&kind.as_str())).cloned());
    }
    let of_pod = &pod["securityContext"];
    for container in containers(pod) {
        let (name, context) = (&container["name"], &container["securityContext"]);
        let either = |field: &str| {
            if context[field].is_null() {
                &of_pod[field]
            } else {
                &context[field]
            }
        };
        let rules = [
            (context["allowPrivilegeEscalation"] == false, "may escalate"),
            (*either("runAsNonRoot") == true, "may be root"),
            (*either("runAsUser") != 0, "is root"),
            (
                either("seccompProfile")["type"] == "RuntimeDefault",
                "has no seccomp profile",
            ),
            (
                list(&context["capabilities"]["drop"]).any(|dropped| dropped == "ALL"),
                "keeps capabilities",
            ),
            (
                list(&context["capabilities"]["add"]).all(|added| added == "NET_BIND_SERVICE"),
                "adds capabilities",
            ),
        ];
        broken.extend(
            rules
                .iter()
                .filter(|rule| !rule.0)
                .map(|rule| format!("{name} {}", rule.1)),
        );
    }
    broken
}

#[test]
fn all_shipped_pods_keep_the_restricted_profile() {
    for fixture in Fixture::all() {
        let pods = tasks(&fixture).into_iter().map(|pod| pod.spec.unwrap());
        for pod in pods.chain([pod_spec(&fixture.render())]) {
            let pod = json(&pod);
            assert_eq!(restricted(&pod), Vec::<String>::new(), "{}", fixture.template.slug);
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["enableServiceLinks"], false);
        }
    }
}

/// A template may use the image's own user and add baseline's capabilities: still baseline, no longer restricted.
#[test]
fn what_a_template_may_loosen_stays_within_baseline() {
    let mut fixture = Fixture::of("linkding");
    let security = &mut fixture.template.components[0].security;
    (security.run_as_user, security.run_as_group) = (None, None);
    security.capabilities = vec!["CHOWN".to_owned()];
    let pod = json(&pod_spec(&fixture.render()));
    assert_eq!(baseline(&pod), Vec::<String>::new());
    assert_eq!(
        restricted(&pod),
        ["\"linkding\" may be root", "\"linkding\" adds capabilities"]
    );
}
