//! Secrets, texts and what a change of them does to the pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;

use super::fixture::Fixture;
use super::{json, pod_spec, tasks};
use crate::instances::manifests::{Error, render};
use crate::instances::phase::AdminState;

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
    assert_eq!(error, Error::NoSecret("encryption_key".to_owned()));
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
    let annotations = |template: &PodTemplateSpec| template.metadata.clone().unwrap().annotations.unwrap();
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
