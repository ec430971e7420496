//! Unhappy pods, explained in words: phase, reason, message and next try as the customer sees them, and the way out.
//!
//! That an operation waits for an image, and what a corrected template does to an instance, is in `instances::failures`; a
//! refusal by quota is in `rbac`.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, ListParams};
use kube::{Resource, ResourceExt as _};
use lumbung::kube::{LABEL_INSTANCE, LABEL_TASK};
use lumbung_tests::{Client, TestApp, eventually};
use serde_json::{Value, json};
use simcluster::{Fault, resource};

const CUSTOMER: &str = "ani@example.org";

struct Bench {
    app: TestApp,
    customer: Client,
    id: String,
}

impl Bench {
    /// A customer with an accepted linkding that nobody has begun to bring up.
    async fn ordered() -> Self {
        let app = TestApp::start().await;
        app.settle().await;
        app.customer(CUSTOMER).await;
        Self::order(app).await
    }

    /// The same on a platform that runs, for a customer who has an account.
    async fn order(app: TestApp) -> Self {
        let customer = app.log_in(CUSTOMER).await;
        let key = app.ambient.new_id().to_string();
        let wish = json!({"service": "linkding", "plan": "starter"});
        let accepted = customer.post_once(&key, "/api/v1/orders", wish).await.expect(202);
        let id = accepted["instance_id"].as_str().expect("an id").to_owned();
        Self { app, customer, id }
    }

    async fn running() -> Self {
        let bench = Self::ordered().await;
        bench.until("running", |seen| seen["phase"] == "running").await;
        bench
    }

    async fn seen(&self) -> Value {
        self.customer
            .get(&format!("/api/v1/instances/{}", self.id))
            .await
            .expect(200)
    }

    /// Lets time pass until the customer sees this, and gives what is seen.
    async fn until(&self, what: &str, seen: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || async {
            self.app.settle().await;
            let now = self.seen().await;
            if seen(&now) {
                return Some(now);
            }
            self.app.advance(Duration::from_secs(5));
            None
        })
        .await
    }

    async fn objects<K>(&self) -> Vec<K>
    where
        K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let ours = ListParams::default().labels(&format!("{LABEL_INSTANCE}={},!{LABEL_TASK}", self.id));
        Api::<K>::all(self.app.kube.clone())
            .list(&ours)
            .await
            .expect("a list")
            .items
    }

    /// The node on which its place is reserved.
    async fn node(&self) -> String {
        let sql = "SELECT n.name FROM placements p JOIN worker_nodes n ON n.id = p.node_id
                    WHERE p.instance_id = $1::uuid AND p.released_at IS NULL";
        sqlx::query_scalar(sql)
            .bind(&self.id)
            .fetch_one(&self.app.db.pool)
            .await
            .expect("placed")
    }

    /// Something happens to its containers.
    fn befall(&self, fault: Fault) {
        self.app.sim.faults().add(fault.label(LABEL_INSTANCE, &self.id));
    }
}

fn message(seen: &Value) -> &str {
    seen["message"].as_str().expect("words")
}

#[tokio::test]
async fn a_crash_loop_tells_the_exit_code_and_when_it_is_tried_again() {
    let bench = Bench::running().await;
    bench.befall(Fault::crash(3));
    let seen = bench
        .until("a pause in the crash loop", |seen| {
            seen["reason"] == "crash_loop" && seen["next_retry_at"].is_string()
        })
        .await;
    assert_eq!(seen["phase"], "degraded", "it was up before: {seen:#}");
    assert!(
        message(&seen).starts_with("Your service crashed with exit code 3; it was restarted "),
        "{seen:#}"
    );
    assert!(message(&seen).ends_with("is tried again after a pause."), "{seen:#}");
    bench.app.sim.faults().clear();
    let seen = bench.until("running again", |seen| seen["phase"] == "running").await;
    assert_eq!(
        (seen["reason"].as_str(), &seen["next_retry_at"]),
        (Some("running"), &Value::Null)
    );
}

#[tokio::test]
async fn a_service_that_never_came_up_has_failed() {
    let bench = Bench::ordered().await;
    bench.befall(Fault::crash(127));
    let seen = bench.until("a crash loop", |seen| seen["reason"] == "crash_loop").await;
    assert_eq!(seen["phase"], "failed", "{seen:#}");
    assert!(
        message(&seen).contains("did not find its program (exit code 127)"),
        "{seen:#}"
    );
    assert_eq!(
        (&seen["url"], &seen["first_ready_at"]),
        (&Value::Null, &Value::Null),
        "its route stays shut"
    );
}

#[tokio::test]
async fn running_out_of_memory_names_the_limit_and_what_helps() {
    let bench = Bench::running().await;
    bench.befall(Fault::out_of_memory());
    let seen = bench
        .until("out of memory", |seen| {
            seen["reason"] == "out_of_memory" && seen["next_retry_at"].is_string()
        })
        .await;
    assert_eq!(seen["phase"], "degraded", "{seen:#}");
    let pods = bench.objects::<Pod>().await;
    let limits = pods[0]
        .spec
        .as_ref()
        .and_then(|spec| spec.containers[0].resources.as_ref()?.limits.clone())
        .expect("limits");
    let limit = limits["memory"].0.replace("Mi", " MiB").replace("Gi", " GiB");
    let words = message(&seen);
    assert!(
        words.starts_with(&format!(
            "Your service needed more memory than its limit of {limit} and was stopped;"
        )),
        "{words}"
    );
    assert!(words.ends_with("A larger plan gives it more memory."), "{words}");
}

#[tokio::test]
async fn a_machine_under_maintenance_is_said_and_waited_for() {
    let bench = Bench::ordered().await;
    let node = bench.node().await;
    let cordon = |on: bool| {
        let change = move |object: &mut Value| object["spec"]["unschedulable"] = json!(on);
        bench
            .app
            .sim
            .cluster()
            .update(&resource::NODE, "", &node, "kubectl", change)
            .expect("changed");
    };
    cordon(true);
    let seen = bench
        .until("unschedulable", |seen| seen["reason"] == "unschedulable")
        .await;
    assert_eq!(seen["phase"], "provisioning", "{seen:#}");
    let words = "Your service cannot start yet: the machine that is reserved for it is under maintenance. \
                 It starts by itself as soon as this changes.";
    assert_eq!(message(&seen), words);
    assert!(seen["next_retry_at"].is_string(), "{seen:#}");
    cordon(false);
    bench.until("running", |seen| seen["phase"] == "running").await;
}

#[tokio::test]
async fn a_machine_that_somebody_else_has_filled_is_said_and_waited_for() {
    let bench = Bench::ordered().await;
    let node = bench.node().await;
    let object = bench
        .app
        .sim
        .cluster()
        .get(&resource::NODE, "", &node)
        .expect("the node");
    let all = object["status"]["allocatable"]["memory"].clone();
    let hog = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hog"},
        "spec": {"nodeName": node, "containers": [{"name": "c", "image": "docker.io/library/postgres:18",
                 "resources": {"requests": {"memory": all}}}]}
    });
    let cluster = bench.app.sim.cluster();
    cluster
        .create(&resource::POD, "default", hog, "somebody")
        .expect("created");
    let seen = bench
        .until("unschedulable", |seen| seen["reason"] == "unschedulable")
        .await;
    let words = "the machine that is reserved for it has not enough free memory at the moment";
    assert!(message(&seen).contains(words), "{seen:#}");
    cluster
        .delete(&resource::POD, "default", "hog", &simcluster::DeleteOptions::now())
        .expect("deleted");
    bench.until("running", |seen| seen["phase"] == "running").await;
}

/// The StatefulSet's controller never replaces a pod that is not ready: we do, by its uid, and the data stays.
#[tokio::test]
async fn a_restart_replaces_a_broken_pod_at_once() {
    let bench = Bench::running().await;
    let claim = bench.objects::<PersistentVolumeClaim>().await.remove(0).uid();
    bench.befall(Fault::crash(1));
    bench.until("a crash loop", |seen| seen["reason"] == "crash_loop").await;
    let broken = bench.objects::<Pod>().await.remove(0).uid();
    bench.app.sim.faults().clear();
    let path = format!("/api/v1/instances/{}/restart", bench.id);
    let restart = bench.customer.post(&path, json!({})).await.expect(202);
    bench
        .until("running", |seen| {
            seen["phase"] == "running" && seen["observed_generation"] == seen["generation"]
        })
        .await;
    let pods = bench.objects::<Pod>().await;
    assert_eq!(pods.len(), 1);
    assert_ne!(pods[0].uid(), broken, "the broken pod is gone");
    assert_eq!(bench.objects::<PersistentVolumeClaim>().await.remove(0).uid(), claim);
    let done = bench
        .customer
        .get(&format!(
            "/api/v1/operations/{}",
            restart["id"].as_str().expect("an id")
        ))
        .await
        .expect(200);
    assert_eq!(done["status"], "succeeded", "{done:#}");
}

#[tokio::test]
async fn an_image_that_does_not_come_is_explained_and_the_same_pod_goes_on() {
    let bench = Bench::ordered().await;
    bench.app.sim.faults().add(Fault::pulls_fail("linkding"));
    let seen = bench
        .until("a failed pull", |seen| seen["reason"] == "image_pull_failed")
        .await;
    assert_eq!(seen["phase"], "failed", "{seen:#}");
    let words = message(&seen);
    assert!(
        words.starts_with("The software of your service could not be downloaded: "),
        "{words}"
    );
    assert!(
        words.ends_with("It is tried again at intervals of up to five minutes."),
        "{words}"
    );
    assert!(seen["next_retry_at"].is_string(), "{seen:#}");
    let waiting = bench.objects::<Pod>().await.remove(0).uid();
    bench.app.sim.faults().clear();
    bench.until("running", |seen| seen["phase"] == "running").await;
    assert_eq!(bench.objects::<Pod>().await.remove(0).uid(), waiting);
}

/// What was sold stays what it was; the correction is for whoever orders after it.
#[tokio::test]
async fn a_corrected_version_of_a_service_is_what_the_next_order_gets() {
    let app = TestApp::start().await;
    app.settle().await;
    app.customer(CUSTOMER).await;
    let admin = app.admin("root@example.org").await;
    let first = admin
        .get("/api/v1/admin/services/linkding/versions/1")
        .await
        .expect(200);
    let publish = async |number: u32, tag: &str| {
        let mut template = first["template"].clone();
        template["components"][0]["image"]["tag"] = json!(tag);
        template["version"] = json!(tag);
        let versions = "/api/v1/admin/services/linkding/versions";
        let made = admin.post_once(tag, versions, template).await.expect(201);
        assert_eq!(made["version"], number);
        admin
            .post(&format!("{versions}/{number}/publish"), json!({}))
            .await
            .expect(200);
    };
    publish(2, "9.9.8").await;
    app.sim.faults().add(Fault::pulls_fail(":9.9.8"));
    let bad = Bench::order(app).await;
    bad.until("a failed pull", |seen| seen["reason"] == "image_pull_failed")
        .await;
    publish(3, "9.9.9").await;
    let Bench { app, id, .. } = bad;
    let good = Bench::order(app).await;
    good.until("running", |seen| seen["phase"] == "running").await;
    let seen = good.customer.get(&format!("/api/v1/instances/{id}")).await.expect(200);
    assert_eq!(seen["reason"], "image_pull_failed", "{seen:#}");
    let image = good.objects::<Pod>().await[0]
        .spec
        .as_ref()
        .and_then(|spec| spec.containers[0].image.clone());
    assert!(
        image.as_deref().is_some_and(|image| image.contains(":9.9.9")),
        "{image:?}"
    );
}
