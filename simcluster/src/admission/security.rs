//! Pod Security: the levels `baseline` and `restricted` where the namespace enforces them; `warn` and `audit` do nothing.
//!
//! The fields that matter for isolation are checked: privileges, the host's namespaces, paths and ports, capabilities,
//! the user and the system call filter.

use serde_json::Value;

use crate::{dig::Dig, resource, rules::containers, status::Status, store::State};

/// What a container must not be like: given the container's security context, the container and the pod's context.
struct Control {
    what: &'static str,
    /// Who could set it right, before the container.
    or: &'static str,
    must: &'static str,
    broken: fn(&Value, &Value, &Value) -> bool,
}

const CAPABILITIES: &str = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP \
                            SETGID SETPCAP SETUID SYS_CHROOT";

const BASELINE: [Control; 3] = [
    Control {
        what: "privileged",
        or: "",
        must: "must not set securityContext.privileged=true",
        broken: |context, _, _| context.yes("privileged"),
    },
    Control {
        what: "non-default capabilities",
        or: "",
        must: "must not include added capabilities in securityContext.capabilities.add",
        broken: |context, _, _| {
            context.items("capabilities.add").iter().any(|cap| !CAPABILITIES.split(' ').any(|ok| cap == ok))
        },
    },
    Control {
        what: "hostPort",
        or: "",
        must: "uses hostPorts",
        broken: |_, container, _| container.items("ports").iter().any(|port| port.int("hostPort").unwrap_or(0) != 0),
    },
];

const RESTRICTED: [Control; 4] = [
    Control {
        what: "allowPrivilegeEscalation != false",
        or: "",
        must: "must set securityContext.allowPrivilegeEscalation=false",
        broken: |context, _, _| context["allowPrivilegeEscalation"] != false,
    },
    Control {
        what: "unrestricted capabilities",
        or: "",
        must: "must set securityContext.capabilities.drop=[\"ALL\"]",
        broken: |context, _, _| !context.items("capabilities.drop").iter().any(|cap| cap == "ALL"),
    },
    Control {
        what: "runAsNonRoot != true",
        or: "pod or ",
        must: "must set securityContext.runAsNonRoot=true",
        broken: |context, _, pod| {
            context["runAsNonRoot"] == false || !context.yes("runAsNonRoot") && !pod.yes("runAsNonRoot")
        },
    },
    Control {
        what: "seccompProfile",
        or: "pod or ",
        must: "must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        broken: |context, _, pod| {
            [context, pod].iter().all(|of| !["RuntimeDefault", "Localhost"].contains(&of.text("seccompProfile.type")))
        },
    },
];

pub(super) fn check(state: &State, pod: &Value) -> Result<(), Status> {
    let home = state.get(&resource::NAMESPACE, &(String::new(), pod.text("metadata.namespace").to_owned()));
    let labels = home.map_or(&Value::Null, |home| home.at("metadata.labels"));
    let level = labels["pod-security.kubernetes.io/enforce"].as_str().unwrap_or_default();
    let further: &[Control] = match level {
        "baseline" => &[],
        "restricted" => &RESTRICTED,
        _ => return Ok(()),
    };
    let spec = pod.at("spec");
    let host = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| spec.yes(field));
    let host: Vec<String> = host.map(|field| format!("{field}=true")).collect();
    let paths = spec.items("volumes").iter().filter(|volume| volume.has("hostPath"));
    let paths: Vec<String> = paths.map(|volume| volume["name"].to_string()).collect();
    let mut violations = Vec::new();
    if !host.is_empty() {
        violations.push(format!("host namespaces ({})", host.join(", ")));
    }
    if !paths.is_empty() {
        violations.push(format!("hostPath volumes (volumes {})", paths.join(", ")));
    }
    violations.extend(BASELINE.iter().chain(further).filter_map(|control| violation(control, spec)));
    if violations.is_empty() {
        return Ok(());
    }
    let why = format!("violates PodSecurity \"{level}:latest\": {}", violations.join(", "));
    Err(Status::forbidden(&resource::POD, pod.text("metadata.name"), &why))
}

fn violation(Control { what, or, must, broken }: &Control, spec: &Value) -> Option<String> {
    let all = containers(spec);
    let bad = all.filter(|container| broken(container.at("securityContext"), container, spec.at("securityContext")));
    let names: Vec<String> = bad.map(|container| container["name"].to_string()).collect();
    let plural = if names.len() > 1 { "s" } else { "" };
    (!names.is_empty()).then(|| format!("{what} ({or}container{plural} {} {must})", names.join(", ")))
}
