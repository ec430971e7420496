//! The pod: what it asks for, in which order it starts, what it mounts; and the tasks beside it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Container;

use super::fixture::Fixture;
use super::{amounts, pod_amounts, pod_spec, tasks};
use crate::instances::manifests::{PRIORITY_INSTANCE, PRIORITY_SETUP, task};

#[test]
fn a_pod_asks_for_the_written_request_and_may_use_the_plan_exactly() {
    for mut fixture in Fixture::all() {
        let plan = fixture.plan.clone();
        let requests = [
            (plan.cpu_request_milli, plan.mem_request_mib),
            (plan.cpu_request_milli / 3 + 1, plan.mem_request_mib / 7 + 1),
            (1, 1),
            (plan.cpu_limit_milli, plan.mem_limit_mib),
        ];
        for (cpu, mem) in requests {
            fixture.request(cpu, mem);
            let pod = pod_spec(&fixture.render());
            let label = format!("{} {} at {cpu}m {mem}Mi", fixture.template.slug, plan.code);
            assert_eq!(pod_amounts(&pod, "requests"), (cpu.into(), mem.into()), "{label}");
            let limits = (plan.cpu_limit_milli.into(), plan.mem_limit_mib.into());
            assert_eq!(pod_amounts(&pod, "limits"), limits, "{label}");
            let all = || pod.init_containers.iter().flatten().chain(&pod.containers);
            for container in all() {
                let (requests, limits) = (amounts(container, "requests"), amounts(container, "limits"));
                assert!(
                    requests.0 <= limits.0 && requests.1 <= limits.1,
                    "{label}: {}",
                    container.name
                );
                assert!(limits.0 > 0 && limits.1 > 0, "{label}: zero would mean no limit");
            }
        }
    }
}

/// The kubelet starts init containers one by one and waits for a sidecar's startup probe.
#[test]
fn databases_come_first_then_the_installation_then_the_app() {
    for (slug, init, containers) in [
        ("n8n", vec![], vec!["n8n"]),
        ("linkding", vec![], vec!["linkding"]),
        ("vaultwarden", vec![], vec!["vaultwarden"]),
        ("ghost", vec!["mysql*"], vec!["ghost"]),
        ("wordpress", vec!["mariadb*", "unpack", "install"], vec!["wordpress"]),
    ] {
        let fixture = Fixture::of(slug);
        let pod = pod_spec(&fixture.render());
        let name = |container: &Container| {
            let sidecar = container.restart_policy.as_deref() == Some("Always");
            assert!(
                !sidecar || container.startup_probe.is_some(),
                "{} would not be waited for",
                container.name
            );
            format!("{}{}", container.name, if sidecar { "*" } else { "" })
        };
        assert_eq!(
            pod.init_containers.iter().flatten().map(name).collect::<Vec<_>>(),
            init,
            "{slug}"
        );
        assert_eq!(
            pod.containers.iter().map(name).collect::<Vec<_>>(),
            containers,
            "{slug}"
        );
        let least = if init.is_empty() { 30 } else { 120 };
        assert!(pod.termination_grace_period_seconds >= Some(least), "{slug}");
    }
}

#[test]
fn tasks_are_bounded_numbered_and_made_where_the_strategy_has_them() {
    for fixture in Fixture::all() {
        let input = fixture.input();
        let setup = task::setup_pod(&input, 3).unwrap();
        assert_eq!(setup.is_some(), fixture.template.slug == "ghost");
        let verify = task::verify_pod(&input, 3)
            .unwrap()
            .expect("every shipped template is verified");
        assert_eq!(verify, task::verify_pod(&input, 3).unwrap().unwrap());
        for (pod, kind) in setup.iter().map(|pod| (pod, "setup")).chain([(&verify, "verify")]) {
            let name = format!("{}-{kind}-3", fixture.instance.name);
            assert_eq!(pod.metadata.name.as_deref(), Some(name.as_str()));
            assert_eq!(pod.metadata.labels.as_ref().unwrap()["lumbung.dev/task"], kind);
            let spec = pod.spec.as_ref().unwrap();
            assert_eq!(spec.priority_class_name.as_deref(), Some(PRIORITY_SETUP));
            assert_eq!(spec.restart_policy.as_deref(), Some("Never"));
            assert!(spec.active_deadline_seconds.unwrap() > 120);
            assert_eq!(
                (pod_amounts(spec, "requests"), pod_amounts(spec, "limits")),
                ((10, 32), (200, 128))
            );
            let variables = spec.containers[0].env.as_ref().unwrap();
            let target = variables
                .iter()
                .find(|variable| variable.name == "LUMBUNG_TARGET")
                .unwrap();
            let port = fixture.template.ingress_port().unwrap().port;
            let address = format!("http://{}.c-kf3a9x2b.svc:{port}", fixture.instance.name);
            assert_eq!(target.value.as_deref(), Some(address.as_str()));
        }
        assert_eq!(
            pod_spec(&fixture.render()).priority_class_name.as_deref(),
            Some(PRIORITY_INSTANCE)
        );
    }
}

#[test]
fn a_pod_has_each_volume_that_it_mounts_and_mounts_each_path_once() {
    for fixture in Fixture::all() {
        let rendered = fixture.render();
        let specs = tasks(&fixture)
            .into_iter()
            .map(|pod| pod.spec.unwrap())
            .chain([pod_spec(&rendered)]);
        for spec in specs {
            let volumes: BTreeSet<String> = spec
                .volumes
                .iter()
                .flatten()
                .map(|volume| volume.name.clone())
                .collect();
            assert_eq!(volumes.len(), spec.volumes.iter().flatten().count());
            for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
                let mut paths = BTreeSet::new();
                for mount in container.volume_mounts.iter().flatten() {
                    assert!(volumes.contains(&mount.name), "{}: {}", container.name, mount.name);
                    assert!(
                        paths.insert(&mount.mount_path),
                        "{}: {}",
                        container.name,
                        mount.mount_path
                    );
                }
            }
            let claims = rendered.claims.iter().map(|claim| claim.metadata.name.clone().unwrap());
            let claims: BTreeSet<String> = claims.collect();
            for volume in spec.volumes.iter().flatten() {
                if let Some(claim) = &volume.persistent_volume_claim {
                    assert!(claims.contains(&claim.claim_name), "{}", claim.claim_name);
                }
                if let Some(config) = &volume.config_map {
                    let map = rendered.config_map.as_ref().expect("mounted");
                    assert_eq!(Some(&config.name), map.metadata.name.as_ref());
                }
            }
        }
    }
}
