//! Pod Security: the `baseline` level where the namespace enforces it (or `restricted`, which includes it).
//!
//! The fields that matter for isolation are checked: privileged containers, the host's namespaces, paths and ports, and
//! added capabilities. `restricted` beyond `baseline` is enforced for what it asks of every container; `warn` and `audit`
//! levels have no effect here.

use serde_json::Value;

use crate::{resource, status::Status, store::State};

const ALLOWED_CAPABILITIES: [&str; 14] = [
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
    "NET_RAW",
];

pub(super) fn check(state: &State, pod: &Value) -> Result<(), Status> {
    let ns = pod["metadata"]["namespace"].as_str().unwrap_or_default();
    let home = state.get(&resource::NAMESPACE, &(String::new(), ns.to_owned()));
    let level = home.and_then(|home| home["metadata"]["labels"]["pod-security.kubernetes.io/enforce"].as_str());
    let level = match level {
        Some(level @ ("baseline" | "restricted")) => level.to_owned(),
        _ => return Ok(()),
    };
    let mut violations = baseline(&pod["spec"]);
    if level == "restricted" {
        violations.extend(restricted(&pod["spec"]));
    }
    if violations.is_empty() {
        return Ok(());
    }
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let why = format!("violates PodSecurity \"{level}:latest\": {}", violations.join(", "));
    Err(Status::forbidden(&resource::POD, name, &why))
}

fn containers(spec: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().filter_map(|list| spec[list].as_array()).flatten()
}

fn named<'a>(found: impl Iterator<Item = &'a Value>) -> Option<String> {
    let names: Vec<String> = found.filter_map(|c| c["name"].as_str()).map(|name| format!("\"{name}\"")).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("container {one}")),
        many => Some(format!("containers {}", many.join(", "))),
    }
}

fn baseline(spec: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    let host: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|field| spec[**field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    if !host.is_empty() {
        violations.push(format!("host namespaces ({})", host.join(", ")));
    }
    if let Some(who) = named(containers(spec).filter(|c| c["securityContext"]["privileged"] == true)) {
        violations.push(format!("privileged ({who} must not set securityContext.privileged=true)"));
    }
    let adds = |container: &Value| {
        let added = container["securityContext"]["capabilities"]["add"].as_array().cloned().unwrap_or_default();
        added.iter().any(|cap| !cap.as_str().is_some_and(|cap| ALLOWED_CAPABILITIES.contains(&cap)))
    };
    if let Some(who) = named(containers(spec).filter(|c| adds(c))) {
        violations.push(format!(
            "non-default capabilities ({who} must not include added capabilities in securityContext.capabilities.add)"
        ));
    }
    let paths: Vec<&Value> =
        spec["volumes"].as_array().into_iter().flatten().filter(|v| v["hostPath"].is_object()).collect();
    if !paths.is_empty() {
        let names: Vec<String> = paths.iter().map(|v| v["name"].to_string()).collect();
        violations.push(format!("hostPath volumes (volumes {})", names.join(", ")));
    }
    let ports = |container: &Value| {
        let ports = container["ports"].as_array().cloned().unwrap_or_default();
        ports.iter().any(|port| port["hostPort"].as_i64().unwrap_or(0) != 0)
    };
    if let Some(who) = named(containers(spec).filter(|c| ports(c))) {
        violations.push(format!("hostPort ({who} uses hostPorts)"));
    }
    violations
}

fn restricted(spec: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    let escalates = containers(spec).filter(|c| c["securityContext"]["allowPrivilegeEscalation"] != false);
    if let Some(who) = named(escalates) {
        violations.push(format!(
            "allowPrivilegeEscalation != false ({who} must set securityContext.allowPrivilegeEscalation=false)"
        ));
    }
    let keeps = |container: &&Value| {
        let dropped = container["securityContext"]["capabilities"]["drop"].as_array().cloned().unwrap_or_default();
        !dropped.iter().any(|cap| cap == "ALL")
    };
    if let Some(who) = named(containers(spec).filter(keeps)) {
        violations
            .push(format!("unrestricted capabilities ({who} must set securityContext.capabilities.drop=[\"ALL\"])"));
    }
    let pod = &spec["securityContext"];
    let as_root = |container: &&Value| {
        let own = &container["securityContext"]["runAsNonRoot"];
        *own != true && (own == false || pod["runAsNonRoot"] != true)
    };
    if let Some(who) = named(containers(spec).filter(as_root)) {
        violations.push(format!("runAsNonRoot != true (pod or {who} must set securityContext.runAsNonRoot=true)"));
    }
    let confined = |context: &Value| {
        let kind = &context["seccompProfile"]["type"];
        kind == "RuntimeDefault" || kind == "Localhost"
    };
    let loose = containers(spec).filter(|c| !confined(&c["securityContext"]) && !confined(pod));
    if let Some(who) = named(loose) {
        violations.push(format!(
            "seccompProfile (pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        ));
    }
    violations
}
