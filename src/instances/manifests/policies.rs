//! Who may talk to whom. Nobody, unless a policy here says so.
//!
//! Per namespace: everything is denied; names may be resolved; services may reach the internet and, for their own public
//! name, the ingress controller; tasks may reach the services beside them. Per instance: its route's port is open to
//! the instance's own tasks, and to the ingress controller once the route may be open. Kubelet probes need no rule.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use uuid::Uuid;

use super::namespace::owned;
use super::{ClusterSettings, Error, Input, facts, meta};
use crate::kube::{LABEL_INSTANCE, LABEL_TASK};

/// IPv4 that is not the internet (IANA special-purpose registry): this network, private, shared (CGNAT), loopback,
/// link-local (cloud metadata is there), protocol assignments, benchmarking, multicast, reserved.
const NOT_INTERNET_V4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// IPv6 likewise: unspecified and loopback, IPv4-mapped, both translation prefixes (they lead to any IPv4 address),
/// 6to4 (the same), unique local, link-local, multicast.
const NOT_INTERNET_V6: [&str; 8] = [
    "::/127",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "2002::/16",
    "fc00::/7",
    "fe80::/10",
    "ff00::/8",
];

/// What every customer's namespace holds.
pub fn namespace_policies(namespace: &str, user_id: Uuid, settings: &ClusterSettings) -> Vec<NetworkPolicy> {
    let policy = |name: &str, spec: NetworkPolicySpec| NetworkPolicy {
        metadata: owned(namespace, user_id, name),
        spec: Some(spec),
    };
    let everyone = LabelSelector::default;
    let services = || meta::selects(meta::map(&[(meta::COMPONENT, meta::WORKLOAD)]));
    vec![
        policy(
            "default-deny",
            NetworkPolicySpec {
                pod_selector: Some(everyone()),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                ..NetworkPolicySpec::default()
            },
        ),
        policy("allow-dns", egress(everyone(), vec![dns(settings)])),
        policy(
            "allow-internet",
            egress(
                services(),
                vec![NetworkPolicyEgressRule {
                    to: Some(vec![
                        block("0.0.0.0/0", &NOT_INTERNET_V4),
                        block("::/0", &NOT_INTERNET_V6),
                    ]),
                    ports: None,
                }],
            ),
        ),
        policy(
            "allow-own-host",
            egress(
                services(),
                vec![NetworkPolicyEgressRule {
                    to: Some(vec![ingress_controller(settings)]),
                    ports: None,
                }],
            ),
        ),
        policy(
            "allow-tasks",
            egress(
                tasks(None),
                vec![NetworkPolicyEgressRule {
                    to: Some(vec![pods(services())]),
                    ports: None,
                }],
            ),
        ),
    ]
}

/// Who may reach the instance's route port.
pub fn instance(input: &Input<'_>) -> Result<NetworkPolicy, Error> {
    let mut from = vec![pods(tasks(Some(input.instance.id)))];
    if input.route_open {
        from.push(ingress_controller(input.settings));
    }
    Ok(NetworkPolicy {
        metadata: meta::object_meta(input, input.instance.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(meta::selects(meta::instance_selector(input.instance.id))),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(vec![NetworkPolicyIngressRule {
                from: Some(from),
                ports: Some(vec![port("TCP", facts::route_port(input)?.port)]),
            }]),
            egress: None,
        }),
    })
}

fn egress(pods: LabelSelector, rules: Vec<NetworkPolicyEgressRule>) -> NetworkPolicySpec {
    NetworkPolicySpec {
        pod_selector: Some(pods),
        policy_types: Some(vec!["Egress".to_owned()]),
        egress: Some(rules),
        ingress: None,
    }
}

/// By the pods and not by the service's address: policies are applied behind the service's translation. Answers too
/// long for UDP come over TCP.
fn dns(settings: &ClusterSettings) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule {
        to: Some(vec![NetworkPolicyPeer {
            namespace_selector: Some(namespace_named(&settings.dns_namespace)),
            pod_selector: Some(meta::selects(meta::map(&[("k8s-app", "kube-dns")]))),
            ip_block: None,
        }]),
        ports: Some(vec![port("UDP", 53), port("TCP", 53)]),
    }
}

fn ingress_controller(settings: &ClusterSettings) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(namespace_named(&settings.ingress_namespace)),
        pod_selector: Some(meta::selects(settings.ingress_pod_labels.clone())),
        ip_block: None,
    }
}

/// The setup and verify pods of one instance, or of all in the namespace.
fn tasks(instance: Option<Uuid>) -> LabelSelector {
    LabelSelector {
        match_labels: instance.map(|id| BTreeMap::from([(LABEL_INSTANCE.to_owned(), id.to_string())])),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: LABEL_TASK.to_owned(),
            operator: "Exists".to_owned(),
            values: None,
        }]),
    }
}

fn pods(selector: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        pod_selector: Some(selector),
        ..NetworkPolicyPeer::default()
    }
}

/// By the label that the API server puts on every namespace and nobody can change.
fn namespace_named(name: &str) -> LabelSelector {
    meta::selects(meta::map(&[("kubernetes.io/metadata.name", name)]))
}

fn port(protocol: &str, number: u16) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number.into())),
        end_port: None,
    }
}

fn block(cidr: &str, except: &[&str]) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        ip_block: Some(IPBlock {
            cidr: cidr.to_owned(),
            except: Some(except.iter().map(|range| (*range).to_owned()).collect()),
        }),
        ..NetworkPolicyPeer::default()
    }
}
