//! Every shipped template, every plan, rendered and held against what the cluster and the customers rely on.

mod fixture;
mod namespace;
mod objects;
mod pod_security;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use serde_json::Value;

use super::{PRIORITY_INSTANCE, PRIORITY_SETUP, Rendered, render, task};
use crate::instances::phase::AdminState;
use fixture::Fixture;

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap()
}

fn pod_spec(rendered: &Rendered) -> PodSpec {
    rendered.stateful_set.spec.clone().unwrap().template.spec.unwrap()
}

fn tasks(fixture: &Fixture) -> Vec<Pod> {
    let input = fixture.input();
    let pods = [
        task::setup_pod(&input, 1).unwrap(),
        task::verify_pod(&input, 2).unwrap(),
    ];
    pods.into_iter().flatten().collect()
}

/// `(millicores, MiB)` out of a container's `requests` or `limits`.
fn amounts(container: &Container, of: &str) -> (u64, u64) {
    let resources = container.resources.as_ref().unwrap();
    let map = if of == "requests" {
        &resources.requests
    } else {
        &resources.limits
    };
    let text = |key: &str| map.as_ref().unwrap()[key].0.clone();
    let (cpu, memory) = (text("cpu"), text("memory"));
    let cpu = match cpu.strip_suffix('m') {
        Some(milli) => milli.parse().unwrap(),
        None => cpu.parse::<u64>().unwrap() * 1000,
    };
    let memory = match (memory.strip_suffix("Mi"), memory.strip_suffix("Gi")) {
        (Some(mib), _) => mib.parse().unwrap(),
        (_, Some(gib)) => gib.parse::<u64>().unwrap() * 1024,
        _ => memory.parse().unwrap(),
    };
    (cpu, memory)
}

/// What the scheduler and the quota count for a pod: containers and sidecars together, or one init container with the
/// sidecars before it, whichever is more.
fn pod_amounts(pod: &PodSpec, of: &str) -> (u64, u64) {
    let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let (mut sidecars, mut peak) = ((0, 0), (0, 0));
    for container in pod.init_containers.iter().flatten() {
        let own = amounts(container, of);
        let now = add(sidecars, own);
        peak = (peak.0.max(now.0), peak.1.max(now.1));
        if container.restart_policy.is_some() {
            sidecars = now;
        }
    }
    let steady = pod
        .containers
        .iter()
        .fold(sidecars, |sum, container| add(sum, amounts(container, of)));
    (peak.0.max(steady.0), peak.1.max(steady.1))
}

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

#[test]
fn secrets_are_in_the_secret_and_nowhere_else() {
    for fixture in Fixture::all() {
        let rendered = fixture.render();
        let data = rendered.secret.data.clone().unwrap();
        for (key, value) in &fixture.secrets {
            assert_eq!(data[key].0, value.as_bytes(), "{key}");
        }
        assert!(rendered.secret.string_data.is_none());
        let pods = tasks(&fixture);
        let others = [
            json(&rendered.config_map),
            json(&rendered.claims),
            json(&rendered.service),
            json(&rendered.policy),
            json(&rendered.stateful_set),
            json(&rendered.ingress),
            json(&pods),
        ];
        for text in others.map(|value| value.to_string()) {
            assert!(!text.contains("plaintext-of-"), "{}: {text}", fixture.template.slug);
        }
        let specs = pods
            .iter()
            .map(|pod| pod.spec.clone().unwrap())
            .chain([pod_spec(&rendered)]);
        let mut referenced = 0;
        for spec in specs {
            for container in spec.init_containers.iter().flatten().chain(&spec.containers) {
                for variable in container.env.iter().flatten() {
                    let from = variable
                        .value_from
                        .as_ref()
                        .and_then(|from| from.secret_key_ref.as_ref());
                    let Some(reference) = from else { continue };
                    assert_eq!(Some(&reference.name), rendered.secret.metadata.name.as_ref());
                    assert!(data.contains_key(&reference.key), "{}", reference.key);
                    referenced += 1;
                }
            }
        }
        assert!(referenced > 0, "{} uses no secret", fixture.template.slug);
    }
}

#[test]
fn a_missing_secret_is_an_error_and_not_a_pod_that_cannot_start() {
    let mut fixture = Fixture::of("n8n");
    fixture.secrets.remove("encryption_key");
    let error = render(&fixture.input()).unwrap_err();
    assert_eq!(error, super::Error::NoSecret("encryption_key".to_owned()));
}

#[test]
fn the_same_input_renders_the_same_and_bookkeeping_rolls_nothing() {
    for mut fixture in Fixture::all() {
        let before = fixture.render();
        assert_eq!(json(&before.stateful_set), json(&fixture.render().stateful_set));

        fixture.instance.generation += 1;
        let after = fixture.render();
        assert_ne!(before.stateful_set.metadata, after.stateful_set.metadata);
        assert_eq!(
            before.stateful_set.spec, after.stateful_set.spec,
            "a new generation alone"
        );

        fixture.running = false;
        let stopped = fixture.render().stateful_set.spec.unwrap();
        let running = before.stateful_set.spec.clone().unwrap();
        assert_eq!((running.replicas, stopped.replicas), (Some(1), Some(0)));
        assert_eq!(running.template, stopped.template, "a stop");

        fixture.instance.restart_no += 1;
        assert_ne!(running.template, fixture.template_of_pod(), "a restart");
    }
}

#[test]
fn a_changed_secret_rolls_the_pods_that_read_it() {
    let mut fixture = Fixture::of("n8n");
    let before = fixture.template_of_pod();
    fixture.set_secret("owner_password", "another");
    assert_eq!(before, fixture.template_of_pod(), "only the verify pod reads it");
    fixture.set_secret("encryption_key", "another");
    assert_ne!(before, fixture.template_of_pod());

    let mut fixture = Fixture::of("ghost");
    let before = fixture.template_of_pod();
    fixture.plan.mem_limit_mib *= 2;
    let annotations = |template: &k8s_openapi::api::core::v1::PodTemplateSpec| {
        template.metadata.clone().unwrap().annotations.unwrap()
    };
    let after = fixture.template_of_pod();
    assert_ne!(
        annotations(&before),
        annotations(&after),
        "MySQL's config file holds the memory"
    );
}

#[test]
fn env_once_withdraws_its_variables_once_the_account_is_verified() {
    let mut fixture = Fixture::of("n8n");
    let environment = |fixture: &Fixture| -> BTreeMap<String, Option<String>> {
        let pod = pod_spec(&fixture.render());
        let variables = pod.containers[0].env.clone().unwrap();
        variables
            .into_iter()
            .map(|variable| (variable.name, variable.value))
            .collect()
    };
    for (state, flag, hash) in [
        (AdminState::Pending, "true", true),
        (AdminState::Created, "true", true),
        (AdminState::Verified, "false", false),
        (AdminState::Settled, "false", false),
    ] {
        fixture.admin_state = state;
        let environment = environment(&fixture);
        assert_eq!(
            environment["N8N_INSTANCE_OWNER_MANAGED_BY_ENV"].as_deref(),
            Some(flag),
            "{state}"
        );
        assert_eq!(
            environment.contains_key("N8N_INSTANCE_OWNER_PASSWORD_HASH"),
            hash,
            "{state}"
        );
    }
}

#[test]
fn a_customers_text_cannot_quote_other_variables() {
    let mut fixture = Fixture::of("ghost");
    fixture.answer("site_title", "$(MYSQL_PASSWORD) $HOME");
    let setup = tasks(&fixture).remove(0);
    let variables = setup.spec.unwrap().containers[0].env.clone().unwrap();
    let title = variables
        .into_iter()
        .find(|variable| variable.name == "SITE_TITLE_JSON")
        .unwrap();
    assert_eq!(title.value.as_deref(), Some(r#""$$(MYSQL_PASSWORD) $$HOME""#));
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
