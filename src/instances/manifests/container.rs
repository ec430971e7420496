//! Containers: command, environment, probes, rights.

use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ExecAction, HTTPGetAction, HTTPHeader,
    Probe as KubeProbe, SeccompProfile, SecretKeySelector, SecurityContext, TCPSocketAction, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Error, Input, config, facts, pod, shares};
use crate::catalog::template::{
    Check, Component, EnvMap, InitStep, Mount, Probe, Resolved, Resources, Role, Security, escape_for_kubernetes,
};

/// An `app` becomes an ordinary container, a `database` a sidecar for the init containers.
pub fn component(input: &Input<'_>, component: &Component, part: Resources) -> Result<Container, Error> {
    let env = input.template.component_env(component, input.admin_state.is_verified());
    let mut mounts = volume_mounts(input, &component.name, &component.mounts)?;
    mounts.extend(pod::tmp_mounts(component));
    mounts.extend(config::mounts(component));
    let ports = component.ports.iter().map(|port| ContainerPort {
        name: Some(port.name.clone()),
        container_port: port.port.into(),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    });
    let probes = &component.probes;
    Ok(Container {
        name: component.name.clone(),
        image: Some(component.image.reference()),
        image_pull_policy: input.settings.image_pull_policy.clone(),
        command: escaped(&component.command),
        args: escaped(&component.args),
        env: variables(input, &env, part)?,
        ports: some(ports.collect()),
        volume_mounts: some(mounts),
        resources: Some(shares::requirements(part)),
        startup_probe: Some(probe(component, &probes.startup)?),
        readiness_probe: Some(probe(component, &probes.readiness)?),
        liveness_probe: match &probes.liveness {
            Some(liveness) => Some(probe(component, liveness)?),
            None => None,
        },
        restart_policy: (component.role == Role::Database).then(|| "Always".to_owned()),
        security_context: Some(security_context(&component.security)),
        ..Container::default()
    })
}

pub fn init_step(input: &Input<'_>, step: &InitStep) -> Result<Container, Error> {
    let part = shares::init_step(input);
    Ok(Container {
        name: step.name.clone(),
        image: Some(step.image.reference()),
        image_pull_policy: input.settings.image_pull_policy.clone(),
        command: escaped(&step.command),
        args: escaped(&step.args),
        env: variables(input, &step.env, part)?,
        volume_mounts: some(volume_mounts(input, &step.name, &step.mounts)?),
        resources: Some(shares::requirements(part)),
        security_context: Some(security_context(&Security {
            run_as_user: Some(step.run_as_user),
            run_as_group: Some(step.run_as_group),
            ..Security::default()
        })),
        ..Container::default()
    })
}

/// Secrets by reference. A key that the Secret does not have would leave the pod in `CreateContainerConfigError`.
pub fn variables(input: &Input<'_>, env: &EnvMap, part: Resources) -> Result<Option<Vec<EnvVar>>, Error> {
    let mut variables = Vec::with_capacity(env.len());
    for resolved in facts::facts(input, part)?.resolve(env)? {
        variables.push(match resolved.value {
            Resolved::Plain(text) => EnvVar {
                name: resolved.name,
                value: Some(escape_for_kubernetes(&text)),
                value_from: None,
            },
            Resolved::SecretKey(key) if !input.secrets.contains_key(&key) => return Err(Error::NoSecret(key)),
            Resolved::SecretKey(key) => EnvVar {
                name: resolved.name,
                value: None,
                value_from: Some(EnvVarSource {
                    secret_key_ref: Some(SecretKeySelector {
                        name: input.instance.name.clone(),
                        key,
                        optional: None,
                    }),
                    ..EnvVarSource::default()
                }),
            },
        });
    }
    Ok(some(variables))
}

/// All that `restricted` asks for; a user of the image's own choosing cannot be vouched for.
pub fn security_context(security: &Security) -> SecurityContext {
    SecurityContext {
        run_as_user: security.run_as_user,
        run_as_group: security.run_as_group,
        run_as_non_root: security.run_as_user.map(|user| user > 0).filter(|known| *known),
        read_only_root_filesystem: security.read_only_root.then_some(true),
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".to_owned()]),
            add: some(security.capabilities.clone()),
        }),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".to_owned(),
            localhost_profile: None,
        }),
        ..SecurityContext::default()
    }
}

fn volume_mounts(input: &Input<'_>, container: &str, mounts: &[Mount]) -> Result<Vec<VolumeMount>, Error> {
    let known = |name: &str| input.template.volumes.iter().any(|volume| volume.name == name);
    mounts
        .iter()
        .map(|mount| {
            if !known(&mount.volume) {
                return Err(Error::NoVolume {
                    component: container.to_owned(),
                    volume: mount.volume.clone(),
                });
            }
            Ok(VolumeMount {
                name: pod::volume_name(&mount.volume),
                mount_path: mount.path.clone(),
                sub_path: mount.sub_path.clone(),
                read_only: mount.read_only.then_some(true),
                ..VolumeMount::default()
            })
        })
        .collect()
}

fn probe(component: &Component, probe: &Probe) -> Result<KubeProbe, Error> {
    let seconds = |value: u32| Some(i32::try_from(value).unwrap_or(i32::MAX));
    let mut rendered = KubeProbe {
        initial_delay_seconds: seconds(probe.initial_delay_seconds).filter(|delay| *delay > 0),
        period_seconds: seconds(probe.period_seconds),
        timeout_seconds: seconds(probe.timeout_seconds),
        failure_threshold: seconds(probe.failure_threshold),
        ..KubeProbe::default()
    };
    match &probe.check {
        Check::Http(http) => {
            let headers = http.headers.iter().map(|(name, value)| HTTPHeader {
                name: name.clone(),
                value: value.clone(),
            });
            rendered.http_get = Some(HTTPGetAction {
                path: Some(http.path.clone()),
                port: port(component, &http.port)?,
                http_headers: some(headers.collect()),
                scheme: Some("HTTP".to_owned()),
                host: None,
            });
        }
        Check::Tcp(tcp) => {
            rendered.tcp_socket = Some(TCPSocketAction {
                port: port(component, &tcp.port)?,
                host: None,
            });
        }
        // The kubelet replaces `$(NAME)` in these too.
        Check::Exec(exec) => {
            rendered.exec = Some(ExecAction {
                command: escaped(&exec.command),
            });
        }
    }
    Ok(rendered)
}

fn port(component: &Component, name: &str) -> Result<IntOrString, Error> {
    match component.port(name) {
        Some(port) => Ok(IntOrString::Int(port.port.into())),
        None => Err(Error::NoPort {
            component: component.name.clone(),
            port: name.to_owned(),
        }),
    }
}

pub fn escaped(words: &[String]) -> Option<Vec<String>> {
    some(words.iter().map(|word| escape_for_kubernetes(word)).collect())
}

/// An empty list is left out: that is how the server writes it back.
pub fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    (!list.is_empty()).then_some(list)
}
