//! The objects beside the pod: names, selectors, the route, and spot checks of what each template becomes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json as value};

use super::fixture::Fixture;
use super::{json, tasks};
use crate::catalog::template::Template;
use crate::instances::manifests::{Rendered, pod_name};

fn all_meta(fixture: &Fixture, rendered: &Rendered) -> Vec<ObjectMeta> {
    let mut all = vec![
        rendered.secret.metadata.clone(),
        rendered.service.metadata.clone(),
        rendered.policy.metadata.clone(),
        rendered.stateful_set.metadata.clone(),
    ];
    all.extend(rendered.config_map.iter().map(|object| object.metadata.clone()));
    all.extend(rendered.claims.iter().map(|object| object.metadata.clone()));
    all.extend(rendered.ingress.iter().map(|object| object.metadata.clone()));
    all.extend(tasks(fixture).into_iter().map(|pod| pod.metadata));
    all
}

#[test]
fn every_object_is_named_labelled_and_in_the_namespace() {
    for fixture in Fixture::all() {
        for meta in all_meta(&fixture, &fixture.render()) {
            let name = meta.name.unwrap();
            assert!(name.len() <= 63 && name.starts_with(&fixture.instance.name), "{name}");
            assert_eq!(meta.namespace.as_deref(), Some("c-kf3a9x2b"), "{name}");
            let labels = meta.labels.unwrap();
            assert_eq!(labels["lumbung.dev/instance"], fixture.instance.id.to_string());
            assert_eq!(labels["lumbung.dev/account"], fixture.instance.user_id.to_string());
            assert_eq!(
                labels["lumbung.dev/subscription"],
                fixture.instance.subscription_id.to_string()
            );
            assert_eq!(labels["app.kubernetes.io/managed-by"], "lumbung");
            assert_eq!(labels["app.kubernetes.io/name"], fixture.template.slug);
            assert!(labels.values().all(|label| label.len() <= 63), "{labels:?}");
        }
    }
}

#[test]
fn selectors_find_the_instance_and_not_its_tasks() {
    for fixture in Fixture::all() {
        let rendered = fixture.render();
        let set = rendered.stateful_set.spec.unwrap();
        let pod_labels = set.template.metadata.unwrap().labels.unwrap();
        let matches = |selector: &BTreeMap<String, String>, labels: &BTreeMap<String, String>| {
            selector.iter().all(|(key, wanted)| labels.get(key) == Some(wanted))
        };
        let selectors = [
            set.selector.match_labels.unwrap(),
            rendered.service.spec.as_ref().unwrap().selector.clone().unwrap(),
            rendered
                .policy
                .spec
                .unwrap()
                .pod_selector
                .unwrap()
                .match_labels
                .unwrap(),
        ];
        for selector in selectors {
            assert!(matches(&selector, &pod_labels), "{selector:?}");
            for task in tasks(&fixture) {
                assert!(!matches(&selector, &task.metadata.labels.unwrap()), "{selector:?}");
            }
        }
        assert_eq!(set.service_name, rendered.service.metadata.name);
        assert_eq!(pod_name(&fixture.instance.name), format!("{}-0", fixture.instance.name));
        let port = &rendered.service.spec.unwrap().ports.unwrap()[0];
        assert_eq!(port.port, i32::from(fixture.template.ingress_port().unwrap().port));
    }
}

#[test]
fn the_route_opens_for_the_ingress_controller_only_when_it_may() {
    for mut fixture in Fixture::all() {
        let open = json(&fixture.render().policy)["spec"]["ingress"][0]["from"].clone();
        assert_eq!(open.as_array().unwrap().len(), 2);
        fixture.route_open = false;
        let closed = fixture.render();
        assert!(closed.ingress.is_none());
        let from = json(&closed.policy)["spec"]["ingress"][0]["from"].clone();
        let own_tasks = value!([{ "podSelector": {
            "matchLabels": { "lumbung.dev/instance": fixture.instance.id },
            "matchExpressions": [{ "key": "lumbung.dev/task", "operator": "Exists" }],
        }}]);
        assert_eq!(from, own_tasks);
    }
}

#[test]
fn the_route_follows_the_clusters_settings() {
    let mut fixture = Fixture::of("ghost");
    let host = fixture.instance.host.clone();
    let ingress = json(&fixture.render().ingress);
    assert_eq!(
        ingress["spec"]["tls"],
        value!([{ "hosts": [host], "secretName": "ghost-2-tls" }])
    );
    assert_eq!(ingress["spec"]["ingressClassName"], "traefik");
    let paths = value!([{ "path": "/", "pathType": "Prefix",
                          "backend": { "service": { "name": "ghost-2", "port": { "number": 2368 } } } }]);
    assert_eq!(
        ingress["spec"]["rules"],
        value!([{ "host": host, "http": { "paths": paths } }])
    );
    assert_eq!(
        ingress["metadata"]["annotations"],
        value!({ "cert-manager.io/cluster-issuer": "letsencrypt",
                 "traefik.ingress.kubernetes.io/router.entrypoints": "websecure" })
    );

    fixture.settings.cluster_issuer = None;
    fixture.settings.ingress_class = "nginx".to_owned();
    let ingress = json(&fixture.render().ingress);
    assert_eq!(
        ingress["spec"]["tls"],
        value!([{ "hosts": [host] }]),
        "the controller's own certificate"
    );
    let annotations = value!({ "nginx.ingress.kubernetes.io/proxy-body-size": "64m" });
    assert_eq!(ingress["metadata"]["annotations"], annotations);

    let aliases = |fixture: &Fixture| json(&fixture.template_of_pod())["spec"]["hostAliases"].clone();
    assert_eq!(aliases(&fixture), value!([{ "ip": "10.43.0.80", "hostnames": [host] }]));
    fixture.settings.ingress_address = None;
    assert_eq!(aliases(&fixture), Value::Null);
}

#[test]
fn claims_share_the_plans_disk() {
    for mut fixture in Fixture::all() {
        let size = |template: &Template, fixture: &Fixture| -> u64 {
            let claims = fixture.render().claims;
            assert_eq!(claims.len(), template.volumes.len());
            let mib = |claim: &Value| {
                assert_eq!(claim["spec"]["accessModes"], value!(["ReadWriteOnce"]));
                assert_eq!(claim["spec"]["storageClassName"], "longhorn");
                let text = claim["spec"]["resources"]["requests"]["storage"]
                    .as_str()
                    .unwrap()
                    .to_owned();
                match text.strip_suffix("Gi") {
                    Some(gib) => gib.parse::<u64>().unwrap() * 1024,
                    None => text.strip_suffix("Mi").unwrap().parse().unwrap(),
                }
            };
            claims.iter().map(|claim| mib(&json(claim))).sum()
        };
        assert_eq!(size(&fixture.template, &fixture), u64::from(fixture.plan.disk_mib));
        let mut second = fixture.template.volumes[0].clone();
        second.name = "media".to_owned();
        (second.disk_ppm, fixture.template.volumes[0].disk_ppm) = (333_333, 666_667);
        fixture.template.volumes.push(second);
        assert_eq!(size(&fixture.template, &fixture), u64::from(fixture.plan.disk_mib));
    }
}

#[test]
fn each_template_becomes_what_its_application_needs() {
    let app = "/spec/template/spec/containers/0";
    let database = "/spec/template/spec/initContainers/0";
    for (slug, base, at, expected) in [
        ("n8n", app, "/readinessProbe/httpGet/path", value!("/healthz/readiness")),
        ("n8n", app, "/readinessProbe/httpGet/port", value!(5678)),
        ("n8n", app, "/volumeMounts/0/mountPath", value!("/home/node/.n8n")),
        ("n8n", app, "/securityContext/runAsUser", value!(1000)),
        (
            "ghost",
            app,
            "/startupProbe/httpGet/httpHeaders",
            value!([{ "name": "X-Forwarded-Proto", "value": "https" }]),
        ),
        ("ghost", database, "/volumeMounts/0/subPath", value!("mysql")),
        (
            "ghost",
            database,
            "/volumeMounts/3/mountPath",
            value!("/etc/mysql/conf.d/lumbung.cnf"),
        ),
        ("ghost", database, "/volumeMounts/3/subPath", value!("mysql.0")),
        ("ghost", database, "/volumeMounts/3/readOnly", value!(true)),
        ("ghost", database, "/restartPolicy", value!("Always")),
        ("wordpress", database, "/startupProbe/exec/command/0", value!("sh")),
        ("wordpress", app, "/livenessProbe/tcpSocket/port", value!(8080)),
        ("wordpress", app, "/securityContext/runAsUser", value!(33)),
        ("linkding", app, "/readinessProbe/httpGet/path", value!("/health")),
        (
            "vaultwarden",
            app,
            "/securityContext/readOnlyRootFilesystem",
            value!(true),
        ),
        (
            "vaultwarden",
            "",
            "/spec/template/spec/terminationGracePeriodSeconds",
            value!(30),
        ),
        (
            "vaultwarden",
            "",
            "/spec/updateStrategy",
            value!({ "type": "OnDelete" }),
        ),
        (
            "vaultwarden",
            "",
            "/spec/template/spec/securityContext/fsGroup",
            value!(1000),
        ),
        (
            "vaultwarden",
            "",
            "/spec/template/spec/tolerations/0/tolerationSeconds",
            value!(60),
        ),
        (
            "vaultwarden",
            "",
            "/metadata/annotations",
            value!({ "lumbung.dev/generation": "4" }),
        ),
        (
            "vaultwarden",
            "",
            "/spec/template/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
            value!([{ "matchExpressions": [{ "key": "kubernetes.io/hostname", "operator": "In", "values": ["node-b"] }] }]),
        ),
    ] {
        let set = json(&Fixture::of(slug).render().stateful_set);
        let pointer = format!("{base}{at}");
        assert_eq!(set.pointer(&pointer), Some(&expected), "{slug} {pointer}");
    }
}

/// The typed client sends these bytes, and the server's copy is read back into the same types.
#[test]
fn objects_survive_the_wire() {
    for fixture in Fixture::all() {
        let rendered = fixture.render();
        let back = |text: Value| serde_json::from_value(text).unwrap();
        assert_eq!(rendered.stateful_set, back(json(&rendered.stateful_set)));
        let back = |text: Value| serde_json::from_value(text).unwrap();
        assert_eq!(rendered.policy, back(json(&rendered.policy)));
    }
}
