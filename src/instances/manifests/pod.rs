//! The instance's pod: where it runs, in which order its containers start, what they share.

use k8s_openapi::api::core::v1::{
    Affinity, EmptyDirVolumeSource, HostAlias, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
    PersistentVolumeClaimVolumeSource, PodSecurityContext, PodSpec, SeccompProfile, Toleration, Volume, VolumeMount,
};

use super::container::some;
use super::{Error, Input, PRIORITY_INSTANCE, claim_name, config, container, quantity, shares};
use crate::catalog::template::{Component, Role};

/// How long a pod stays on a node that is not ready or not reachable. The platform decides about failover itself; this
/// only gets the pod's deletion under way in time.
const TOLERATION_SECONDS: i64 = 60;

/// A runaway temporary file costs its own pod, not the node's disk.
const TMP_MIB: u64 = 1024;

pub fn pod(input: &Input<'_>) -> Result<PodSpec, Error> {
    let mut init_containers = Vec::new();
    let mut containers = Vec::new();
    for (component, part) in input.template.components.iter().zip(shares::components(input)) {
        let rendered = container::component(input, component, part)?;
        match component.role {
            Role::Database => init_containers.push(rendered),
            Role::App => containers.push(rendered),
        }
    }
    // After the databases, which the kubelet starts and waits for one by one, and before the app.
    for step in input.template.first_admin.init_steps() {
        init_containers.push(container::init_step(input, step)?);
    }
    Ok(PodSpec {
        affinity: Some(pinned_to(input.node_name)),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        host_aliases: own_host(input),
        init_containers: some(init_containers),
        containers,
        priority_class_name: Some(PRIORITY_INSTANCE.to_owned()),
        restart_policy: Some("Always".to_owned()),
        security_context: Some(PodSecurityContext {
            fs_group: input.template.fs_group,
            // Walking all files of a large volume at every start would take longer than the start.
            fs_group_change_policy: input.template.fs_group.map(|_| "OnRootMismatch".to_owned()),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        termination_grace_period_seconds: Some(input.template.grace_period_seconds.into()),
        tolerations: Some(vec![
            tolerates("node.kubernetes.io/not-ready"),
            tolerates("node.kubernetes.io/unreachable"),
        ]),
        volumes: some(volumes(input)),
        ..PodSpec::default()
    })
}

/// By affinity and not by `nodeName`: the scheduler still checks that it fits, and a cordoned node still refuses it.
fn pinned_to(node: &str) -> Affinity {
    let hostname = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_expressions: Some(vec![hostname]),
                    match_fields: None,
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    }
}

/// A service calls itself by its public name (web hooks, link previews). Where that name leads to a private address,
/// the egress policy would refuse it; the ingress inside the cluster is allowed.
fn own_host(input: &Input<'_>) -> Option<Vec<HostAlias>> {
    let address = input.settings.ingress_address?;
    Some(vec![HostAlias {
        ip: address.to_string(),
        hostnames: Some(vec![input.instance.host.clone()]),
    }])
}

fn tolerates(taint: &str) -> Toleration {
    Toleration {
        key: Some(taint.to_owned()),
        operator: Some("Exists".to_owned()),
        effect: Some("NoExecute".to_owned()),
        toleration_seconds: Some(TOLERATION_SECONDS),
        value: None,
    }
}

pub fn volume_name(volume: &str) -> String {
    format!("volume-{volume}")
}

fn tmp_name(component: &Component, index: usize) -> String {
    format!("tmp-{}-{index}", component.name)
}

pub fn tmp_mounts(component: &Component) -> impl Iterator<Item = VolumeMount> {
    component.tmp_dirs.iter().enumerate().map(|(i, path)| VolumeMount {
        name: tmp_name(component, i),
        mount_path: path.clone(),
        ..VolumeMount::default()
    })
}

pub fn empty_dir(name: String, mib: u64) -> Volume {
    Volume {
        name,
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(quantity::memory(mib)),
            medium: None,
        }),
        ..Volume::default()
    }
}

fn volumes(input: &Input<'_>) -> Vec<Volume> {
    let claims = input.template.volumes.iter().map(|volume| Volume {
        name: volume_name(&volume.name),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim_name(&input.instance.name, &volume.name),
            read_only: None,
        }),
        ..Volume::default()
    });
    let tmp = input
        .template
        .components
        .iter()
        .flat_map(|component| (0..component.tmp_dirs.len()).map(|i| empty_dir(tmp_name(component, i), TMP_MIB)));
    claims.chain(tmp).chain(config::volume(input)).collect()
}
