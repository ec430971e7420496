//! What kubectl does every day, by a real one where one is installed.

use std::{path::Path, process::Stdio};

use lumbung_simcluster::{Delays, Options, SimCluster};
use tokio::{io::AsyncWriteExt as _, process::Command};

const NAMESPACE: &str = r#"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}}"#;
const SET: &str = r#"{"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "demo"}, "spec": {
    "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": {"metadata": {"labels": {"app": "db"}},
    "spec": {"containers": [{"name": "app", "image": "nginx:1.29"}]}}}}"#;

#[tokio::test]
async fn a_real_kubectl() {
    let installed = Command::new("kubectl").args(["version", "--client"]).output().await;
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("skipped: kubectl is not installed");
        return;
    }
    let sim = SimCluster::start(Options { delays: Delays::zero(), ..Options::default() }).await.expect("a cluster");
    sim.settle().await;
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
