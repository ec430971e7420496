//! The everyday commands of a real kubectl, where one is installed.

use std::process::Stdio;

use lumbung_simcluster::{Options, SimCluster, resource};
use tokio::{io::AsyncWriteExt as _, process::Command};

struct Kubectl {
    kubeconfig: std::path::PathBuf,
}

impl Kubectl {
    /// Runs kubectl; the answer is whether it succeeded and what it said.
    async fn run(&self, arguments: &str, input: &str) -> (bool, String) {
        let mut child = Command::new("kubectl")
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .arg("--cache-dir")
            .arg(self.kubeconfig.with_extension("cache"))
            .args(arguments.split(' '))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input.as_bytes()).await.expect("kubectl reads its input");
        drop(stdin);
        let output = child.wait_with_output().await.expect("kubectl ends");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    }

    async fn expect(&self, arguments: &str, input: &str, part: &str) {
        let (ok, said) = self.run(arguments, input).await;
        assert!(ok && said.contains(part), "kubectl {arguments}: expected {part:?} in:\n{said}");
    }
}

const NAMESPACE: &str = "\napiVersion: v1\nkind: Namespace\nmetadata: {name: demo}\n";
const SET: &str = "
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: demo}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: app, image: 'nginx:1.29'}]}
";

#[tokio::test]
async fn everyday_commands() {
    let installed = Command::new("kubectl").args(["version", "--client"]).output().await;
    if !installed.is_ok_and(|output| output.status.success()) {
        println!("kubectl is not installed: nothing was tried");
        return;
    }
    let options = Options { delays: lumbung_simcluster::Delays::zero(), ..Options::default() };
    let cluster = SimCluster::start(options).await.expect("a cluster");
    let folder = std::env::temp_dir().join(format!("simcluster-kubectl-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let kubeconfig = folder.join("kubeconfig");
    std::fs::write(&kubeconfig, cluster.kubeconfig()).expect("a kubeconfig");
    let kubectl = Kubectl { kubeconfig };
    let apply = "apply --server-side --validate=false -f -";

    kubectl.expect("get nodes", "", "ryzen-3900x").await;
    kubectl.expect(apply, NAMESPACE, "namespace/demo serverside-applied").await;
    kubectl.expect(apply, SET, "statefulset.apps/db serverside-applied").await;
    kubectl.expect("-n demo wait --for=jsonpath={.status.readyReplicas}=1 sts/db --timeout=20s", "", "met").await;
    kubectl.expect("-n demo get all", "", "pod/db-0").await;
    kubectl.expect("-n demo logs db-0", "", "nginx").await;
    kubectl.expect("-n demo scale sts/db --replicas=0", "", "scaled").await;
    kubectl.expect("cordon intel-i7-gen7", "", "cordoned").await;
    let node = cluster.cluster().get(&resource::NODE, "", "intel-i7-gen7").expect("the node");
    assert_eq!(node["spec"]["unschedulable"], true);
    kubectl.expect("uncordon intel-i7-gen7", "", "uncordoned").await;
    kubectl.expect("delete ns demo --timeout=20s", "", "deleted").await;
    let (ok, said) = kubectl.run("get ns demo", "").await;
    assert!(!ok && said.contains("NotFound"), "{said}");
    cluster.shutdown().await;
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}
