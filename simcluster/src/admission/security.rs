//! Pod Security: the levels `baseline` and `restricted` where the namespace enforces them; `warn` and `audit` do nothing.
//!
//! The fields that matter for isolation are checked: privileges, the host's namespaces, paths and ports, capabilities,
//! the user and the system call filter; not sysctls, `procMount`, the profiles of SELinux and AppArmor, and of `restricted`
//! neither kinds of volumes, nor the user 0, nor what is added to the capabilities.

use serde_json::Value;

use crate::{dig::Dig, resource, rules::containers, status::Status, store::State};

/// What is broken, in what words, and whether a container breaks it, given its security context, itself and the pod's
/// security context.
type Control = (&'static str, &'static str, fn(&Value, &Value, &Value) -> bool);

const CAPABILITIES: &str = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID \
                            SETPCAP SETUID SYS_CHROOT";

/// The first four are `baseline`; `restricted` is all.
const CONTROLS: [Control; 8] = [
    ("privileged", "{} must not set securityContext.privileged=true", |context, _, _| context.yes("privileged")),
    (
        "non-default capabilities",
        "{} must not include added capabilities in securityContext.capabilities.add",
        |context, _, _| {
            context.items("capabilities.add").iter().any(|cap| !CAPABILITIES.split(' ').any(|ok| cap == ok))
        },
    ),
    ("hostPort", "{} uses hostPorts", |_, container, _| {
        container.items("ports").iter().any(|port| port.int("hostPort").unwrap_or(0) != 0)
    }),
    (
        "seccompProfile",
        "pod or {} must not set securityContext.seccompProfile.type to \"Unconfined\"",
        |context, _, pod| [context, pod].iter().any(|of| of.text("seccompProfile.type") == "Unconfined"),
    ),
    (
        "allowPrivilegeEscalation != false",
        "{} must set securityContext.allowPrivilegeEscalation=false",
        |context, _, _| context["allowPrivilegeEscalation"] != false,
    ),
    ("unrestricted capabilities", "{} must set securityContext.capabilities.drop=[\"ALL\"]", |context, _, _| {
        !context.items("capabilities.drop").iter().any(|cap| cap == "ALL")
    }),
    ("runAsNonRoot != true", "pod or {} must set securityContext.runAsNonRoot=true", |context, _, pod| {
        [context, pod].into_iter().find_map(|of| of["runAsNonRoot"].as_bool()) != Some(true)
    }),
    (
        "seccompProfile",
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        |context, _, pod| {
            [context, pod].iter().all(|of| !["RuntimeDefault", "Localhost"].contains(&of.text("seccompProfile.type")))
        },
    ),
];

pub(super) fn check(state: &State, pod: &Value) -> Result<(), Status> {
    let home = state.get(&resource::NAMESPACE, &(String::new(), pod.text("metadata.namespace").to_owned()));
    let labels = home.map_or(&Value::Null, |home| home.at("metadata.labels"));
    let level = labels["pod-security.kubernetes.io/enforce"].as_str().unwrap_or_default();
    let controls = match level {
        "baseline" => &CONTROLS[..4],
        "restricted" => &CONTROLS,
        _ => return Ok(()),
    };
    let spec = pod.at("spec");
    let host = ["hostNetwork", "hostPID", "hostIPC"].into_iter().filter(|field| spec.yes(field));
    let host = host.map(|field| format!("{field}=true")).collect::<Vec<_>>().join(", ");
    let paths = spec.items("volumes").iter().filter(|volume| volume.has("hostPath"));
    let paths = paths.map(|volume| volume["name"].to_string()).collect::<Vec<_>>().join(", ");
    let mut violations = Vec::new();
    if !host.is_empty() {
        violations.push(format!("host namespaces ({host})"));
    }
    if !paths.is_empty() {
        violations.push(format!("hostPath volumes (volumes {paths})"));
    }
    for (what, words, breaks) in controls {
        let of_pod = spec.at("securityContext");
        let bad = containers(spec).filter(|container| breaks(container.at("securityContext"), container, of_pod));
        let names: Vec<String> = bad.map(|container| container["name"].to_string()).collect();
        let plural = if names.len() > 1 { "s" } else { "" };
        let who = format!("container{plural} {}", names.join(", "));
        violations.extend((!names.is_empty()).then(|| format!("{what} ({})", words.replace("{}", &who))));
    }
    if violations.is_empty() {
        return Ok(());
    }
    let why = format!("violates PodSecurity \"{level}:latest\": {}", violations.join(", "));
    Err(Status::forbidden(&resource::POD, pod.text("metadata.name"), &why))
}
