//! What kubectl does every day: by a real one where one is installed, and the same requests by hand everywhere.

use std::{path::Path, process::Stdio};

use lumbung_simcluster::{Delays, Options, SimCluster};
use reqwest::Method;
use tokio::{io::AsyncWriteExt as _, process::Command};

const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
const NAMESPACE: &str = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}"#;
const SET: &str = r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "demo"}, "spec": {
    "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": {"metadata": {"labels": {"app": "db"}},
    "spec": {"containers": [{"name": "app", "image": "nginx:1.29"}]}}}}"#;

async fn cluster() -> SimCluster {
    let sim = SimCluster::start(Options { delays: Delays::zero(), ..Options::default() }).await.expect("a cluster");
    sim.settle().await;
    sim
}

#[tokio::test]
async fn a_real_kubectl() {
    let installed = Command::new("kubectl").args(["version", "--client"]).output().await;
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("skipped: kubectl is not installed");
        return;
    }
    let sim = cluster().await;
    let folder = std::env::temp_dir().join(format!("simcluster-kubectl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("config"), sim.kubeconfig()).expect("a kubeconfig");
    let apply = "apply --server-side --validate=false -f -";
    for (arguments, input, part) in [
        ("get nodes", "", "ryzen-3900x"),
        (apply, NAMESPACE, "namespace/demo serverside-applied"),
        (apply, SET, "statefulset.apps/db serverside-applied"),
        ("-n demo wait --for=jsonpath={.status.readyReplicas}=1 sts/db --timeout=20s", "", "met"),
        ("-n demo get all", "", "pod/db-0"),
        ("-n demo logs db-0", "", "nginx"),
        ("-n demo scale sts/db --replicas=0", "", "scaled"),
        ("cordon intel-i7-gen7", "", "cordoned"),
        ("get node intel-i7-gen7 -o jsonpath={.spec.unschedulable}", "", "true"),
        ("uncordon intel-i7-gen7", "", "uncordoned"),
        ("delete ns demo --timeout=20s", "", "deleted"),
        ("get ns", "", "kube-system"),
    ] {
        let said = kubectl(&folder, arguments, input).await;
        assert!(said.contains(part), "kubectl {arguments}: expected {part:?} in:\n{said}");
    }
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    sim.shutdown().await;
}

async fn kubectl(folder: &Path, arguments: &str, input: &str) -> String {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(folder.join("config")).arg("--cache-dir").arg(folder).args(arguments.split(' '));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(input.as_bytes()).await.expect("kubectl reads its input");
    drop(stdin);
    let output = child.wait_with_output().await.expect("kubectl ends");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

#[tokio::test]
async fn what_kubectl_sends() {
    let sim = cluster().await;
    let base = format!("{}/token/{}", sim.url(), sim.token());
    let (apply, strategic) = ("application/apply-patch+yaml", "application/strategic-merge-patch+json");
    for (method, path, content, body, code, part) in [
        ("GET", "/api", "", "", 200, "APIVersions"),
        ("GET", "/apis", "", "", 200, "rbac.authorization.k8s.io"),
        ("GET", "/apis/apps/v1", "", "", 200, "statefulsets/scale"),
        ("GET", "/openapi/v3", "", "", 501, "OpenAPI"),
        ("GET", "/api/v1/nodes?limit=500", "", "", 200, "NodeList"),
        ("PATCH", "/api/v1/namespaces/demo?fieldManager=kubectl&force=false", apply, NAMESPACE, 201, "Active"),
        (
            "PATCH",
            "/api/v1/nodes/intel-i7-gen7",
            strategic,
            r#"{"spec": {"unschedulable": true}}"#,
            200,
            "unschedulable",
        ),
        ("GET", "/api/v1/namespaces/demo/pods?watch=true&timeoutSeconds=1", "", "", 200, ""),
        (
            "DELETE",
            "/api/v1/namespaces/demo",
            "application/json",
            r#"{"propagationPolicy": "Background"}"#,
            200,
            "demo",
        ),
        ("GET", "/api/v1/namespaces/x/pods/y/exec", "", "", 501, "exec"),
    ] {
        let method: Method = method.parse().expect("a method");
        let request = reqwest::Client::new().request(method, format!("{base}{path}"));
        let answer = request.header("accept", TABLE).header("content-type", content).body(body).send().await;
        let answer = answer.expect("an answer");
        let (status, text) = (answer.status().as_u16(), answer.text().await.expect("text"));
        assert!(status == code && text.contains(part), "{path}: {status} {text}");
    }
    sim.shutdown().await;
}
