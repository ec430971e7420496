//! The namespace: what it allows, in numbers and in addresses.

use std::net::IpAddr;

use serde_json::{Value, json as value};
use uuid::Uuid;

use super::fixture::Fixture;
use super::{json, pod_amounts, pod_spec, tasks};
use crate::instances::manifests::namespace::{Quota, limit_range, namespace, quotas};
use crate::instances::manifests::policies::namespace_policies;

const USER: Uuid = Uuid::from_u128(2);

#[test]
fn the_quota_is_the_sum_and_lets_each_instance_in() {
    let mut sum = Quota::default();
    let fixtures = Fixture::all();
    for fixture in &fixtures {
        let pod = pod_spec(&fixture.render());
        let (requests, limits) = (pod_amounts(&pod, "requests"), pod_amounts(&pod, "limits"));
        sum.instances += 1;
        sum.claims += fixture.template.volumes.len() as u64;
        sum.cpu_request_milli += requests.0;
        sum.mem_request_mib += requests.1;
        sum.cpu_limit_milli += limits.0;
        sum.mem_limit_mib += limits.1;
        sum.disk_mib += u64::from(fixture.plan.disk_mib);
    }
    let quotas = quotas("c-kf3a9x2b", USER, sum).iter().map(json).collect::<Vec<_>>();
    let scope = |priority: &str| value!({ "matchExpressions": [{ "scopeName": "PriorityClass", "operator": "In", "values": [priority] }] });
    assert_eq!(quotas[0]["spec"]["scopeSelector"], scope("lumbung-instance"));
    assert_eq!(quotas[1]["spec"]["scopeSelector"], scope("lumbung-setup"));
    assert_eq!(
        quotas[2]["spec"]["scopeSelector"],
        Value::Null,
        "counts of objects have no scope"
    );
    let hard = |i: usize, key: &str| quotas[i]["spec"]["hard"][key].as_str().unwrap().to_owned();
    assert_eq!(hard(0, "pods"), fixtures.len().to_string());
    // 8 × 250m or 500m, and the two 100m plans: more than a core, not whole.
    let milli = |text: String| match text.strip_suffix('m') {
        Some(milli) => milli.parse::<u64>().unwrap(),
        None => text.parse::<u64>().unwrap() * 1000,
    };
    assert_eq!(milli(hard(0, "requests.cpu")), sum.cpu_request_milli);
    assert_eq!(milli(hard(0, "limits.cpu")), sum.cpu_limit_milli);
    assert_eq!(hard(2, "persistentvolumeclaims"), sum.claims.to_string());

    // A setup and a verify pod of every instance at the same time are the most there can be.
    let each: Vec<_> = fixtures.iter().flat_map(tasks).map(|pod| pod.spec.unwrap()).collect();
    let most: u64 = each.iter().map(|pod| pod_amounts(pod, "limits").0).sum();
    assert!(milli(hard(1, "limits.cpu")) >= most);
    assert!(hard(1, "pods").parse::<usize>().unwrap() >= each.len());
}

#[test]
fn a_customer_without_instances_gets_nothing() {
    for quota in quotas("c-kf3a9x2b", USER, Quota::default()).iter().map(json) {
        let hard = quota["spec"]["hard"].as_object().unwrap();
        assert!(hard.values().all(|amount| amount == "0"), "{hard:?}");
    }
}

#[test]
fn a_change_is_covered_by_the_larger_of_both_sums() {
    let few = Quota {
        instances: 1,
        cpu_request_milli: 500,
        disk_mib: 10,
        ..Quota::default()
    };
    let many = Quota {
        instances: 2,
        cpu_request_milli: 250,
        claims: 3,
        ..Quota::default()
    };
    let both = Quota {
        instances: 2,
        cpu_request_milli: 500,
        disk_mib: 10,
        claims: 3,
        ..Quota::default()
    };
    assert_eq!(few.max(many), both);
    assert_eq!(many.max(few), both);
}

#[test]
fn the_namespace_enforces_baseline_and_says_what_misses_restricted() {
    let labels = json(&namespace("c-kf3a9x2b", USER))["metadata"]["labels"].clone();
    for (mode, level) in [("enforce", "baseline"), ("warn", "restricted"), ("audit", "restricted")] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], level);
    }
    assert_eq!(labels["lumbung.dev/account"], USER.to_string());
    let limit = json(&limit_range("c-kf3a9x2b", USER))["spec"]["limits"][0].clone();
    assert_eq!(limit["type"], "Container");
    assert!(limit.get("max").is_none(), "a bound would refuse a large plan");
}

fn policies() -> Vec<Value> {
    let settings = Fixture::of("n8n").settings;
    namespace_policies("c-kf3a9x2b", USER, &settings)
        .iter()
        .map(json)
        .collect()
}

#[test]
fn everything_is_denied_that_is_not_allowed() {
    let policies = policies();
    let spec = |name: &str| {
        let found = policies.iter().find(|policy| policy["metadata"]["name"] == name);
        found.expect(name)["spec"].clone()
    };
    assert_eq!(
        spec("default-deny"),
        value!({ "podSelector": {}, "policyTypes": ["Ingress", "Egress"] })
    );
    let dns = spec("allow-dns")["egress"][0].clone();
    assert_eq!(
        dns["to"][0]["podSelector"]["matchLabels"],
        value!({ "k8s-app": "kube-dns" })
    );
    assert_eq!(
        dns["ports"],
        value!([{ "port": 53, "protocol": "UDP" }, { "port": 53, "protocol": "TCP" }])
    );
    let own_host = spec("allow-own-host")["egress"][0]["to"][0].clone();
    let namespace = value!({ "matchLabels": { "kubernetes.io/metadata.name": "kube-system" } });
    assert_eq!(own_host["namespaceSelector"], namespace);
    assert_eq!(
        own_host["podSelector"],
        value!({ "matchLabels": { "app.kubernetes.io/name": "traefik" } })
    );
    let tasks = value!({ "matchExpressions": [{ "key": "lumbung.dev/task", "operator": "Exists" }] });
    assert_eq!(spec("allow-tasks")["podSelector"], tasks);
    for policy in &policies[1..] {
        assert_eq!(
            policy["spec"]["policyTypes"],
            value!(["Egress"]),
            "nothing here lets anybody in"
        );
    }
}

/// Is `address` in `cidr`? Both of one family, or no.
fn contains(cidr: &str, address: IpAddr) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(v4.to_bits()) << 96, 32),
        IpAddr::V6(v6) => (v6.to_bits(), 128),
    };
    let ((network, family), (address, own_family)) = (bits(network.parse().unwrap()), bits(address));
    let length: u32 = length.parse().unwrap();
    family == own_family && (length == 0 || (network ^ address) >> (128 - length) == 0)
}

#[test]
fn services_reach_the_internet_and_nothing_nearer() {
    let internet = policies()
        .into_iter()
        .find(|policy| policy["metadata"]["name"] == "allow-internet")
        .unwrap();
    let blocks = internet["spec"]["egress"][0]["to"].as_array().unwrap().clone();
    let allowed = |text: &str| {
        let address: IpAddr = text.parse().unwrap();
        blocks.iter().any(|peer| {
            let block = &peer["ipBlock"];
            let mut except = block["except"].as_array().unwrap().iter();
            contains(block["cidr"].as_str().unwrap(), address)
                && !except.any(|range| contains(range.as_str().unwrap(), address))
        })
    };
    for address in [
        "1.1.1.1",
        "8.8.8.8",
        "100.128.0.1",
        "172.32.0.1",
        "192.169.0.1",
        "2606:4700:4700::1111",
    ] {
        assert!(allowed(address), "{address}");
    }
    for address in [
        "10.42.0.7",
        "10.43.0.1",
        "172.16.5.5",
        "192.168.1.1",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "169.254.169.254",
        "224.0.0.251",
        "255.255.255.255",
        "::1",
        "fd00:ec2::254",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ] {
        assert!(!allowed(address), "{address}");
    }
}
