//! The role that an operator grants us (deploy/base/rbac.yaml) against what we really ask of the cluster, both ways:
//! nothing that we do is forbidden, and nothing is granted that we never do.
//!
//! The calls are recorded by the simulated cluster while the platform does everything that it does. What the test itself
//! needs in the cluster it puts there without a call. The list is committed as simcluster/calls.txt.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use lumbung_tests::{Client, TestApp, eventually, inputs};
use serde_json::{Value, json};
use simcluster::DeleteOptions;
use simcluster::resource::{self, Kind};

/// Verb, group, resource (with its subresource).
type Right = (String, String, String);

/// As whom the platform asks. What the administrator asks beside it, to prepare the cluster or to look, is not counted.
const ACCOUNT: &str = "system:serviceaccount:lumbung-system:lumbung";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned()
}

fn right(verb: &str, group: &str, resource: &str) -> Right {
    (verb.to_owned(), group.to_owned(), resource.to_owned())
}

fn granted() -> BTreeSet<Right> {
    let text = std::fs::read_to_string(root().join("deploy/base/rbac.yaml")).expect("the role");
    let documents: Vec<Value> = text
        .split("\n---\n")
        .map(|one| serde_saphyr::from_str(one).expect("YAML"))
        .collect();
    let of = |kind: &str| {
        documents
            .iter()
            .filter(|document| document["kind"] == kind)
            .cloned()
            .collect::<Vec<_>>()
    };
    let [role] = of("ClusterRole").try_into().expect("one role");
    let [binding] = of("ClusterRoleBinding").try_into().expect("one binding");
    assert!(
        of("Role").is_empty() && of("RoleBinding").is_empty(),
        "this test knows cluster roles only"
    );
    let role: ClusterRole = serde_json::from_value(role).expect("a ClusterRole");
    let binding: ClusterRoleBinding = serde_json::from_value(binding).expect("a ClusterRoleBinding");
    assert_eq!(Some(binding.role_ref.name), role.metadata.name);
    let mut rights = BTreeSet::new();
    for rule in role.rules.expect("rules") {
        assert!(
            rule.resource_names.is_none() && rule.non_resource_urls.is_none(),
            "{rule:?}: this test does not know that"
        );
        for verb in &rule.verbs {
            for group in rule.api_groups.iter().flatten() {
                rights.extend(
                    rule.resources
                        .iter()
                        .flatten()
                        .map(|resource| right(verb, group, resource)),
                );
            }
        }
    }
    assert!(
        !rights
            .iter()
            .any(|(verb, group, resource)| [verb, group, resource].iter().any(|part| *part == "*"))
    );
    rights
}

fn recorded(app: &TestApp) -> BTreeSet<Right> {
    let calls = app.sim.calls().into_iter().filter(|call| call.user == ACCOUNT);
    let calls = calls.map(|call| match call.subresource.as_str() {
        "" => right(&call.verb, &call.group, &call.resource),
        subresource => right(&call.verb, &call.group, &format!("{}/{subresource}", call.resource)),
    });
    calls.collect()
}

/// An API server asks for `create`, too, when an apply makes what is not there.
fn needed(recorded: &BTreeSet<Right>) -> BTreeSet<Right> {
    let applied = recorded.iter().filter(|(verb, ..)| verb == "patch");
    let creates = applied.map(|(_, group, resource)| right("create", group, resource));
    recorded.iter().cloned().chain(creates).collect()
}

fn list(rights: &BTreeSet<Right>) -> String {
    let line = |(verb, group, resource): &Right| match group.as_str() {
        "" => format!("{verb} {resource}\n"),
        group => format!("{verb} {resource}.{group}\n"),
    };
    rights.iter().map(line).collect()
}

#[tokio::test]
async fn the_role_grants_exactly_what_we_ask() {
    let app = TestApp::start().await;
    do_everything(&app).await;
    let recorded = recorded(&app);
    let (needed, granted) = (needed(&recorded), granted());
    let forbidden: BTreeSet<_> = needed.difference(&granted).cloned().collect();
    let idle: BTreeSet<_> = granted.difference(&needed).cloned().collect();
    assert!(
        forbidden.is_empty(),
        "asked, and not granted by deploy/base/rbac.yaml:\n{}",
        list(&forbidden)
    );
    assert!(
        idle.is_empty(),
        "granted by deploy/base/rbac.yaml, and never asked:\n{}",
        list(&idle)
    );

    let file = root().join("simcluster/calls.txt");
    if std::env::var_os("LUMBUNG_UPDATE_CALLS").is_some() {
        std::fs::write(&file, list(&recorded)).expect("written");
    }
    let committed = std::fs::read_to_string(&file).expect("simcluster/calls.txt");
    assert_eq!(
        committed,
        list(&recorded),
        "simcluster/calls.txt is old: write it anew with LUMBUNG_UPDATE_CALLS=1"
    );
}

/// Everything that the server does in a cluster, at least once.
async fn do_everything(app: &TestApp) {
    for watched in ["nodes", "pods", "persistentvolumeclaims", "statefulsets"] {
        let asked = || {
            app.sim
                .calls()
                .iter()
                .any(|call| call.verb == "watch" && call.resource == watched)
        };
        eventually(watched, || async { asked().then_some(()) }).await;
    }
    app.settle().await;
    let customer = app.customer("ani@example.org").await;
    let mut bought = Vec::new();
    for service in ["linkding", "n8n", "ghost", "wordpress", "vaultwarden"] {
        bought.push(order(app, &customer, service).await);
    }
    app.settle().await;
    let (instance, _) = &bought[0];
    for what in ["stop", "start", "restart"] {
        let path = format!("/api/v1/instances/{instance}/{what}");
        customer.post(&path, json!({})).await.expect(202);
        app.settle().await;
    }
    be_refused(app, &customer, instance).await;
    for (instance, subscription) in &bought {
        let path = format!("/api/v1/subscriptions/{subscription}/cancel");
        customer.post(&path, json!({"when": "now"})).await.expect(202);
        app.settle().await;
        let gone = customer.get(&format!("/api/v1/instances/{instance}")).await.expect(200);
        assert_eq!(gone["phase"], "deleted", "{gone:#}");
    }
    leave_behind(app, instance);
    app.run("sweep").await;
    assert!(app.run("sweep").await.done >= 8, "one of each kind is cleared away");
    app.settle().await;
}

async fn order(app: &TestApp, customer: &Client, service: &str) -> (String, String) {
    let offer = app
        .client()
        .get(&format!("/api/v1/services/{service}"))
        .await
        .expect(200);
    let wish = json!({"service": service, "plan": offer["plans"][0]["code"], "inputs": inputs(&offer)});
    let accepted = customer.post_once(service, "/api/v1/orders", wish).await.expect(202);
    let text = |field: &str| accepted[field].as_str().expect("an id").to_owned();
    (text("instance_id"), text("subscription_id"))
}

/// A quota of somebody else's lets no pod in, so the reason is looked for; then it is lifted.
async fn be_refused(app: &TestApp, customer: &Client, instance: &str) {
    let namespace: String = sqlx::query_scalar("SELECT name FROM customer_namespaces")
        .fetch_one(&app.db.pool)
        .await
        .expect("one");
    let quota = json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
    app.sim
        .cluster()
        .create(
            &resource::RESOURCE_QUOTA,
            &namespace,
            object(&resource::RESOURCE_QUOTA, quota),
            "test",
        )
        .expect("created");
    let path = format!("/api/v1/instances/{instance}/restart");
    customer.post(&path, json!({})).await.expect(202);
    app.settle().await;
    let seen = customer.get(&format!("/api/v1/instances/{instance}")).await.expect(200);
    assert_eq!(seen["reason"], "quota_refused", "{seen:#}");
    let options = DeleteOptions::default();
    app.sim
        .cluster()
        .delete(&resource::RESOURCE_QUOTA, &namespace, "none", &options)
        .expect("deleted");
    eventually("the instance runs again", || async {
        app.advance(Duration::from_mins(1));
        app.settle().await;
        let seen = customer.get(&format!("/api/v1/instances/{instance}")).await.expect(200);
        (seen["phase"] == "running").then_some(())
    })
    .await;
}

fn object(kind: &Kind, mut body: Value) -> Value {
    body["apiVersion"] = json!(kind.api_version());
    body["kind"] = json!(kind.kind);
    body
}

/// One object of each kind that bears the label of an instance which is purged.
fn leave_behind(app: &TestApp, instance: &str) {
    let pod = json!({"containers": [{"name": "c", "image": "docker.io/library/busybox:1.37"}]});
    let labels = json!({"app.kubernetes.io/managed-by": "lumbung", "lumbung.dev/instance": instance});
    let set = json!({"replicas": 0, "serviceName": "left", "selector": {"matchLabels": {"a": "b"}},
                     "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}});
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
    let backend = json!({"service": {"name": "left", "port": {"number": 80}}});
    let kinds = [
        (&resource::CONFIG_MAP, Value::Null),
        (&resource::SECRET, Value::Null),
        (
            &resource::SERVICE,
            json!({"ports": [{"port": 80}], "selector": {"a": "b"}}),
        ),
        (&resource::POD, pod),
        (&resource::PERSISTENT_VOLUME_CLAIM, claim),
        (&resource::STATEFUL_SET, set),
        (&resource::INGRESS, json!({"defaultBackend": backend})),
        (&resource::NETWORK_POLICY, json!({"podSelector": {}})),
    ];
    for (kind, spec) in kinds {
        let mut body = json!({"metadata": {"name": "left", "labels": labels}});
        if !spec.is_null() {
            body["spec"] = spec;
        }
        app.sim
            .cluster()
            .create(kind, "default", object(kind, body), "test")
            .expect("created");
    }
}
